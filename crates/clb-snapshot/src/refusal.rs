//! Why clients are turned away, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(doc)]
use crate::{HttpSettings, PlaneSettings, UdpSettings};

/// Why a client was turned away; the `reason` of `clb_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// [`PlaneSettings::max_connections`] were open, or all of the
    /// [`max_sockets`](PlaneSettings::max_sockets).
    Connections,
    /// The process or the system has no descriptor left.
    Descriptors,
    /// The kernel has no memory for a socket.
    Memory,
    /// The pool has nobody to pick.
    NoBackend,
    /// Every backend that was tried failed.
    BackendsFailed,
    /// [`HttpSettings::tls_handshakes`] were in progress; the oldest was refused.
    TlsHandshakes,
    /// [`UdpSettings::max_sessions`] were there.
    UdpSessions,
    /// No port is left towards a backend, at none of
    /// [`source_addresses`](PlaneSettings::source_addresses).
    Ports,
    /// The process has [`PlaneSettings::max_memory`].
    MemoryLimit,
    /// The client has [`PlaneSettings::max_per_source`] connections and sessions.
    Source,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::Connections,
        Self::Descriptors,
        Self::Memory,
        Self::NoBackend,
        Self::BackendsFailed,
        Self::TlsHandshakes,
        Self::UdpSessions,
        Self::Ports,
        Self::MemoryLimit,
        Self::Source,
    ];

    /// The reason as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::NoBackend => "no_backend",
            Self::BackendsFailed => "backends_failed",
            Self::TlsHandshakes => "tls_handshakes",
            Self::UdpSessions => "udp_sessions",
            Self::Ports => "ports",
            Self::MemoryLimit => "memory_limit",
            Self::Source => "source",
        }
    }
}

/// Counters of [`Refusal`]s.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts one.
    pub fn count(&self, reason: Refusal) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self, reason: Refusal) -> u64 {
        let counter = self.0.get(reason as usize);
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count_and_name() {
        let refused = Refusals::default();
        for (times, reason) in (1..).zip(Refusal::ALL) {
            (0..times).for_each(|_| refused.count(reason));
        }
        let totals = Refusal::ALL.map(|reason| refused.total(reason));
        assert_eq!(totals, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        let mut names = Refusal::ALL.map(Refusal::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
