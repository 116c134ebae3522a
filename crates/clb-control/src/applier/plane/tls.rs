//! What the handshakes of HTTPS listeners are done with.

use std::collections::BTreeSet;
use std::sync::Arc;

use clb_model::{Certificate, CertificateId, Change, Listener as Model, ListenerId, Object};
use clb_snapshot::{Listener, ServerTls};

use super::Plane;
use crate::certificates::compile;

/// Compiled and not yet in place, by listener.
pub(super) type Handshakes = Vec<(ListenerId, Arc<ServerTls>)>;

impl Plane {
    /// Takes an upload in before the task that brought it begins: a task of another instance may
    /// use it at once. Nothing is served by it alone.
    pub(in crate::applier) fn learn(&mut self, change: &Change) {
        if let (None, Some(Object::Certificate(_))) = (&change.before, &change.after) {
            self.state.apply(change);
        }
    }

    /// Compiles what the changes of a task make different for listeners that are served already.
    pub(super) fn compile_handshakes(&self, changes: &[Change]) -> Result<Handshakes, String> {
        let listeners: BTreeSet<ListenerId> = changes
            .iter()
            .flat_map(|change| self.rehandshaken(change))
            .collect();
        let served = listeners.into_iter().filter(|id| {
            let is_served = self.snapshot.get(*id).is_some();
            is_served && self.state.listener(*id).is_some()
        });
        served
            .filter_map(|id| self.state.listener(id))
            .filter_map(|listener| Some((listener.id, self.handshakes(listener).transpose()?)))
            .map(|(id, compiled)| Ok((id, compiled?)))
            .collect()
    }

    /// Listeners whose handshakes a change concerns.
    fn rehandshaken(&self, change: &Change) -> Vec<ListenerId> {
        match (&change.before, &change.after) {
            (Some(Object::Listener(before)), Some(Object::Listener(after)))
                if before.tls != after.tls =>
            {
                vec![after.id]
            }
            (Some(Object::Certificate(before)), Some(Object::Certificate(after)))
                if before.content != after.content =>
            {
                let users = self.state.users_of(after.id);
                users.map(|listener| listener.id).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What a listener's handshakes are done with; none when it is no HTTPS listener.
    pub(super) fn handshakes(&self, listener: &Model) -> Result<Option<Arc<ServerTls>>, String> {
        let Some(tls) = listener.tls else {
            return Ok(None);
        };
        let server = self.certificate(tls.certificate)?;
        let authority = match tls.authority {
            Some(id) => Some(self.certificate(id)?),
            None => None,
        };
        let authority = authority.map(|authority| &*authority.content);
        let served = self.snapshot.get(listener.id);
        let previous = served.and_then(|served| served.tls.as_deref());
        compile(&server.content, authority, previous)
            .map(|compiled| Some(Arc::new(compiled)))
            .map_err(|reason| {
                format!(
                    "certificate {} can not be served: {reason}",
                    tls.certificate
                )
            })
    }

    fn certificate(&self, id: CertificateId) -> Result<&Arc<Certificate>, String> {
        let found = self.state.certificate(id);
        found.ok_or_else(|| format!("certificate {id} does not exist"))
    }

    /// Puts compiled handshakes in place: the next ones are done with them. Established
    /// connections go on as they are.
    pub(super) fn handshake(&mut self, compiled: Handshakes) {
        for (id, tls) in compiled {
            let Some(served) = self.snapshot.get(id) else {
                continue;
            };
            let listener = Listener {
                tls: Some(tls),
                ..Listener::clone(served)
            };
            self.snapshot = self.snapshot.insert(Arc::new(listener));
            self.is_changed = true;
        }
    }
}
