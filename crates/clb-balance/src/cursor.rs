//! The shared position of a pool's round robin.

use std::sync::atomic::{AtomicU64, Ordering};

/// A pool's place in its [`Sequence`](crate::Sequence), shared by all workers.
///
/// One `fetch_add` a pick hands out tickets without gaps, so that any window of one cycle of
/// tickets holds each member exactly as often as its share says, whichever workers drew them.
/// It outlives the sequences it points into: a new sequence goes on at the ticket's place modulo
/// its own length.
///
/// It is not padded to a cache line of its own: it belongs beside what every pick of its pool
/// changes anyway.
#[derive(Debug, Default)]
pub struct Cursor(AtomicU64);

impl Cursor {
    /// A cursor at ticket 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws the next ticket.
    pub fn draw(&self) -> u64 {
        // Tickets order nothing but themselves.
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The ticket that [`draw`](Self::draw) would give now.
    #[must_use]
    pub fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves on from ticket `from` to `to`, unless another worker has moved it meanwhile; true if
    /// it moved.
    pub fn advance(&self, from: u64, to: u64) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}
