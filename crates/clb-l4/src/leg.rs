//! One side of a relayed connection.

use tokio::net::TcpStream;

/// A TCP connection that is reset when it is dropped, unless it came to an orderly end: whatever
/// cuts a session short (a failed connect, an error on the other side, an idle time that ran out,
/// a cancelled task) the peer must not take for the end of the data.
#[derive(Debug)]
pub(crate) struct Leg(
    /// `None` when it has ended. That takes no room, as a flag beside it would in every idle
    /// connection.
    Option<TcpStream>,
);

impl Leg {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(Some(stream))
    }

    /// The connection, until it is [finished](Self::finish).
    pub(crate) fn stream(&self) -> Option<&TcpStream> {
        self.0.as_ref()
    }

    /// Both directions ended in order: closes, and the kernel still delivers what is left.
    pub(crate) fn finish(&mut self) {
        self.0 = None;
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            // It fails only for a connection that is gone anyway.
            let _ = clb_net::set_linger_zero(stream);
        }
    }
}
