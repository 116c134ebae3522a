//! Single reads and writes on sockets of any runtime's types.
//!
//! By system calls and not by the C library's functions: those are points where a thread may be
//! cancelled, which in a process with threads costs each call two atomic instructions and more, 3 %
//! of what an HTTP request costs.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::SockRef;

/// Receives into `buffer` (recv(2)); 0 means the peer has ended its direction.
///
/// # Errors
/// What recv(2) reports; `WouldBlock` when nothing is there on a non-blocking socket.
pub fn recv(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(net::recv(socket, buffer, RecvFlags::empty())?.0)
}

/// Sends from `data` (send(2) without SIGPIPE); gives how much the socket took.
///
/// # Errors
/// What send(2) reports; `WouldBlock` when a non-blocking socket takes nothing now.
pub fn send(socket: &impl AsFd, data: &[u8]) -> io::Result<usize> {
    Ok(net::send(socket, data, SendFlags::NOSIGNAL)?)
}

/// Sends from several pieces as if they were one (sendmsg(2) without SIGPIPE).
///
/// # Errors
/// As [`send`].
pub fn send_vectored(socket: &impl AsFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut nothing_beside = SendAncillaryBuffer::default();
    Ok(net::sendmsg(
        socket,
        pieces,
        &mut nothing_beside,
        SendFlags::NOSIGNAL,
    )?)
}

/// Looks at what has come without taking it (recv(2) with MSG_PEEK); 0 is the end.
///
/// # Errors
/// What recv(2) reports; `WouldBlock` when nothing has come.
pub fn peek(socket: &impl AsFd) -> io::Result<usize> {
    SockRef::from(socket).peek(&mut [MaybeUninit::uninit()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn what_is_sent_is_received_and_the_end_is_zero() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(send(&client, b"hello").unwrap(), 5);
        let mut buffer = [0; 16];
        assert_eq!(recv(&server, &mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");

        server.set_nonblocking(true).unwrap();
        let error = recv(&server, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);

        server.set_nonblocking(false).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(recv(&server, &mut buffer).unwrap(), 0);
    }
}
