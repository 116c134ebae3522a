//! What is served goes to another process, which goes on with the same state.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use clb_snapshot::Listener;
use tokio::sync::oneshot;

use crate::Control;
use crate::applier::Order;
use crate::engine::AfterRest;

/// How long tasks that are under way get to end; another process takes up those that do not.
const TASKS: Duration = Duration::from_secs(5);

impl Control {
    /// Refuses changes, lets those end that were accepted, and writes nothing more: another
    /// process may open the store. Until [`go_on`](Self::go_on), or for ever with
    /// [`stop`](Self::stop).
    pub async fn hold(&self) {
        self.refuse_changes();
        let (done, held) = oneshot::channel();
        if self.orders.send(Order::Hold(done)).is_ok() {
            // What takes longer is pending in the store, as at a kill.
            let _ = tokio::time::timeout(TASKS, held).await;
        }
        let waker = self.engine.rest().await;
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = waker;
    }

    /// Stops accepting, and gives all listeners with their sockets, which nobody serves from now
    /// on. Connections that were accepted are served as before.
    pub async fn release_sockets(&self) -> Vec<Arc<Listener>> {
        let (given, listeners) = oneshot::channel();
        match self.orders.send(Order::Release(given)) {
            Ok(()) => listeners.await.unwrap_or_default(),
            // The applier has ended, and with it everything was closed.
            Err(_) => Vec::new(),
        }
    }

    /// Nobody has taken over: goes on as before [`hold`](Self::hold). If the other process has
    /// changed the state before it went away, changes are refused.
    pub fn go_on(&self) {
        let _ = self.orders.send(Order::GoOn);
        self.wake_engine(AfterRest::GoOn);
        self.api.stopping.store(false, Ordering::Relaxed);
    }

    pub(crate) fn wake_engine(&self, then: AfterRest) {
        let waker = self
            .rest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            // An error means that it has ended.
            let _ = waker.send(then);
        }
    }
}
