//! Frames (RFC 9113, sections 3 to 7).

use super::harness::Settings;
use super::raw::*;
use super::table::{Bench, Case, Want, case, one, run};

const PROTOCOL: Want = Want::Ends(&[PROTOCOL_ERROR]);
const SIZE: Want = Want::Ends(&[FRAME_SIZE_ERROR]);
const HEAD: u8 = END_HEADERS | END_STREAM;

#[test]
fn format_and_size() {
    let mut undefined_flags = frame(PING, 0x16, 0, b"12345678");
    undefined_flags.extend(frame(PING, 0, 0x8000_0000, b"12345678"));
    run(vec![
        one(
            "4.1",
            "a frame of unknown type",
            Want::Lives,
            (0x16, 0, 0),
            b"12345678",
        ),
        one(
            "5.5",
            "a frame of unknown type on a stream",
            Want::Lives,
            (0x99, 0, 1),
            b"1",
        ),
        case(
            "4.1",
            "undefined flags, a reserved bit",
            Want::Lives,
            move |raw| {
                raw.octets(&undefined_flags);
            },
        ),
        case("4.2", "DATA of 2^14 octets", Want::Answer(1), |raw| {
            raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
            raw.frame(DATA, END_STREAM, 1, &[b'a'; 1 << 14]);
        }),
        case(
            "4.2",
            "DATA that is too large",
            Want::Reset(1, &[FRAME_SIZE_ERROR]),
            |raw| {
                raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
                raw.frame(DATA, END_STREAM, 1, &[b'a'; (1 << 14) + 1]);
            },
        ),
        one(
            "4.2",
            "HEADERS that are too large",
            SIZE,
            (HEADERS, HEAD, 1),
            &[0; (1 << 14) + 1],
        ),
    ]);
}

#[test]
fn no_preface() {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hello()]);
    for octets in [
        "INVALID CONNECTION PREFACE\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n 12345678",
    ] {
        // RFC 9113, 3.4: a connection error; GOAWAY may be left out.
        let mut raw = Raw::connect(served.addr(), &h2_config(&bench.authority));
        raw.octets(octets.as_bytes());
        while let Some(frame) = raw.read() {
            assert_ne!(frame.kind, HEADERS);
        }
    }
}

#[test]
fn field_blocks() {
    // RFC 9113 (4.3) wants COMPRESSION_ERROR; the crate h2 says PROTOCOL_ERROR (ADR 18).
    let compression = Want::Ends(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);
    let block = |name, end: &[u8]| {
        let payload = [get(), end.to_vec()].concat();
        one("RFC 7541", name, compression, (HEADERS, HEAD, 1), &payload)
    };
    let mut cases = vec![
        one(
            "4.3",
            "a block that is cut",
            compression,
            (HEADERS, HEAD, 1),
            &[0x40, 5, b'a'],
        ),
        block("6.1: index 0", &[0x80]),
        block("2.3.3: an index beyond the tables", &[0xff, 0x80, 1]),
        block("4.2: a change of size at the end", &[0x21]),
        // To be refused by RFC 7541; the crate h2 takes it for what it is without (ADR 18).
        one(
            "RFC 7541",
            "5.2: padding of more than 7 bits",
            Want::Answer(1),
            (HEADERS, HEAD, 1),
            &[get(), vec![0, 1, b'x', 0x82, 0x1c, 0xff]].concat(),
        ),
        block("5.2: padding that is not EOS", &[0, 1, b'x', 0x81, 0x18]),
        block(
            "5.2: EOS as a symbol",
            &[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff],
        ),
        one(
            "RFC 7541",
            "6.3: a table larger than allowed",
            compression,
            (HEADERS, HEAD, 1),
            &[0x3f, 0xe2, 0x1f],
        ),
    ];
    for (name, kind, stream) in [
        ("PRIORITY within a block", PRIORITY, 1),
        ("HEADERS of another stream within a block", HEADERS, 3),
        ("DATA within a block", DATA, 1),
        ("an unknown frame within a block", 0x99, 1),
    ] {
        cases.push(case("4.3; 6.2; 6.10", name, PROTOCOL, move |raw| {
            raw.frame(HEADERS, END_STREAM, 1, &get());
            raw.frame(kind, END_HEADERS, stream, &[0, 0, 0, 0, 5]);
        }));
    }
    run(cases);
}

