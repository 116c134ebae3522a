//! How many handshakes are in progress on one worker, and which one is next.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use clb_snapshot::{HandshakeFailure, Refusal, TlsLive};
use tokio::task::{AbortHandle, yield_now};

use crate::local::Local;

/// The handshakes in progress on one worker.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    /// By age, the oldest first.
    open: RefCell<BTreeMap<u64, Open>>,
    begun: Cell<u64>,
    /// One of them computes.
    is_taken: Cell<bool>,
    /// Those that wait for that, the next one last.
    waiting: RefCell<BTreeMap<(bool, u64), Waker>>,
}

#[derive(Debug)]
struct Open {
    task: AbortHandle,
    live: Arc<TlsLive>,
}

impl Handshakes {
    /// Waits until this handshake may compute; the turn ends with what is given. One may in each
    /// round of the worker's loop: a signature takes as long as fifty requests, and what is
    /// established has its turn in between.
    ///
    /// `is_begun` ones come first: they are nearly done. Of the others the youngest, since the
    /// oldest is the next to be ended: in the order of their coming, under more than the worker can
    /// do, each would be ended soon after its signature was made, and nobody served.
    pub(super) async fn turn(&self, place: &Place, is_begun: bool) -> Turn<'_> {
        let waiting = Waiting {
            handshakes: self,
            key: (is_begun, place.number),
        };
        let turn = poll_fn(|cx| waiting.poll_turn(cx)).await;
        drop(waiting);
        yield_now().await;
        turn
    }

    fn wake_next(&self) {
        let next = self.waiting.borrow_mut().pop_last();
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

/// One handshake's turn.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Handshakes);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        self.0.wake_next();
    }
}

/// A handshake that waits for its turn.
struct Waiting<'a> {
    handshakes: &'a Handshakes,
    key: (bool, u64),
}

impl<'a> Waiting<'a> {
    fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<Turn<'a>> {
        if !self.handshakes.is_taken.replace(true) {
            return Poll::Ready(Turn(self.handshakes));
        }
        let waker = cx.waker().clone();
        self.handshakes.waiting.borrow_mut().insert(self.key, waker);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.handshakes.waiting.borrow_mut().remove(&self.key);
        if !self.handshakes.is_taken.get() {
            // It may have been woken for a turn that it does not take any more.
            self.handshakes.wake_next();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<'a>(waiting: &Waiting<'a>) -> Option<Turn<'a>> {
        match waiting.poll_turn(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    fn next(handshakes: &Handshakes) -> Option<(bool, u64)> {
        let waiting = handshakes.waiting.borrow();
        waiting.last_key_value().map(|(key, _)| *key)
    }

    #[test]
    fn one_that_has_begun_is_next_and_then_the_youngest() {
        let handshakes = Handshakes::default();
        let waiting = |is_begun, number| Waiting {
            handshakes: &handshakes,
            key: (is_begun, number),
        };
        let first = waiting(false, 7);
        let turn = poll(&first).unwrap();
        let others = [waiting(false, 8), waiting(true, 3), waiting(false, 9)];
        assert!(others.iter().all(|one| poll(one).is_none()));
        assert_eq!(next(&handshakes), Some((true, 3)));
        // Each turn that ends wakes one.
        drop(turn);
        assert_eq!(next(&handshakes), Some((false, 9)));
        let turn = poll(&others[1]).unwrap();
        drop(turn);
        assert_eq!(next(&handshakes), Some((false, 8)));
    }

    #[test]
    fn a_turn_that_nobody_takes_goes_to_the_next() {
        let handshakes = Handshakes::default();
        let waiting = |number| Waiting {
            handshakes: &handshakes,
            key: (false, number),
        };
        let holder = waiting(0);
        let turn = poll(&holder).unwrap();
        let (older, younger) = (waiting(1), waiting(2));
        assert!(poll(&older).is_none() && poll(&younger).is_none());
        drop(turn);
        // Woken, and ended before it ran.
        drop(younger);
        assert_eq!(next(&handshakes), None);
        assert!(poll(&older).is_some());
    }
}
