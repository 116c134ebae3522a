//! The API's parameters: any query, body and media type, signed and not. Nobody gets through without a key; what
//! an Action is given by somebody who has one is checked without a fault.
//!
//! Input: a number of an Action, a query, a media type and a body, in lines.
#![no_main]

use bytes::Bytes;
use clb_actions::form::decode_form;
use clb_actions::multipart::{boundary_of, decode_multipart};
use clb_actions::signature::{Algorithm, canonical_parameters, sign, string_to_sign, verify};
use clb_actions::{ACTIONS, Access, Gatekeeper, Key, Limits, Method, Received};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    nonces: 10,
    requests_per_second: 0,
};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(4, |octet| *octet == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (number, query, media, body) = (line(), line(), line(), line());
    let media = std::str::from_utf8(media).ok();
    let keys = vec![Key::new("AKIDfuzz", "a-secret-that-nobody-guesses", Access::Full)];
    let gatekeeper = Gatekeeper::new(keys, "ap-guangzhou", Vec::new(), LIMITS);
    for method in [Method::Get, Method::Post] {
        let received = Received {
            method,
            host: "127.0.0.1:8443",
            path: "/v2/index.php",
            query,
            content_type: media,
            body: Bytes::copy_from_slice(body),
        };
        let error = gatekeeper.admit(&received, 1_764_000_000_000).expect_err("nobody has signed it");
        let said = format!("{error:?}");
        assert!(!said.is_empty() && !said.contains("nobody-guesses"));
    }
    let multipart = media
        .and_then(|media| boundary_of(media).ok())
        .and_then(|boundary| decode_multipart(&boundary, body).ok());
    let pairs = decode_form(query).unwrap_or_default();
    for pairs in [pairs, multipart.unwrap_or_default()] {
        let text = string_to_sign("GET", "127.0.0.1:8443", "/v2/index.php", &pairs);
        assert!(text.ends_with(&canonical_parameters(&pairs)));
        let signature = sign("key", Algorithm::Sha256, &text);
        assert!(verify("key", Algorithm::Sha256, &text, &signature));
        assert!(!verify("other", Algorithm::Sha256, &text, &signature));
        let at = number.iter().fold(0usize, |sum, octet| sum.wrapping_mul(31).wrapping_add((*octet).into()));
        let action = &ACTIONS[at % ACTIONS.len()];
        if let Err(error) = action.check(pairs) {
            assert!(!error.message.is_empty());
        }
    }
});
