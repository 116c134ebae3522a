//! What is checked: members, targets and parameters.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::http::HttpProbe;

/// Milliseconds of a monotonic clock whose zero the driver chooses.
pub type Millis = u64;

/// One backend in one pool: what a health state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId<P> {
    /// The pool.
    pub pool: P,
    /// The binding of the backend to the pool, never given out twice.
    pub binding: u64,
}

/// How a target is probed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeKind {
    /// Success when a TCP connection is established within the timeout.
    Tcp,
    /// Success unless the network says within the timeout that this datagram did not arrive:
    /// silence is what most services answer to what they do not know.
    Udp(Arc<[u8]>),
    /// Success when a request is answered within the timeout with a status that is good.
    Http(Arc<HttpProbe>),
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Udp(_) => f.write_str("udp"),
            Self::Http(probe) => write!(f, "http {}", probe.path()),
        }
    }
}

/// How many equal results in a row decide (the API's `healthNum` and `unhealthNum`, 2 to 10
/// there). 0 counts as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes in a row that make a member healthy.
    pub healthy: u8,
    /// Failures in a row that make a member unhealthy.
    pub unhealthy: u8,
}

/// What is checked for one member, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where the probe goes.
    pub target: SocketAddr,
    /// What the probe does there.
    pub kind: ProbeKind,
    /// From start of probe to start of probe, whatever a probe takes (the API's `intervalTime`).
    /// Counted in whole milliseconds, at least one.
    pub interval: Duration,
    /// When a probe without an answer has failed (the API's `timeOut`). Meant to be less than
    /// the interval; starts that fall into a running probe are left out.
    pub timeout: Duration,
    /// What flips the state.
    pub thresholds: Thresholds,
}

impl Check {
    /// Whether a state saved before a restart still holds when its last result is `age` old: it
    /// does while it is younger than three intervals (semantics.md, section 4). Older states
    /// count as detecting: hand the member to [`Checker::set`](crate::Checker::set) instead of
    /// [`Checker::restore`](crate::Checker::restore).
    pub fn keeps_saved_state(&self, age: Duration) -> bool {
        age < self.interval.saturating_mul(3)
    }

    pub(crate) fn probe_key(&self) -> ProbeKey {
        ProbeKey {
            target: self.target,
            kind: self.kind.clone(),
            interval: self.interval,
            timeout: self.timeout,
        }
    }

    /// Whether a result for `other` says something about this check's endpoint too.
    pub(crate) fn same_endpoint(&self, other: &Self) -> bool {
        self.target == other.target && self.kind == other.kind
    }
}

/// What probes are told apart by: members with equal keys share one probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProbeKey {
    pub(crate) target: SocketAddr,
    pub(crate) kind: ProbeKind,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}
