//! The rows of the conformance table over TLS: each client speaks plain HTTP to a TLS client that
//! passes it on, an orderly end as close_notify. Those of absolute-form are about `http`.

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

/// Clients speak TLS.
const OVER_TLS: bool = true;

#[path = "../conformance/after_answers.rs"]
mod after_answers;
#[path = "../conformance/answer_fields.rs"]
mod answer_fields;
#[path = "../conformance/answer_heads.rs"]
mod answer_heads;
#[path = "../conformance/answers.rs"]
mod answers;
#[path = "../conformance/backend_connections.rs"]
mod backend_connections;
#[path = "../conformance/backends.rs"]
mod backends;
#[path = "../conformance/bodies.rs"]
mod bodies;
#[path = "../conformance/chunked.rs"]
mod chunked;
#[path = "../conformance/cut_answers.rs"]
mod cut_answers;
#[path = "../conformance/draining.rs"]
mod draining;
#[path = "../conformance/early.rs"]
mod early;
#[path = "../conformance/fields.rs"]
mod fields;
#[path = "../conformance/framing_answers.rs"]
mod framing_answers;
#[path = "../conformance/framing_requests.rs"]
mod framing_requests;
#[path = "../conformance/hop_by_hop.rs"]
mod hop_by_hop;
#[path = "../conformance/host.rs"]
mod host;
#[path = "../conformance/interim.rs"]
mod interim;
#[path = "../conformance/length_and_coding.rs"]
mod length_and_coding;
#[path = "../conformance/limits.rs"]
mod limits;
#[path = "../conformance/line_ends.rs"]
mod line_ends;
#[path = "../conformance/odd_answers.rs"]
mod odd_answers;
#[path = "../conformance/odd_requests.rs"]
mod odd_requests;
#[path = "../conformance/options.rs"]
mod options;
#[path = "../conformance/persistence.rs"]
mod persistence;
#[path = "../conformance/pipelining.rs"]
mod pipelining;
#[path = "../conformance/redirects.rs"]
mod redirects;
#[path = "../conformance/request_line.rs"]
mod request_line;
#[path = "../conformance/timeouts.rs"]
mod timeouts;
#[path = "../conformance/upgrade.rs"]
mod upgrade;
