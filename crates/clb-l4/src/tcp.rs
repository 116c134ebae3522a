//! TCP listeners: accept, choose, connect, relay (semantics.md 5).

mod accept;
mod connection;

pub use accept::start;
