//! When a probe starts.
//!
//! A probe starts at the times `t` with `t mod interval = phase`. The phase is a hash of what is
//! probed, so that many probes spread evenly over the interval, and a probe that is dropped and
//! taken up again, or gets another timeout, keeps its beat.

use crate::check::{MemberId, Millis, ProbeKey, ProbeKind};
use foldhash::quality::FixedState;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Duration;

/// Asked for out of turn (see [`Checker::probe_now`](crate::Checker::probe_now)), a probe starts
/// no sooner than this many milliseconds after its latest start, however often it is asked for.
pub const ASKED_SPACING: Millis = 1_000;

/// A probe whose result has not come this many intervals after its timeout counts as lost, so
/// that a driver that drops one does not end the checks of that target for good.
pub const LOST_AFTER_INTERVALS: u64 = 10;

/// Where in the interval a probe of this kind to this target starts: less than the interval,
/// in milliseconds.
pub fn phase(target: SocketAddr, kind: &ProbeKind, interval: Duration) -> Millis {
    FixedState::with_seed(0).hash_one((target, kind)) % whole_millis(interval)
}

/// The interval in whole milliseconds, at least one.
fn whole_millis(interval: Duration) -> Millis {
    Millis::try_from(interval.as_millis())
        .unwrap_or(Millis::MAX)
        .max(1)
}

/// A probe that was handed out and has not come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    /// The number of this start among all events of the checker.
    pub(crate) event: u64,
    pub(crate) started: Millis,
}

/// What a probe does when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Start.
    Start,
    /// Start; the predecessor was lost.
    StartAfterLost,
    /// Leave this start out: the predecessor still runs.
    Busy,
    /// Leave this start out: a whole interval late, see [`Probe::turn`].
    Late,
}

/// A probe's schedule and subscribers.
#[derive(Debug)]
pub(crate) struct Probe<P> {
    pub(crate) key: ProbeKey,
    pub(crate) subscribers: BTreeSet<MemberId<P>>,
    pub(crate) in_flight: Option<InFlight>,
    /// When its turn comes next.
    pub(crate) next: Millis,
    interval: Millis,
    phase: Millis,
    latest_start: Option<Millis>,
    /// `next` was asked for and is not on the beat.
    asked: bool,
    /// The latest turn was left out for lateness.
    was_late: bool,
}

impl<P> Probe<P> {
    pub(crate) fn new(now: Millis, key: ProbeKey) -> Self {
        let interval = whole_millis(key.interval);
        let phase = phase(key.target, &key.kind, key.interval);
        Self {
            key,
            subscribers: BTreeSet::new(),
            in_flight: None,
            next: beat_from(now, interval, phase),
            interval,
            phase,
            latest_start: None,
            asked: false,
            was_late: false,
        }
    }

    /// Decides a turn that has come (`next <= now`), moves `next` behind `now`, and says how
    /// many beats pass without a start.
    ///
    /// After a stall of the whole process (a suspended virtual machine, say) every probe is late
    /// at once. Starting them all at once would be a burst, so a probe that missed a whole
    /// interval waits for its next beat; but never twice in a row, or a driver that is always
    /// late would never probe.
    pub(crate) fn turn(&mut self, now: Millis) -> (Turn, u64) {
        let late = now.saturating_sub(self.next);
        let on_beat = now % self.interval == self.phase;
        let turn = match self.in_flight {
            Some(running) if !self.is_lost(running, now) => Turn::Busy,
            Some(_) => Turn::StartAfterLost,
            None if late >= self.interval && !on_beat && !self.asked && !self.was_late => {
                Turn::Late
            }
            None => Turn::Start,
        };
        self.was_late = turn == Turn::Late;
        let beats = late / self.interval;
        let missed = match turn {
            Turn::Start | Turn::StartAfterLost => {
                self.latest_start = Some(now);
                beats
            }
            Turn::Busy | Turn::Late => beats.saturating_add(u64::from(!self.asked)),
        };
        self.asked = false;
        self.next = beat_from(now.saturating_add(1), self.interval, self.phase);
        (turn, missed)
    }

    /// Moves `next` forward for a probe out of turn; says when it will be.
    pub(crate) fn ask(&mut self, now: Millis) -> Millis {
        let soonest = match self.latest_start {
            Some(start) => now.max(start.saturating_add(ASKED_SPACING)),
            None => now,
        };
        if soonest < self.next {
            self.next = soonest;
            self.asked = true;
        }
        self.next
    }

