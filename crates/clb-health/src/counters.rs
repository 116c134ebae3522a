//! Counts for metrics.

use std::time::Duration;

use crate::outcome::{Failure, ProbeError};

/// How many probes have been run, and with what result. A probe counts once, however many
/// members it serves. All counts only ever grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Probes handed out to be run.
    pub started: u64,
    /// How long those took that have ended, together.
    pub took: Duration,
    /// Results: success.
    pub succeeded: u64,
    /// Results: the connection was refused.
    pub refused: u64,
    /// Results: no answer within the timeout.
    pub timed_out: u64,
    /// Results: host or network unreachable.
    pub unreachable: u64,
    /// Results: the connection was reset.
    pub reset: u64,
    /// Results: any other error of the connection.
    pub io: u64,
    /// Results: a status that the check does not want.
    pub status: u64,
    /// Results: an answer that is not HTTP, or has no end.
    pub not_http: u64,
    /// Results: closed before a status line.
    pub closed: u64,
    /// Probes that could not be run because of an error of this machine.
    pub local: u64,
    /// Results that came when nobody wanted them any more.
    pub stale: u64,
    /// Scheduled starts left out because the probe's predecessor was still running or the
    /// driver was late by a whole interval.
    pub missed: u64,
    /// Probes that were handed out and whose result never came.
    pub lost: u64,
    /// Changes of a member's state.
    pub transitions: u64,
}

impl Counters {
    /// Failed probes by cause, named as [`Failure::cause`] names them.
    pub fn failed(&self) -> [(&'static str, u64); 8] {
        [
            ("refused", self.refused),
            ("timed_out", self.timed_out),
            ("unreachable", self.unreachable),
            ("reset", self.reset),
            ("io", self.io),
            ("status", self.status),
            ("not_http", self.not_http),
            ("closed", self.closed),
        ]
    }

    pub(crate) fn record(&mut self, result: &Result<(), ProbeError>) {
        let count = match result {
            Ok(()) => &mut self.succeeded,
            Err(ProbeError::Local(_)) => &mut self.local,
            Err(ProbeError::Failed(failure)) => match failure {
                Failure::Refused => &mut self.refused,
                Failure::TimedOut => &mut self.timed_out,
                Failure::Unreachable { .. } => &mut self.unreachable,
                Failure::Reset => &mut self.reset,
                Failure::Io { .. } => &mut self.io,
                Failure::Status(_) => &mut self.status,
                Failure::NotHttp { .. } | Failure::TooLong => &mut self.not_http,
                Failure::Closed => &mut self.closed,
            },
        };
        *count += 1;
    }
}
