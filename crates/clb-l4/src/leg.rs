//! One side of a relayed connection.

use tokio::net::TcpStream;

/// A TCP connection that is reset when it is dropped, unless it came to an orderly end: whatever
/// cuts a session short (a failed connect, an error on the other side, an idle time that ran out,
/// a cancelled task) the peer must not take for the end of the data.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) stream: TcpStream,
    finished: bool,
}

impl Leg {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            finished: false,
        }
    }

    /// Both directions ended in order: drop closes, and the kernel still delivers what is left.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if !self.finished {
            // It fails only for a connection that is gone anyway.
            let _ = clb_net::set_linger_zero(&self.stream);
        }
    }
}
