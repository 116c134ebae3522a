//! One member's state, decided by runs of equal results.

use crate::check::{Millis, Thresholds};
use crate::outcome::{Failure, LocalError};
use std::collections::VecDeque;
use std::fmt;

/// How many changes are kept for each member (semantics.md, section 4).
pub const HISTORY: usize = 100;

/// What is thought of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not known yet.
    Detecting {
        /// The member was added while its pool had no healthy one, and no probe has failed
        /// since: it serves, so that a fresh load balancer does at once.
        founding: bool,
    },
    /// The last run of successes reached the threshold.
    Healthy,
    /// The last run of failures reached the threshold.
    Unhealthy,
}

impl State {
    /// Whether health lets the member be picked: it is healthy or a founding member. Weights and
    /// "all dead means all alive" are for the pool to decide.
    pub fn may_serve(self) -> bool {
        matches!(self, Self::Healthy | Self::Detecting { founding: true })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detecting { founding: false } => "detecting",
            Self::Detecting { founding: true } => "detecting (founding)",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// How many results in a row were equal. At most one of the two is above 0; both are when no
/// result has come since the member was added or its endpoint changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Successes in a row up to now.
    pub successes: u32,
    /// Failures in a row up to now.
    pub failures: u32,
}

/// The latest result that counted for a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// When it came.
    pub at: Millis,
    /// How long after the probe was handed out.
    pub took: Millis,
    /// What it was.
    pub result: Result<(), Failure>,
}

/// What is known about a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// When that state began, or when the member was added or restored.
    pub since: Millis,
    /// The run of equal results up to now.
    pub run: Run,
    /// The latest result. It outlives a change of the check, as the state does; a saved state's
    /// age is counted from it.
    pub last: Option<LastResult>,
    /// The latest error of this machine that kept a probe from being run, when no result has
    /// come since.
    pub local_error: Option<(Millis, LocalError)>,
    /// All successes since the member was added.
    pub successes: u64,
    /// All failures since the member was added.
    pub failures: u64,
}

/// Why a state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A run of successes.
    Succeeded {
        /// How many in a row.
        in_a_row: u32,
    },
    /// A run of failures, or a founding member's first.
    Failed {
        /// How many in a row.
        in_a_row: u32,
        /// The cause of the latest.
        failure: Failure,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded { in_a_row: 1 } => f.write_str("1 success"),
            Self::Succeeded { in_a_row } => write!(f, "{in_a_row} successes in a row"),
            Self::Failed {
                in_a_row: 1,
                failure,
            } => write!(f, "{failure}"),
            Self::Failed { in_a_row, failure } => {
                write!(f, "{failure} ({in_a_row} failures in a row)")
            }
        }
    }
}

/// A change of state, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Millis,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// One member's state and history.
#[derive(Debug)]
pub(crate) struct Machine {
    status: Status,
    /// Oldest first. Takes no memory until the first change.
    history: VecDeque<Change>,
}

impl Machine {
    pub(crate) fn new(now: Millis, state: State) -> Self {
        Self {
            status: Status {
                state,
                since: now,
                run: Run::default(),
                last: None,
                local_error: None,
                successes: 0,
                failures: 0,
            },
            history: VecDeque::new(),
        }
    }

    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    pub(crate) fn history(&self) -> impl DoubleEndedIterator<Item = &Change> + ExactSizeIterator {
        self.history.iter()
    }

    /// Forgets the run of equal results and keeps the state.
    pub(crate) fn restart_run(&mut self) {
        self.status.run = Run::default();
    }

    pub(crate) fn local_error(&mut self, now: Millis, error: LocalError) {
        self.status.local_error = Some((now, error));
    }

    /// Takes a result that came at `now`, `took` after its probe was handed out.
    pub(crate) fn result(
        &mut self,
        now: Millis,
        took: Millis,
        result: Result<(), Failure>,
        thresholds: Thresholds,
    ) -> Option<Change> {
        let status = &mut self.status;
        let run = &mut status.run;
        match result {
            Ok(()) => {
                status.successes += 1;
                run.successes = run.successes.saturating_add(1);
                run.failures = 0;
            }
            Err(_) => {
                status.failures += 1;
                run.failures = run.failures.saturating_add(1);
                run.successes = 0;
            }
        }
        let from = status.state;
        let to = next_state(from, *run, thresholds);
        let reason = match &result {
            Ok(()) => Reason::Succeeded {
                in_a_row: run.successes,
            },
            Err(failure) => Reason::Failed {
                in_a_row: run.failures,
                failure: failure.clone(),
            },
        };
        status.last = Some(LastResult {
            at: now,
            took,
            result,
        });
        status.local_error = None;
        if from == to {
            return None;
        }
        status.state = to;
        status.since = now;
        let change = Change {
            at: now,
            from,
            to,
            reason,
        };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(change.clone());
        Some(change)
    }
}

