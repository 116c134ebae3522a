//! What traffic itself says of a backend's health (semantics.md 4, "Passive").

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clb_model::BindingId;
use tokio::sync::Notify;

use crate::pool::PoolKey;

/// Failures in a row that take a member out.
pub const PASSIVE_FAILURES: u8 = 3;
/// How long a member stays out, in milliseconds.
pub const PASSIVE_OUT_MS: u64 = 10_000;

const STREAK_BITS: u32 = 8;

/// A member's failures in a row, and until when they keep it out: one number, so that a failure
/// and a success that meet leave the state of one of their orders, never a mixture.
///
/// After its time a member is picked again. Its failures are not forgotten by that, so one more
/// takes it out anew; only a success ends the row.
#[derive(Debug, Default)]
pub struct Passive(AtomicU64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Stays at its greatest value.
    streak: u8,
    until_ms: u64,
}

impl State {
    fn unpack(word: u64) -> Self {
        Self {
            streak: u8::try_from(word & u64::from(u8::MAX)).unwrap_or(u8::MAX),
            until_ms: word >> STREAK_BITS,
        }
    }

    fn pack(self) -> u64 {
        self.until_ms << STREAK_BITS | u64::from(self.streak)
    }

    fn is_out(self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }
}

impl Passive {
    /// The member answered, or a probe of it succeeded: the row of failures has ended, and it is
    /// in if it was out. One read when there is nothing to end.
    pub fn answered(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// Whether failures keep the member out. `now_ms` is of
    /// [`Board::millis_at`](crate::Board::millis_at).
    #[must_use]
    pub fn is_out(&self, now_ms: u64) -> bool {
        State::unpack(self.0.load(Ordering::Relaxed)).is_out(now_ms)
    }

    /// Failures in a row up to now; 255 for more.
    #[must_use]
    pub fn streak(&self) -> u8 {
        State::unpack(self.0.load(Ordering::Relaxed)).streak
    }

    /// Counts a failure. True if the member is to be taken out by
    /// [`take_out`](Self::take_out): the row is long enough, and it is not out already.
    pub(crate) fn failed(&self, now_ms: u64) -> bool {
        let counted = |word| {
            let state = State::unpack(word);
            let streak = state.streak.saturating_add(1);
            State { streak, ..state }
        };
        // Never refuses, so the result is always there.
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some(counted(word).pack())
            });
        before.is_ok_and(|word| {
            let state = counted(word);
            state.streak >= PASSIVE_FAILURES && !state.is_out(now_ms)
        })
    }

    /// Takes the member out until `until_ms`, unless a success came in between or another worker
    /// was faster; true if it did.
    pub(crate) fn take_out(&self, now_ms: u64, until_ms: u64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let state = State::unpack(word);
                let is_due = state.streak >= PASSIVE_FAILURES && !state.is_out(now_ms);
                is_due.then(|| State { until_ms, ..state }.pack())
            })
            .is_ok()
    }
}

/// Members that traffic has taken out, for the one who drives the health checks and probes them at
/// once. Holds each member once, so it is as bounded as the members are.
#[derive(Debug, Default)]
pub struct Suspects {
    waiting: Mutex<BTreeSet<(PoolKey, BindingId)>>,
    wake: Notify,
}

impl Suspects {
    pub(crate) fn add(&self, member: (PoolKey, BindingId)) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(member);
        self.wake.notify_one();
    }

    /// Waits until there is one, and takes all that there are. For one waiter; cancelling the wait
    /// is safe.
    pub async fn take(&self) -> BTreeSet<(PoolKey, BindingId)> {
        loop {
            let taken =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_model::ListenerId;
    use proptest::prelude::*;

    fn fail(passive: &Passive, now_ms: u64) -> bool {
        passive.failed(now_ms) && passive.take_out(now_ms, now_ms + PASSIVE_OUT_MS)
    }

    #[test]
    fn three_in_a_row_take_it_out_for_ten_seconds() {
        let passive = Passive::default();
        assert_eq!(
            [0, 5, 9].map(|now| fail(&passive, now)),
            [false, false, true]
        );
        assert!(passive.is_out(9) && passive.is_out(10_008) && !passive.is_out(10_009));
        // What fails while it is out lengthens nothing.
        assert!(!fail(&passive, 5_000) && !passive.is_out(10_009));
        // One more after its time takes it out again.
        assert!(fail(&passive, 10_009) && passive.is_out(20_008));
    }

    #[test]
    fn a_success_ends_the_row_and_brings_it_back() {
        let passive = Passive::default();
        for failures in 0..PASSIVE_FAILURES {
            (0..failures).for_each(|_| assert!(!fail(&passive, 0)));
            assert_eq!(passive.streak(), failures);
            passive.answered();
            assert_eq!(passive.streak(), 0);
        }
        assert_eq!([0; 3].map(|now| fail(&passive, now)), [false, false, true]);
        assert!(passive.is_out(1));
        passive.answered();
        assert!(!passive.is_out(1) && !fail(&passive, 1) && !fail(&passive, 1));
        assert!(fail(&passive, 1));
    }

    #[test]
    fn a_success_between_the_third_failure_and_its_effect_counts() {
        let passive = Passive::default();
        assert!(!passive.failed(0) && !passive.failed(0));
        assert!(passive.failed(0));
        passive.answered();
        assert!(!passive.take_out(0, 10_000) && !passive.is_out(0));
    }

    #[test]
    fn the_streak_stays_at_its_end() {
        let passive = Passive::default();
        let due = (0..1_000).filter(|_| passive.failed(0)).count();
        assert_eq!(due, 998);
        assert_eq!(passive.streak(), u8::MAX);
        assert!(!passive.is_out(0));
    }

    #[tokio::test]
    async fn a_suspect_is_handed_over_once() {
        let suspects = Suspects::default();
        let member = (PoolKey::Listener(ListenerId::from_number(1)), BindingId(7));
        suspects.add(member);
        suspects.add(member);
        assert_eq!(suspects.take().await, BTreeSet::from([member]));
        let (taken, ()) = tokio::join!(suspects.take(), async { suspects.add(member) });
        assert_eq!(taken, BTreeSet::from([member]));
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(streak: u8, until_ms in 0u64..1 << 56) {
            let state = State { streak, until_ms };
            prop_assert_eq!(State::unpack(state.pack()), state);
        }

        #[test]
        fn it_is_out_exactly_when_the_last_failures_say_so(
            events in prop::collection::vec((any::<bool>(), 0u64..6_000), 1..60),
        ) {
            let passive = Passive::default();
            let (mut now, mut row, mut until) = (0, 0u32, 0);
            for (is_success, after) in events {
                now += after;
                if is_success {
                    passive.answered();
                    (row, until) = (0, 0);
                } else {
                    fail(&passive, now);
                    row += 1;
                    if row >= 3 && now >= until {
                        until = now + PASSIVE_OUT_MS;
                    }
                }
                prop_assert_eq!(passive.is_out(now), now < until);
            }
        }
    }
}
