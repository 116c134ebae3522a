//! Several datagrams in one call.
#![expect(unsafe_code, reason = "recvmmsg(2) takes pointers to pointers")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::{SendFlags, send, sendto};

use super::address::{self, ROOM_BYTES, Room};
use super::fixed::{Fixed, no_header, no_vector};
use super::send::Sender;
use super::train::Item;

/// Datagrams that one call takes at most.
pub const BATCH: usize = 32;

/// Octets of room for each: more than any datagram has (65,507 over IPv4, 65,527 over IPv6
/// without jumbograms), so that none is cut.
pub const DATAGRAM_BYTES: usize = 65_536;

/// Room for what comes beside a datagram: one `int` (cmsg(3)), aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

const CONTROL_BYTES: usize = 64;

/// A datagram to be sent: one of those received, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place in the batch.
    pub at: usize,
    /// Where it goes; `None` is where the socket is connected to.
    pub to: Option<SocketAddr>,
}

/// Room for [`BATCH`] datagrams: 2 MiB of address space, of which only the pages that datagrams
/// were written to are memory. For one thread.
pub struct Batch {
    /// How many the last [`recv`](Self::recv) brought.
    received: usize,
    data: Fixed<u8>,
    names: Fixed<Room>,
    controls: Fixed<Control>,
    headers: Fixed<libc::mmsghdr>,
    // Pointed to by the headers; never read here.
    _vectors: Fixed<libc::iovec>,
    sender: Sender,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        // Zeroed memory from the allocator, which touches none of it.
        let data = Fixed::from_box(vec![0; BATCH * DATAGRAM_BYTES].into());
        let names = Fixed::new(address::empty(), BATCH);
        let controls = Fixed::new(Control([0; CONTROL_BYTES]), BATCH);
        let mut vectors = Fixed::new(no_vector(), BATCH);
        let mut headers = Fixed::new(no_header(), BATCH);
        for at in 0..BATCH {
            let vector = libc::iovec {
                iov_base: data.place(at * DATAGRAM_BYTES).cast(),
                iov_len: DATAGRAM_BYTES,
            };
            vectors.write(at, vector);
            let mut header = no_header();
            header.msg_hdr.msg_name = names.place(at).cast();
            header.msg_hdr.msg_namelen = ROOM_BYTES;
            header.msg_hdr.msg_iov = vectors.place(at);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = controls.place(at).cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
            headers.write(at, header);
        }
        Self {
            received: 0,
            data,
            names,
            controls,
            headers,
            _vectors: vectors,
            sender: Sender::new(),
        }
    }

    /// Receives as many datagrams as are there, [`BATCH`] at most, over those of the last call;
    /// gives how many, at least one. Fewer than [`BATCH`] means that the socket had no more.
    ///
    /// # Errors
    /// As [`recv_up_to`](Self::recv_up_to).
    pub fn recv(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.recv_up_to(BATCH, socket)
    }

    /// Receives as many datagrams as are there, `most` or [`BATCH`] at most, over those of the last
    /// call; gives how many, at least one. Fewer than asked for means that the socket had no more.
    ///
    /// # Errors
    /// What recvmmsg(2) reports: `WouldBlock` when there is none; what the network said of a
    /// datagram that was sent from this socket before.
    pub fn recv_up_to(&mut self, most: usize, socket: &impl AsFd) -> io::Result<usize> {
        for at in 0..self.received {
            // The kernel wrote how much of each it used.
            let header = self.headers.place(at);
            // SAFETY: `header` points to a header of this batch, which nobody else uses.
            let header = unsafe { &mut *header };
            header.msg_hdr.msg_namelen = ROOM_BYTES;
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        self.received = 0;
        // Through syscall(2): the functions of the C library are points where a thread may be
        // cancelled, which costs each call 2 % here, and nobody cancels this one.
        let descriptor = socket.as_fd().as_raw_fd();
        // SAFETY: the headers point to names, vectors and controls of this batch, the vectors to
        // pieces of its data that do not overlap, each with its own length, and there are
        // `BATCH` headers, at least as many as are asked for; all of it lives as long as the batch, nobody holds a reference into it while this has it exclusively, and
        // the descriptor is open, as it is borrowed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_recvmmsg,
                descriptor,
                self.headers.place(0),
                most.min(BATCH) as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut::<libc::timespec>(),
            )
        };
        self.received = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// How many the last call received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.received
    }

    /// Whether the last call received none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received == 0
    }

    fn header(&self, at: usize) -> Option<&libc::mmsghdr> {
        let header = (at < self.received).then(|| self.headers.place(at))?;
        // SAFETY: the place is within the memory, is initialised, and is written to only by who
        // has the batch exclusively.
        Some(unsafe { &*header })
    }

    /// The octets of the datagram at a place; none if there is no such place.
    #[must_use]
    pub fn data(&self, at: usize) -> &[u8] {
        let length = self.header(at).map_or(0, |header| header.msg_len);
        let length = (length as usize).min(DATAGRAM_BYTES);
        let start = self
            .data
            .place(if length == 0 { 0 } else { at * DATAGRAM_BYTES });
        // SAFETY: `length` octets from there are within the memory, for `at` is less than BATCH
        // when there is a length; they are initialised, and written to only by who has the batch
        // exclusively.
        unsafe { std::slice::from_raw_parts(start, length) }
    }

    /// Where the datagram at a place came from.
    #[must_use]
    pub fn from(&self, at: usize) -> Option<SocketAddr> {
        self.header(at)?;
        // SAFETY: the place is within the memory and is initialised, whether the kernel wrote to it
        // or not; it is written to only by who has the batch exclusively.
        address::read(unsafe { &*self.names.place(at) })
    }

    /// Whether the datagram at a place was longer than [`DATAGRAM_BYTES`] and is cut.
    #[must_use]
    pub fn is_cut(&self, at: usize) -> bool {
        self.header(at)
            .is_some_and(|header| header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0)
    }

    /// The hops that the datagram at a place had left (the TTL of RFC 791, the hop limit of RFC
    /// 8200), if the socket [reports](super::bind_group) them.
    #[must_use]
    pub fn hops(&self, at: usize) -> Option<u8> {
        let header = self.header(at)?;
        let used = header.msg_hdr.msg_controllen.min(CONTROL_BYTES);
        // SAFETY: the place is within the memory and is initialised; it is written to only by who
        // has the batch exclusively.
        let control = unsafe { &*self.controls.place(at) };
        hops_in(control.0.get(..used)?)
    }

    /// Sends datagrams of the batch, [`BATCH`] at most, and gives how many went. Those of one size
    /// that follow each other to one address go as one as far as the network's device, or a socket
    /// of this machine (UDP_SEGMENT, udp(7)).
    ///
    /// # Errors
    /// What sendmmsg(2) reports of the first one: `WouldBlock` when the socket takes no more;
    /// what the network said of a datagram that was sent from this socket before, in which case
    /// this one was not sent.
    pub fn send(&mut self, socket: &impl AsFd, outgoing: &[Outgoing]) -> io::Result<usize> {
        if let [Outgoing { at, to }] = outgoing {
            let (data, flags) = (self.data(*at), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            match to {
                Some(to) => sendto(socket, data, flags, to)?,
                None => send(socket, data, flags)?,
            };
            return Ok(1);
        }
        let mut items = [Item {
            length: 0,
            to: None,
        }; BATCH];
        for (item, Outgoing { at, to }) in items.iter_mut().zip(outgoing) {
            (item.length, item.to) = (self.data(*at).len(), *to);
        }
        let items = items.get(..outgoing.len()).unwrap_or(&items);
        let place = |number: usize| {
            let at = outgoing.get(number).map_or(0, |outgoing| outgoing.at);
            self.data
                .place(at.min(BATCH - 1) * DATAGRAM_BYTES)
                .cast_const()
        };
        // SAFETY: each pointer is to a datagram that was received, within the memory, with as many
        // octets as its item says; only who has the batch exclusively writes to it.
        unsafe { self.sender.send(socket, items, place) }
    }
}

