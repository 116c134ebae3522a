//! What is served goes from one process to the next: both sides of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use clb_model::ListenerId;
use clb_snapshot::{ListenSockets, Listener, Snapshot, TicketKey};
use tokio::sync::oneshot;

use super::Applier;

/// What another process hands over. Everything is prepared with the listeners that it promises;
/// their sockets are there when it says go.
#[derive(Debug)]
pub struct Succession {
    /// The listeners that it serves.
    pub promised: HashMap<ListenerId, Promised>,
    /// Told when all is prepared.
    pub prepared: oneshot::Sender<()>,
    /// The sockets are there. Closed: they will never be.
    pub go: oneshot::Receiver<()>,
}

/// A listener that another process serves.
#[derive(Debug, Clone)]
pub struct Promised {
    /// Where it listens.
    pub addr: SocketAddr,
    /// UDP, else TCP.
    pub is_udp: bool,
    /// Where its sockets are put before the go.
    pub sockets: Arc<ListenSockets>,
    /// HTTPS: the keys of its session tickets.
    pub tickets: Vec<TicketKey>,
}

impl Applier {
    /// Brings up what is stored; false if it is not to be served after all.
    pub(super) async fn begin_serving(&mut self) -> bool {
        let now = self.clock.unix().0;
        let Some(succession) = self.succession.take() else {
            self.plane.start(&mut self.health, now, HashMap::new());
            return true;
        };
        let left = self.plane.start(&mut self.health, now, succession.promised);
        if !left.is_empty() {
            // Better the old program than a new one that serves less.
            tracing::error!(listeners = ?left, "upgrade: given up, for these are served now and can not be served by this program");
            return false;
        }
        // Nobody to be told: nobody who will say go.
        let _ = succession.prepared.send(());
        succession.go.await.is_ok()
    }

    /// Another process is about to read what is saved.
    pub(super) fn hold(&mut self, done: oneshot::Sender<()>) {
        self.save_health();
        self.is_held = true;
        self.holding = Some(done);
    }

    /// Tells whoever waits for it that no task is under way.
    pub(super) fn tell_held(&mut self) {
        if self.tasks.oldest().is_some() {
            return;
        }
        if let Some(done) = self.holding.take() {
            // Whoever asked may have gone away; then it says so.
            let _ = done.send(());
        }
    }

    /// The workers stop accepting and give the sockets back; connections live on.
    pub(super) async fn release(&mut self, given: oneshot::Sender<Vec<Arc<Listener>>>) {
        self.board.hand_over(true);
        let listeners = self.plane.snapshot().iter().cloned().collect();
        let generation = self.board.publish(Snapshot::new());
        self.board.wait_acked(generation).await;
        self.board.hand_over(false);
        // Whoever asked may have gone away; then it says so.
        let _ = given.send(listeners);
    }

    /// Nobody has taken over.
    pub(super) fn go_on(&mut self) {
        self.holding = None;
        self.is_held = false;
        self.board.publish(self.plane.snapshot().clone());
    }
}
