//! What holds for every head, whatever is in it.

use std::net::{IpAddr, Ipv4Addr};

use clb_l7::http1::{
    AnswerAdditions, AnswerBody, AnswerTo, ChunkDecoder, Fields, HeadLimits, HeadScanner,
    MethodKind, Request, RequestAdditions, RequestBody, Scheme, Transfer, UpgradeAsked, Version,
    parse_answer, parse_request, parse_whole_answer, parse_whole_request, write_answer,
    write_request,
};
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits {
    line: 4096,
    head: 16384,
    fields: 64,
};

const ADDITIONS: RequestAdditions<'static> = RequestAdditions {
    client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    port: 80,
    https: false,
    client_certificate: b"",
    request_id: b"ours",
    default_host: b"127.10.0.1",
    http2: false,
    trace: None,
    via: true,
    session_cookie: Some(b"clb_route"),
};

fn any_of(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(choices).prop_map(str::to_owned)
}

fn request_line() -> impl Strategy<Value = String> {
    let method = any_of(&[
        "GET", "POST", "HEAD", "OPTIONS", "TRACE", "foo", "G T", "CONNECT",
    ]);
    let target = any_of(&[
        "/",
        "/a/b?c=d",
        "*",
        "http://b",
        "http://b:80?c",
        "https://b/",
        "/a b",
        "/#",
        "a:1",
        "//",
    ]);
    let version = any_of(&["1.1", "1.1", "1.1", "1.0", "1.2", "2.0", "1.10"]);
    (method, target, version)
        .prop_map(|(method, target, version)| format!("{method} {target} HTTP/{version}"))
}

fn status_line() -> impl Strategy<Value = String> {
    let version = any_of(&["1.1", "1.1", "1.0", "2.0"]);
    let status = any_of(&[
        "200 OK", "200", "204 No", "304 x", "100 x", "101 x", "103 x", "404 ", "426 x", "600 x",
    ]);
    (version, status).prop_map(|(version, status)| format!("HTTP/{version} {status}"))
}

/// A field line: mostly the ones that matter, in right and wrong spellings.
fn line() -> impl Strategy<Value = String> {
    let name = any_of(&[
        "Host",
        "Content-Length",
        "content-length",
        "Content_Length",
        "Transfer-Encoding",
        "Connection",
        "connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "HTTP2-Settings",
        "Expect",
        "Max-Forwards",
        "Cookie",
        "X-Forwarded-For",
        "x_forwarded_for",
        "X-Real-IP",
        "X-Request-Id",
        "X-SSL-Client-Verify",
        "Via",
        "Date",
        "X-A",
        "X-B",
        "Accept",
        "Proxy-Authorization",
        "Content-Type",
        "Content-Length ",
        "",
        " X",
    ]);
    let value = any_of(&[
        "",
        "a",
        "a:1",
        "5",
        "0",
        "05",
        "+5",
        "5, 5",
        "chunked",
        "Chunked",
        "gzip, chunked",
        "close",
        "keep-alive",
        "upgrade, TE",
        "X-A, Host, Content-Length",
        "websocket",
        "h2c",
        "trailers",
        "100-continue",
        "clb_route=x; a=b",
        "clb_route=x",
        "1.2.3.4, 5.6.7.8",
        "a\tb",
        "a\u{e9}",
        "a\0",
        "a\r",
        "a\n",
        "\r\n folded",
    ]);
    let separator = any_of(&[": ", ":", ":\t", ": "]);
    let end = any_of(&[
        "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n",
    ]);
    (name, separator, value, end)
        .prop_map(|(name, separator, value, end)| format!("{name}{separator}{value}{end}"))
}

/// Lines that are right more often than not, so that whole heads are.
fn fair_line() -> impl Strategy<Value = String> {
    prop_oneof![
        any_of(&[
            "X-A: 1\r\n",
            "x-b:2 \r\n",
            "Connection: X-A\r\n",
            "Connection: close\r\n",
            "Connection: Upgrade, Keep-Alive, TE\r\n",
            "Upgrade: websocket\r\n",
            "Keep-Alive: 5\r\n",
            "TE: trailers\r\n",
            "Trailer: X-Sum\r\n",
            "Cookie: a=b; clb_route=c\r\n",
            "X-Forwarded-For: 9.9.9.9\r\n",
            "X-Request-Id: theirs\r\n",
            "Content_Length: 7\r\n",
            "X-SSL-Client-DN: x\r\n",
            "Accept: */*\r\n",
            "Expect: 100-continue\r\n",
            "Via: 1.1 x\r\n",
        ]),
        any_of(&[
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "\u{e9}: x\r\n"
        ]),
        line(),
    ]
}

fn head(
    first: impl Strategy<Value = String>,
    host: &'static str,
) -> impl Strategy<Value = Vec<u8>> {
    (first, proptest::collection::vec(fair_line(), 0..7)).prop_map(move |(first, lines)| {
        format!("{first}\r\n{host}{}\r\n", lines.concat()).into_bytes()
    })
}

