//! Sending several datagrams in one call.
#![expect(unsafe_code, reason = "sendmmsg(2) takes pointers to pointers")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::address::{self, Room};
use super::batch::BATCH;
use super::fixed::{Fixed, no_header, no_vector};
use super::train::{self, Item};

/// Room for one control message (cmsg(3)) that holds an unsigned number of 16 bits.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Segment {
    length: usize,
    level: i32,
    kind: i32,
    size: u16,
}

/// Octets of the control message without what pads it.
const SEGMENT_LENGTH: usize = size_of::<libc::cmsghdr>() + size_of::<u16>();

/// After a train that the kernel did not take, so many sends go without.
const WITHOUT_TRAINS: u32 = 1_000;

/// What one call of sendmmsg(2) is given.
pub(super) struct Sender {
    names: Fixed<Room>,
    controls: Fixed<Segment>,
    vectors: Fixed<libc::iovec>,
    headers: Fixed<libc::mmsghdr>,
    /// Datagrams of each message.
    counts: [usize; BATCH],
    without_trains: u32,
}

impl Sender {
    pub(super) fn new() -> Self {
        let segment = Segment {
            length: SEGMENT_LENGTH,
            level: libc::SOL_UDP,
            kind: libc::UDP_SEGMENT,
            size: 0,
        };
        Self {
            names: Fixed::new(address::empty(), BATCH),
            controls: Fixed::new(segment, BATCH),
            vectors: Fixed::new(no_vector(), BATCH),
            headers: Fixed::new(no_header(), BATCH),
            counts: [0; BATCH],
            without_trains: 0,
        }
    }

    /// Sends datagrams, [`BATCH`] at most; gives how many went. `items` is their sizes and
    /// addresses, `data` where the octets of each begin.
    ///
    /// # Safety
    /// `data` must give pointers to as many octets as the item at that place has, which nobody
    /// writes to meanwhile.
    pub(super) unsafe fn send(
        &mut self,
        socket: &impl AsFd,
        items: &[Item],
        data: impl Fn(usize) -> *const u8,
    ) -> io::Result<usize> {
        let items = items.get(..BATCH).unwrap_or(items);
        let may_train = self.without_trains == 0;
        self.without_trains = self.without_trains.saturating_sub(1);
        let messages = self.compose(items, &data, may_train);
        let has_train = self.counts.first().is_some_and(|first| *first > 1);
        let sent = self.call(socket, messages);
        let sent = match sent {
            // A device without checksums, or one whose datagrams are shorter.
            Err(error) if has_train && is_about_the_train(&error) => {
                self.without_trains = WITHOUT_TRAINS;
                let messages = self.compose(items, &data, false);
                self.call(socket, messages)?
            }
            sent => sent?,
        };
        Ok(self.counts.iter().take(sent).sum())
    }

    /// Writes the messages; gives how many.
    fn compose(
        &mut self,
        items: &[Item],
        data: &impl Fn(usize) -> *const u8,
        may_train: bool,
    ) -> usize {
        let (mut at, mut message) = (0, 0);
        while let Some(rest) = items.get(at..).filter(|rest| !rest.is_empty()) {
            let count = if may_train { train::first(rest) } else { 1 };
            let mut header = no_header();
            if let Some(first) = rest.first() {
                if let Some(to) = first.to {
                    let (name, length) = address::write(to);
                    header.msg_hdr.msg_name = self.names.place(message).cast();
                    header.msg_hdr.msg_namelen = length;
                    self.names.write(message, name);
                }
                if count > 1 {
                    let control = self.controls.place(message);
                    header.msg_hdr.msg_control = control.cast();
                    header.msg_hdr.msg_controllen = size_of::<Segment>();
                    self.controls.write(
                        message,
                        Segment {
                            length: SEGMENT_LENGTH,
                            level: libc::SOL_UDP,
                            kind: libc::UDP_SEGMENT,
                            size: u16::try_from(first.length).unwrap_or(u16::MAX),
                        },
                    );
                }
            }
            header.msg_hdr.msg_iov = self.vectors.place(at);
            header.msg_hdr.msg_iovlen = count;
            for (place, item) in (at..).zip(rest.iter().take(count)) {
                let vector = libc::iovec {
                    iov_base: data(place).cast_mut().cast(),
                    iov_len: item.length,
                };
                self.vectors.write(place, vector);
            }
            self.headers.write(message, header);
            if let Some(of_message) = self.counts.get_mut(message) {
                *of_message = count;
            }
            at += count;
            message += 1;
        }
        message
    }

    fn call(&self, socket: &impl AsFd, messages: usize) -> io::Result<usize> {
        let descriptor = socket.as_fd().as_raw_fd();
        // Through syscall(2), see `Batch::recv`.
        // SAFETY: the first `messages` headers were written by `compose` and point to names,
        // controls and vectors of this sender with their lengths, the vectors to what the caller
        // of `send` vouches for, and the kernel only reads it; the descriptor is open, as it is
        // borrowed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_sendmmsg,
                descriptor,
                self.headers.place(0),
                messages as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}

fn is_about_the_train(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP)
    )
}
