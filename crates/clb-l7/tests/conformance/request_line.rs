//! Request lines: syntax, target forms, methods, versions.

use anyhow::ensure;

use crate::harness::*;

fn target(expected: &'static str) -> impl Fn(&Request) -> anyhow::Result<()> + Send + Sync {
    move |request| {
        ensure!(
            request.target == expected,
            "expected target {expected}, got {}",
            request.target
        );
        Ok(())
    }
}

/// A GET without anything more, with this request line.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: test\r\n\r\n")
}

#[test]
fn syntax() {
    const S: &str = "RFC 9112 3";
    const WHY: &str =
        "a request line is method SP target SP version; SHOULD answer 400 to any other";
    let bad = [
        ("two spaces after the method", "GET  / HTTP/1.1"),
        ("two spaces before the version", "GET /  HTTP/1.1"),
        ("a tab between", "GET\t/ HTTP/1.1"),
        ("a tab before the version", "GET /\tHTTP/1.1"),
        ("space before the method", " GET / HTTP/1.1"),
        ("space after the version", "GET / HTTP/1.1 "),
        ("tab after the version", "GET / HTTP/1.1\t"),
        ("no target", "GET HTTP/1.1"),
        ("an empty target", "GET  HTTP/1.1"),
        ("only a method", "GET"),
        ("a space in the target", "GET /a b HTTP/1.1"),
        ("a word after the version", "GET / HTTP/1.1 x"),
        ("a tab in the target", "GET /a\tb HTTP/1.1"),
        ("a vertical tab between", "GET\x0b/ HTTP/1.1"),
        ("a form feed between", "GET\x0c/ HTTP/1.1"),
        ("a CR in the target", "GET /a\rb HTTP/1.1"),
        ("a CR between", "GET /\rHTTP/1.1"),
        ("a NUL in the target", "GET /a\0b HTTP/1.1"),
        ("DEL in the target", "GET /a\x7fb HTTP/1.1"),
        ("a control octet in the target", "GET /a\x01b HTTP/1.1"),
        ("ESC in the target", "GET /a\x1bb HTTP/1.1"),
        ("no method", "/ HTTP/1.1"),
        ("a leading space instead of a method", " / HTTP/1.1"),
        ("parentheses in the method", "G(E)T / HTTP/1.1"),
        ("a comma in the method", "GE,T / HTTP/1.1"),
        ("a slash in the method", "GE/T / HTTP/1.1"),
        ("a colon in the method", "GET: / HTTP/1.1"),
        ("a quote in the method", "\"GET\" / HTTP/1.1"),
        ("at sign in the method", "G@T / HTTP/1.1"),
        ("a brace in the method", "{GET} / HTTP/1.1"),
        ("a NUL in the method", "GE\0T / HTTP/1.1"),
        ("lower-case protocol name", "GET / http/1.1"),
        ("mixed-case protocol name", "GET / Http/1.1"),
        ("another protocol", "GET / HTTQ/1.1"),
        ("protocol without slash", "GET / HTTP1.1"),
        ("a protocol with a dash", "GET / HTTP-1.1"),
        ("no version number", "GET / HTTP/"),
        ("half a version number", "GET / HTTP/1"),
        ("a version with a dot only", "GET / HTTP/1."),
        ("a version without a major", "GET / HTTP/.1"),
        ("a version of two digits", "GET / HTTP/1.10"),
        ("a version of two digits before the dot", "GET / HTTP/01.1"),
        ("a version with three parts", "GET / HTTP/1.1.1"),
        ("a version with a sign", "GET / HTTP/+1.1"),
        ("a negative version", "GET / HTTP/-1.1"),
        ("a version with a comma", "GET / HTTP/1,1"),
        ("a version in letters", "GET / HTTP/a.b"),
        ("a hexadecimal version", "GET / HTTP/1.a"),
        ("a space in the version", "GET / HTTP/1. 1"),
        ("a space after the protocol's slash", "GET / HTTP/ 1.1"),
        ("another protocol's version", "GET / RTSP/1.0"),
        ("ICY", "GET / ICY"),
    ];
    let mut rows: Vec<Row> = bad
        .into_iter()
        .map(|(name, bad)| refused(format!("request line: {name}"), S, WHY, line(bad)))
        .collect();
    rows.extend([
        refused(
            "request line: HTTP/0.9",
            "RFC 9112 3, 2.3",
            "a line without version is no HTTP/1 request",
            "GET /\r\n\r\n",
        ),
        refused(
            "request line: HTTP/0.9 with fields",
            "RFC 9112 3",
            "a line without version is no HTTP/1 request",
            line("GET /"),
        ),
        refused(
            "request line: an octet above 127 in the method",
            "RFC 9110 5.6.2",
            "a method is a token",
            b"G\xc9T / HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        refused(
            "request line: octets that are no text",
            S,
            WHY,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ),
        refused(
            "request line: a bare CR ends it",
            "RFC 9112 2.2",
            "a bare CR is no line end",
            b"GET / HTTP/1.1\rHost: test\r\n\r\n",
        ),
    ]);
    run("request line syntax", rows);
}

