//! HTTP messages in HTTP/2 (RFC 9113, section 8).

use super::raw::*;
use super::table::{Case, Want, case, one, run};

const MALFORMED: Want = Want::Reset(1, &[PROTOCOL_ERROR]);
const HEAD: u8 = END_HEADERS | END_STREAM;

fn bad(section: &'static str, name: &'static str, list: &[(&str, &str)]) -> Case {
    one(section, name, MALFORMED, (HEADERS, HEAD, 1), &fields(list))
}

fn bad_field(section: &'static str, name: &'static str, field: (&str, &str)) -> Case {
    one(
        section,
        name,
        MALFORMED,
        (HEADERS, HEAD, 1),
        &request("GET", &[field]),
    )
}

#[test]
fn requests() {
    let method = (":method", "GET");
    let (scheme, path) = ((":scheme", "https"), (":path", "/"));
    let authority = (":authority", "www.example.com");
    run(vec![
        one("8.1", "GET", Want::Answer(1), (HEADERS, HEAD, 1), &get()),
        one(
            "8.1",
            "HEAD",
            Want::Answer(1),
            (HEADERS, HEAD, 1),
            &request("HEAD", &[]),
        ),
        one(
            "8.1",
            "OPTIONS",
            Want::Answer(1),
            (HEADERS, HEAD, 1),
            &request("OPTIONS", &[]),
        ),
        bad_field("8.2.1", "a name in upper case", ("X-TEST", "a")),
        bad_field(
            "8.2.1",
            "a value that begins with a blank",
            ("x-test", " a"),
        ),
        bad_field("8.2.1", "a value that ends with a blank", ("x-test", "a ")),
        bad_field("8.2.1", "a value with CR LF", ("x-test", "a\r\nb: c")),
        bad_field("8.2.1", "a value with a zero octet", ("x-test", "a\0b")),
        bad_field("8.2.2", "connection", ("connection", "keep-alive")),
        bad_field(
            "8.2.2",
            "transfer-encoding",
            ("transfer-encoding", "chunked"),
        ),
        bad_field("8.2.2", "upgrade", ("upgrade", "websocket")),
        bad_field("8.2.2", "keep-alive", ("keep-alive", "5")),
        bad_field(
            "8.2.2",
            "proxy-connection",
            ("proxy-connection", "keep-alive"),
        ),
        bad_field(
            "8.2.2",
            "te that is not trailers",
            ("te", "trailers, deflate;q=0.5"),
        ),
        bad_field("8.3", "an unknown pseudo-header field", (":test", "a")),
        bad_field(
            "8.3",
            "a pseudo-header field of answers",
            (":status", "200"),
        ),
        bad(
            "8.3",
            "a pseudo-header field after others",
            &[method, scheme, authority, ("x", "y"), path],
        ),
        bad("8.3.1", "no method", &[scheme, path, authority]),
        bad("8.3.1", "no scheme", &[method, path, authority]),
        bad("8.3.1", "no path", &[method, scheme, authority]),
        bad(
            "8.3.1",
            "an empty path",
            &[method, scheme, (":path", ""), authority],
        ),
        bad(
            "8.3",
            "two methods",
            &[method, method, scheme, path, authority],
        ),
        bad(
            "8.3",
            "two schemes",
            &[method, scheme, scheme, path, authority],
        ),
        bad("8.3", "two paths", &[method, scheme, path, path, authority]),
    ]);
}

#[test]
fn bodies_and_trailers() {
    let post = |name, fields: &'static [(&str, &str)], pieces: &'static [&str], want| {
        case("8.1.1", name, want, move |raw: &mut Raw| {
            raw.frame(HEADERS, END_HEADERS, 1, &request("POST", fields));
            for (index, piece) in pieces.iter().enumerate() {
                let flags = if index + 1 == pieces.len() {
                    END_STREAM
                } else {
                    0
                };
                raw.frame(DATA, flags, 1, piece.as_bytes());
            }
        })
    };
    run(vec![
        post("a body", &[], &["test"], Want::Answer(1)),
        post(
            "an announced body",
            &[("content-length", "8")],
            &["test", "test"],
            Want::Answer(1),
        ),
        post(
            "a body that is too short",
            &[("content-length", "5")],
            &["test"],
            MALFORMED,
        ),
        post(
            "a body that is too long",
            &[("content-length", "1")],
            &["test"],
            MALFORMED,
        ),
        post(
            "pieces that are too short",
            &[("content-length", "9")],
            &["test", "test"],
            MALFORMED,
        ),
        post(
            "pieces that are too long",
            &[("content-length", "4")],
            &["test", "test"],
            MALFORMED,
        ),
        one(
            "8.1.1",
            "a length without a body",
            MALFORMED,
            (HEADERS, HEAD, 1),
            &request("POST", &[("content-length", "4")]),
        ),
        case("8.1", "trailer fields", Want::Answer(1), |raw| {
            raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
            raw.frame(DATA, 0, 1, b"test");
            raw.frame(HEADERS, HEAD, 1, &fields(&[("x-test", "ok")]));
        }),
        case(
            "8.1",
            "trailer fields without END_STREAM",
            MALFORMED,
            |raw| {
                raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
                raw.frame(DATA, 0, 1, b"test");
                raw.frame(HEADERS, END_HEADERS, 1, &fields(&[("x-test", "ok")]));
            },
        ),
        // Malformed by RFC 9113; the crate h2 drops it (ADR 18).
        case(
            "8.3",
            "a pseudo-header field in the trailer",
            Want::Answer(1),
            |raw| {
                raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
                raw.frame(HEADERS, HEAD, 1, &fields(&[(":method", "GET")]));
            },
        ),
    ]);
}
