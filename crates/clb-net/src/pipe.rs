//! Moving octets from one socket to another without copying them (splice(2)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// A pipe between two sockets, and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    held: usize,
}

impl Pipe {
    /// A pipe that takes about `capacity` octets.
    ///
    /// # Errors
    /// What pipe2(2) reports, and fcntl(2) with F_SETPIPE_SZ: `PermissionDenied` beyond
    /// `fs.pipe-max-size`, or when the user's pipes have `fs.pipe-user-pages-soft` pages together.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let capacity = fcntl_setpipe_size(&write, capacity)?;
        Ok(Self {
            read,
            write,
            capacity,
            held: 0,
        })
    }

    /// Octets that were taken from one socket and not yet by the other.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Takes from a socket what is there, as much as the pipe holds; 0 is an orderly end.
    ///
    /// # Errors
    /// What splice(2) reports; `WouldBlock` when the socket has nothing. The pipe must be empty:
    /// otherwise `WouldBlock` may also mean that it is full.
    pub fn fill(&mut self, from: &impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let length = splice(from, None, &self.write, None, self.capacity, flags)?;
        self.held += length;
        Ok(length)
    }

    /// Gives a socket what it takes of what is held; tells how much.
    ///
    /// # Errors
    /// What splice(2) reports; `WouldBlock` when the socket takes nothing.
    pub fn drain(&mut self, to: &impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let length = splice(&self.read, None, to, None, self.held, flags)?;
        self.held = self.held.saturating_sub(length);
        Ok(length)
    }
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
    fn octets_pass_and_the_end_is_zero() {
        let ((mut sender, from), (to, mut receiver)) = (pair(), pair());
        for socket in [&from, &to] {
            socket.set_nonblocking(true).unwrap();
        }
        let mut pipe = Pipe::new(256 << 10).unwrap();
        assert_eq!(pipe.fill(&from).unwrap_err().kind(), ErrorKind::WouldBlock);
        let sent: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        let writing = {
            let sent = sent.clone();
            std::thread::spawn(move || {
                sender.write_all(&sent).unwrap();
                sender
            })
        };
        let mut received = vec![0; sent.len()];
        let mut done = 0;
        while done < sent.len() {
            match pipe.fill(&from) {
                Ok(length) => assert!(length > 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            while pipe.held() > 0 {
                let length = pipe.drain(&to).unwrap();
                receiver
                    .read_exact(&mut received[done..done + length])
                    .unwrap();
                done += length;
            }
        }
        assert_eq!(received, sent);
        drop(writing.join().unwrap());
        loop {
            match pipe.fill(&from) {
                Ok(length) => break assert_eq!(length, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_socket_that_takes_no_more_leaves_the_rest_in_the_pipe() {
        let ((mut sender, from), (to, _receiver)) = (pair(), pair());
        for socket in [&sender, &from, &to] {
            socket.set_nonblocking(true).unwrap();
        }
        let mut pipe = Pipe::new(64 << 10).unwrap();
        let data = vec![7; 64 << 10];
        let stuck = (0..10_000).any(|_| {
            let _ = sender.write(&data);
            if pipe.held() == 0 {
                let _ = pipe.fill(&from);
            }
            pipe.held() > 0
                && pipe
                    .drain(&to)
                    .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        assert!(stuck && pipe.held() > 0);
    }
}
