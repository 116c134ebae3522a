//! Options of connected TCP sockets, of std's and of any runtime's types.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::udp::options;

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

/// The kernel's smoothed estimate of the connection's round-trip time (TCP_INFO, tcp(7)).
///
/// # Errors
/// What getsockopt(2) reports.
pub fn round_trip_time(socket: &impl AsFd) -> io::Result<Duration> {
    options::rtt(socket).map(|micros| Duration::from_micros(micros.into()))
}

/// Ends this side's direction: the peer reads the end after all data (shutdown(2), `SHUT_WR`).
///
/// # Errors
/// What shutdown(2) reports; `NotConnected` when the connection is gone.
pub fn shutdown_write(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).shutdown(std::net::Shutdown::Write)
}

/// Lets the kernel choose the port when the socket is connected rather than when it is bound to an
/// address and port 0 (IP_BIND_ADDRESS_NO_PORT, ip(7)): then a port can serve one connection to
/// each destination, instead of one at all. It is an option of IPv4 that holds for IPv6 too.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn choose_port_late(socket: &impl AsFd) -> io::Result<()> {
    options::set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Lets the socket be bound to an address that is not this machine's (IP_TRANSPARENT, ip(7)).
///
/// # Errors
/// What setsockopt(2) reports; `PermissionDenied` without CAP_NET_ADMIN and CAP_NET_RAW.
pub fn set_transparent(socket: &impl AsFd, is_v6: bool) -> io::Result<()> {
    match is_v6 {
        true => options::set(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1),
        false => options::set(socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1),
    }
}

/// Whether this process may have [transparent](set_transparent) sockets.
///
/// # Errors
/// What socket(2) and setsockopt(2) report.
pub fn may_be_transparent(is_v6: bool) -> io::Result<()> {
    let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    set_transparent(&socket, is_v6)
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

/// Resets the connection when what was sent is not acknowledged for this long (TCP_USER_TIMEOUT,
/// tcp(7)). Whole milliseconds.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn set_user_timeout(socket: &impl AsFd, time: Duration) -> io::Result<()> {
    SockRef::from(socket).set_tcp_user_timeout(Some(time))
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
    fn a_connection_has_a_round_trip_time() {
        let (mut client, mut server) = pair();
        client.write_all(b"?").unwrap();
        server.read_exact(&mut [0]).unwrap();
        let time = round_trip_time(&client).unwrap();
        assert!(
            time > Duration::ZERO && time < Duration::from_secs(10),
            "{time:?}"
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
