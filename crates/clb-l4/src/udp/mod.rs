//! UDP listeners: sessions by client, answers back to it (semantics.md 5).
//!
//! What to do with a datagram is decided by `sessions`, a state machine without sockets or a
//! clock; `serve` receives and sends, in batches. The kernel gives a client's datagrams to one
//! worker always, so that workers share no session.

mod handover;
mod hops;
mod paths;
mod plane;
mod serve;
mod sessions;

pub use serve::start;
