//! Certificates: choosing them for listeners, replacing them, following clb.toml.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Applied, check_limit};
use crate::command::{CertificateChoice, NewTls, TlsPatch, Upload};
use crate::env::{Env, FileCertificate};
use crate::error::ModelError;
use crate::id::{CertificateId, LbId};
use crate::object::{
    Certificate, CertificateContent, CertificateKind, Change, Fingerprint, Listener, ListenerTls,
    Object, Origin,
};
use crate::state::State;
use crate::types::{Protocol, SslMode, UnixMillis};

/// Finds the certificates that one command names, and keeps those that it brings.
pub(super) struct Certificates<'a> {
    state: &'a State,
    made: Vec<Change>,
    uploads: HashMap<Fingerprint, CertificateId>,
}

impl<'a> Certificates<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self {
            state,
            made: Vec::new(),
            uploads: HashMap::new(),
        }
    }

    /// The certificates of a new listener.
    pub(super) fn of_new(
        &mut self,
        protocol: Protocol,
        tls: Option<&NewTls>,
    ) -> Result<Option<ListenerTls>, ModelError> {
        let tls = match (protocol, tls) {
            (Protocol::Https, Some(tls)) => tls,
            (Protocol::Https, None) => {
                let message = "SSLMode: required for HTTPS listeners".to_owned();
                return Err(ModelError::Contradiction(message));
            }
            _ => return Ok(None),
        };
        let patch = TlsPatch {
            mode: None,
            certificate: None,
            authority: tls.authority.clone(),
        };
        let certificate = self.choose(&tls.certificate, CertificateKind::Server, "certId")?;
        self.authority(tls.mode, None, &patch).map(|authority| {
            Some(ListenerTls {
                mode: tls.mode,
                certificate,
                authority,
            })
        })
    }

    /// The certificates of a listener after a change.
    pub(super) fn changed(
        &mut self,
        now: ListenerTls,
        patch: &TlsPatch,
    ) -> Result<ListenerTls, ModelError> {
        let mode = patch.mode.unwrap_or(now.mode);
        let certificate = match &patch.certificate {
            Some(choice) => self.choose(choice, CertificateKind::Server, "certId")?,
            None => now.certificate,
        };
        Ok(ListenerTls {
            mode,
            certificate,
            authority: self.authority(mode, now.authority, patch)?,
        })
    }

    fn authority(
        &mut self,
        mode: SslMode,
        now: Option<CertificateId>,
        patch: &TlsPatch,
    ) -> Result<Option<CertificateId>, ModelError> {
        match (mode, &patch.authority) {
            (SslMode::Unidirectional, None) => Ok(None),
            (SslMode::Unidirectional, Some(_)) => Err(ModelError::Contradiction(
                "SSLMode=unidirectional: a CA certificate checks the clients of SSLMode=mutual"
                    .to_owned(),
            )),
            (SslMode::Mutual, Some(choice)) => self
                .choose(choice, CertificateKind::ClientAuthority, "certCaId")
                .map(Some),
            (SslMode::Mutual, None) if now.is_some() => Ok(now),
            (SslMode::Mutual, None) => Err(ModelError::Contradiction(
                "SSLMode=mutual: the listener has no CA certificate; certCaId, or certCaContent and certCaName, is required"
                    .to_owned(),
            )),
        }
    }

    /// A certificate of a kind, by id or by its content; `parameter` is what an id came in.
    pub(super) fn choose(
        &mut self,
        choice: &CertificateChoice,
        kind: CertificateKind,
        parameter: &str,
    ) -> Result<CertificateId, ModelError> {
        match choice {
            CertificateChoice::Upload(upload) => self.upload(upload),
            CertificateChoice::Stored(id) => {
                let stored = existing(self.state, *id)?;
                if stored.origin == Origin::Withdrawn {
                    return Err(ModelError::CertificateNotFound(id.to_string()));
                }
                let found = stored.content.kind();
                if found != kind {
                    let message = format!("{parameter}={id}: it is {found}, and {kind} is needed");
                    return Err(ModelError::Contradiction(message));
                }
                Ok(*id)
            }
        }
    }

    fn upload(&mut self, upload: &Upload) -> Result<CertificateId, ModelError> {
        let fingerprint = upload.content.fingerprint;
        let known = self.state.uploaded(fingerprint);
        if let Some(id) = known.or_else(|| self.uploads.get(&fingerprint).copied()) {
            return Ok(id);
        }
        if self.state.certificate(upload.id).is_some() {
            // clb.toml names it, one chance in 36^8; the next request draws another one.
            let message = format!(
                "the id {} is taken by clb.toml; repeat the request",
                upload.id
            );
            return Err(ModelError::Contradiction(message));
        }
        self.uploads.insert(fingerprint, upload.id);
        self.made
            .push(Change::made(Object::Certificate(Arc::new(Certificate {
                id: upload.id,
                name: upload.name.clone(),
                origin: Origin::Uploaded,
                created: upload.now,
                content: Arc::clone(&upload.content),
            }))));
        Ok(upload.id)
    }

    /// What is to be stored, before what uses it.
    pub(super) fn finish(self, env: &Env) -> Result<Vec<Change>, ModelError> {
        if !self.made.is_empty() {
            let count = self.state.certificate_count() + self.made.len();
            check_limit(count, env.limits.certificates, "certificates")?;
        }
        Ok(self.made)
    }
}

