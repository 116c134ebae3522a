//! HTTP/2 towards clients that break its rules: the cases of h2spec 2.6 (sections generic, hpack
//! and http2) as raw frames over TLS, each with its section of RFC 9113 or RFC 7541, and peers that
//! nobody here wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on ends"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod answers;
mod floods;
mod frames;
mod gateway;
mod messages;
mod peers;
mod raw;
mod redirects;
mod streams;
mod table;

/// The harness's own clients are not used here.
const OVER_TLS: bool = false;
