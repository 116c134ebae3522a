//! HTTP/2 from clients (RFC 9113), on to backends that speak HTTP/1.1 (ADR 18).
//!
//! The crate `h2` speaks the protocol; `connection` sets its limits, takes streams and ends the
//! connection in order; `request` and `fields` turn messages of the one version into the other's,
//! through the parsers and writers of [`http1`](crate::http1), so that both obey the same rules;
//! `watch` sees frames before the crate does; `stream` carries one request out, in one of the connection's `tasks`; `forward` drives one attempt with a backend; `tunnel` is what
//! a WebSocket becomes (RFC 8441).

mod connection;
mod fields;
mod forward;
mod gathered;
mod io;
mod request;
mod stream;
mod tasks;
mod tunnel;
mod turn;
mod watch;
mod websocket;

pub(crate) use connection::serve;