/// Names in lower case and values of what goes from end to end.
fn end_to_end(request: &Request<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let named: Vec<Vec<u8>> = request
        .connection_names()
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    request
        .pairs()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
        .filter(|(name, _)| {
            [&b"accept"[..], b"x-a", b"x-b", b"content-type"].contains(&name.as_slice())
                && !named.contains(name)
        })
        .collect()
}

fn count(written: &[u8], name: &str) -> usize {
    written
        .split(|&octet| octet == b'\n')
        .filter(|line| {
            line.get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
                && line.get(name.len()) == Some(&b':')
        })
        .count()
}

/// Checks what must hold when a request is accepted; false if it is not.
fn check_request(head: &[u8]) -> Result<bool, TestCaseError> {
    let mut fields = Fields::default();
    let Ok(request) = parse_request(head, &mut fields) else {
        return Ok(false);
    };
    // The scanner lets through what the parser accepts.
    prop_assert_eq!(
        HeadScanner::default().scan(head, &LIMITS),
        Ok(Some(head.len()))
    );
    let mut written = Vec::new();
    write_request(&request, &ADDITIONS, &mut written);
    prop_assert_eq!(
        HeadScanner::default().scan(&written, &LIMITS),
        Ok(Some(written.len()))
    );

    let mut again = Fields::default();
    let backend = parse_request(&written, &mut again);
    let backend = backend
        .map_err(|fault| TestCaseError::fail(format!("{fault}: {}", written.escape_ascii())))?;
    prop_assert_eq!(backend.method, request.method);
    prop_assert_eq!(backend.path, request.path);
    prop_assert_eq!(backend.body, request.body);
    prop_assert_eq!(backend.has_length, request.has_length);
    prop_assert_eq!(backend.version, Version::Http11);
    prop_assert_eq!(backend.expects_continue, request.expects_continue);
    prop_assert_eq!(backend.upgrade, request.upgrade);
    prop_assert_eq!(backend.trailers, request.trailers);
    prop_assert!(backend.keep_alive);
    if !request.authority.is_empty() {
        prop_assert_eq!(backend.authority, request.authority);
    }
    prop_assert_eq!(
        backend.request_id,
        Some(request.request_id.unwrap_or(b"ours"))
    );
    prop_assert_eq!(end_to_end(&backend), end_to_end(&request));
    prop_assert_eq!(backend.connection_names().count(), 0);
    prop_assert!(backend.cookies(b"clb_route").next().is_none());

    for name in [
        "keep-alive",
        "proxy-connection",
        "http2-settings",
        "proxy-authorization",
        "content_length",
        "x_forwarded_for",
        "x-ssl-client-verify",
        "x-ssl-client-dn",
    ] {
        prop_assert_eq!(count(&written, name), 0, "{}", name);
    }
    for name in ["host", "x-forwarded-for", "x-real-ip", "x-request-id"] {
        prop_assert_eq!(count(&written, name), 1, "{}", name);
    }
    let framed = count(&written, "content-length") + count(&written, "transfer-encoding");
    prop_assert_eq!(
        framed,
        usize::from(request.has_length || request.body == RequestBody::Chunked)
    );
    let connection = usize::from(request.upgrade.is_some() || request.trailers);
    prop_assert_eq!(count(&written, "connection"), connection);

    // Somebody else reads the same.
    let mut places = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut places);
    prop_assert_eq!(
        other.parse(&written),
        Ok(httparse::Status::Complete(written.len()))
    );
    prop_assert_eq!(other.headers.len(), backend.pairs().count());
    let same = other
        .headers
        .iter()
        .map(|header| (header.name.as_bytes(), header.value))
        .eq(backend.pairs());
    prop_assert!(same);
    Ok(true)
}

/// Checks what must hold when an answer is believed; false if it is not.
fn check_answer(head: &[u8], to: AnswerTo, close: bool) -> Result<bool, TestCaseError> {
    let mut fields = Fields::default();
    let Ok(answer) = parse_answer(head, &mut fields, to) else {
        return Ok(false);
    };
    prop_assert_eq!(
        HeadScanner::default().scan(head, &LIMITS),
        Ok(Some(head.len()))
    );
    let additions = AnswerAdditions {
        client: to.client,
        close,
        date: b"now",
        set_cookie: Some(b"c=d"),
        via: false,
        transfer: answer.transfer(to.client),
    };
    let mut written = Vec::new();
    write_answer(&answer, &additions, &mut written);
    prop_assert_eq!(
        HeadScanner::default().scan(&written, &LIMITS),
        Ok(Some(written.len()))
    );
    let mut again = Fields::default();
    let client = parse_answer(&written, &mut again, to);
    let client = client
        .map_err(|fault| TestCaseError::fail(format!("{fault}: {}", written.escape_ascii())))?;
    prop_assert_eq!(client.status, answer.status);
    let expected = match additions.transfer {
        Transfer::AsIs(0) => AnswerBody::None,
        Transfer::AsIs(length) => AnswerBody::Length(length),
        Transfer::Chunked => AnswerBody::Chunked,
        Transfer::UntilClose => AnswerBody::UntilClose,
    };
    prop_assert_eq!(client.body, expected);
    prop_assert_eq!(client.connection_names().count(), 0);
    let length = usize::from(
        answer.field(b"content-length").next().is_some()
            && answer.status >= 200
            && answer.status != 204,
    );
    prop_assert_eq!(count(&written, "content-length"), length);
    let chunked = usize::from(additions.transfer == Transfer::Chunked);
    prop_assert_eq!(count(&written, "transfer-encoding"), chunked);
    for name in ["keep-alive", "proxy-connection", "te", "http2-settings"] {
        prop_assert_eq!(count(&written, name), 0, "{}", name);
    }
    if answer.status >= 200 {
        prop_assert!(count(&written, "date") >= 1);
    }
    Ok(true)
}

