//! What a probe can end with.

use std::fmt;
use std::io;

use crate::http::ANSWER_OCTETS;

/// Why a probe failed, when the backend or the way to it is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The backend refused the connection: nothing listens there.
    Refused,
    /// No answer within the timeout.
    TimedOut,
    /// No way to the backend: a router or our own routing table said so.
    Unreachable {
        /// The whole network is unreachable, not only the host.
        network: bool,
    },
    /// The backend reset the connection.
    Reset,
    /// Any other error of the connection.
    Io {
        /// The kind of error.
        kind: io::ErrorKind,
        /// The number of the error, when the operating system gave one.
        errno: Option<i32>,
    },
    /// The answer has a status that the check does not want.
    Status(u16),
    /// What came is no answer of HTTP/1.
    NotHttp {
        /// What it begins with, escaped; [`SHOWN_OCTETS`] at most.
        begins: String,
    },
    /// No status line within [`ANSWER_OCTETS`](crate::ANSWER_OCTETS).
    TooLong,
    /// The backend closed the connection before its status line was complete.
    Closed,
}

/// Octets of an answer that is not HTTP that its [`Failure::NotHttp`] shows.
pub const SHOWN_OCTETS: usize = 24;

impl Failure {
    pub(crate) fn not_http(octets: &[u8]) -> Self {
        let shown = octets.get(..SHOWN_OCTETS).unwrap_or(octets);
        Self::NotHttp {
            begins: shown.trim_ascii_end().escape_ascii().to_string(),
        }
    }

    /// The cause as a short constant name, for the label of a metric.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable { .. } => "unreachable",
            Self::Reset => "reset",
            Self::Io { .. } => "io",
            Self::Status(_) => "status",
            Self::NotHttp { .. } | Self::TooLong => "not_http",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable { network: true } => f.write_str("network unreachable"),
            Self::Unreachable { network: false } => f.write_str("host unreachable"),
            Self::Reset => f.write_str("reset"),
            Self::Io { kind, errno } => write_io(f, *kind, *errno),
            Self::Status(status) => write!(f, "status {status}"),
            Self::NotHttp { begins } => {
                write!(f, "not HTTP: the answer begins with \"{begins}\"")
            }
            Self::TooLong => write!(f, "no status line within {ANSWER_OCTETS} octets"),
            Self::Closed => f.write_str("closed before a status line"),
        }
    }
}

/// An error of this machine that kept a probe from being run: too many open files, no free
/// source port, a local packet filter. It says nothing about the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalError {
    /// What was being done, e.g. "opening a socket".
    pub doing: &'static str,
    /// The kind of error.
    pub kind: io::ErrorKind,
    /// The number of the error, when the operating system gave one.
    pub errno: Option<i32>,
}

impl LocalError {
    pub(crate) fn new(doing: &'static str, error: &io::Error) -> Self {
        Self {
            doing,
            kind: error.kind(),
            errno: error.raw_os_error(),
        }
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.doing)?;
        write_io(f, self.kind, self.errno)
    }
}

impl std::error::Error for LocalError {}

fn write_io(f: &mut fmt::Formatter<'_>, kind: io::ErrorKind, errno: Option<i32>) -> fmt::Result {
    match errno {
        Some(errno) => write!(f, "{}", io::Error::from_raw_os_error(errno)),
        None => write!(f, "{kind}"),
    }
}

/// Why a probe was no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// The probe was run and failed: a result, which counts towards the threshold.
    Failed(Failure),
    /// The probe could not be run: no result. It is counted and shown, and changes no state.
    Local(LocalError),
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<LocalError> for ProbeError {
    fn from(error: LocalError) -> Self {
        Self::Local(error)
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Local(error) => write!(f, "not probed ({error})"),
        }
    }
}

impl std::error::Error for ProbeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_read_as_an_operator_would_say_them() {
        let said = |failure: Failure| failure.to_string();
        assert_eq!(said(Failure::Refused), "refused");
        assert_eq!(said(Failure::TimedOut), "timed out");
        assert_eq!(said(Failure::Reset), "reset");
        let host = Failure::Unreachable { network: false };
        assert_eq!(said(host), "host unreachable");
        let network = Failure::Unreachable { network: true };
        assert_eq!(said(network), "network unreachable");
        assert_eq!(said(Failure::Status(503)), "status 503");
        assert_eq!(said(Failure::Closed), "closed before a status line");
    }

    #[test]
    fn a_local_error_says_what_was_being_done_and_keeps_the_systems_words() {
        let error = io::Error::from_raw_os_error(24);
        let local = ProbeError::Local(LocalError::new("opening a socket", &error));
        assert_eq!(
            local.to_string(),
            "not probed (opening a socket: Too many open files (os error 24))"
        );
    }
}