#[test]
fn versions() {
    run(
        "versions",
        vec![
            refused_by(
                "version 2.0",
                "RFC 9110 15.6.6",
                "a major version that is not served",
                &[505],
                line("GET / HTTP/2.0"),
            ),
            refused_by(
                "version 3.0",
                "RFC 9110 15.6.6",
                "a major version that is not served",
                &[505],
                line("GET / HTTP/3.0"),
            ),
            refused_by(
                "version 9.9",
                "RFC 9110 15.6.6",
                "a major version that is not served",
                &[505],
                line("GET / HTTP/9.9"),
            ),
            refused_by(
                "version 0.9 in full",
                "RFC 9110 15.6.6",
                "a major version that is not served, or no version of HTTP/1 syntax",
                &[400, 505],
                line("GET / HTTP/0.9"),
            ),
            refused_by(
                "version 0.0",
                "RFC 9110 15.6.6",
                "a major version that is not served",
                &[400, 505],
                line("GET / HTTP/0.0"),
            ),
            passed(
                "version 1.2 is served as 1.1",
                "RFC 9110 2.5, RFC 9112 2.3",
                "a higher minor version of the same major is understood",
                line("GET / HTTP/1.2"),
                target("/"),
            ),
            passed(
                "version 1.9 is served as 1.1",
                "RFC 9110 2.5, RFC 9112 2.3",
                "a higher minor version of the same major is understood",
                line("GET / HTTP/1.9"),
                target("/"),
            ),
            refused_by(
                "HTTP/2's preface",
                "RFC 9113 3.4",
                "the preface on a connection without HTTP/2 is an HTTP/1 request of version 2.0",
                &[400, 505],
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ),
            refused_by(
                "HTTP/2's preface with frames",
                "RFC 9113 3.4",
                "nothing of it is taken for a request",
                &[400, 505],
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
            ),
            passed_once(
                "HTTP/1.0 without Host",
                "RFC 9112 3.2",
                "Host is required in HTTP/1.1 only",
                "GET /old HTTP/1.0\r\n\r\n",
                target("/old"),
            ),
            passed_once(
                "HTTP/1.0 without Host gets one",
                "RFC 9112 3.2, 3.3",
                "what the gateway sends is HTTP/1.1, which has a Host",
                "GET /old HTTP/1.0\r\n\r\n",
                |request| request.fields.one("host").map(|_| ()),
            )
            .own(),
        ],
    );
}

#[test]
fn methods() {
    let mut rows: Vec<Row> = [
        "GET",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "PROPFIND",
        "MKCOL",
        "REPORT",
        "PURGE",
        "QUERY",
        "FOO",
        "get",
        "M-SEARCH",
        "X_Y",
        "!#$%&'*+-.^_`|~09",
    ]
    .into_iter()
    .map(|method| {
        passed(
            format!("method {method} passes"),
            "RFC 9110 9.1, 7.6",
            "methods are case-sensitive tokens; an intermediary forwards those it does not know",
            format!("{method} /m HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"),
            move |request| {
                ensure!(request.method == method, "the method is {}", request.method);
                Ok(())
            },
        )
    })
    .collect();
    rows.extend([
        refused_by("CONNECT is refused", "RFC 9110 9.3.6", "a gateway is no proxy for tunnels", &[400, 405, 501], "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n"),
        refused_by("CONNECT without port is refused", "RFC 9112 3.2.3", "authority-form has a port", &[400, 405, 501], "CONNECT test HTTP/1.1\r\nHost: test\r\n\r\n"),
        refused_by("CONNECT with a path is refused", "RFC 9112 3.2.3", "CONNECT has authority-form only", &[400, 405, 501], "CONNECT / HTTP/1.1\r\nHost: test\r\n\r\n"),
        refused_by("CONNECT with an absolute URI is refused", "RFC 9112 3.2.3", "CONNECT has authority-form only", &[400, 405, 501], "CONNECT http://test:80/ HTTP/1.1\r\nHost: test:80\r\n\r\n"),
        refused_by("a CONNECT with a second request behind it", "RFC 9110 9.3.6", "what follows a refused CONNECT is not a request", &[400, 405, 501], "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"),
    ]);
    run("methods", rows);
}