#[test]
fn data_headers_priority_and_resets() {
    let padded = |name, kind, payload: &[u8]| -> Case {
        let payload = payload.to_vec();
        case("6.1; 6.2", name, PROTOCOL, move |raw| {
            if kind == DATA {
                raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
            }
            raw.frame(kind, PADDED | HEAD, 1, &payload);
        })
    };
    run(vec![
        one(
            "6.1",
            "DATA on stream 0",
            PROTOCOL,
            (DATA, END_STREAM, 0),
            b"test",
        ),
        padded("DATA with too much padding", DATA, &[6, 1, 2, 3, 4]),
        padded("HEADERS with too much padding", HEADERS, &[200, 0x82]),
        one(
            "6.2",
            "HEADERS on stream 0",
            PROTOCOL,
            (HEADERS, HEAD, 0),
            &get(),
        ),
        one(
            "6.3",
            "PRIORITY on stream 0",
            PROTOCOL,
            (PRIORITY, 0, 0),
            &[0, 0, 0, 1, 5],
        ),
        one(
            "6.3",
            "PRIORITY of 4 octets",
            Want::Reset(1, &[FRAME_SIZE_ERROR]),
            (PRIORITY, 0, 1),
            &[0, 0, 0, 1],
        ),
        one(
            "6.4",
            "RST_STREAM on stream 0",
            PROTOCOL,
            (RST_STREAM, 0, 0),
            &[0, 0, 0, 8],
        ),
        one(
            "6.4",
            "RST_STREAM on an idle stream",
            PROTOCOL,
            (RST_STREAM, 0, 1),
            &[0, 0, 0, 8],
        ),
        case("6.4", "RST_STREAM of 3 octets", SIZE, |raw| {
            raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
            raw.frame(RST_STREAM, 0, 1, &[0, 0, 0]);
        }),
        one(
            "5.3.2",
            "PRIORITY on an idle stream",
            Want::Lives,
            (PRIORITY, 0, 5),
            &[0, 0, 0, 1, 5],
        ),
        one(
            "8.4",
            "PUSH_PROMISE of a client",
            PROTOCOL,
            (PUSH_PROMISE, END_HEADERS, 1),
            &[&[0, 0, 0, 2], &get()[..]].concat(),
        ),
    ]);
}

#[test]
fn settings_and_pings() {
    let setting = |name, want, id, value| {
        one(
            "6.5.2",
            name,
            want,
            (SETTINGS, 0, 0),
            &settings_of(&[(id, value)]),
        )
    };
    run(vec![
        one(
            "6.5",
            "an acknowledgement with content",
            SIZE,
            (SETTINGS, ACK, 0),
            &[0],
        ),
        one(
            "6.5",
            "SETTINGS on a stream",
            PROTOCOL,
            (SETTINGS, 0, 1),
            &settings_of(&[(3, 1)]),
        ),
        one(
            "6.5",
            "SETTINGS of 3 octets",
            SIZE,
            (SETTINGS, 0, 0),
            &[0, 3, 0],
        ),
        setting("ENABLE_PUSH of 2", PROTOCOL, 2, 2),
        setting(
            "a window beyond the limit",
            Want::Ends(&[FLOW_CONTROL_ERROR]),
            4,
            1 << 31,
        ),
        setting("MAX_FRAME_SIZE too small", PROTOCOL, 5, (1 << 14) - 1),
        setting("MAX_FRAME_SIZE too large", PROTOCOL, 5, 1 << 24),
        setting("an unknown setting", Want::Lives, 0xff, 1),
        one(
            "6.7",
            "a PING that is an answer",
            Want::Lives,
            (PING, ACK, 0),
            b"12345678",
        ),
        one(
            "6.7",
            "PING on a stream",
            PROTOCOL,
            (PING, 0, 1),
            b"12345678",
        ),
        one("6.7", "PING of 6 octets", SIZE, (PING, 0, 0), b"123456"),
        one(
            "6.8",
            "GOAWAY on a stream",
            PROTOCOL,
            (GOAWAY, 0, 1),
            &[0; 8],
        ),
        case("7", "RST_STREAM with an unknown code", Want::Lives, |raw| {
            raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
            raw.frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff]);
        }),
    ]);
}

#[test]
fn windows() {
    let flow = Want::Ends(&[FLOW_CONTROL_ERROR]);
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let mut small = case(
        "6.9",
        "an answer through a window of 1 octet",
        Want::Answer(1),
        |raw| {
            raw.frame(HEADERS, HEAD, 1, &get());
            for _ in 0..5 {
                raw.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
            }
        },
    );
    small.settings = &[(4, 1)];
    let mut none = case(
        "6.9.2",
        "a window that is opened later",
        Want::Answer(1),
        |raw| {
            raw.frame(HEADERS, HEAD, 1, &get());
            raw.frame(SETTINGS, 0, 0, &settings_of(&[(4, 5)]));
        },
    );
    none.settings = &[(4, 0)];
    run(vec![
        small,
        none,
        one(
            "6.9",
            "an increment of 0",
            PROTOCOL,
            (WINDOW_UPDATE, 0, 0),
            &[0; 4],
        ),
        case(
            "6.9",
            "an increment of 0 on a stream",
            Want::Reset(1, &[PROTOCOL_ERROR]),
            |raw| {
                raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
                raw.frame(WINDOW_UPDATE, 0, 1, &[0; 4]);
            },
        ),
        one(
            "6.9",
            "WINDOW_UPDATE of 3 octets",
            SIZE,
            (WINDOW_UPDATE, 0, 0),
            &[0; 3],
        ),
        case(
            "6.9.1",
            "the connection's window overflows",
            flow,
            move |raw| {
                raw.frame(WINDOW_UPDATE, 0, 0, &most);
                raw.frame(WINDOW_UPDATE, 0, 0, &most);
            },
        ),
        case(
            "6.9.1",
            "a stream's window overflows",
            Want::Reset(1, &[FLOW_CONTROL_ERROR]),
            move |raw| {
                raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
                raw.frame(WINDOW_UPDATE, 0, 1, &most);
                raw.frame(WINDOW_UPDATE, 0, 1, &most);
            },
        ),
    ]);
}
