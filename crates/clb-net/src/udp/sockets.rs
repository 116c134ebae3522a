//! Sockets towards clients and towards backends.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::options;

/// Octets that may wait in each direction of a socket towards clients, if the kernel allows it
/// (`net.core.rmem_max` and `wmem_max` for who may not go beyond them). Only what waits takes
/// memory.
const CLIENT_BUFFER: usize = 4 << 20;

/// The same towards backends.
const BACKEND_BUFFER: usize = 1 << 20;

/// Binds `count` UDP sockets (at least one) to one address. The kernel gives all datagrams of a
/// client's address and port to the same one of them, as long as the group stays the same
/// (`SO_REUSEPORT`, socket(7)). All are non-blocking and close on exec, and say how many hops a
/// datagram had left. With port 0 the kernel chooses one port for all of them.
///
/// As with [`bind_listeners`](crate::bind_listeners), a port that another program holds is an error
/// even if that program set `SO_REUSEPORT`.
///
/// # Errors
/// As [`bind_listeners`](crate::bind_listeners). No socket stays open then.
pub fn bind_group(addr: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    let first = unbound(addr.is_ipv6(), CLIENT_BUFFER)?;
    report_hops(&first, addr.is_ipv6())?;
    first.bind(&addr.into())?;
    first.set_reuse_port(true)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first.into()];
    for _ in 1..count {
        let socket = unbound(addr.is_ipv6(), CLIENT_BUFFER)?;
        report_hops(&socket, addr.is_ipv6())?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

/// Binds one more socket to an address that [`bind_group`] was used for, or that nobody has, for a
/// worker whose own is gone.
///
/// # Errors
/// As [`bind_listeners`](crate::bind_listeners).
pub fn join_group(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound(addr.is_ipv6(), CLIENT_BUFFER)?;
    report_hops(&socket, addr.is_ipv6())?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Opens a non-blocking UDP socket towards backends, whose datagrams have `hops` hops before them.
/// It is bound to a free port, and keeps what the network says of datagrams that
/// did not arrive for [`take_undelivered`](super::take_undelivered).
///
/// # Errors
/// What socket(2), setsockopt(2) and bind(2) report.
pub fn open(is_v6: bool, hops: u8) -> io::Result<UdpSocket> {
    let socket = unbound(is_v6, BACKEND_BUFFER)?;
    if is_v6 {
        socket.set_unicast_hops_v6(hops.into())?;
        options::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    } else {
        socket.set_ttl_v4(hops.into())?;
        options::set(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    }
    Ok(socket.into())
}

/// Datagrams that the kernel threw away because the socket's receive buffer was full, since it was
/// opened; it starts again from 0 after 4,294,967,295.
///
/// # Errors
/// What getsockopt(2) reports.
pub fn dropped(socket: &impl AsFd) -> io::Result<u32> {
    options::drops(socket)
}

fn unbound(is_v6: bool, buffer: usize) -> io::Result<Socket> {
    let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if is_v6 {
        socket.set_only_v6(true)?;
    }
    // Who may go beyond the system's limit does; everyone else gets what it allows.
    if sockopt::set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
        socket.set_recv_buffer_size(buffer)?;
    }
    socket.set_send_buffer_size(buffer)?;
    // A datagram must not depend on routers' "fragmentation needed" finding its way back: without
    // the don't-fragment bit they fragment it themselves, so that a hole for large datagrams
    // swallows none (and nobody can make us fragment by lying about a path, RFC 8899 section 1).
    if is_v6 {
        let omit = libc::IPV6_PMTUDISC_OMIT;
        options::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, omit)?;
    } else {
        let omit = libc::IP_PMTUDISC_OMIT;
        options::set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, omit)?;
    }
    Ok(socket)
}

fn report_hops(socket: &Socket, is_v6: bool) -> io::Result<()> {
    match is_v6 {
        true => options::set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1),
        false => options::set(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    fn any_port() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn waiting(socket: &UdpSocket) -> Vec<SocketAddr> {
        std::iter::from_fn(|| socket.recv_from(&mut [0; 8]).ok().map(|(_, from)| from)).collect()
    }

    #[test]
    fn clients_are_spread_over_the_group_and_each_stays_with_one() {
        let group = bind_group(any_port(), 3).unwrap();
        let addr = group[0].local_addr().unwrap();
        let clients: Vec<_> = (0..120)
            .map(|_| UdpSocket::bind(any_port()).unwrap())
            .collect();
        for _ in 0..2 {
            for client in &clients {
                client.send_to(b"x", addr).unwrap();
            }
        }
        let got: Vec<Vec<SocketAddr>> = group.iter().map(waiting).collect();
        assert_eq!(got.iter().map(Vec::len).sum::<usize>(), 240);
        for client in &clients {
            let from = client.local_addr().unwrap();
            let count = |list: &Vec<SocketAddr>| list.iter().filter(|got| **got == from).count();
            assert!(got.iter().map(count).all(|count| count == 0 || count == 2));
        }
        assert!(got.iter().all(|list| !list.is_empty()));
    }

    #[test]
    fn a_port_that_another_program_holds_is_refused() {
        let shared = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        shared.set_reuse_port(true).unwrap();
        shared.bind(&any_port().into()).unwrap();
        let addr = shared.local_addr().unwrap().as_socket().unwrap();
        let error = bind_group(addr, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);

        let group = bind_group(any_port(), 2).unwrap();
        let addr = group[0].local_addr().unwrap();
        assert!(bind_group(addr, 2).is_err());
        drop(group);
        assert!(bind_group(addr, 2).is_ok());
    }

    #[test]
    fn tcp_and_udp_share_a_port_number() {
        let tcp = crate::bind_listeners(any_port(), 1).unwrap();
        let addr = tcp[0].local_addr().unwrap();
        match bind_group(addr, 1) {
            Ok(udp) => assert_eq!(udp[0].local_addr().unwrap(), addr),
            // The port may be another test's, but never for the TCP socket's sake.
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let group = bind_group(any_port(), 1).unwrap();
        let addr = group[0].local_addr().unwrap();
        let client = UdpSocket::bind(any_port()).unwrap();
        let data = [0; 60_000];
        let sent = (0..400)
            .filter(|_| client.send_to(&data, addr).is_ok())
            .count();
        let counted = dropped(&group[0]).unwrap();
        let mut buffer = [0; 60_000];
        let received = std::iter::from_fn(|| group[0].recv(&mut buffer).ok()).count();
        assert!(counted > 0);
        assert_eq!(sent, received + counted as usize);
    }

    #[test]
    fn datagrams_towards_backends_have_the_hops_that_were_asked_for() {
        let backend = bind_group(any_port(), 1).unwrap();
        let to = backend[0].local_addr().unwrap();
        for hops in [8, 56] {
            open(false, hops).unwrap().send_to(b"x", to).unwrap();
        }
        let mut batch = crate::udp::Batch::new();
        assert_eq!(batch.recv(&backend[0]).unwrap(), 2);
        let hops: Vec<_> = (0..2).map(|at| batch.hops(at)).collect();
        assert_eq!(hops, [Some(8), Some(56)]);
    }
}