#[test]
fn targets() {
    const SECTION: &str = "RFC 9112 3.2.1, RFC 9110 7.7";
    const WHY: &str = "a gateway must not rewrite path and query";
    let mut rows: Vec<Row> = [
        "/",
        "/a/b.c?d=e&f",
        "/?",
        "/?a?b",
        "//",
        "//a",
        "/a//b",
        "/.",
        "/a/../b",
        "/a/./b",
        "/%2F",
        "/a%20b",
        "/%41",
        "/;p=1",
        "/a:b@c",
        "/!$&'()*+,;=:@-._~",
        "/*",
        "/a?b=%0d%0a",
        "/http://other/",
        "/a?http://other/",
        "/a%2e%2e%2fb",
    ]
    .into_iter()
    .map(|form| {
        let octets = line(&format!("GET {form} HTTP/1.1"));
        passed_once(
            format!("target {form} unchanged"),
            SECTION,
            WHY,
            octets,
            target(form),
        )
    })
    .collect();
    // Paths that no resource can have: refusing them is as good.
    rows.extend(
        [
            "/..",
            "/../a",
            "/%2e%2e/x",
            "/a%",
            "/%zz",
            "/%00",
            "/a/../../b",
        ]
        .map(|form| {
            let octets = line(&format!("GET {form} HTTP/1.1"));
            either(
                format!("target {form} unchanged or refused"),
                SECTION,
                WHY,
                &[400],
                octets,
                target(form),
            )
        }),
    );
    rows.extend([
        refused(
            "target: a fragment",
            "RFC 9112 3.2",
            "no form of target has a fragment",
            line("GET /a#b HTTP/1.1"),
        ),
        refused(
            "target: relative",
            "RFC 9112 3.2.1",
            "origin-form begins with a slash",
            line("GET a HTTP/1.1"),
        ),
        refused(
            "target: relative with dots",
            "RFC 9112 3.2.1",
            "origin-form begins with a slash",
            line("GET ../a HTTP/1.1"),
        ),
        refused(
            "target: a query only",
            "RFC 9112 3.2.1",
            "an empty path is sent as a slash",
            line("GET ?a=b HTTP/1.1"),
        ),
        refused(
            "target: an asterisk with GET",
            "RFC 9112 3.2.4",
            "asterisk-form is for OPTIONS only",
            line("GET * HTTP/1.1"),
        ),
        refused(
            "target: an asterisk with POST",
            "RFC 9112 3.2.4",
            "asterisk-form is for OPTIONS only",
            "POST * HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
        ),
        refused(
            "target: an asterisk and more",
            "RFC 9112 3.2.4",
            "asterisk-form is one asterisk",
            line("OPTIONS *a HTTP/1.1"),
        ),
        refused(
            "target: authority-form with GET",
            "RFC 9112 3.2.3",
            "authority-form is for CONNECT only",
            line("GET test:80 HTTP/1.1"),
        ),
        refused(
            "target: a backslash first",
            "RFC 9112 3.2.1",
            "origin-form begins with a slash",
            line("GET \\a HTTP/1.1"),
        ),
        refused(
            "target: an octet that no URI has, <",
            "RFC 3986 2",
            "angle brackets are no URI characters",
            line("GET /<a> HTTP/1.1"),
        )
        .own(),
        passed(
            "OPTIONS * is passed as it is",
            "RFC 9110 9.3.7, RFC 9112 3.2.4",
            "an OPTIONS * for the origin",
            line("OPTIONS * HTTP/1.1"),
            target("*"),
        )
        .own(),
    ]);
    run("targets", rows);
}
