//! What the connections of one listener share on one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;

use crate::local::Local;

/// What the connections of one listener share on one worker.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) local: Rc<Local>,
    is_draining: Cell<bool>,
    seats: RefCell<Slab<Option<Waker>>>,
}

impl Service {
    pub(crate) fn new(local: Rc<Local>) -> Rc<Self> {
        Rc::new(Self {
            local,
            is_draining: Cell::new(false),
            seats: RefCell::default(),
        })
    }

    /// The listener is gone: connections that wait for a request end now, the others after their
    /// answer (semantics.md 7).
    pub(crate) fn drain(&self) {
        self.is_draining.set(true);
        let wakers: Vec<Waker> = self
            .seats
            .borrow_mut()
            .iter_mut()
            .filter_map(|(_, waker)| waker.take())
            .collect();
        // Outside the borrow: waking may run what takes or leaves a seat.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether [`drain`](Self::drain) was called.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// A place from which a connection is woken when the listener goes.
    pub(crate) fn seat(self: &Rc<Self>) -> Seat {
        Seat {
            key: self.seats.borrow_mut().insert(None),
            service: Rc::clone(self),
        }
    }
}

/// A connection's place at its service.
#[derive(Debug)]
pub(crate) struct Seat {
    service: Rc<Service>,
    key: usize,
}

impl Seat {
    pub(crate) fn service(&self) -> &Rc<Service> {
        &self.service
    }

    /// Sees to it that the task is woken by [`Service::drain`]. Costs next to nothing when the
    /// task was noted before.
    pub(crate) fn note(&self, cx: &Context<'_>) {
        if let Some(waker) = self.service.seats.borrow_mut().get_mut(self.key) {
            match waker {
                Some(noted) if noted.will_wake(cx.waker()) => {}
                _ => *waker = Some(cx.waker().clone()),
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.service.seats.borrow_mut().try_remove(self.key);
    }
}
