//! The rules of RFC 9110, RFC 9112 and RFC 6455 for a gateway, and those of the service, as rows:
//! raw clients and raw backends on both sides, one row for a rule.

#[path = "../harness/mod.rs"]
mod harness;

mod backends;
mod bodies;
mod chunked;
mod early;
mod fields;
mod framing_answers;
mod framing_requests;
mod hop_by_hop;
mod host;
mod interim;
mod limits;
mod persistence;
mod request_line;
mod timeouts;
mod upgrade;