/// The state after a result, `run` including it.
fn next_state(state: State, run: Run, thresholds: Thresholds) -> State {
    if run.successes >= u32::from(thresholds.healthy.max(1)) {
        State::Healthy
    } else if run.failures >= u32::from(thresholds.unhealthy.max(1)) {
        State::Unhealthy
    } else if run.failures > 0 && state == (State::Detecting { founding: true }) {
        State::Detecting { founding: false }
    } else {
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO_THREE: Thresholds = Thresholds {
        healthy: 2,
        unhealthy: 3,
    };

    /// Feeds results ('+' success, '-' failure) and notes each change as "from>to".
    fn story(machine: &mut Machine, results: &str) -> Vec<String> {
        results
            .chars()
            .filter_map(|result| {
                let result = if result == '+' {
                    Ok(())
                } else {
                    Err(Failure::Refused)
                };
                machine.result(0, 0, result, TWO_THREE)
            })
            .map(|change| format!("{} > {}: {}", change.from, change.to, change.reason))
            .collect()
    }

    fn detecting(founding: bool) -> Machine {
        Machine::new(0, State::Detecting { founding })
    }

    #[test]
    fn a_new_member_becomes_healthy_after_successes_in_a_row_only() {
        let mut machine = detecting(false);
        assert!(story(&mut machine, "+-+-+--+").is_empty());
        assert_eq!(
            story(&mut machine, "+"),
            ["detecting > healthy: 2 successes in a row"]
        );
    }

    #[test]
    fn a_contrary_result_resets_the_run() {
        let mut machine = Machine::new(0, State::Healthy);
        assert!(story(&mut machine, "--+--+--").is_empty());
        assert_eq!(
            story(&mut machine, "-"),
            ["healthy > unhealthy: refused (3 failures in a row)"]
        );
        assert!(story(&mut machine, "+-+-").is_empty());
        assert_eq!(
            story(&mut machine, "++"),
            ["unhealthy > healthy: 2 successes in a row"]
        );
    }

    #[test]
    fn a_founding_member_serves_until_its_first_failure() {
        let mut machine = detecting(true);
        assert!(machine.status().state.may_serve());
        assert!(story(&mut machine, "+").is_empty());
        assert!(machine.status().state.may_serve());
        assert_eq!(
            story(&mut machine, "-+-+---"),
            [
                "detecting (founding) > detecting: refused",
                "detecting > unhealthy: refused (3 failures in a row)"
            ]
        );
        assert!(!machine.status().state.may_serve());
    }

    #[test]
    fn a_founding_member_that_one_failure_makes_unhealthy_changes_once() {
        let mut machine = detecting(true);
        let one = Thresholds {
            healthy: 1,
            unhealthy: 1,
        };
        let change = machine.result(7, 0, Err(Failure::TimedOut), one);
        let change = change.expect("one failure is enough");
        assert_eq!(change.to, State::Unhealthy);
        assert_eq!(change.reason.to_string(), "timed out");
    }

    #[test]
    fn a_lowered_threshold_is_met_at_the_next_result() {
        let mut machine = Machine::new(0, State::Healthy);
        let five = Thresholds {
            healthy: 2,
            unhealthy: 5,
        };
        for _ in 0..4 {
            assert_eq!(
                machine.result(0, 0, Err(Failure::Refused), five),
                None,
                "four of five"
            );
        }
        let change = machine.result(0, 0, Err(Failure::Refused), TWO_THREE);
        assert_eq!(change.map(|change| change.to), Some(State::Unhealthy));
    }

    #[test]
    fn a_threshold_of_zero_counts_as_one() {
        let mut machine = detecting(false);
        let zero = Thresholds {
            healthy: 0,
            unhealthy: 0,
        };
        let change = machine.result(0, 0, Ok(()), zero);
        assert_eq!(change.map(|change| change.to), Some(State::Healthy));
        let change = machine.result(0, 0, Err(Failure::Reset), zero);
        assert_eq!(change.map(|change| change.to), Some(State::Unhealthy));
    }

    #[test]
    fn an_error_of_our_own_is_shown_until_the_next_result_and_changes_nothing_else() {
        let mut machine = Machine::new(0, State::Healthy);
        story(&mut machine, "--");
        let before = machine.status().clone();
        let error = LocalError {
            doing: "opening a socket",
            kind: std::io::ErrorKind::Other,
            errno: Some(24),
        };
        machine.local_error(9, error.clone());
        let shown = machine.status().clone();
        assert_eq!(shown.local_error, Some((9, error)));
        assert_eq!(
            Status {
                local_error: None,
                ..shown
            },
            before
        );
        story(&mut machine, "+");
        assert_eq!(machine.status().local_error, None);
    }

    #[test]
    fn the_last_hundred_changes_are_kept() {
        let mut machine = detecting(false);
        for at in 0..250 {
            let result = if at % 2 == 0 {
                Ok(())
            } else {
                Err(Failure::Refused)
            };
            let one = Thresholds {
                healthy: 1,
                unhealthy: 1,
            };
            assert!(machine.result(at, 0, result, one).is_some());
        }
        let kept: Vec<Millis> = machine.history().map(|change| change.at).collect();
        assert_eq!(kept, (150..250).collect::<Vec<Millis>>());
    }

    proptest! {
        #[test]
        fn the_state_follows_from_the_latest_run_that_was_long_enough(
            results in proptest::collection::vec(any::<bool>(), 0..60),
            healthy in 1u8..5,
            unhealthy in 1u8..5,
            founding in any::<bool>(),
        ) {
            let mut machine = detecting(founding);
            let thresholds = Thresholds { healthy, unhealthy };
            for &ok in &results {
                let result = if ok { Ok(()) } else { Err(Failure::Refused) };
                machine.result(0, 0, result, thresholds);
            }
            // The last window of equal results that met its threshold decides.
            let successes = vec![true; usize::from(healthy)];
            let failures = vec![false; usize::from(unhealthy)];
            let decided = (0..=results.len()).rev().find_map(|end| {
                if results[..end].ends_with(&successes) {
                    Some(State::Healthy)
                } else if results[..end].ends_with(&failures) {
                    Some(State::Unhealthy)
                } else {
                    None
                }
            });
            let undecided = State::Detecting {
                founding: founding && results.iter().all(|&ok| ok),
            };
            prop_assert_eq!(machine.status().state, decided.unwrap_or(undecided));
        }
    }
}
