//! What the process may use up.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files (RLIMIT_NOFILE, getrlimit(2)) to the hard limit and gives
/// the soft limit that holds now; `u64::MAX` when there is none.
///
/// # Errors
/// What setrlimit(2) reports.
pub fn raise_nofile_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        )?;
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// What the machine ran out of when a socket could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The process's or the system's descriptors (EMFILE, ENFILE).
    Descriptors,
    /// Memory (ENOBUFS, ENOMEM).
    Memory,
}

/// Whether an error of socket(2), accept(2) or connect(2) tells that this machine ran out of
/// something, rather than anything about the peer.
#[must_use]
pub fn exhausted(error: &io::Error) -> Option<Exhausted> {
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some(Exhausted::Descriptors),
        libc::ENOBUFS | libc::ENOMEM => Some(Exhausted::Memory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_rises_to_the_hard_one() {
        let soft = raise_nofile_limit().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(soft, limit.current.unwrap_or(u64::MAX));
    }

    #[test]
    fn running_out_is_told_from_what_the_peer_did() {
        let kind = |code| exhausted(&io::Error::from_raw_os_error(code));
        assert_eq!(kind(libc::EMFILE), Some(Exhausted::Descriptors));
        assert_eq!(kind(libc::ENFILE), Some(Exhausted::Descriptors));
        assert_eq!(kind(libc::ENOBUFS), Some(Exhausted::Memory));
        assert_eq!(kind(libc::ECONNREFUSED), None);
        assert_eq!(exhausted(&io::Error::other("no code")), None);
    }
}
