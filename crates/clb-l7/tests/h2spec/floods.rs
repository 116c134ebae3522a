//! Floods: what a client could make us hold or do without end. Each ends with GOAWAY, and its code
//! is that of the limit that is meant to act.

use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::harness::Settings;
use super::raw::*;
use super::table::Bench;

const HEAD: u8 = END_HEADERS | END_STREAM;

/// Sends `count` times; the code of GOAWAY.
fn flood(count: usize, mut send: impl FnMut(&mut Raw, usize)) -> Option<u32> {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hello()]);
    let mut raw = bench.open(&served);
    for index in 0..count {
        send(&mut raw, index);
    }
    code(&mut raw)
}

fn code(raw: &mut Raw) -> Option<u32> {
    while let Some(frame) = raw.read() {
        if frame.kind == GOAWAY {
            return Some(frame.code());
        }
    }
    None
}

#[test]
fn frames_that_carry_nothing() {
    // CVE-2019-9512, 9515, 9518 and the like.
    let setting = settings_of(&[(3, 100)]);
    for (name, kind, stream, payload) in [
        ("PING", PING, 0, &b"12345678"[..]),
        ("SETTINGS", SETTINGS, 0, &setting[..]),
        ("empty SETTINGS", SETTINGS, 0, b""),
        ("PRIORITY", PRIORITY, 3, &[0, 0, 0, 0, 1]),
        ("WINDOW_UPDATE", WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        ("an unknown frame", 0x99, 0, b""),
    ] {
        let code = flood(3_000, |raw, _| raw.frame(kind, 0, stream, payload));
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}");
    }
}

#[test]
fn empty_data() {
    // RUSTSEC-2026-0258
    let code = flood(3_000, |raw, index| match index {
        0 => raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[])),
        _ => raw.frame(DATA, 0, 1, &[]),
    });
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
}

#[test]
fn continuations() {
    // CVE-2024-27316
    for length in [1, 1_000] {
        let more = fields(&[("x", &"y".repeat(length))]);
        let code = flood(20_000, |raw, index| match index {
            0 => raw.frame(HEADERS, END_STREAM, 1, &get()),
            _ => raw.frame(CONTINUATION, 0, 1, &more),
        });
        let codes = [ENHANCE_YOUR_CALM, COMPRESSION_ERROR];
        assert!(
            code.is_some_and(|code| codes.contains(&code)),
            "{length}: {code:?}"
        );
    }
}

#[test]
fn resets_before_a_request_is_looked_at() {
    // CVE-2023-44487
    let code = flood(2_000, |raw, index| {
        let stream = 2 * index as u32 + 1;
        let mut both = frame(HEADERS, HEAD, stream, &get());
        both.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        raw.octets(&both);
    });
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
}

/// Says only that it has the request.
fn hinting() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            read_head(&mut BufReader::new(&stream));
            let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n");
            all.push(stream);
        }
    });
    addr
}

#[test]
fn resets_of_requests_that_a_backend_has() {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hinting()]);
    let mut raw = bench.open(&served);
    for cancelled in 0..1_000 {
        let stream = 2 * cancelled + 1;
        raw.frame(HEADERS, HEAD, stream, &get());
        loop {
            let frame = raw.read().expect("GOAWAY");
            match frame.kind {
                HEADERS => break,
                GOAWAY => {
                    assert_eq!(frame.code(), ENHANCE_YOUR_CALM);
                    assert!((200..=210).contains(&cancelled), "{cancelled}");
                    return;
                }
                _ => {}
            }
        }
        raw.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    panic!("no GOAWAY");
}

#[test]
fn more_streams_than_are_allowed() {
    let settings = Settings {
        h2_concurrent_streams: 4,
        ..Settings::default()
    };
    let bench = Bench::start(&settings);
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let served = bench.listen(&[silent.local_addr().unwrap()]);
    let mut raw = bench.open(&served);
    for index in 0..5 {
        raw.frame(HEADERS, HEAD, 2 * index + 1, &get());
    }
    let reset = loop {
        let frame = raw.read().unwrap();
        if frame.kind == RST_STREAM {
            break frame;
        }
    };
    assert_eq!((reset.stream, reset.code()), (9, REFUSED_STREAM));
}
