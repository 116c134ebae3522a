//! TLS towards clients (semantics.md 6, ADR 17).
//!
//! `handshake` shakes hands, `limit` bounds how many do so at a time, `stream` is what comes out
//! of it, `certificate` is what backends learn of a client's certificate.

mod certificate;
mod handshake;
mod limit;
mod stream;

pub(crate) use handshake::{Shaken, shake_hands};
pub(crate) use limit::Handshakes;
pub(crate) use stream::TlsStream;
