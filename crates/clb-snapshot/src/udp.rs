//! UDP: settings, what all workers hold together, and what did not get through.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::board::Board;
use crate::sources::Source;

/// Settings that apply to the next datagram on every worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSettings {
    /// `timeouts.udp_idle`: a session ends when this long no datagram came either way.
    pub idle: Duration,
    /// `limits.udp_sessions`: sessions at the same time, all listeners together; `u64::MAX` for no
    /// limit.
    pub max_sessions: u64,
}

impl Default for UdpSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(90),
            max_sessions: 262_144,
        }
    }
}

/// Why a datagram was not passed on; the `reason` of `clb_udp_dropped_total`. New sessions that
/// were refused are [`Refusal`](crate::Refusal)s instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UdpDrop {
    /// The kernel had no room for it in the receive buffer of a socket.
    ReceiveBuffer,
    /// The kernel had no room for it in the send buffer of a socket.
    SendBuffer,
    /// It was longer than a datagram can be, and was cut.
    Cut,
    /// It has been through too many gateways: a loop, most likely.
    Hops,
    /// It came to a socket towards backends from an address to which no session there goes.
    Stray,
    /// The kernel refused to send it, for a packet filter or for want of a route.
    Unsendable,
}

impl UdpDrop {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::ReceiveBuffer,
        Self::SendBuffer,
        Self::Cut,
        Self::Hops,
        Self::Stray,
        Self::Unsendable,
    ];

    /// The reason as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReceiveBuffer => "receive_buffer",
            Self::SendBuffer => "send_buffer",
            Self::Cut => "cut",
            Self::Hops => "hops",
            Self::Stray => "stray",
            Self::Unsendable => "unsendable",
        }
    }
}

/// What the workers' UDP listeners hold together, and what they dropped.
#[derive(Debug, Default)]
pub struct UdpTotals {
    pub(crate) sessions: AtomicU64,
    pub(crate) sockets: AtomicU64,
    dropped: [AtomicU64; UdpDrop::ALL.len()],
}

impl UdpTotals {
    /// Sessions that are there now.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Sockets towards backends that are open now.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        self.sockets.load(Ordering::Relaxed)
    }

    /// Counts datagrams that were dropped.
    pub fn count_dropped(&self, reason: UdpDrop, datagrams: u64) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.fetch_add(datagrams, Ordering::Relaxed);
        }
    }

    /// How many were dropped.
    #[must_use]
    pub fn dropped(&self, reason: UdpDrop) -> u64 {
        self.dropped
            .get(reason as usize)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// A UDP session that counts against the limit until this is dropped.
#[derive(Debug)]
pub struct UdpSessionPermit {
    board: Arc<Board>,
    source: Source,
}

impl UdpSessionPermit {
    pub(crate) fn new(board: Arc<Board>, source: Source) -> Self {
        Self { board, source }
    }
}

impl Drop for UdpSessionPermit {
    fn drop(&mut self) {
        self.board.udp.sessions.fetch_sub(1, Ordering::Relaxed);
        self.board.leave(self.source);
    }
}

/// A socket towards UDP backends that counts against the descriptors until this is dropped.
#[derive(Debug)]
pub struct UdpSocketPermit(Arc<Board>);

impl UdpSocketPermit {
    pub(crate) fn new(board: Arc<Board>) -> Self {
        Self(board)
    }
}

impl Drop for UdpSocketPermit {
    fn drop(&mut self) {
        self.0.udp.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}
