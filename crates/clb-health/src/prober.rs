//! The probes themselves.

use crate::check::ProbeKind;
use crate::checker::ProbeRun;
use crate::http::{ANSWER_OCTETS, HttpProbe};
use crate::outcome::{Failure, LocalError, ProbeError};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// `ENOBUFS` on Linux, which std has no kind for: the kernel had no memory for a packet.
const ENOBUFS: i32 = 105;

/// Read at once; a status line is rarely longer.
const READ_OCTETS: usize = 512;

/// Runs one probe and takes at most its timeout. Dropping the future ends the probe.
///
/// Needs a tokio runtime with I/O and time.
///
/// # Errors
/// [`ProbeError::Failed`] when the backend or the way to it is at fault, [`ProbeError::Local`]
/// when this machine could not run the probe.
pub async fn probe(run: &ProbeRun) -> Result<(), ProbeError> {
    let work = async {
        match &run.kind {
            ProbeKind::Tcp => connect(run.target).await.map(drop),
            ProbeKind::Udp(payload) => send(payload, run.target).await,
            ProbeKind::Http(probe) => ask(connect(run.target).await?, probe, run.target).await,
        }
    };
    match tokio::time::timeout(run.timeout, work).await {
        Err(_elapsed) if matches!(run.kind, ProbeKind::Udp(_)) => Ok(()),
        Err(_elapsed) => Err(Failure::TimedOut.into()),
        Ok(result) => result,
    }
}

/// Sends a datagram and waits for an answer, any one, or for what the network says of it.
async fn send(payload: &[u8], target: SocketAddr) -> Result<(), ProbeError> {
    let opening = |error: io::Error| LocalError::new("opening a socket", &error);
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(opening)?;
    let connecting = |error: io::Error| classify("connecting", &error);
    socket.connect(target).await.map_err(connecting)?;
    if socket.local_addr().map_err(opening)? == target {
        // The port where nobody listens became our own: what is sent there comes back.
        return Err(Failure::Refused.into());
    }
    let sending = |error: io::Error| classify("sending a datagram", &error);
    socket.send(payload).await.map_err(sending)?;
    let receiving = |error: io::Error| classify("waiting for an answer", &error);
    socket.recv(&mut [0; 1]).await.map_err(receiving)?;
    Ok(())
}

/// A connection that is closed by RST when it is dropped, so that the gateway collects no
/// TIME_WAIT (RFC 9293, section 3.6: only the active closer of an orderly close waits) and the
/// backend sees at once that nothing more will come.
async fn connect(target: SocketAddr) -> Result<TcpStream, ProbeError> {
    let opening = |error: io::Error| LocalError::new("opening a socket", &error);
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(opening)?;
    // Before connecting: when the timeout strikes in the moment in which the connection is
    // established, dropping it must reset it too.
    socket.set_zero_linger().map_err(opening)?;
    match socket.connect(target).await {
        Err(error) => Err(classify("connecting", &error)),
        Ok(stream) if is_connected_to_itself(&stream) => Err(Failure::Refused.into()),
        Ok(stream) => Ok(stream),
    }
}

/// Sends the request and reads until what came decides: the status line, mostly in one piece.
/// The rest of the answer is not read.
async fn ask(
    mut stream: TcpStream,
    probe: &HttpProbe,
    target: SocketAddr,
) -> Result<(), ProbeError> {
    // A backend may answer and close without reading. So that a failed write does not hide an
    // answer that is there, it is judged only when reading ends without one.
    let written = stream.write_all(probe.request(target).as_bytes()).await;
    let mut answer = Vec::with_capacity(READ_OCTETS);
    loop {
        let room = READ_OCTETS.min(ANSWER_OCTETS - answer.len().min(ANSWER_OCTETS));
        answer.reserve(room);
        let read = (&mut stream)
            .take(u64::try_from(room).unwrap_or(0))
            .read_buf(&mut answer)
            .await;
        match (read, &written) {
            (Ok(0), Ok(())) => return Err(Failure::Closed.into()),
            (Ok(0), Err(error)) => return Err(classify("sending a request", error)),
            (Ok(_), _) => {}
            (Err(error), _) => return Err(classify("reading an answer", &error)),
        }
        if let Some(judged) = probe.judge(&answer) {
            return judged.map_err(ProbeError::from);
        }
    }
}

/// A connect to a port of this machine on which nobody listens can be given that very port as
/// its source; then SYN meets SYN and the socket is connected to itself (RFC 9293, section 3.5,
/// simultaneous open). No backend is there.
fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// Whose fault a failed connection is.
fn classify(doing: &'static str, error: &io::Error) -> ProbeError {
    use io::ErrorKind as Kind;
    let failure = match error.kind() {
        Kind::ConnectionRefused => Failure::Refused,
        // A write after the reset was taken note of says EPIPE.
        Kind::ConnectionReset | Kind::BrokenPipe => Failure::Reset,
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
        | Kind::WouldBlock => return LocalError::new(doing, error).into(),
        _ if error.raw_os_error() == Some(ENOBUFS) => {
            return LocalError::new(doing, error).into();
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
        let blamed = |errno: i32| match classify("connecting", &io::Error::from_raw_os_error(errno))
        {
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
