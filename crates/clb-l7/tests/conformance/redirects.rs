//! Rules that are redirected: 302 by the gateway, whatever the request.

use anyhow::{Result, ensure};
use clb_snapshot::{GATEWAY_STATUSES, REQUEST_CLASSES};

use crate::harness::*;

const S: &str = "semantics 6";

const RULES: &[RuleOf] = &[
    to_https("test", "/", "/"),
    to_https("test", "/old", "/new"),
    to_https("test", "/dir/", "/place"),
    to_https("test", "/many", "= /one"),
    to_https("test", "= /exact", "/other/"),
    to_https("test", "~ ^/r", "/x"),
    RuleOf {
        domain: "port.test",
        url: "/",
        redirect: Some((Protocol::Https, 8443, "/")),
    },
    RuleOf {
        domain: "plain.test",
        url: "/",
        redirect: Some((Protocol::Http, 80, "/")),
    },
    RuleOf {
        domain: "plain8080.test",
        url: "/",
        redirect: Some((Protocol::Http, 8080, "/")),
    },
    to_https("~^\\[", "/", "/"),
    RuleOf {
        domain: "test",
        url: "/served",
        redirect: None,
    },
];

const fn to_https(domain: &'static str, url: &'static str, target: &'static str) -> RuleOf {
    RuleOf {
        domain,
        url,
        redirect: Some((Protocol::Https, 443, target)),
    }
}

fn is_redirect(answer: &Answer, location: &str, is_head: bool) -> Result<()> {
    answer.status(302)?;
    answer.fields.is("location", location)?;
    answer.fields.is("server", "clbd")?;
    answer.fields.one("date")?;
    answer
        .fields
        .lack(&["retry-after", "set-cookie", "transfer-encoding"])?;
    let length: usize = answer.fields.one("content-length")?.parse()?;
    ensure!(length > 0, "302 has a text (RFC 9110 15.4.3)");
    if is_head {
        return Ok(());
    }
    let text = latin1(&answer.body.data);
    ensure!(text.starts_with("302 Found\n"), "the text is {text:?}");
    ensure!(answer.body.complete, "the text is cut");
    Ok(())
}

/// The answer is a redirect, no backend sees anything, and the connection brings another one.
fn redirected(name: &'static str, request: &str, location: &'static str) -> Row {
    let request = request.to_owned();
    row(name, S, "302 with the target's address", move |lane| {
        let method = request.split(' ').next().unwrap_or_default();
        let mut client = lane.client_sends(&request)?;
        let answer = client.answer(method)?;
        is_redirect(&answer, location, method == "HEAD")?;
        ensure!(!answer.fields.says_close(), "the connection could go on");
        client.send(&request)?;
        is_redirect(&client.answer(method)?, location, method == "HEAD")?;
        lane.nothing_reached()
    })
    .rules(RULES)
}

