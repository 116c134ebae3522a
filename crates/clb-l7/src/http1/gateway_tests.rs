use super::*;
use crate::http1::{
    AnswerTo, Fields, MethodKind, UpgradeAsked, Version, parse_answer, parse_request,
};

fn answer(close: bool, is_head: bool, field: Option<GatewayField<'_>>) -> String {
    let mut out = Vec::new();
    write_gateway_answer(
        503,
        "no backend",
        b"id-1",
        b"now",
        close,
        is_head,
        field,
        &mut out,
    );
    String::from_utf8(out).unwrap()
}

const RETRY_AFTER: Option<GatewayField<'_>> = Some(GatewayField::RetryAfter(1));

#[test]
fn the_whole() {
    let body = "503 Service Unavailable\nno backend\nrequest id-1\n";
    let expected = format!(
        "HTTP/1.1 503 Service Unavailable\r\nServer: clbd\r\nDate: now\r\nConnection: close\r\n\
        Retry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\n\
        X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(answer(true, false, RETRY_AFTER), expected);
    let head = expected.strip_suffix(body).unwrap();
    assert_eq!(answer(true, true, RETRY_AFTER), head);
    let plain = answer(false, false, None);
    assert!(!plain.contains("Connection") && !plain.contains("Retry-After"));
}

#[test]
fn a_location_is_a_field() {
    let moved = answer(false, false, Some(GatewayField::Location(b"https://a/b?c")));
    assert!(
        moved.contains("\r\nLocation: https://a/b?c\r\nContent-Type: text/plain"),
        "{moved}"
    );
}

#[test]
fn nobody_writes_into_it() {
    let mut out = Vec::new();
    write_gateway_answer(
        400,
        "a\r\nb\0",
        b"<i>\r\nx",
        b"now",
        true,
        false,
        None,
        &mut out,
    );
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.ends_with("\r\n\r\n400 Bad Request\nab\nrequest ix\n"),
        "{text}"
    );
}

#[test]
fn every_status_has_its_phrase() {
    // semantics, section 6: gateway answers
    for status in [
        200, 302, 400, 404, 408, 413, 414, 417, 421, 431, 500, 501, 502, 503, 504, 505,
    ] {
        assert!(!reason_phrase(status).is_empty(), "{status}");
        let mut out = Vec::new();
        write_gateway_answer(status, "", b"", b"now", false, false, None, &mut out);
        let end = memchr::memmem::find(&out, b"\r\n\r\n").unwrap() + 4;
        let to = AnswerTo {
            method: MethodKind::Other,
            client: Version::Http11,
            upgrade_asked: UpgradeAsked::NONE,
            trailers: false,
        };
        let mut fields = Fields::default();
        let answer = parse_answer(&out[..end], &mut fields, to).unwrap();
        assert_eq!(answer.status, status);
        let length = (out.len() - end) as u64;
        assert_eq!(answer.body, crate::http1::AnswerBody::Length(length));
    }
}

fn final_answer(head: &str) -> String {
    let mut fields = Fields::default();
    let request = parse_request(head.as_bytes(), &mut fields).unwrap();
    assert_eq!(request.max_forwards, Some(0));
    let mut out = Vec::new();
    write_final_answer(&request, b"now", false, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn trace_shows_what_came_but_no_secrets() {
    // RFC 9110, 9.3.8
    let answer = final_answer(
        "TRACE /a HTTP/1.1\r\nHost: b\r\nCookie: c\r\nMax-Forwards:0\r\nAuthorization: d\r\n\
         Proxy-Authorization: e\r\nX: f\r\n\r\n",
    );
    let body = "TRACE /a HTTP/1.1\r\nHost: b\r\nMax-Forwards: 0\r\nX: f\r\n\r\n";
    let expected = format!(
        "HTTP/1.1 200 OK\r\nServer: clbd\r\nDate: now\r\nContent-Type: message/http\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(answer, expected);
}

#[test]
fn options() {
    // RFC 9110, 7.6.2 and 9.3.7
    assert_eq!(
        final_answer("OPTIONS * HTTP/1.1\r\nHost: b\r\nMax-Forwards: 0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nServer: clbd\r\nDate: now\r\n\
         Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\nContent-Length: 0\r\n\r\n"
    );
}
