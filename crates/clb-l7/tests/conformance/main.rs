//! The rules of RFC 9110, RFC 9112 and RFC 6455 for a gateway, and those of the service, as rows:
//! raw clients and raw backends on both sides, one row for a rule.

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

/// Clients do not speak TLS.
const OVER_TLS: bool = false;

mod absolute_form;
mod after_answers;
mod answer_fields;
mod answer_heads;
mod answers;
mod backend_connections;
mod backends;
mod bodies;
mod chunked;
mod cut_answers;
mod draining;
mod early;
mod fields;
mod framing_answers;
mod framing_requests;
mod hop_by_hop;
mod host;
mod interim;
mod length_and_coding;
mod limits;
mod line_ends;
mod odd_answers;
mod odd_requests;
mod options;
mod persistence;
mod pipelining;
mod redirects;
mod request_line;
mod timeouts;
mod upgrade;