/// The answer is a redirect, and the connection ends in order.
fn redirected_last(name: &'static str, request: &'static str, location: &'static str) -> Row {
    let why = "what follows the head is not read: the connection ends in order";
    row(name, S, why, move |lane| {
        let mut client = lane.client_sends(request)?;
        let method = request.split(' ').next().unwrap_or_default();
        let answer = client.answer(method)?;
        is_redirect(&answer, location, method == "HEAD")?;
        ensure!(answer.fields.says_close(), "close is not said");
        client.expect_end()?;
        lane.nothing_reached()
    })
    .rules(RULES)
}

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn addresses() {
    let rows = [
        ("a path", "/a/b", "test", "https://test/a/b"),
        ("a query", "/a?b=c&d", "test", "https://test/a?b=c&d"),
        ("an empty query", "/a?", "test", "https://test/a?"),
        (
            "a query with a question mark",
            "/a?b?c",
            "test",
            "https://test/a?b?c",
        ),
        (
            "the default port of the target",
            "/",
            "test:8080",
            "https://test/",
        ),
        (
            "another port of the target",
            "/a?b",
            "port.test",
            "https://port.test:8443/a?b",
        ),
        (
            "another port in place of the request's",
            "/",
            "port.test:81",
            "https://port.test:8443/",
        ),
        ("to HTTP", "/", "plain.test:8080", "http://plain.test/"),
        (
            "to HTTP at another port",
            "/",
            "plain8080.test",
            "http://plain8080.test:8080/",
        ),
        ("a host in capitals", "/", "TEST", "https://TEST/"),
        (
            "a host with a dot at its end",
            "/",
            "test.",
            "https://test./",
        ),
        ("an IPv6 host", "/a", "[::1]", "https://[::1]/a"),
        (
            "an IPv6 host with a port",
            "/a",
            "[2001:db8::1]:81",
            "https://[2001:db8::1]/a",
        ),
        (
            "a path under a prefix",
            "/old/a?b",
            "test",
            "https://test/new/a?b",
        ),
        ("the prefix itself", "/old", "test", "https://test/new"),
        ("a longer name", "/older", "test", "https://test/newer"),
        ("from a folder", "/dir/a", "test", "https://test/place/a"),
        ("to one path", "/many/a?b", "test", "https://test/one?b"),
        ("from one path", "/exact?b", "test", "https://test/other/?b"),
        (
            "a regular expression keeps the path",
            "/r/../r//a%2Fb?c",
            "test",
            "https://test/r/../r//a%2Fb?c",
        ),
        (
            "an escape is kept",
            "/old/a%2Fb%20c",
            "test",
            "https://test/new/a%2Fb%20c",
        ),
        (
            "an escape in the prefix",
            "/%6fld/%61",
            "test",
            "https://test/new/%61",
        ),
        (
            "dot segments before the prefix",
            "/x/../old/a",
            "test",
            "https://test/new/a",
        ),
        (
            "dot segments after the prefix",
            "/old/x/../a",
            "test",
            "https://test/new/a",
        ),
        ("two slashes", "//old//a", "test", "https://test/new/a"),
        (
            "two slashes do not make a host",
            "//evil.example/a",
            "test",
            "https://test//evil.example/a",
        ),
        (
            "an escaped slash",
            "/%2Fevil.example",
            "test",
            "https://test/%2Fevil.example",
        ),
        (
            "a URI in the path",
            "/http://evil.example/",
            "test",
            "https://test/http://evil.example/",
        ),
        (
            "line ends that are escaped stay so",
            "/a%0d%0aX:%20y?b%0d%0a",
            "test",
            "https://test/a%0d%0aX:%20y?b%0d%0a",
        ),
        (
            "what should have been escaped is",
            "/a|b?{c}",
            "test",
            "https://test/a%7Cb?%7Bc%7D",
        ),
    ];
    let rows =
        rows.map(|(name, target, host, location)| redirected(name, &get(target, host), location));
    run("redirects: addresses", rows.into());
}

