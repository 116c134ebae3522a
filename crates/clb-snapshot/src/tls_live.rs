//! What became of a listener's TLS handshakes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a handshake came to nothing; the `reason` of `clb_tls_handshake_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandshakeFailure {
    /// It was not finished within `timeouts.tls_handshake`.
    TimedOut,
    /// It was the oldest when a worker had its share of `limits.tls_handshakes`.
    Displaced,
    /// The client ended the connection.
    Cut,
    /// What came was HTTP without TLS.
    PlainHttp,
    /// What came was no TLS, or broke its rules.
    Malformed,
    /// Client and gateway have no version, cipher or protocol in common.
    Incompatible,
    /// The client did not show the certificate that it needs.
    NoClientCertificate,
    /// The client's certificate is not of the client CA, or is not valid now.
    BadClientCertificate,
    /// The client gave up: most often it does not trust the gateway's certificate.
    RefusedByClient,
}

impl HandshakeFailure {
    /// All reasons.
    pub const ALL: [Self; FAILURES] = [
        Self::TimedOut,
        Self::Displaced,
        Self::Cut,
        Self::PlainHttp,
        Self::Malformed,
        Self::Incompatible,
        Self::NoClientCertificate,
        Self::BadClientCertificate,
        Self::RefusedByClient,
    ];

    /// The reason as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::Displaced => "displaced",
            Self::Cut => "cut",
            Self::PlainHttp => "plain_http",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::NoClientCertificate => "no_client_certificate",
            Self::BadClientCertificate => "bad_client_certificate",
            Self::RefusedByClient => "refused_by_client",
        }
    }
}

const FAILURES: usize = 9;

/// Counters of a listener's handshakes, for all workers: beside a handshake an atomic costs
/// nothing.
#[derive(Debug, Default)]
pub struct TlsLive {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: [AtomicU64; FAILURES],
}

impl TlsLive {
    /// Counts a handshake that ended well.
    pub fn count_done(&self, is_resumed: bool) {
        let counter = match is_resumed {
            true => &self.resumed,
            false => &self.full,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a handshake that came to nothing.
    pub fn count_failed(&self, why: HandshakeFailure) {
        if let Some(counter) = self.failed.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Full handshakes that ended well.
    #[must_use]
    pub fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Handshakes that ended well and resumed a session by its ticket.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Handshakes that came to nothing for this reason.
    #[must_use]
    pub fn failed(&self, why: HandshakeFailure) -> u64 {
        self.failed
            .get(why as usize)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_own_count_and_name() {
        let live = TlsLive::default();
        for (count, why) in (1..).zip(HandshakeFailure::ALL) {
            (0..count).for_each(|_| live.count_failed(why));
        }
        let counts = HandshakeFailure::ALL.map(|why| live.failed(why));
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut names = HandshakeFailure::ALL.map(HandshakeFailure::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        live.count_done(true);
        assert_eq!((live.full(), live.resumed()), (0, 1));
    }
}
