//! Floods: what a client could make us hold or do without end.

use super::harness::Settings;
use super::raw::*;
use super::table::Bench;

/// Sends until the gateway says why it has had enough, or `count` times; the code.
fn flood(count: usize, mut send: impl FnMut(&mut Raw, usize)) -> Option<u32> {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hello()]);
    let mut raw = bench.open(&served);
    for index in 0..count {
        send(&mut raw, index);
    }
    while let Some(frame) = raw.read() {
        if frame.kind == GOAWAY {
            return Some(frame.code());
        }
    }
    None
}

#[test]
fn rapid_reset() {
    // CVE-2023-44487
    let code = flood(2_000, |raw, index| {
        let stream = 2 * index as u32 + 1;
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get());
        both.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        raw.octets(&both);
    });
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
}

#[test]
fn continuations_without_end() {
    // CVE-2024-27316
    let code = flood(2_000, |raw, index| match index {
        0 => raw.frame(HEADERS, END_STREAM, 1, &get()),
        _ => raw.frame(CONTINUATION, 0, 1, &fields(&[("x", &"y".repeat(1_000))])),
    });
    let codes = [ENHANCE_YOUR_CALM, COMPRESSION_ERROR, PROTOCOL_ERROR];
    assert!(code.is_none_or(|code| codes.contains(&code)), "{code:?}");
}

#[test]
fn empty_data_without_end() {
    // RUSTSEC-2026-0258
    let code = flood(200_000, |raw, index| match index {
        0 => raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[])),
        _ => raw.frame(DATA, 0, 1, &[]),
    });
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
}
