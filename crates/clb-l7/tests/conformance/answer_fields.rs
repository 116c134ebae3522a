//! Fields of answers, and Max-Forwards.

use anyhow::{Result, ensure};

use crate::harness::*;

#[test]
fn of_answers() {
    const S: &str = "RFC 9110 7.6.1";
    const WHY: &str =
        "Connection, what it names, and the known hop-by-hop fields are not forwarded";
    const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    fn ok(fields: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{fields}\r\nhello")
    }
    fn lacks(names: &'static [&'static str]) -> impl Fn(&Answer) -> Result<()> + Send + Sync {
        move |answer| {
            answer.status(200)?.body.is("hello")?;
            answer.fields.lack(names)?;
            for name in names {
                ensure!(
                    !answer
                        .fields
                        .members("connection")
                        .contains(&name.to_string())
                );
            }
            Ok(())
        }
    }
    run(
        "fields of answers",
        vec![
            answered(
                "an answer's field that Connection names",
                S,
                WHY,
                GET,
                ok("Connection: X-Hop\r\nX-Hop: 1\r\n"),
                Then::Keep,
                lacks(&["x-hop"]),
            ),
            answered(
                "an answer's Connection in two fields",
                S,
                WHY,
                GET,
                ok("Connection: X-Hop\r\nX-Hop: 1\r\nX-Other: 1\r\nConnection: x-other\r\n"),
                Then::Keep,
                lacks(&["x-hop", "x-other"]),
            ),
            answered(
                "an answer's Keep-Alive",
                S,
                WHY,
                GET,
                ok("Connection: keep-alive\r\nKeep-Alive: timeout=5, max=100\r\n"),
                Then::Keep,
                lacks(&["keep-alive"]),
            )
            .own(),
            answered(
                "an answer's Keep-Alive unnamed",
                S,
                WHY,
                GET,
                ok("Keep-Alive: timeout=5\r\n"),
                Then::Keep,
                lacks(&["keep-alive"]),
            )
            .own(),
            answered(
                "an answer's Proxy-Connection",
                S,
                WHY,
                GET,
                ok("Proxy-Connection: keep-alive\r\n"),
                Then::Keep,
                lacks(&["proxy-connection"]),
            )
            .own(),
            answered(
                "an answer's Upgrade",
                "RFC 9110 7.8",
                "an offer for this hop",
                GET,
                ok("Connection: Upgrade\r\nUpgrade: h2c\r\n"),
                Then::Keep,
                lacks(&["upgrade"]),
            )
            .own(),
            answered(
                "an answer's Connection names Content-Length",
                S,
                "framing is not lost",
                GET,
                ok("Connection: Content-Length\r\n"),
                Then::Keep,
                |answer| {
                    if answer.status == 502 {
                        Ok(())
                    } else {
                        answer.body.is("hello")
                    }
                },
            ),
            row(
                "an answer's Connection: close is for the gateway",
                "RFC 9110 7.6.1, RFC 9112 9.6",
                "the client's connection lives on",
                |lane| {
                    let (mut client, mut backend, _) =
                        lane.exchange(GET, ok("Connection: close\r\n").as_bytes())?;
                    let answer = client.answer("GET")?;
                    ensure!(!answer.fields.says_close(), "close is passed on");
                    backend.expect_gone()?;
                    lane.lives(&mut client, backend).map(|_| ())
                },
            ),
            answered(
                "Date is added",
                "RFC 9110 6.6.1",
                "a recipient with a clock adds a missing Date when it forwards",
                GET,
                ok(""),
                Then::Keep,
                |answer| {
                    let date = answer.fields.one("date")?;
                    ensure!(date.len() == 29 && date.ends_with(" GMT"), "Date {date:?}");
                    Ok(())
                },
            ),
            answered(
                "Date is kept",
                "RFC 9110 6.6.1",
                "the origin's date stays",
                GET,
                ok("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
                Then::Keep,
                |answer| answer.fields.is("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            )
            .own(),
            answered(
                "Server is kept",
                "RFC 9110 10.2.4",
                "the origin's",
                GET,
                ok("Server: own/1\r\n"),
                Then::Keep,
                |answer| answer.fields.is("server", "own/1"),
            )
            .own(),
            answered(
                "no Server is added",
                "RFC 9110 10.2.4",
                "the gateway is not the origin",
                GET,
                ok(""),
                Then::Keep,
                |answer| answer.fields.lack(&["server", "via"]),
            )
            .own(),
            answered(
                "cookies stay apart and in order",
                "RFC 9110 5.3",
                "Set-Cookie is never joined",
                GET,
                ok("Set-Cookie: a=1; Path=/\r\nX: y\r\nSet-Cookie: b=2\r\nset-cookie: a=3\r\n"),
                Then::Keep,
                |answer| {
                    let all = answer.fields.all("set-cookie");
                    ensure!(all == ["a=1; Path=/", "b=2", "a=3"], "{all:?}");
                    Ok(())
                },
            ),
            answered(
                "end-to-end fields of an answer",
                "RFC 9110 7.6",
                "what is not hop-by-hop is forwarded",
                GET,
                ok(
                    "ETag: \"a\"\r\nCache-Control: no-store\r\nX-Own: 1\r\nWWW-Authenticate: Basic realm=\"x, y\"\r\nLocation: /a\r\nVary: *\r\n",
                ),
                Then::Keep,
                |answer| {
                    for (name, value) in [
                        ("etag", "\"a\""),
                        ("cache-control", "no-store"),
                        ("x-own", "1"),
                        ("www-authenticate", "Basic realm=\"x, y\""),
                        ("location", "/a"),
                        ("vary", "*"),
                    ] {
                        answer.fields.is(name, value)?;
                    }
                    Ok(())
                },
            ),
        ],
    );
}

#[test]
fn max_forwards() {
    const S: &str = "RFC 9110 7.6.2";
    fn is(value: &'static str) -> impl Fn(&Request) -> Result<()> + Send + Sync {
        move |request| request.fields.is("max-forwards", value)
    }
    fn answered_here(name: &str, octets: &'static str) -> Row {
        row(
            name,
            S,
            "at 0 the recipient answers itself and must not forward",
            move |lane| {
                let mut client = lane.client_sends(octets)?;
                lane.client_hears_first(&mut client)?;
                let answer = client.answer("GET")?;
                ensure!(answer.body.complete);
                ensure!(
                    [200, 204, 405, 501].contains(&answer.status),
                    "got {}",
                    answer.status
                );
                lane.nothing_reached()
            },
        )
        .own()
    }
    run(
        "Max-Forwards",
        vec![
            answered_here(
                "OPTIONS with Max-Forwards 0",
                "OPTIONS /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n",
            ),
            answered_here(
                "OPTIONS * with Max-Forwards 0",
                "OPTIONS * HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n",
            ),
            answered_here(
                "TRACE with Max-Forwards 0",
                "TRACE /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n",
            ),
            passed(
                "OPTIONS with Max-Forwards 1",
                S,
                "decremented",
                "OPTIONS /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 1\r\n\r\n",
                is("0"),
            )
            .own(),
            passed(
                "OPTIONS with Max-Forwards 10",
                S,
                "decremented",
                "OPTIONS /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 10\r\n\r\n",
                is("9"),
            )
            .own(),
            passed(
                "TRACE with Max-Forwards 5",
                S,
                "decremented",
                "TRACE /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 5\r\n\r\n",
                is("4"),
            )
            .own(),
            passed(
                "GET with Max-Forwards",
                S,
                "other methods may ignore it",
                "GET /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n",
                is("0"),
            ),
            either(
                "OPTIONS with a Max-Forwards that is no number",
                S,
                "invalid",
                &[400],
                "OPTIONS /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: x\r\n\r\n",
                is("x"),
            )
            .own(),
        ],
    );
}