fn existing(state: &State, id: CertificateId) -> Result<&Arc<Certificate>, ModelError> {
    state
        .certificate(id)
        .ok_or_else(|| ModelError::CertificateNotFound(id.to_string()))
}

/// ReplaceCert: everywhere or nowhere.
pub(super) fn replace(
    state: &State,
    env: &Env,
    old: CertificateId,
    new: &CertificateChoice,
) -> Result<Applied, ModelError> {
    let kind = existing(state, old)?.content.kind();
    if let CertificateChoice::Upload(upload) = new
        && upload.content.kind() != kind
    {
        let message = format!(
            "oldCertId={old}: it is {kind}, and the new one is {}",
            upload.content.kind()
        );
        return Err(ModelError::Contradiction(message));
    }
    let nothing = || Applied {
        changes: Vec::new(),
        load_balancers: Vec::new(),
    };
    if *new == CertificateChoice::Stored(old) {
        return Ok(nothing());
    }
    let mut certificates = Certificates::new(state);
    let new = certificates.choose(new, kind, "newCertId")?;
    if new == old || state.users_of(old).next().is_none() {
        return Ok(nothing());
    }
    let mut changes = certificates.finish(env)?;
    let mut load_balancers: Vec<LbId> = Vec::new();
    for listener in state.users_of(old) {
        changes.push(with_replaced(listener, old, new));
        load_balancers.push(listener.load_balancer);
    }
    load_balancers.dedup();
    Ok(Applied {
        changes,
        load_balancers,
    })
}

fn with_replaced(listener: &Arc<Listener>, old: CertificateId, new: CertificateId) -> Change {
    let replaced = |id| if id == old { new } else { id };
    let after = Listener {
        tls: listener.tls.map(|tls| ListenerTls {
            certificate: replaced(tls.certificate),
            authority: tls.authority.map(replaced),
            ..tls
        }),
        ..Listener::clone(listener)
    };
    Change::changed(
        Object::Listener(Arc::clone(listener)),
        Object::Listener(Arc::new(after)),
    )
}

/// Stored certificates become what `[[certificates]]` says. One that clb.toml no longer has goes
/// when nothing uses it, and otherwise stays for what uses it.
pub(super) fn follow(state: &State, env: &Env, now: UnixMillis) -> Applied {
    let mut changes = Vec::new();
    let mut load_balancers = Vec::new();
    let mut ids: Vec<&CertificateId> = env.certificates.keys().collect();
    ids.sort_unstable();
    for id in ids {
        let Some(file) = env.certificates.get(id) else {
            continue;
        };
        if conflict(state, *id, &file.content).is_none() {
            let before = state.certificate(*id);
            let change = followed(*id, file, before, now);
            if change.is_some() {
                load_balancers.extend(state.users_of(*id).map(|user| user.load_balancer));
            }
            changes.extend(change);
        }
    }
    // A pending task may be taken back, and then use again what nothing uses now.
    let is_quiet = state.pending_tasks().next().is_none();
    for stored in state.certificates() {
        if stored.origin == Origin::Uploaded || env.certificates.contains_key(&stored.id) {
            continue;
        }
        let before = Object::Certificate(Arc::clone(stored));
        if is_quiet && state.users_of(stored.id).next().is_none() {
            changes.push(Change::removed(before));
        } else if stored.origin == Origin::File {
            let after = Certificate {
                origin: Origin::Withdrawn,
                ..Certificate::clone(stored)
            };
            changes.push(Change::changed(
                before,
                Object::Certificate(Arc::new(after)),
            ));
        }
    }
    load_balancers.sort_unstable();
    load_balancers.dedup();
    Applied {
        changes,
        load_balancers,
    }
}

fn followed(
    id: CertificateId,
    file: &FileCertificate,
    before: Option<&Arc<Certificate>>,
    now: UnixMillis,
) -> Option<Change> {
    let after = Certificate {
        id,
        name: file.name.clone(),
        origin: Origin::File,
        created: before.map_or(now, |before| before.created),
        content: Arc::clone(&file.content),
    };
    match before {
        Some(before) if **before == after => None,
        Some(before) => Some(Change::changed(
            Object::Certificate(Arc::clone(before)),
            Object::Certificate(Arc::new(after)),
        )),
        None => Some(Change::made(Object::Certificate(Arc::new(after)))),
    }
}

/// Entries of `[[certificates]]` that are passed over, and why.
#[must_use]
pub fn certificate_conflicts(state: &State, env: &Env) -> Vec<String> {
    let entries = env.certificates.iter();
    let mut conflicts: Vec<String> = entries
        .filter_map(|(id, file)| conflict(state, *id, &file.content))
        .collect();
    conflicts.sort_unstable();
    conflicts
}

fn conflict(state: &State, id: CertificateId, content: &CertificateContent) -> Option<String> {
    let stored = state.certificate(id)?;
    if stored.origin == Origin::Uploaded {
        return Some(format!(
            "certificates.id = \"{id}\": an uploaded certificate has this id, choose another one"
        ));
    }
    let (kind, wanted) = (stored.content.kind(), content.kind());
    // A pending task may be taken back, and then its listeners use again what they used before.
    let is_quiet = state.pending_tasks().next().is_none();
    let may_be_used = !is_quiet || state.users_of(id).next().is_some();
    (kind != wanted && may_be_used).then(|| {
        format!(
            "certificates.id = \"{id}\": listeners use it, or may again, as {kind}; it can not become {wanted} now"
        )
    })
}
