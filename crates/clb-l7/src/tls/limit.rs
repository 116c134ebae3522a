//! How many handshakes are in progress on one worker, and which one is next.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use clb_snapshot::{HandshakeFailure, Refusal, TlsLive};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{AbortHandle, yield_now};

use crate::local::Local;

/// The handshakes in progress on one worker.
#[derive(Debug)]
pub(crate) struct Handshakes {
    /// By age, the oldest first.
    open: RefCell<BTreeMap<u64, Open>>,
    begun: Cell<u64>,
    turn: Semaphore,
}

#[derive(Debug)]
struct Open {
    task: AbortHandle,
    live: Arc<TlsLive>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            open: RefCell::default(),
            begun: Cell::new(0),
            turn: Semaphore::const_new(1),
        }
    }
}

impl Handshakes {
    /// Waits until this handshake may compute. One may in each round of the worker's loop: a
    /// signature takes as long as fifty requests, and what is established has its turn in between.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // An error means that it was closed, and nobody closes it.
        let turn = self.turn.acquire().await.ok();
        yield_now().await;
        turn
    }
}

/// One handshake's place.
#[derive(Debug)]
pub(super) struct Place {
    local: Rc<Local>,
    number: u64,
}

impl Place {
    /// Takes a place. If the worker's share of the limit is used up, the oldest handshake ends:
    /// a client that means it needs two round trips, one that does not stays for as long as it
    /// may. Refusing the new one instead would let the first few thousand of a flood shut
    /// everybody else out until their time is over.
    pub(super) fn take(local: &Rc<Local>, task: AbortHandle, live: &Arc<TlsLive>) -> Self {
        let handshakes = &local.handshakes;
        let number = handshakes.begun.get();
        handshakes.begun.set(number.wrapping_add(1));
        let workers = local.board().workers().len().max(1);
        let share = local.settings().tls_handshakes.div_ceil(workers).max(1);
        let mut open = handshakes.open.borrow_mut();
        while open.len() >= share {
            let Some((_, oldest)) = open.pop_first() else {
                break;
            };
            oldest.task.abort();
            oldest.live.count_failed(HandshakeFailure::Displaced);
            local.board().refused.count(Refusal::TlsHandshakes);
        }
        let live = Arc::clone(live);
        open.insert(number, Open { task, live });
        Self {
            local: Rc::clone(local),
            number,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.local.handshakes.open.borrow_mut().remove(&self.number);
    }
}
