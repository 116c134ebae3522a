//! Absolute-form targets, whose authority replaces Host.

use anyhow::{Result, ensure};

use crate::harness::*;

/// An absolute-form target is passed as origin-form or as it came, with its authority as Host.
fn absolute(
    path: &'static str,
    host: &'static str,
) -> impl Fn(&Request) -> Result<()> + Send + Sync {
    move |request| {
        let have = request.fields.one("host")?;
        ensure!(
            have.eq_ignore_ascii_case(host),
            "Host is {have}, expected {host}"
        );
        let whole = format!("http://{host}{path}");
        ensure!(
            request.target == path || request.target.eq_ignore_ascii_case(&whole),
            "the target is {}, expected {path}",
            request.target
        );
        Ok(())
    }
}

#[test]
fn absolute_form() {
    const S: &str = "RFC 9112 3.2.2";
    const WIN: &str = "the target's authority replaces Host";
    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
    }
    let mut rows = vec![
        passed(
            "absolute-form",
            S,
            "a server must accept absolute-form",
            get("http://test/a?b"),
            absolute("/a?b", "test"),
        ),
        passed(
            "absolute-form with another Host",
            S,
            WIN,
            get("http://other/a"),
            absolute("/a", "other"),
        ),
        passed(
            "absolute-form with another Host and port",
            S,
            WIN,
            get("http://other:81/a"),
            absolute("/a", "other:81"),
        ),
        passed(
            "absolute-form without path",
            "RFC 9110 4.2.3, RFC 9112 3.2.1",
            "an empty path is a slash",
            get("http://test"),
            absolute("/", "test"),
        ),
        passed(
            "absolute-form with a query and no path",
            "RFC 9110 4.2.3, RFC 9112 3.2.1",
            "an empty path is a slash",
            get("http://test?a=b"),
            absolute("/?a=b", "test"),
        ),
        passed(
            "absolute-form in capitals",
            "RFC 9110 4.2.3",
            "scheme and host are case-insensitive",
            get("HTTP://TEST/a"),
            absolute("/a", "test"),
        ),
        passed(
            "absolute-form with an IPv6 address",
            S,
            WIN,
            get("http://[::1]:80/a"),
            absolute("/a", "[::1]:80"),
        ),
        passed(
            "absolute-form with a URI in its path",
            S,
            WIN,
            get("http://test/http://other/"),
            absolute("/http://other/", "test"),
        ),
        passed_once(
            "absolute-form in HTTP/1.0 without Host",
            S,
            "the authority becomes Host",
            "GET http://test/a HTTP/1.0\r\n\r\n",
            absolute("/a", "test"),
        ),
        passed_once(
            "absolute-form POST",
            S,
            WIN,
            "POST http://other/a HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
            |request| {
                absolute("/a", "other")(request)?;
                request.body.is("abc")
            },
        ),
        passed(
            "OPTIONS with an absolute target without path",
            "RFC 9112 3.2.4",
            "the last proxy sends an asterisk",
            "OPTIONS http://test HTTP/1.1\r\nHost: test\r\n\r\n",
            absolute("*", "test"),
        )
        .own(),
        passed(
            "OPTIONS with an absolute target and a slash",
            "RFC 9112 3.2.4",
            "a path is not the asterisk",
            "OPTIONS http://test/ HTTP/1.1\r\nHost: test\r\n\r\n",
            absolute("/", "test"),
        ),
        refused_by(
            "an https target on a plain connection",
            "RFC 9110 7.4",
            "a request for an https resource must be rejected unless it came over a secured connection",
            &[400, 421],
            get("https://test/a"),
        ),
        refused_by(
            "an https target with port",
            "RFC 9110 7.4",
            "a request for an https resource must be rejected unless it came over a secured connection",
            &[400, 421],
            get("https://test:443/a"),
        ),
        refused(
            "an absolute target with a bad Host",
            "RFC 9112 3.2",
            "an invalid Host is refused whatever the target",
            "GET http://test/ HTTP/1.1\r\nHost: a b\r\n\r\n",
        ),
    ];
    rows.extend(
        [
            ("no host", "http:///a"),
            ("no host but a port", "http://:80/a"),
            ("userinfo", "http://user@test/a"),
            ("userinfo with a password", "http://user:pw@test/a"),
            ("an empty userinfo", "http://@test/a"),
            ("a bad port", "http://test:x/a"),
            ("two ports", "http://test:80:80/a"),
            ("an open bracket", "http://[::1/a"),
            ("a bad address", "http://[::g]/a"),
            ("one slash", "http:/test/a"),
            ("no slash", "http:test"),
            ("only a scheme", "http://"),
            ("a fragment", "http://test/a#b"),
            ("a backslash", "http://test\\a"),
            ("a backslash before an at sign", "http://other\\@test/a"),
        ]
        .map(|(name, bad)| {
            refused(
                format!("absolute-form with {name}"),
                "RFC 9110 4.2.1, 4.2.4, RFC 3986 3.2",
                "an authority is a host and perhaps a port; userinfo is an error",
                get(bad),
            )
        }),
    );
    rows.extend(
        [
            "ftp://test/a",
            "ws://test/a",
            "file:///a",
            "foo:bar",
            "mailto:a@b",
        ]
        .map(|other| {
            refused_by(
                format!("a target of another scheme: {other}"),
                "RFC 9110 7.4, RFC 9112 3.2.2",
                "a scheme that the gateway does not serve",
                &[400, 421],
                get(other),
            )
            .own()
        }),
    );
    run("absolute-form", rows);
}
