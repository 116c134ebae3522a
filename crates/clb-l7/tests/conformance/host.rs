//! Host, and the authority of an absolute-form target.

use anyhow::Result;

use crate::harness::*;

fn host(expected: &'static str) -> impl Fn(&Request) -> Result<()> + Send + Sync {
    move |request| request.fields.is("host", expected)
}

#[test]
fn presence() {
    const S: &str = "RFC 9112 3.2";
    const WHY: &str = "400 to HTTP/1.1 without Host, and to any request with more than one";
    run(
        "host presence",
        vec![
            refused("no Host", S, WHY, "GET / HTTP/1.1\r\n\r\n"),
            refused(
                "no Host but other fields",
                S,
                WHY,
                "GET / HTTP/1.1\r\nAccept: */*\r\nX-Host: test\r\n\r\n",
            ),
            refused(
                "no Host with a body",
                S,
                WHY,
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            ),
            refused(
                "two Hosts that differ",
                S,
                WHY,
                "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            ),
            refused(
                "two equal Hosts",
                S,
                WHY,
                "GET / HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n",
            ),
            refused(
                "two Hosts in other cases",
                S,
                WHY,
                "GET / HTTP/1.1\r\nhost: test\r\nHOST: test\r\n\r\n",
            ),
            refused(
                "two Hosts apart",
                S,
                WHY,
                "GET / HTTP/1.1\r\nHost: test\r\nAccept: */*\r\nX: y\r\nHost: other\r\n\r\n",
            ),
            refused(
                "two Hosts, the first empty",
                S,
                WHY,
                "GET / HTTP/1.1\r\nHost:\r\nHost: test\r\n\r\n",
            ),
            refused(
                "two Hosts, the second empty",
                S,
                WHY,
                "GET / HTTP/1.1\r\nHost: test\r\nHost:\r\n\r\n",
            ),
            refused(
                "two Hosts in HTTP/1.0",
                S,
                WHY,
                "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            ),
            refused(
                "three Hosts",
                S,
                WHY,
                "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nHost: a\r\n\r\n",
            ),
            refused(
                "no Host with an absolute target",
                S,
                WHY,
                "GET http://test/ HTTP/1.1\r\n\r\n",
            ),
            refused(
                "two Hosts with an absolute target",
                S,
                WHY,
                "GET http://test/ HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n",
            ),
            refused(
                "Host only in a folded line",
                "RFC 9112 2.2, 3.2",
                WHY,
                "GET / HTTP/1.1\r\n Host: test\r\n\r\n",
            ),
            either(
                "an empty Host",
                "RFC 9112 3.2, RFC 9110 4.2.1",
                "the syntax allows an empty Host; an http URI does not",
                &[400],
                "GET / HTTP/1.1\r\nHost:\r\n\r\n",
                host(""),
            ),
            either(
                "an empty Host with OPTIONS *",
                "RFC 9112 3.2, 3.3",
                "the syntax allows an empty Host",
                &[400],
                "OPTIONS * HTTP/1.1\r\nHost: \r\n\r\n",
                host(""),
            ),
        ],
    );
}

#[test]
fn syntax() {
    const S: &str = "RFC 9112 3.2, RFC 9110 7.2";
    const WHY: &str = "400 to a Host that is not uri-host [\":\" port]";
    let mut rows: Vec<Row> = [
        "a b",
        "a\tb",
        "a/b",
        "a/",
        "/",
        "http://test",
        "test/path",
        "user@test",
        "user:pw@test",
        "@",
        "a, b",
        "test:80:80",
        "test:abc",
        "test:8a",
        "test: 80",
        "test :80",
        "test:-1",
        "test:+80",
        "[::1",
        "::1]",
        "::1",
        "[::1]x",
        "[::1]x:80",
        "[]",
        "[::g]",
        "[1.2.3.4]",
        "[::1]:x",
        "a?b",
        "a#b",
        "a\\b",
        "<a>",
        "a\"b",
        "a{b}",
        "a^b",
        "a|b",
        "a`b",
        "a%",
        "a%z1",
        "a[b]",
        "test:80/",
        "test;x y",
        "a\x0bb",
        "a\x7fb",
        "a\x01b",
        "a\0b",
    ]
    .into_iter()
    .map(|bad| {
        let octets = format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n");
        refused(format!("Host {}", bad.escape_debug()), S, WHY, octets)
    })
    .collect();
    rows.push(refused(
        "Host with an octet above 127",
        S,
        WHY,
        b"GET / HTTP/1.1\r\nHost: t\xe9st\r\n\r\n",
    ));
    rows.push(refused(
        "Host with a bare CR",
        "RFC 9112 2.2",
        WHY,
        b"GET / HTTP/1.1\r\nHost: te\rst\r\n\r\n",
    ));
    rows.extend(
        [
            "test",
            "test:80",
            "test:8080",
            "TEST",
            "Test.Example",
            "test.",
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1.2.3.4]",
            "a-b.c_d",
            "1",
            "xn--bcher-kva.example",
            "a.b.c.d.e.f.g",
        ]
        .map(|good| {
            let octets = format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n");
            passed(
                format!("Host {good} is kept"),
                "semantics 6, RFC 9110 7.2",
                "Host is kept",
                octets,
                host(good),
            )
        }),
    );
    rows.push(passed(
        "Host test: loses its colon at most",
        "RFC 9110 4.2.3",
        "an empty port is the same as none",
        "GET / HTTP/1.1\r\nHost: test:\r\n\r\n",
        |request| {
            let kept = request.fields.is("host", "test:");
            kept.or_else(|_| request.fields.is("host", "test"))
        },
    ));
    // Within the generic syntax, yet nothing that names a server.
    rows.extend(
        [
            ":80",
            "a,b",
            "a%41b",
            "a!b",
            "test:99999",
            "test:0",
            "a~b",
            "..",
            "-",
            "[v1.a]",
        ]
        .map(|odd| {
            let octets = format!("GET / HTTP/1.1\r\nHost: {odd}\r\n\r\n");
            either(
                format!("Host {odd}"),
                "RFC 3986 3.2.2, RFC 9110 4.2.1",
                "generic syntax allows it, it names nothing",
                &[400],
                octets,
                host(odd),
            )
        }),
    );
    rows.push(passed(
        "Host with white space round it",
        "RFC 9112 5.1",
        "white space round a value is not part of it",
        "GET / HTTP/1.1\r\nHost: \t test \t\r\n\r\n",
        host("test"),
    ));
    rows.push(passed(
        "Host after other fields",
        "RFC 9110 5.3",
        "the order of different fields has no meaning",
        "GET / HTTP/1.1\r\nX: y\r\nHOST: test\r\n\r\n",
        host("test"),
    ));
    run("host syntax", rows);
}
