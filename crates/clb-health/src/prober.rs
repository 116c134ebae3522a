//! The probes themselves.

use crate::check::ProbeKind;
use crate::checker::ProbeRun;
use crate::outcome::{Failure, LocalError, ProbeError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

/// `ENOBUFS` on Linux, which std has no kind for: the kernel had no memory for a packet.
const ENOBUFS: i32 = 105;

/// Runs one probe and takes at most its timeout. Dropping the future ends the probe.
///
/// Needs a tokio runtime with I/O and time.
///
/// # Errors
/// [`ProbeError::Failed`] when the backend or the way to it is at fault, [`ProbeError::Local`]
/// when this machine could not run the probe.
pub async fn probe(run: &ProbeRun) -> Result<(), ProbeError> {
    match run.kind {
        ProbeKind::Tcp => tcp(run.target, run.timeout).await,
    }
}

/// Success when a connection is established in time; it is closed by RST, so that the gateway
/// collects no TIME_WAIT (RFC 9293, section 3.6: only the active closer of an orderly close
/// waits) and the backend sees at once that nothing will come.
async fn tcp(target: SocketAddr, timeout: Duration) -> Result<(), ProbeError> {
    let opening = |error: io::Error| LocalError::new("opening a socket", &error);
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(opening)?;
    // Before connecting: when the timeout strikes in the moment in which the connection is
    // established, dropping it must reset it too.
    socket.set_zero_linger().map_err(opening)?;
    match tokio::time::timeout(timeout, socket.connect(target)).await {
        Err(_elapsed) => Err(Failure::TimedOut.into()),
        Ok(Err(error)) => Err(classify(&error)),
        Ok(Ok(stream)) if is_connected_to_itself(&stream) => Err(Failure::Refused.into()),
        Ok(Ok(_stream)) => Ok(()),
    }
}

/// A connect to a port of this machine on which nobody listens can be given that very port as
/// its source; then SYN meets SYN and the socket is connected to itself (RFC 9293, section 3.5,
/// simultaneous open). No backend is there.
fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// Whose fault a failed connect is.
fn classify(error: &io::Error) -> ProbeError {
    use io::ErrorKind as Kind;
    let failure = match error.kind() {
        Kind::ConnectionRefused => Failure::Refused,
        Kind::ConnectionReset => Failure::Reset,
        // The kernel gave up before we did.
        Kind::TimedOut => Failure::TimedOut,
        Kind::HostUnreachable => Failure::Unreachable { network: false },
        Kind::NetworkUnreachable => Failure::Unreachable { network: true },
        // No free source port; no memory; our own packet filter (EPERM, EACCES); no room to
        // watch the socket (ENOSPC of epoll_ctl); the interface is down.
        Kind::AddrNotAvailable
        | Kind::AddrInUse
        | Kind::OutOfMemory
        | Kind::PermissionDenied
        | Kind::StorageFull
        | Kind::NetworkDown
        | Kind::WouldBlock => return LocalError::new("connecting", error).into(),
        _ if error.raw_os_error() == Some(ENOBUFS) => {
            return LocalError::new("connecting", error).into();
        }
        kind => Failure::Io {
            kind,
            errno: error.raw_os_error(),
        },
    };
    failure.into()
}

/// A bound on how many probes run at once, and so on the sockets they hold.
///
/// When every backend is dead each probe lasts its timeout, so that `targets × timeout /
/// interval` run at once: 4,000 for 10,000 targets at 2 s of 5 s. With less room than that the
/// probes wait for each other and the interval is not kept; the time spent waiting does not
/// count towards a probe's timeout.
#[derive(Clone, Debug)]
pub struct Limit {
    room: Arc<Semaphore>,
}

impl Limit {
    /// Room for `at_once` probes; 0 counts as 1.
    pub fn new(at_once: usize) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// As [`probe`], once there is room.
    ///
    /// # Errors
    /// As [`probe`].
    pub async fn probe(&self, run: &ProbeRun) -> Result<(), ProbeError> {
        // Acquiring fails only when the semaphore was closed, which nobody does.
        let _room = self.room.acquire().await.ok();
        probe(run).await
    }

    /// How many more probes could start at once.
    pub fn free(&self) -> usize {
        self.room.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_met_itself_is_recognised() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            socket.bind(any).expect("a free port");
            let itself = socket.local_addr().expect("bound");
            let met = socket.connect(itself).await.expect("simultaneous open");
            assert!(is_connected_to_itself(&met));

            let listener = std::net::TcpListener::bind(any).expect("a listener");
            let other = listener.local_addr().expect("bound");
            let met = TcpStream::connect(other).await.expect("connected");
            assert!(!is_connected_to_itself(&met));
        });
    }

    #[test]
    fn the_backend_is_blamed_for_its_own_errors_only() {
        let blamed = |errno: i32| match classify(&io::Error::from_raw_os_error(errno)) {
            ProbeError::Failed(failure) => Some(failure.cause()),
            ProbeError::Local(_) => None,
        };
        // Linux numbers, from errno(3).
        assert_eq!(blamed(111), Some("refused"));
        assert_eq!(blamed(104), Some("reset"));
        assert_eq!(blamed(110), Some("timed_out"));
        assert_eq!(blamed(113), Some("unreachable"));
        assert_eq!(blamed(101), Some("unreachable"));
        assert_eq!(blamed(112), Some("io"), "EHOSTDOWN");
        for local in [99, 98, 12, 1, 13, 28, 100, 11, ENOBUFS] {
            assert_eq!(blamed(local), None, "errno {local}");
        }
    }
}
