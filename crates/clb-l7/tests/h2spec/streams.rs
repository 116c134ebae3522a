//! Streams (RFC 9113, section 5) and CONTINUATION (6.10).

use super::raw::*;
use super::table::{Case, Want, case, one, run};

const PROTOCOL: Want = Want::Ends(&[PROTOCOL_ERROR]);
const CLOSED: Want = Want::Reset(1, &[STREAM_CLOSED, PROTOCOL_ERROR]);
const HEAD: u8 = END_HEADERS | END_STREAM;

#[test]
fn what_an_idle_stream_may_not_have() {
    run(vec![
        one("5.1", "DATA", PROTOCOL, (DATA, END_STREAM, 1), b"test"),
        one(
            "5.1",
            "RST_STREAM",
            PROTOCOL,
            (RST_STREAM, 0, 1),
            &[0, 0, 0, 8],
        ),
        one(
            "5.1",
            "WINDOW_UPDATE",
            PROTOCOL,
            (WINDOW_UPDATE, 0, 1),
            &[0, 0, 0, 100],
        ),
        one(
            "5.1",
            "CONTINUATION",
            PROTOCOL,
            (CONTINUATION, END_HEADERS, 1),
            &get(),
        ),
    ]);
}

fn after(name: &'static str, reset: bool, kind: u8) -> Case {
    // After a CONTINUATION that continues nothing the connection ends.
    case("5.1", name, CLOSED, move |raw| {
        if reset {
            raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
            raw.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        } else {
            raw.frame(HEADERS, HEAD, 1, &get());
        }
        raw.frame(kind, HEAD, 1, &get());
    })
}

#[test]
fn what_a_stream_may_not_have_after_its_end() {
    run(vec![
        after("DATA after END_STREAM", false, DATA),
        after("HEADERS after END_STREAM", false, HEADERS),
        after("CONTINUATION after END_STREAM", false, CONTINUATION),
        after("DATA after RST_STREAM", true, DATA),
        after("HEADERS after RST_STREAM", true, HEADERS),
        after("CONTINUATION after RST_STREAM", true, CONTINUATION),
    ]);
}

#[test]
fn numbers() {
    run(vec![
        one(
            "5.1.1",
            "an even number",
            PROTOCOL,
            (HEADERS, HEAD, 2),
            &get(),
        ),
        case("5.1.1", "a smaller number than before", PROTOCOL, |raw| {
            raw.frame(HEADERS, HEAD, 5, &get());
            raw.frame(HEADERS, HEAD, 3, &get());
        }),
        case(
            "5.1.2",
            "more streams than allowed",
            Want::Reset(257, &[REFUSED_STREAM, PROTOCOL_ERROR]),
            |raw| {
                for number in 0..129 {
                    raw.frame(HEADERS, END_HEADERS, 2 * number + 1, &request("POST", &[]));
                }
            },
        ),
    ]);
}

#[test]
fn dependencies() {
    let itself = [&[0, 0, 0, 1, 5][..], &get()].concat();
    let refused = Want::Reset(1, &[PROTOCOL_ERROR]);
    run(vec![
        one(
            "RFC 7540, 5.3.1",
            "HEADERS that depend on themselves",
            refused,
            (HEADERS, HEAD | PRIORITISED, 1),
            &itself,
        ),
        one(
            "RFC 7540, 5.3.1",
            "PRIORITY that depends on itself",
            refused,
            (PRIORITY, 0, 1),
            &[0, 0, 0, 1, 5],
        ),
        case(
            "RFC 7540, 5.3",
            "HEADERS with a priority",
            Want::Answer(3),
            |raw| {
                let other = [&[0, 0, 0, 1, 5][..], &get()].concat();
                raw.frame(HEADERS, HEAD | PRIORITISED, 3, &other);
            },
        ),
    ]);
}

#[test]
fn continuations() {
    run(vec![
        case("6.10", "a head in pieces", Want::Answer(1), |raw| {
            let block = get();
            raw.frame(HEADERS, END_STREAM, 1, &block[..10]);
            raw.frame(CONTINUATION, 0, 1, &block[10..20]);
            raw.frame(CONTINUATION, END_HEADERS, 1, &block[20..]);
        }),
        case(
            "6.10",
            "CONTINUATION after the head's end",
            Want::Reset(1, &[PROTOCOL_ERROR, STREAM_CLOSED]),
            |raw| {
                raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
                raw.frame(CONTINUATION, END_HEADERS, 1, &fields(&[("x", "y")]));
            },
        ),
        case("6.10", "CONTINUATION on stream 0", PROTOCOL, |raw| {
            raw.frame(HEADERS, END_STREAM, 1, &get());
            raw.frame(CONTINUATION, END_HEADERS, 0, &fields(&[("x", "y")]));
        }),
        case("6.10", "CONTINUATION after DATA", PROTOCOL, |raw| {
            raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
            raw.frame(DATA, 0, 1, b"test");
            raw.frame(CONTINUATION, END_HEADERS, 1, &fields(&[("x", "y")]));
        }),
    ]);
}
