//! Options of connected TCP sockets, of std's and of any runtime's types.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Makes the coming close a reset: what is still in the send buffer is thrown away and the peer
/// sees `ECONNRESET` (SO_LINGER with 0 seconds, socket(7)).
///
/// # Errors
/// What setsockopt(2) reports.
pub fn set_linger_zero(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

/// Sends small segments at once (TCP_NODELAY, tcp(7)): a proxy must not hold back what the sender
/// already decided to send.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn set_nodelay(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_nodelay(true)
}

/// Ends this side's direction: the peer reads the end after all data (shutdown(2), `SHUT_WR`).
///
/// # Errors
/// What shutdown(2) reports; `NotConnected` when the connection is gone.
pub fn shutdown_write(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).shutdown(std::net::Shutdown::Write)
}

/// When the kernel asks a silent peer whether it is still there (tcp(7)). Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe (TCP_KEEPIDLE).
    pub idle: Duration,
    /// Time between probes (TCP_KEEPINTVL).
    pub interval: Duration,
    /// Unanswered probes after which the connection is reset (TCP_KEEPCNT).
    pub probes: u32,
}

/// Turns keepalive probes on.
///
/// # Errors
/// What setsockopt(2) reports, `InvalidInput` for a time below one second for instance.
pub fn set_keepalive(socket: &impl AsFd, keepalive: Keepalive) -> io::Result<()> {
    let parameters = TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.probes);
    SockRef::from(socket).set_tcp_keepalive(&parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_close_after_linger_zero_is_a_reset() {
        let (mut client, server) = pair();
        set_linger_zero(&server).unwrap();
        drop(server);
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_close_after_linger_zero_is_a_reset_even_when_the_fin_was_sent() {
        let (mut client, server) = pair();
        shutdown_write(&server).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        set_linger_zero(&server).unwrap();
        drop(server);
        // The first write may find the reset already there.
        let error = client.write(&[0]).and_then(|_| client.write(&[0]));
        let kind = error.unwrap_err().kind();
        assert!(
            matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
            "{kind}"
        );
    }

    #[test]
    fn options_are_set() {
        let (client, _server) = pair();
        set_nodelay(&client).unwrap();
        let keepalive = Keepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            probes: 6,
        };
        set_keepalive(&client, keepalive).unwrap();
        let socket = SockRef::from(&client);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.probes);
    }
}
