//! Listening sockets for several workers on one address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that may wait for `accept` on each socket; the kernel caps it at
/// `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// Binds `count` TCP sockets (at least one) to one address, among which the kernel spreads new
/// connections (`SO_REUSEPORT`, socket(7)), which have TCP_NODELAY. All are non-blocking and close on exec. With port 0
/// the kernel chooses one port for all of them.
///
/// The first socket is bound without `SO_REUSEPORT`, so a port that another program listens on is
/// an error even if that program set the option; the first one sets it afterwards, so that the
/// others can join. None listens before all are bound.
///
/// # Errors
/// What socket(2), bind(2) and listen(2) report: `AddrInUse` when the port is taken,
/// `AddrNotAvailable` when the address is not this machine's, `PermissionDenied` for a port below
/// 1024 without the right to it. No socket stays open then.
pub fn bind_listeners(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = open(addr)?;
    first.bind(&addr.into())?;
    first.set_reuse_port(true)?;
    // With port 0 the others must join the port that the kernel chose.
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = open(addr)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound)?;
        sockets.push(socket);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(TcpListener::from).collect())
}

/// Binds one more socket to an address that [`bind_listeners`] was used for, or that nobody has, for
/// a worker whose own is gone.
///
/// # Errors
/// As [`bind_listeners`].
pub fn join_listeners(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(addr)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// socket2 opens sockets with `SOCK_CLOEXEC`.
fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    // Connections of an earlier process in TIME_WAIT must not hold the port.
    SockRef::from(&socket).set_reuse_address(true)?;
    // The connections that are accepted have it from here, which spares each a system call.
    socket.set_tcp_nodelay(true)?;
    if addr.is_ipv6() {
        // An IPv4 listener on the same port is another listener.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    fn any_port() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn accepted(listener: &TcpListener) -> usize {
        std::iter::from_fn(|| match listener.accept() {
            Ok(connection) => Some(connection),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        })
        .count()
    }

    #[test]
    fn connections_are_spread_over_all_sockets_and_none_is_lost() {
        let listeners = bind_listeners(any_port(), 3).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let clients: Vec<_> = (0..120)
            .map(|_| TcpStream::connect(addr).unwrap())
            .collect();
        let counts: Vec<_> = listeners.iter().map(accepted).collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len());
        // One of three sockets getting none of 120 connections has a chance of 1 in 10^20.
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    }

    #[test]
    fn accepted_connections_send_small_segments_at_once() {
        let listeners = bind_listeners(any_port(), 1).unwrap();
        let _client = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        let accepted = loop {
            match listeners[0].accept() {
                Ok((accepted, _)) => break accepted,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        };
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn a_lost_socket_can_be_replaced() {
        let mut listeners = bind_listeners(any_port(), 2).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        for _ in 0..3 {
            listeners.pop();
            listeners.push(join_listeners(addr).unwrap());
            let _clients: Vec<_> = (0..40).map(|_| TcpStream::connect(addr).unwrap()).collect();
            let counts: Vec<_> = listeners.iter().map(accepted).collect();
            assert_eq!(counts.iter().sum::<usize>(), 40);
            assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
        }
        drop(listeners);
        assert_eq!(join_listeners(addr).unwrap().local_addr().unwrap(), addr);
    }

    #[test]
    fn one_socket_is_enough_and_zero_counts_as_one() {
        for count in [0, 1] {
            assert_eq!(bind_listeners(any_port(), count).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_port_that_another_program_shares_with_so_reuseport_is_taken_all_the_same() {
        let foreign = open(any_port()).unwrap();
        foreign.set_reuse_port(true).unwrap();
        foreign.bind(&any_port().into()).unwrap();
        foreign.listen(1).unwrap();
        let addr = foreign.local_addr().unwrap().as_socket().unwrap();

        // The usual way would have joined the foreign group.
        let joins = open(addr).unwrap();
        joins.set_reuse_port(true).unwrap();
        assert!(joins.bind(&addr.into()).is_ok());
        drop(joins);

        let error = bind_listeners(addr, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_second_group_on_the_same_port_is_refused_and_the_first_keeps_working() {
        let listeners = bind_listeners(any_port(), 2).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let error = bind_listeners(addr, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let _client = TcpStream::connect(addr).unwrap();
        assert_eq!(listeners.iter().map(accepted).sum::<usize>(), 1);
    }

    #[test]
    fn a_closed_group_frees_its_port_at_once() {
        let listeners = bind_listeners(any_port(), 2).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let _client = TcpStream::connect(addr).unwrap();
        drop(listeners);
        assert!(bind_listeners(addr, 2).is_ok());
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let addr = (Ipv4Addr::new(192, 0, 2, 1), 0).into();
        let error = bind_listeners(addr, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn both_families_can_hold_the_same_port() {
        let Ok(v6) = bind_listeners((Ipv6Addr::UNSPECIFIED, 0).into(), 2) else {
            // A machine without IPv6 has nothing to show here.
            return;
        };
        let port = v6[0].local_addr().unwrap().port();
        match bind_listeners((Ipv4Addr::UNSPECIFIED, port).into(), 2) {
            Ok(_) => {}
            // The port may belong to another test's IPv4 listener, but never to our own.
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
    }
}
