//! Requests that are unusual, and what a gateway owes them all the same.

use anyhow::ensure;

use crate::harness::*;

fn with(field: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n")
}

#[test]
fn odd() {
    run(
        "odd requests",
        vec![
            either(
                "two Content-Lengths of zero",
                "RFC 9110 8.6",
                "a list of equal numbers is refused or made one",
                &[400],
                with("Content-Length: 0\r\nContent-Length: 0"),
                |request| request.body.is(""),
            ),
            either(
                "a Content-Length of zero in many zeros",
                "RFC 9110 8.6",
                "1*DIGIT",
                &[400],
                with("Content-Length: 000"),
                |request| request.body.is(""),
            ),
            either(
                "Expect folded",
                "RFC 9112 5.2",
                "400, or the fold replaced by spaces",
                &[400, 417],
                with("Expect:\r\n 100-continue"),
                |_| Ok(()),
            ),
            either(
                "Expect twice",
                "RFC 9110 10.1.1",
                "the same expectation twice",
                &[400, 417],
                with("Expect: 100-continue\r\nExpect: 100-continue"),
                |_| Ok(()),
            ),
            either(
                "TRACE with a body",
                "RFC 9110 9.3.8",
                "a client must not send one",
                &[400],
                "TRACE / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
                |request| request.body.is("hello"),
            ),
            passed(
                "cookies in two fields",
                "RFC 9110 5.3, RFC 6265 5.4",
                "passed on as they are, or joined with a semicolon",
                with("Cookie: a=1\r\nCookie: b=2"),
                |request| {
                    let all = request.fields.all("cookie").join("; ");
                    ensure!(all == "a=1; b=2", "Cookie is {all}");
                    Ok(())
                },
            ),
            either(
                "two fields of one name that should be one",
                "RFC 9110 5.3",
                "a sender must not; passed on as they are, or refused",
                &[400],
                with("Content-Type: a/b\r\nContent-Type: c/d"),
                |request| {
                    ensure!(request.fields.all("content-type") == ["a/b", "c/d"]);
                    Ok(())
                },
            ),
            passed(
                "Forwarded is left alone",
                "RFC 7239 4",
                "the gateway speaks X-Forwarded-For",
                with("Forwarded: for=1.2.3.4;host=\"a:1\""),
                |request| request.fields.is("forwarded", "for=1.2.3.4;host=\"a:1\""),
            ),
            passed(
                "a field without meaning here",
                "RFC 9110 7.6",
                "Upgrade-Insecure-Requests is not Upgrade",
                with("Upgrade-Insecure-Requests: 1"),
                |request| request.fields.is("upgrade-insecure-requests", "1"),
            ),
            passed(
                "a pseudo-field's name as a value",
                "RFC 9110 5.5",
                "opaque",
                with("X-A: :authority, :path"),
                |request| request.fields.is("x-a", ":authority, :path"),
            ),
            refused(
                "a pseudo-field of HTTP/2",
                "RFC 9112 5",
                "a name that begins with a colon is no token",
                with(":authority: test"),
            ),
            refused(
                "fields without a request line",
                "RFC 9112 9.3.2",
                "nothing is guessed",
                "Host: test\r\n\r\n",
            ),
            row(
                "a body with Connection: close",
                "RFC 9112 9.6",
                "read, answered, closed",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request()?.body.is("hello")?;
                    backend.send(OK)?;
                    client.answer("POST")?.status(200)?.body.is("ok")?;
                    client.expect_end()
                },
            ),
            row(
                "chunks with Connection: close and a request behind them",
                "RFC 9112 9.6",
                "nothing behind close is processed",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request()?.body.is("hello")?;
                    backend.send(OK)?;
                    client.answer("POST")?.status(200)?.body.is("ok")?;
                    client.expect_end()?;
                    lane.nothing_reached_over(Some(backend))
                },
            ),
            row(
                "HTTP/1.0 POST with a request behind it",
                "RFC 9112 9.3",
                "HTTP/1.0 does not persist: nothing behind it is processed",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.0\r\nHost: test\r\nContent-Length: 5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request()?.body.is("hello")?;
                    backend.send(OK)?;
                    client.answer("POST")?.status(200)?.body.is("ok")?;
                    client.expect_end()?;
                    lane.nothing_reached_over(Some(backend))
                },
            ),
            row(
                "an upgrade with a body",
                "RFC 9110 7.8",
                "the body belongs to the request, what follows to the tunnel; or the upgrade is not asked for",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
                    )?;
                    let mut backend = lane.backend()?;
                    let request = backend.request()?;
                    request.body.is("hello")?;
                    if request.fields.all("upgrade").is_empty() {
                        backend.send(OK)?;
                        return client.answer("POST")?.status(200).map(|_| ());
                    }
                    backend.send(
                        "HTTP/1.1 101 S\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\n\r\nfrom",
                    )?;
                    client.answer_head("POST")?.status(101)?;
                    client.expect("from")?;
                    client.send("to")?;
                    backend.expect("to")
                },
            ),
            row(
                "an upgrade with a body that is refused",
                "RFC 9110 7.8, RFC 9112 9.3",
                "the connection lives on as HTTP",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request()?.body.is("hello")?;
                    backend.send(OK)?;
                    client.answer("POST")?.status(200)?.body.is("ok")?;
                    lane.lives(&mut client, backend).map(|_| ())
                },
            ),
        ],
    );
}
