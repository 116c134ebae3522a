//! Socket addresses as the kernel reads and writes them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for an address of either family. One of IPv4 (`sockaddr_in`, ip(7)) begins with the same
/// family and port, and has its four octets where the flow information of IPv6 is, so that all of
/// it can be read and written through `sockaddr_in6` (ipv6(7)).
pub(super) type Room = libc::sockaddr_in6;

const FAMILY_V4: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
const FAMILY_V6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;

/// Octets of a [`Room`].
pub(super) const ROOM_BYTES: libc::socklen_t = size_of::<Room>() as libc::socklen_t;

/// Octets of an IPv4 address.
const V4_BYTES: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

/// Nothing yet.
pub(super) const fn empty() -> Room {
    Room {
        sin6_family: 0,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    }
}

/// The address in the kernel's form, and how many octets of it count.
pub(super) fn write(addr: SocketAddr) -> (Room, libc::socklen_t) {
    let mut room = empty();
    room.sin6_port = addr.port().to_be();
    match addr {
        SocketAddr::V4(addr) => {
            room.sin6_family = FAMILY_V4;
            room.sin6_flowinfo = u32::from_ne_bytes(addr.ip().octets());
            (room, V4_BYTES)
        }
        SocketAddr::V6(addr) => {
            room.sin6_family = FAMILY_V6;
            room.sin6_flowinfo = addr.flowinfo();
            room.sin6_addr.s6_addr = addr.ip().octets();
            room.sin6_scope_id = addr.scope_id();
            (room, ROOM_BYTES)
        }
    }
}

/// What the kernel wrote; `None` for another family than IPv4 and IPv6.
pub(super) fn read(room: &Room) -> Option<SocketAddr> {
    let port = u16::from_be(room.sin6_port);
    match room.sin6_family {
        FAMILY_V4 => {
            let ip = Ipv4Addr::from(room.sin6_flowinfo.to_ne_bytes());
            Some(SocketAddrV4::new(ip, port).into())
        }
        FAMILY_V6 => {
            let ip = Ipv6Addr::from(room.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, port, room.sin6_flowinfo, room.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_went() {
        for text in ["192.0.2.7:53", "255.255.255.255:65535", "[2001:db8::7]:53"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(read(&write(addr).0), Some(addr));
        }
        assert_eq!(read(&empty()), None);
    }

    #[test]
    fn both_families_lie_as_the_kernel_has_them() {
        use std::mem::offset_of;
        let (v4, v6) = (size_of::<libc::sockaddr_in>(), size_of::<Room>());
        assert_eq!((v4, v6), (16, 28));
        assert_eq!(offset_of!(libc::sockaddr_in, sin_family), 0);
        assert_eq!(offset_of!(Room, sin6_family), 0);
        assert_eq!(
            offset_of!(libc::sockaddr_in, sin_port),
            offset_of!(Room, sin6_port)
        );
        assert_eq!(
            offset_of!(libc::sockaddr_in, sin_addr),
            offset_of!(Room, sin6_flowinfo)
        );
    }
}
