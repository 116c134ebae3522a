//! The HTTP proxy.
//!
//! [`http1`] decides: where heads and bodies end, what is refused, what is written; without
//! sockets. The rest moves octets: `listen` takes clients, a `connection` reads one request after the other, an
//! `exchange` finds a backend for each, `forward` drives one attempt (`content` is what both versions of HTTP take of an answer), and `idle` keeps backend
//! connections for the next; `log` gathers what the access log is told. `tls` shakes hands, and `client` is a connection with or without TLS:
//! all the rest is the same for both.

mod answer;
mod body;
mod client;
mod closing;
mod connection;
mod content;
mod exchange;
mod forward;
mod h2;
mod head;
pub mod http1;
mod idle;
mod listen;
mod local;
mod log;
mod order;
mod redirect;
mod service;
mod sticky;
mod timers;
mod tls;
mod trace;

pub use listen::{start, start_logging};
