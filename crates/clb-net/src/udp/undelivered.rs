//! What the network says of datagrams that did not arrive (ICMP).
#![expect(unsafe_code, reason = "recvmsg(2) takes pointers to pointers")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use super::address::{self, ROOM_BYTES};

/// A datagram that did not arrive.
#[derive(Debug)]
pub struct Undelivered {
    /// Where it was to go.
    pub to: SocketAddr,
    /// Why it did not: `ConnectionRefused` when nobody has the port, `HostUnreachable`,
    /// `NetworkUnreachable`, or another one that icmp(7) names.
    pub error: io::Error,
}

/// Room for the error and the address of who reports it (IP_RECVERR, ip(7)).
#[repr(C, align(8))]
struct Control([u8; 512]);

/// Takes one report from a socket that was [opened](super::open) towards backends; `None` when
/// there is no more. What is reported there has made the next send or receive fail, too.
///
/// # Errors
/// What recvmsg(2) reports.
pub fn take_undelivered(socket: &impl AsFd) -> io::Result<Option<Undelivered>> {
    let mut name = address::empty();
    let mut control = Control([0; 512]);
    // The datagram itself comes back, too; nobody wants it.
    let mut vector = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    // SAFETY: integers and pointers only (recvmsg(2)), for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = ROOM_BYTES;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the header points to a name, a vector without room and a control buffer with their
    // lengths, all of which live until after the call; the descriptor is open, as it is borrowed.
    let result = unsafe { libc::recvmsg(descriptor, &raw mut header, flags) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock => Ok(None),
            _ => Err(error),
        };
    }
    let used = header.msg_controllen.min(size_of::<Control>());
    let code = control.0.get(..used).and_then(error_in);
    let report = address::read(&name)
        .zip(code)
        .map(|(to, code)| Undelivered {
            to,
            error: io::Error::from_raw_os_error(code),
        });
    match report {
        Some(report) => Ok(Some(report)),
        // Without an address or error; what comes after it may have them.
        None => take_undelivered(socket),
    }
}

/// The error number in the first message that is an extended error: it begins the
/// `sock_extended_err`. Messages follow each other at multiples of eight octets (cmsg(3)).
fn error_in(control: &[u8]) -> Option<i32> {
    let (head, level) = (size_of::<libc::cmsghdr>(), size_of::<usize>());
    let word = |at: usize| {
        let octets = control.get(at..at + 4)?;
        Some(i32::from_ne_bytes(octets.try_into().ok()?))
    };
    let mut at = 0;
    loop {
        let octets = control.get(at..at + level)?;
        let length = usize::from_ne_bytes(octets.try_into().ok()?);
        let kind = (word(at + level)?, word(at + level + 4)?);
        if matches!(
            kind,
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        ) {
            return word(at + head);
        }
        if length < head {
            return None;
        }
        at += length.next_multiple_of(8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::open;
    use std::io::ErrorKind;
    use std::net::UdpSocket;

    #[test]
    fn a_port_where_nobody_listens_is_reported_with_its_address() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (to_gone, to_other) = (gone.local_addr().unwrap(), other.local_addr().unwrap());
        // It takes nothing but from itself now, and its port stays taken: no other test gets it.
        gone.connect(to_gone).unwrap();
        let socket = open(false, 56).unwrap();
        assert!(take_undelivered(&socket).unwrap().is_none());
        socket.send_to(b"x", to_gone).unwrap();
        // On the loopback interface the answer is there when the send returns. It makes the next
        // send fail, wherever that goes.
        let error = socket.send_to(b"y", to_other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let report = take_undelivered(&socket).unwrap().unwrap();
        assert_eq!(report.to, to_gone);
        assert_eq!(report.error.kind(), ErrorKind::ConnectionRefused);
        assert!(take_undelivered(&socket).unwrap().is_none());
        socket.send_to(b"z", to_other).unwrap();
        assert_eq!(other.recv(&mut [0; 8]).unwrap(), 1);
    }

    #[test]
    fn the_error_is_found_behind_other_messages() {
        let mut control = vec![0_u8; 24];
        control[..8].copy_from_slice(&20_usize.to_ne_bytes());
        assert_eq!(error_in(&control), None);
        let mut error = vec![0_u8; 24];
        error[..8].copy_from_slice(&32_usize.to_ne_bytes());
        error[8..12].copy_from_slice(&libc::IPPROTO_IP.to_ne_bytes());
        error[12..16].copy_from_slice(&libc::IP_RECVERR.to_ne_bytes());
        error[16..20].copy_from_slice(&libc::ECONNREFUSED.to_ne_bytes());
        control.extend(error);
        assert_eq!(error_in(&control), Some(libc::ECONNREFUSED));
        assert_eq!(error_in(&[0; 64]), None);
    }
}