/// The one `int` that may come beside a datagram (cmsg(3)): length, level, type, value.
fn hops_in(control: &[u8]) -> Option<u8> {
    let word = |at: usize| {
        let octets = control.get(at..at + 4)?;
        Some(i32::from_ne_bytes(octets.try_into().ok()?))
    };
    let start = size_of::<libc::size_t>();
    let is_hops = matches!(
        (word(start)?, word(start + 4)?),
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
    );
    is_hops.then(|| word(size_of::<libc::cmsghdr>()).map(|hops| u8::try_from(hops).ok()))??
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::bind_group;
    use std::io::ErrorKind;
    use std::net::UdpSocket;

    fn bound() -> (UdpSocket, SocketAddr) {
        let socket = bind_group("127.0.0.1:0".parse().unwrap(), 1)
            .unwrap()
            .remove(0);
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    #[test]
    fn a_batch_passes_on_what_came_to_where_each_is_to_go() {
        let ((gateway, at_gateway), (one, to_one), (two, to_two)) = (bound(), bound(), bound());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sizes = [0, 1, 100, 65_507, 1_200];
        for (number, size) in (0_u8..).zip(sizes) {
            client.send_to(&vec![number; size], at_gateway).unwrap();
        }
        let mut batch = Batch::new();
        assert_eq!(batch.recv(&gateway).unwrap(), sizes.len());
        for (at, size) in sizes.into_iter().enumerate() {
            assert_eq!(batch.from(at), Some(client.local_addr().unwrap()));
            assert_eq!(batch.data(at).len(), size);
            assert!(!batch.is_cut(at));
            assert_eq!(batch.hops(at), Some(64));
        }
        assert_eq!((batch.from(5), batch.hops(5)), (None, None));
        assert!(batch.data(5).is_empty() && batch.data(BATCH).is_empty());

        let to = |at, to| Outgoing { at, to: Some(to) };
        let both = [to(3, to_one), to(0, to_two), to(4, to_one), to(1, to_two)];
        assert_eq!(batch.send(&gateway, &both).unwrap(), 4);
        assert_eq!(batch.send(&gateway, &[to(2, to_one)]).unwrap(), 1);
        assert_eq!(batch.send(&gateway, &[]).unwrap(), 0);
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(to_two).unwrap();
        let back = [4, 1].map(|at| Outgoing { at, to: None });
        assert_eq!(batch.send(&connected, &back).unwrap(), 2);
        assert_eq!(batch.send(&connected, &back[1..]).unwrap(), 1);

        let mut got = Batch::new();
        assert_eq!(got.recv(&one).unwrap(), 3);
        let lengths: Vec<_> = (0..3).map(|at| got.data(at).len()).collect();
        assert_eq!(lengths, [65_507, 1_200, 100]);
        assert!((0..3).all(|at| got.from(at) == Some(at_gateway)));
        assert_eq!(got.data(1), [4; 1_200]);
        // The same room again, with what is left of the last time in it.
        assert_eq!(got.recv(&two).unwrap(), 5);
        assert_eq!((got.data(0), got.data(1)), (&[][..], &[1_u8][..]));
        assert_eq!(got.hops(1), Some(64));
        assert_eq!(got.recv(&two).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(got.is_empty() && got.data(0).is_empty());
    }

    #[test]
    fn a_train_arrives_as_what_it_is_made_of() {
        let ((gateway, at_gateway), (one, to_one)) = (bound(), bound());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sizes = [
            700, 700, 700, 300, 700, 0, 1_200, 1_200, 1_300, 9_000, 9_000,
        ];
        for (number, size) in (0_u8..).zip(sizes) {
            client.send_to(&vec![number; size], at_gateway).unwrap();
        }
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(to_one).unwrap();
        let mut batch = Batch::new();
        assert_eq!(batch.recv(&gateway).unwrap(), sizes.len());
        for (socket, to) in [(&gateway, Some(to_one)), (&connected, None)] {
            let all: Vec<_> = (0..sizes.len()).map(|at| Outgoing { at, to }).collect();
            assert_eq!(batch.send(socket, &all).unwrap(), sizes.len());
            let mut got = Batch::new();
            assert_eq!(got.recv(&one).unwrap(), sizes.len());
            for (at, number) in (0..sizes.len()).zip(0_u8..) {
                assert_eq!(got.data(at), vec![number; sizes[at]]);
            }
        }
    }

    #[test]
    fn more_than_a_batch_takes_two_calls_and_keeps_the_order() {
        let (gateway, at_gateway) = bound();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let count = u8::try_from(BATCH).unwrap() + 8;
        for number in 0..count {
            client.send_to(&[number], at_gateway).unwrap();
        }
        let mut batch = Batch::new();
        let mut got = Vec::new();
        while let Ok(received) = batch.recv(&gateway) {
            got.extend((0..received).map(|at| batch.data(at)[0]));
        }
        assert_eq!(got, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn ipv6_works_the_same_way() {
        let Ok(group) = bind_group("[::1]:0".parse().unwrap(), 1) else {
            // A machine without IPv6 has nothing to show here.
            return;
        };
        let at_gateway = group[0].local_addr().unwrap();
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.send_to(b"six", at_gateway).unwrap();
        let mut batch = Batch::new();
        assert_eq!(batch.recv(&group[0]).unwrap(), 1);
        assert_eq!(batch.from(0), Some(client.local_addr().unwrap()));
        assert_eq!((batch.data(0), batch.hops(0)), (&b"six"[..], Some(64)));
    }

    #[test]
    fn what_comes_beside_a_datagram_and_is_no_hop_count_is_passed_over() {
        assert_eq!(hops_in(&[]), None);
        assert_eq!(hops_in(&[0; 20]), None);
        let mut control = [0; 24];
        control[8..12].copy_from_slice(&libc::IPPROTO_IP.to_ne_bytes());
        control[12..16].copy_from_slice(&libc::IP_TTL.to_ne_bytes());
        control[16..20].copy_from_slice(&7_i32.to_ne_bytes());
        assert_eq!(hops_in(&control), Some(7));
        control[17] = 1;
        assert_eq!(hops_in(&control), None);
    }
}
