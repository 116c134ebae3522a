//! The health state machine, its schedule, and the probes.
//!
//! Two things are kept apart. A *member* is one backend in one pool; it has a [`State`], decided
//! by its own thresholds. A *probe* is the I/O; it belongs to a target and its parameters and
//! serves every member that asks for the same, so that 10,000 rules on one backend cost one probe
//! an interval (semantics.md, section 4).
//!
//! [`Checker`] holds both and is pure: it never reads a clock and never opens a socket. Whoever
//! drives it sleeps until [`Checker::next_due`], runs what [`Checker::due`] hands out with
//! [`probe`] (usually through a [`Limit`]), and brings every result back to
//! [`Checker::complete`], which answers with the [`Transition`]s to publish:
//!
//! ```
//! use clb_health::{Check, Checker, MemberId, ProbeKind, State, Thresholds};
//! use std::time::Duration;
//!
//! let mut checker = Checker::new();
//! let web = MemberId { pool: "lbl-web", binding: 1 };
//! checker.set(0, web, Check {
//!     target: ([192, 0, 2, 1], 80).into(),
//!     kind: ProbeKind::Tcp,
//!     interval: Duration::from_secs(5),
//!     timeout: Duration::from_secs(2),
//!     thresholds: Thresholds { healthy: 2, unhealthy: 3 },
//! });
//! // The first of its pool serves at once, as a founding member.
//! assert!(checker.status(&web).is_some_and(|status| status.state.may_serve()));
//!
//! let mut transitions = Vec::new();
//! for _ in 0..2 {
//!     let now = checker.next_due().unwrap_or_default();
//!     for run in checker.due(now) {
//!         // Here a driver would await `clb_health::probe(&run)`.
//!         transitions.extend(checker.complete(now + 3, run.ticket, Ok(())));
//!     }
//! }
//! assert_eq!(transitions.len(), 1);
//! assert_eq!(transitions[0].to, State::Healthy);
//! assert_eq!(transitions[0].reason.to_string(), "2 successes in a row");
//! ```
//!
//! Which members of a pool may be picked (weights, "all dead means all alive") is not decided
//! here but by whoever compiles the pool, from [`State::may_serve`].

mod check;
mod checker;
mod counters;
mod http;
mod machine;
mod outcome;
mod prober;
mod schedule;

pub use check::{Check, MemberId, Millis, ProbeKind, Thresholds};
pub use checker::{Checker, ProbeRun, Ticket, Transition};
pub use counters::Counters;
pub use http::{ANSWER_OCTETS, HttpMethod, HttpProbe};
pub use machine::{Change, HISTORY, LastResult, Reason, Run, State, Status};
pub use outcome::{Failure, LocalError, ProbeError, SHOWN_OCTETS};
pub use prober::{Limit, probe};
pub use schedule::{ASKED_SPACING, LOST_AFTER_INTERVALS, phase};
