//! An accepted request, rewritten, is accepted again with the same framing.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use clb_l7::http1::{
    Fields, HeadLimits, HeadScanner, RequestAdditions, Scheme, Version, leading_crlf,
    parse_request, parse_whole_request, write_request,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits {
    line: usize::MAX,
    head: usize::MAX,
    fields: usize::MAX,
};

const ADDITIONS: RequestAdditions<'static> = RequestAdditions {
    client: IpAddr::V6(Ipv6Addr::LOCALHOST),
    port: 443,
    https: false,
    client_certificate: b"",
    request_id: b"ours",
    default_host: b"127.10.0.1",
    http2: false,
    trace: None,
    via: true,
    session_cookie: Some(b"clb_route"),
};

fuzz_target!(|data: &[u8]| {
    let data = &data[leading_crlf(data)..];
    // What the scanner takes for a head is the head that the parser sees.
    let mut scanner = HeadScanner::default();
    let mut length = None;
    for end in 0..=data.len().min(4096) {
        match scanner.scan(&data[..end], &LIMITS) {
            Ok(None) => {}
            Ok(Some(found)) => {
                length = Some(found);
                break;
            }
            Err(_) => break,
        }
    }
    let mut fields = Fields::default();
    let parsed = parse_request(&data[..length.unwrap_or(data.len())], &mut fields);
    if data.len() <= 4096 {
        // In one pass it is accepted or not all the same.
        let mut fields = Fields::default();
        let whole = parse_whole_request(Scheme::Http, data, &LIMITS, &mut fields);
        let parsed = parsed.as_ref().ok().filter(|_| length.is_some());
        assert_eq!(format!("{:?}", whole.as_ref()), format!("{parsed:?}"));
    }
    let Ok(request) = parsed else {
        return;
    };
    assert!(length.is_some() || data.len() > 4096);

    let mut written = Vec::new();
    write_request(&request, &ADDITIONS, &mut written);
    let scanned = HeadScanner::default().scan(&written, &LIMITS);
    assert_eq!(scanned, Ok(Some(written.len())));
    let mut fields = Fields::default();
    let again = parse_request(&written, &mut fields).expect("what we write is right");
    assert_eq!(again.method, request.method);
    assert_eq!(again.path, request.path);
    assert_eq!(again.body, request.body);
    assert_eq!(again.has_length, request.has_length);
    assert_eq!(again.version, Version::Http11);
    assert_eq!(again.expects_continue, request.expects_continue);
    assert_eq!(again.upgrade, request.upgrade);
    assert_eq!(again.trailers, request.trailers);
    assert!(again.keep_alive);
    assert_eq!(again.connection_names().count(), 0);
    assert!(again.cookies(b"clb_route").next().is_none());
    if !request.authority.is_empty() {
        assert_eq!(again.authority, request.authority);
        assert_eq!(again.host, request.host);
    }
});
