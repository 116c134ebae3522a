//! What the audit log tells of a call.

use std::net::IpAddr;

use clb_actions::{ApiError, Caller};
use clb_model::UnixMillis;
use clb_store::AuditEntry;

/// A call that is accepted; its task is not known yet.
pub(super) fn accepted(caller: &Caller, at: UnixMillis, peer: Option<IpAddr>) -> AuditEntry {
    AuditEntry {
        at,
        secret_id: caller.key_id.clone(),
        peer,
        client: caller.request_client.clone(),
        action: caller.action.name.to_owned(),
        parameters: caller.recorded(),
        code: 0,
        message: String::new(),
        task: None,
    }
}

/// Who calls for what clb.toml declares.
pub(super) const FILE: &str = "clb.toml";

/// A call for what clb.toml declares, which is accepted; its task is not known yet.
pub(super) fn of_file(action: &str, parameters: &[(String, String)], at: UnixMillis) -> AuditEntry {
    AuditEntry {
        at,
        secret_id: FILE.to_owned(),
        peer: None,
        client: String::new(),
        action: action.to_owned(),
        parameters: clb_actions::caller::recorded(parameters),
        code: 0,
        message: String::new(),
        task: None,
    }
}

/// The same call, when it was refused.
pub(super) fn refused(entry: AuditEntry, error: &ApiError) -> AuditEntry {
    AuditEntry {
        code: error.code,
        message: error.full_message(),
        ..entry
    }
}
