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

/// The same call, when it was refused.
pub(super) fn refused(entry: AuditEntry, error: &ApiError) -> AuditEntry {
    AuditEntry {
        code: error.code,
        message: error.full_message(),
        ..entry
    }
}
