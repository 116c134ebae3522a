//! Fields that a gateway removes, adds and leaves alone.

use anyhow::{Result, ensure};

use crate::harness::*;

fn get(fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: test:8080\r\n{fields}\r\n")
}

fn lacks(names: &'static [&'static str]) -> impl Fn(&Request) -> Result<()> + Send + Sync {
    move |request| {
        request.fields.lack(names)?;
        for name in names {
            let named = request.fields.members("connection");
            ensure!(
                !named.contains(&name.to_string()),
                "Connection names {name}"
            );
        }
        Ok(())
    }
}

#[test]
fn removed_from_requests() {
    const S: &str = "RFC 9110 7.6.1";
    const WHY: &str =
        "Connection, what it names, and the known hop-by-hop fields are not forwarded";
    run(
        "hop-by-hop fields of requests",
        vec![
            passed("a field that Connection names", S, WHY, get("Connection: X-Hop\r\nX-Hop: 1\r\n"), lacks(&["x-hop"])),
            passed("fields that Connection names in a list", S, WHY, get("Connection: X-Hop, x-other\r\nX-Hop: 1\r\nX-Other: 2\r\nX-Stay: 3\r\n"), |request| {
                lacks(&["x-hop", "x-other"])(request)?;
                request.fields.is("x-stay", "3")
            }),
            passed("Connection in two fields", S, WHY, get("Connection: X-Hop\r\nX-Hop: 1\r\nX-Other: 2\r\nConnection: X-Other\r\n"), lacks(&["x-hop", "x-other"])),
            passed("Connection behind what it names", S, WHY, get("X-Hop: 1\r\nX-Hop: 2\r\nConnection: x-hop\r\n"), lacks(&["x-hop"])),
            passed("Connection with empty members", "RFC 9110 5.6.1.2, 7.6.1", WHY, get("Connection: , X-Hop ,,\tX-Other ,\r\nX-Hop: 1\r\nX-Other: 2\r\n"), lacks(&["x-hop", "x-other"])),
            passed("Connection: keep-alive", S, WHY, get("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"), lacks(&["keep-alive"])),
            passed("Keep-Alive unnamed", S, WHY, get("Keep-Alive: timeout=5\r\n"), lacks(&["keep-alive"])),
            passed("Proxy-Connection", S, WHY, get("Proxy-Connection: keep-alive\r\n"), lacks(&["proxy-connection"])),
            passed("TE", "RFC 9110 10.1.4, 7.6.1", "TE is for this hop", get("Connection: TE\r\nTE: gzip;q=0.5\r\n"), |request| {
                let members = request.fields.members("te");
                ensure!(members.is_empty() || members == ["trailers"], "{members:?}");
                Ok(())
            }),
            passed("TE unnamed", "RFC 9110 10.1.4, 7.6.1", "TE is for this hop", get("TE: gzip\r\n"), |request| {
                ensure!(!request.fields.members("te").contains(&"gzip".to_string()));
                Ok(())
            }).own(),
            passed("Upgrade unnamed", "RFC 9110 7.8", "Upgrade is for this hop, and asks for nothing unless Connection names it", get("Upgrade: websocket\r\n"), lacks(&["upgrade"])).own(),
            passed("h2c", "RFC 9113 3.1, RFC 9110 7.8", "h2c is never passed on", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), |request| {
                lacks(&["http2-settings"])(request)?;
                ensure!(!request.fields.members("upgrade").contains(&"h2c".to_string()));
                Ok(())
            }).own(),
            passed("h2c in a list", "RFC 9113 3.1, RFC 9110 7.8", "h2c is never passed on", get("Connection: Upgrade\r\nUpgrade: foo/1, h2c\r\n"), |request| {
                ensure!(!request.fields.members("upgrade").contains(&"h2c".to_string()));
                Ok(())
            }).own(),
            passed("Connection: Upgrade without Upgrade", "RFC 9110 7.8", "asks for nothing", get("Connection: Upgrade\r\n"), lacks(&["upgrade"])),
            either("Connection names Host", S, "a field for all recipients is not an option: refused or Host kept", &[400], get("Connection: Host\r\n"), |request| {
                request.fields.is("host", "test:8080")
            }),
            either("Connection names Content-Length", S, "framing is not lost", &[400], "POST / HTTP/1.1\r\nHost: test\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", |request| request.body.is("hello")),
            either("Connection names Transfer-Encoding", S, "framing is not lost", &[400], "POST / HTTP/1.1\r\nHost: test\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", |request| request.body.is("hello")),
            either("Connection names X-Forwarded-For", "RFC 9110 7.6.1, semantics 6", "a client cannot take the gateway's own fields away", &[400], get("Connection: X-Forwarded-For, X-Real-IP\r\n"), |request| {
                request.fields.is("x-forwarded-for", "127.0.0.1")?;
                request.fields.is("x-real-ip", "127.0.0.1")
            }).own(),
            either("Connection with a member that is no token", S, "refused or without effect", &[400], get("Connection: a b, (c)\r\nX-Stay: 1\r\n"), |request| request.fields.is("x-stay", "1")),
            either("an empty Connection", "RFC 9110 5.6.1", "an empty list", &[400], get("Connection:\r\nX-Stay: 1\r\n"), |request| request.fields.is("x-stay", "1")),
            passed("X-Forwarded-For of the client's hop stays", "semantics 6", "appended", get("X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n"), |request| {
                let members = request.fields.members("x-forwarded-for").join(", ");
                ensure!(members == "1.2.3.4, 5.6.7.8, 127.0.0.1", "X-Forwarded-For is {members}");
                Ok(())
            }).own(),
        ],
    );
}