/// In one pass or in two: the same requests and answers are accepted, and they say the same.
fn check_one_pass(data: &[u8], to: AnswerTo, limits: &HeadLimits) -> Result<bool, TestCaseError> {
    let (mut fields, mut again) = (Fields::default(), Fields::default());
    let head = match HeadScanner::default().scan(data, limits) {
        Ok(Some(length)) => data.get(..length),
        _ => None,
    };
    let two = head.and_then(|head| parse_request(head, &mut fields).ok());
    let one = parse_whole_request(Scheme::Http, data, limits, &mut again);
    let is_request = one.is_some();
    prop_assert_eq!(format!("{one:?}"), format!("{two:?}"));
    let two = head.and_then(|head| parse_answer(head, &mut fields, to).ok());
    let one = parse_whole_answer(data, limits, &mut again, to);
    let is_answer = one.is_some();
    prop_assert_eq!(format!("{one:?}"), format!("{two:?}"));
    Ok(is_request || is_answer)
}

fn limits() -> impl Strategy<Value = HeadLimits> {
    (10..40_usize, 20..200_usize, 0..6_usize).prop_map(|(line, head, fields)| HeadLimits {
        line,
        head,
        fields,
    })
}

fn answer_to() -> impl Strategy<Value = AnswerTo> {
    (any::<[bool; 4]>()).prop_map(|[head, old, upgrade, trailers]| AnswerTo {
        method: match head {
            true => MethodKind::Head,
            false => MethodKind::Other,
        },
        client: match old {
            true => Version::Http10,
            false => Version::Http11,
        },
        upgrade_asked: UpgradeAsked::from(upgrade.then_some(&b"websocket"[..])),
        trailers,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn accepted_requests(head in head(request_line(), "Host: a\r\n")) {
        check_request(&head)?;
    }

    #[test]
    fn accepted_answers(head in head(status_line(), ""), to in answer_to(), close in any::<bool>()) {
        check_answer(&head, to, close)?;
    }

    #[test]
    fn one_pass_or_two(
        head in prop_oneof![head(request_line(), "Host: a\r\n"), head(status_line(), "")],
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..2),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
        more in proptest::collection::vec(any::<u8>(), 0..8),
        (limits, to) in (limits(), answer_to()),
    ) {
        let mut data = head;
        for (at, octet) in changes {
            let index = at.index(data.len());
            data[index] = octet;
        }
        data.extend_from_slice(&more);
        if let Some(cut) = cut {
            data.truncate(cut.index(data.len()));
        }
        check_one_pass(&data, to, &limits)?;
        check_one_pass(&data, to, &LIMITS)?;
    }

    #[test]
    fn one_octet_changed(
        head in head(Just("GET /a?b HTTP/1.1".to_owned()), "Host: a\r\n"),
        at in any::<proptest::sample::Index>(),
        octet in any::<u8>(),
    ) {
        let mut head = head;
        let index = at.index(head.len());
        head[index] = octet;
        check_request(&head)?;
    }

    #[test]
    fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..300), to in answer_to()) {
        check_request(&octets)?;
        check_answer(&octets, to, false)?;
        check_one_pass(&octets, to, &LIMITS)?;
        let _ = HeadScanner::default().scan(&octets, &LIMITS);
        let _ = ChunkDecoder::default().next(&octets);
    }
}

/// The strategies above must not generate refused heads only.
#[test]
fn enough_is_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let to = AnswerTo {
        method: MethodKind::Other,
        client: Version::Http11,
        upgrade_asked: UpgradeAsked::NONE,
        trailers: true,
    };
    let (mut requests, mut answers, mut small) = (0, 0, 0);
    for _ in 0..1000 {
        let tree = head(request_line(), "Host: a\r\n")
            .new_tree(&mut runner)
            .unwrap();
        requests += usize::from(check_request(&tree.current()).unwrap());
        let limits = limits().new_tree(&mut runner).unwrap().current();
        small += usize::from(check_one_pass(&tree.current(), to, &limits).unwrap());
        let tree = head(status_line(), "").new_tree(&mut runner).unwrap();
        answers += usize::from(check_answer(&tree.current(), to, false).unwrap());
    }
    assert!(
        requests > 50 && answers > 50 && small > 10,
        "{requests} {answers} {small}"
    );
}
