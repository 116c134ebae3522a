//! A channel to another process of this machine, over which open files travel with messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    sockopt,
};

/// Octets of one message at most: well below what a socket of the system's default size takes.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// Open files that go with one message at most; the kernel takes 253 (unix(7), `SCM_RIGHTS`).
pub const MESSAGE_FILES: usize = 128;

/// One end of a channel: whole messages in order (`SOCK_SEQPACKET`, unix(7)).
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends. They are closed on exec.
    ///
    /// # Errors
    /// What socketpair(2) reports.
    pub fn pair() -> io::Result<(Self, Self)> {
        let kind = SocketType::SEQPACKET;
        let (one, other) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Another handle of the same end.
    ///
    /// # Errors
    /// What fcntl(2) reports.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Limits how long a [`send`](Self::send) or [`receive`](Self::receive) waits; `None` for ever.
    ///
    /// # Errors
    /// What setsockopt(2) reports.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, patience)?;
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Send, patience)?;
        Ok(())
    }

    /// Sends a message of at most [`MESSAGE_BYTES`], and not empty, with at most [`MESSAGE_FILES`]
    /// open files.
    ///
    /// # Errors
    /// `InvalidInput` for more; what sendmsg(2) reports, `WouldBlock` after the patience.
    pub fn send(&self, message: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        if message.is_empty() || message.len() > MESSAGE_BYTES || files.len() > MESSAGE_FILES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "too much for one message, or nothing",
            ));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = rustix::io::retry_on_intr(|| {
            let data = [IoSlice::new(message)];
            sendmsg(&self.0, &data, &mut control, SendFlags::NOSIGNAL)
        })?;
        match sent == message.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Receives a message with its open files, which are closed on exec; an empty one is the end.
    ///
    /// # Errors
    /// What recvmsg(2) reports, `WouldBlock` after the patience; `InvalidData` for a message or
    /// files that were cut, for want of descriptors say.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut message = vec![0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let mut room = [IoSliceMut::new(&mut message)];
            recvmsg(&self.0, &mut room, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        let mut files = Vec::new();
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = item {
                files.extend(rights);
            }
        }
        let cut = rustix::net::ReturnFlags::TRUNC | rustix::net::ReturnFlags::CTRUNC;
        if received.flags.intersects(cut) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message or its files were cut",
            ));
        }
        message.truncate(received.bytes);
        Ok((message, files))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    #[test]
    fn messages_come_whole_and_in_order_and_the_end_is_seen() {
        let (one, other) = Channel::pair().unwrap();
        one.send(b"first", &[]).unwrap();
        one.send(&vec![7; MESSAGE_BYTES], &[]).unwrap();
        drop(one);
        assert_eq!(other.receive().unwrap().0, b"first");
        assert_eq!(other.receive().unwrap().0, vec![7; MESSAGE_BYTES]);
        assert!(other.receive().unwrap().0.is_empty());
    }

    #[test]
    fn files_travel_and_stay_the_same_files() {
        let (one, other) = Channel::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"here").unwrap();
        file.rewind().unwrap();
        let many: Vec<_> = (0..MESSAGE_FILES).map(|_| file.as_fd()).collect();
        one.send(b"x", &many).unwrap();
        let (message, files) = other.receive().unwrap();
        assert_eq!(
            (message.as_slice(), files.len()),
            (&b"x"[..], MESSAGE_FILES)
        );
        let mut text = String::new();
        File::from(files.into_iter().next().unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "here");
    }

    #[test]
    fn too_much_for_a_message_is_refused() {
        let (one, _other) = Channel::pair().unwrap();
        for wrong in [vec![], vec![0; MESSAGE_BYTES + 1]] {
            let error = one.send(&wrong, &[]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let many: Vec<_> = (0..=MESSAGE_FILES).map(|_| one.as_fd()).collect();
        assert!(one.send(b"x", &many).is_err());
    }

    #[test]
    fn patience_ends() {
        let (one, _other) = Channel::pair().unwrap();
        one.set_patience(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(one.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