#[test]
fn added_to_requests() {
    const S: &str = "semantics 6";
    run(
        "added fields",
        vec![
            row("every added field", S, "as the service says", |lane| {
                let (_client, _backend, request) = lane.exchange(&get(""), OK.as_bytes())?;
                let port = lane.addr.port().to_string();
                for (name, value) in [
                    ("host", "test:8080"),
                    ("x-forwarded-for", "127.0.0.1"),
                    ("x-real-ip", "127.0.0.1"),
                    ("x-forwarded-proto", "http"),
                    ("x-forwarded-host", "test:8080"),
                    ("x-forwarded-port", port.as_str()),
                    ("x-client-proto", "http"),
                    ("x-client-proto-ver", "HTTP/1.1"),
                ] {
                    request.fields.is(name, value)?;
                }
                ensure!(request.fields.one("x-request-id")?.len() >= 8);
                let known = [
                    "host",
                    "x-forwarded-for",
                    "x-real-ip",
                    "x-forwarded-proto",
                    "x-forwarded-host",
                    "x-forwarded-port",
                    "x-client-proto",
                    "x-client-proto-ver",
                    "x-request-id",
                ];
                for (name, value) in &request.fields.0 {
                    let name = name.to_ascii_lowercase();
                    let keeps = name == "connection" && value.eq_ignore_ascii_case("keep-alive");
                    ensure!(
                        known.contains(&name.as_str()) || keeps,
                        "a field that nobody asked for: {name}: {value}"
                    );
                }
                Ok(())
            })
            .own()
            .plain(),
            passed_once(
                "X-Client-Proto-Ver of HTTP/1.0",
                S,
                "the client's version",
                "GET / HTTP/1.0\r\nHost: test\r\n\r\n",
                |request| request.fields.is("x-client-proto-ver", "HTTP/1.0"),
            )
            .own(),
            passed_once(
                "X-Forwarded-Host without Host",
                S,
                "HTTP/1.0 without Host: whatever host the gateway takes it for",
                "GET / HTTP/1.0\r\n\r\n",
                |request| {
                    let host = request.fields.one("host")?;
                    request.fields.is("x-forwarded-host", host)
                },
            )
            .own(),
            passed(
                "X-Forwarded-For is appended",
                S,
                "appended to the last",
                get("X-Forwarded-For: 1.2.3.4\r\n"),
                |request| request.fields.is("x-forwarded-for", "1.2.3.4, 127.0.0.1"),
            )
            .own(),
            passed(
                "X-Forwarded-For in two fields",
                S,
                "appended to the last",
                get("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n"),
                |request| {
                    let members = request.fields.members("x-forwarded-for").join(", ");
                    ensure!(
                        members == "1.2.3.4, 5.6.7.8, 127.0.0.1",
                        "X-Forwarded-For is {members}"
                    );
                    Ok(())
                },
            )
            .own(),
            passed(
                "an empty X-Forwarded-For",
                S,
                "appended",
                get("X-Forwarded-For:\r\n"),
                |request| {
                    let members = request.fields.members("x-forwarded-for").join(", ");
                    ensure!(members == "127.0.0.1", "X-Forwarded-For is {members}");
                    Ok(())
                },
            )
            .own(),
            passed(
                "X-Real-IP is set",
                S,
                "the client's own is replaced",
                get("X-Real-IP: 1.2.3.4\r\nx-real-ip: 5.6.7.8\r\n"),
                |request| request.fields.is("x-real-ip", "127.0.0.1"),
            )
            .own(),
            passed(
                "X-Forwarded-Proto is set",
                S,
                "the client's own is replaced",
                get("X-Forwarded-Proto: https\r\n"),
                |request| request.fields.is("x-forwarded-proto", "http"),
            )
            .own()
            .plain(),
            passed(
                "X-Forwarded-Host is kept",
                S,
                "if absent only",
                get("X-Forwarded-Host: other\r\n"),
                |request| request.fields.is("x-forwarded-host", "other"),
            )
            .own(),
            passed(
                "X-Client-Proto is set",
                S,
                "the client's own is replaced",
                get("X-Client-Proto: https\r\nX-Client-Proto-Ver: HTTP/2\r\n"),
                |request| {
                    request.fields.is("x-client-proto", "http")?;
                    request.fields.is("x-client-proto-ver", "HTTP/1.1")
                },
            )
            .own()
            .plain(),
            passed(
                "X-Request-Id is kept",
                S,
                "if absent only",
                get("X-Request-Id: abc-123\r\n"),
                |request| request.fields.is("x-request-id", "abc-123"),
            )
            .own(),
            passed(
                "X-SSL-Client fields are removed",
                S,
                "such fields from the client are removed always",
                get("X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-Subject: CN=a\r\n"),
                |request| {
                    request
                        .fields
                        .lack(&["x-ssl-client-verify", "x-ssl-client-subject"])
                },
            )
            .own(),
            row(
                "X-Forwarded-Host of an absolute target",
                S,
                "the host of the request is that of the target",
                |lane| {
                    let (_client, _backend, request) = lane.exchange(
                        "GET http://other/ HTTP/1.1\r\nHost: test\r\n\r\n",
                        OK.as_bytes(),
                    )?;
                    request.fields.is("x-forwarded-host", "other")
                },
            )
            .own()
            .plain(),
            row(
                "two requests have two ids",
                S,
                "X-Request-Id tells requests apart",
                |lane| {
                    let (_client, backend, first) = lane.exchange(&get(""), OK.as_bytes())?;
                    let _other = lane.client_sends(get(""))?;
                    let second = lane.next_wire(backend)?.request()?;
                    ensure!(
                        first.fields.one("x-request-id")? != second.fields.one("x-request-id")?
                    );
                    Ok(())
                },
            )
            .own(),
            passed("no Via by default", S, "via = false", get(""), |request| {
                request.fields.lack(&["via"])
            })
            .own(),
            passed(
                "the client's Via stays",
                "RFC 9110 7.6.3",
                "end-to-end",
                get("Via: 1.1 other\r\n"),
                |request| request.fields.is("via", "1.1 other"),
            )
            .own(),
        ],
    );
}