    fn is_lost(&self, running: InFlight, now: Millis) -> bool {
        let patience = whole_millis(self.key.timeout)
            .saturating_add(self.interval.saturating_mul(LOST_AFTER_INTERVALS));
        now.saturating_sub(running.started) > patience
    }
}

/// The first time from `now` on with `time mod interval = phase`.
fn beat_from(now: Millis, interval: Millis, phase: Millis) -> Millis {
    let into = now % interval;
    let wait = if into <= phase {
        phase - into
    } else {
        interval - into + phase
    };
    now.saturating_add(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every(interval: Millis) -> Probe<u8> {
        Probe::new(
            0,
            ProbeKey {
                target: ([192, 0, 2, 7], 80).into(),
                kind: ProbeKind::Tcp,
                interval: Duration::from_millis(interval),
                timeout: Duration::from_millis(interval / 2),
            },
        )
    }

    fn run_from(probe: &mut Probe<u8>, started: Millis) {
        probe.in_flight = Some(InFlight { event: 0, started });
    }

    #[test]
    fn a_probe_starts_on_its_beat_even_when_the_driver_is_a_little_late() {
        let mut probe = every(5_000);
        let first = probe.next;
        assert_eq!(probe.turn(first), (Turn::Start, 0));
        assert_eq!(probe.next, first + 5_000);
        assert_eq!(probe.turn(first + 9_999), (Turn::Start, 0));
        assert_eq!(probe.next, first + 10_000);
    }

    #[test]
    fn after_a_stall_it_waits_for_its_next_beat_once() {
        let mut probe = every(5_000);
        let first = probe.next;
        assert_eq!(probe.turn(first + 10_001), (Turn::Late, 3));
        assert_eq!(probe.next, first + 15_000);
        // Late again: a slow driver probes every other time rather than never.
        assert_eq!(probe.turn(first + 20_001), (Turn::Start, 1));
        assert_eq!(probe.turn(first + 30_001), (Turn::Late, 2));
        // A stall that ends on the beat costs nothing more.
        assert_eq!(probe.turn(first + 45_000), (Turn::Start, 2));
    }

    #[test]
    fn a_start_that_falls_into_a_running_probe_is_left_out() {
        let mut probe = every(5_000);
        let first = probe.next;
        assert_eq!(probe.turn(first), (Turn::Start, 0));
        run_from(&mut probe, first);
        assert_eq!(probe.turn(first + 5_000), (Turn::Busy, 1));
        assert_eq!(probe.next, first + 10_000);
    }

    #[test]
    fn a_probe_that_never_comes_back_is_given_up() {
        let mut probe = every(5_000);
        let first = probe.next;
        assert_eq!(probe.turn(first), (Turn::Start, 0));
        run_from(&mut probe, first);
        for beat in 1..=10 {
            assert_eq!(probe.turn(first + beat * 5_000), (Turn::Busy, 1));
        }
        assert_eq!(probe.turn(first + 55_000), (Turn::StartAfterLost, 0));
    }

    #[test]
    fn asked_for_it_starts_at_once_but_not_again_within_a_second() {
        let mut probe = every(60_000);
        let first = probe.next;
        assert_eq!(probe.turn(first), (Turn::Start, 0));
        assert_eq!(probe.ask(first + 10_000), first + 10_000);
        assert_eq!(probe.ask(first + 10_001), first + 10_000);
        assert_eq!(probe.turn(first + 10_000), (Turn::Start, 0));
        assert_eq!(probe.next, first + 60_000, "the beat goes on");
        assert_eq!(probe.ask(first + 10_100), first + 11_000);
        assert_eq!(probe.turn(first + 11_000), (Turn::Start, 0));
        assert_eq!(probe.ask(first + 59_999), first + 59_999);
        assert_eq!(probe.turn(first + 59_999), (Turn::Start, 0));
        assert_eq!(probe.ask(first + 59_999), first + 60_000, "comes anyway");
    }

    #[test]
    fn extreme_intervals_and_times_are_survived() {
        for interval in [0, 1, Millis::MAX] {
            let mut probe = every(interval);
            for now in [probe.next, Millis::MAX - 1, Millis::MAX] {
                probe.turn(now);
                assert!(probe.next > now || now == Millis::MAX);
            }
        }
        assert_eq!(whole_millis(Duration::MAX), Millis::MAX);
    }

    proptest! {
        #[test]
        fn the_next_beat_is_the_first_that_fits(
            now in 0u64..100_000,
            interval in 1u64..1_000,
            phase in 0u64..1_000,
        ) {
            let phase = phase % interval;
            let naive = (now..).find(|time| time % interval == phase);
            prop_assert_eq!(Some(beat_from(now, interval, phase)), naive);
        }
    }
}