#[test]
fn forms_of_requests() {
    let with = |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    run(
        "redirects: forms of requests",
        vec![
            redirected("HEAD", &with("HEAD /old/a", ""), "https://test/new/a"),
            redirected(
                "POST without a body",
                &with("POST /old", "Content-Length: 0\r\n"),
                "https://test/new",
            ),
            redirected(
                "an unknown method",
                &with("BREW /old", ""),
                "https://test/new",
            ),
            redirected("OPTIONS", &with("OPTIONS /old", ""), "https://test/new"),
            redirected("OPTIONS *", &with("OPTIONS *", ""), "https://test/"),
            redirected("TRACE", &with("TRACE /old", ""), "https://test/new"),
            redirected(
                "an upgrade",
                &with("GET /old", "Upgrade: websocket\r\nConnection: Upgrade\r\n"),
                "https://test/new",
            ),
            redirected(
                "absolute-form",
                "GET http://port.test:81/a?b HTTP/1.1\r\nHost: test\r\n\r\n",
                "https://port.test:8443/a?b",
            )
            .plain(),
            redirected(
                "absolute-form without a path",
                "GET http://test?b HTTP/1.1\r\nHost: other\r\n\r\n",
                "https://test/?b",
            )
            .plain(),
            redirected_last(
                "a body",
                "POST /old HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
                "https://test/new",
            ),
            redirected_last(
                "a body that does not come",
                "PUT /old HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nabc",
                "https://test/new",
            ),
            redirected_last(
                "a body in chunks",
                "POST /old HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                "https://test/new",
            ),
            redirected_last(
                "a body that waits for 100",
                "POST /old HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
                "https://test/new",
            ),
            redirected_last(
                "close",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                "https://test/",
            ),
            redirected_last(
                "HTTP/1.0",
                "GET /old HTTP/1.0\r\nHost: test\r\n\r\n",
                "https://test/new",
            ),
            redirected_last(
                "HTTP/1.0 with keep-alive",
                "GET /old HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n",
                "https://test/new",
            ),
            row(
                "HTTP/1.0 without a host",
                S,
                "no rule has a domain for it",
                |lane| {
                    let mut client = lane.client_sends("GET /old HTTP/1.0\r\n\r\n")?;
                    let answer = client.answer("GET")?;
                    answer.status(404)?.fields.lack(&["location"])
                },
            )
            .rules(RULES),
            row(
                "Max-Forwards 0",
                "RFC 9110 7.6.2",
                "the gateway answers as if it were the target",
                |lane| {
                    let request = "OPTIONS /old HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n";
                    let answer = lane.client_sends(request)?.answer("OPTIONS")?;
                    answer.status(200)?.fields.lack(&["location"])
                },
            )
            .rules(RULES),
            refused(
                "a line end in Host",
                S,
                "nothing is written into Location",
                "GET /old HTTP/1.1\r\nHost: test\nX: y\r\n\r\n",
            )
            .rules(RULES),
            refused(
                "a user in Host",
                S,
                "Location has the validated host",
                "GET /old HTTP/1.1\r\nHost: a@test\r\n\r\n",
            )
            .rules(RULES),
            refused(
                "a path in Host",
                S,
                "Location has the validated host",
                "GET /old HTTP/1.1\r\nHost: test/x\r\n\r\n",
            )
            .rules(RULES),
        ],
    );
}

#[test]
fn beside_others() {
    run(
        "redirects: beside others",
        vec![
            row(
                "pipelined",
                S,
                "answers come in the order of the requests",
                |lane| {
                    let requests = [
                        get("/old/1", "test"),
                        get("/served/2", "test"),
                        get("/old/3", "test"),
                    ];
                    let mut client = lane.client_sends(requests.concat())?;
                    is_redirect(&client.answer("GET")?, "https://test/new/1", false)?;
                    let mut backend = lane.backend()?;
                    let request = backend.request()?;
                    ensure!(
                        request.target == "/served/2",
                        "the backend got {}",
                        request.target
                    );
                    backend.send(OK)?;
                    client.answer("GET")?.status(200)?.body.is("ok")?;
                    is_redirect(&client.answer("GET")?, "https://test/new/3", false)?;
                    lane.nothing_reached_over(Some(backend))
                },
            )
            .rules(RULES),
            row(
                "counted",
                S,
                "as an answer of the gateway, at the rule",
                |lane| {
                    let mut client = lane.client_sends(get("/old/1", "test"))?;
                    client.answer("GET")?.status(302)?;
                    client.send(get("/old/2", "test"))?;
                    client.answer("GET")?.status(302)?;
                    let totals = lane.totals("test", "/old")?;
                    let at = GATEWAY_STATUSES.iter().position(|status| *status == 302);
                    let class = REQUEST_CLASSES.iter().position(|class| *class == "3xx");
                    ensure!(
                        at.is_some_and(|at| totals.gateway[at] == 2),
                        "{:?}",
                        totals.gateway
                    );
                    ensure!(
                        class.is_some_and(|at| totals.classes[at] == 2),
                        "{:?}",
                        totals.classes
                    );
                    let other = lane.totals("test", "/")?;
                    ensure!(
                        other.classes.iter().sum::<u64>() == 0,
                        "{:?}",
                        other.classes
                    );
                    Ok(())
                },
            )
            .rules(RULES),
            row("without a backend", S, "a redirect needs none", |lane| {
                let mut client = lane.client_sends(get("/served", "test"))?;
                client
                    .answer("GET")?
                    .status(503)?
                    .fields
                    .lack(&["location"])?;
                client.send(get("/old", "test"))?;
                is_redirect(&client.answer("GET")?, "https://test/new", false)
            })
            .pool(&[])
            .rules(RULES),
        ],
    );
}
