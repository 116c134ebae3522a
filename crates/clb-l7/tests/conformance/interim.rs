//! Expect: 100-continue end to end, and other interim answers.

use anyhow::{Result, ensure};

use crate::harness::*;

const S: &str = "RFC 9110 10.1.1";
const EXPECT: &str =
    "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
const GO: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn expect() {
    fn handshake(lane: &Lane<'_>, head: &str, body: &str) -> Result<()> {
        let mut client = lane.client_sends(head)?;
        let mut backend = lane.backend()?;
        let request = backend.request_head()?;
        let expectation = request.fields.one("expect")?;
        ensure!(
            expectation.eq_ignore_ascii_case("100-continue"),
            "Expect: {expectation}"
        );
        backend.send(GO)?;
        client.answer_head("POST")?.status(100)?;
        client.send(body)?;
        backend.body(request.body.framing)?.is("hello")?;
        backend.send(OK)?;
        client.answer("POST")?.status(200)?.body.is("ok")?;
        lane.lives(&mut client, backend).map(|_| ())
    }
    /// A final answer instead of 100: it arrives; then the connection ends, or the body may still
    /// be sent and is not taken for a request.
    fn final_instead(lane: &Lane<'_>, status: u16, extra: &str) -> Result<()> {
        let mut client = lane.client_sends(EXPECT)?;
        let mut backend = lane.backend()?;
        backend.request_head()?;
        backend.send(format!(
            "HTTP/1.1 {status} No\r\nContent-Length: 2\r\n{extra}\r\nno"
        ))?;
        let answer = client.answer("POST")?;
        answer.status(status)?.body.is("no")?;
        if answer.fields.says_close() {
            return client.expect_end();
        }
        client.try_send("hello");
        client.try_send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut seen = Vec::new();
        if backend.wait().unwrap_or(false) {
            seen = backend.so_far()?.to_vec();
        }
        if seen.is_empty()
            || seen == b"hello"
            || seen.starts_with(b"helloGET /again")
            || seen.starts_with(b"GET /again")
        {
            Ok(())
        } else {
            anyhow::bail!("the backend gets {}", seen.escape_ascii())
        }
    }
    run(
        "Expect",
        vec![
            row("100-continue", S, "the head is forwarded at once, 100 comes back, the body follows", |lane| handshake(lane, EXPECT, "hello")).own(),
            row("100-continue with chunks", S, "the head is forwarded at once, 100 comes back, the body follows", |lane| {
                handshake(lane, "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n")
            }).own(),
            row("100-Continue in other cases", S, "expectations are case-insensitive", |lane| {
                handshake(lane, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-CONTINUE\r\n\r\n", "hello")
            }).own(),
            row("the gateway does not say 100 by itself", S, "100-continue is end to end", |lane| {
                let mut client = lane.client_sends(EXPECT)?;
                let mut backend = lane.backend()?;
                backend.request_head()?;
                // The head has arrived; whatever the gateway had said by itself would be there.
                backend.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")?;
                client.answer_head("POST")?.status(403).map(|_| ())
            }).own(),
            row("417 instead of 100", S, "the final answer arrives without the body", |lane| final_instead(lane, 417, "")).own(),
            row("401 instead of 100", S, "the final answer arrives without the body", |lane| final_instead(lane, 401, "")).own(),
            row("413 and close instead of 100", S, "the final answer arrives without the body", |lane| final_instead(lane, 413, "Connection: close\r\n")).own(),
            row("200 instead of 100", S, "the final answer arrives without the body", |lane| final_instead(lane, 200, "")).own(),
            row("the client does not wait for 100", S, "it may send at once", |lane| {
                let mut client = lane.client_sends(format!("{EXPECT}hello"))?;
                let mut backend = lane.backend()?;
                backend.request()?.body.is("hello")?;
                backend.send(OK)?;
                let mut answer = client.answer("POST")?;
                if answer.status == 100 {
                    answer = client.answer("POST")?;
                }
                answer.status(200)?.body.is("ok")?;
                lane.lives(&mut client, backend).map(|_| ())
            }),
            row("the client does not wait, the backend says 100", S, "100 is passed or, with the body begun, left out", |lane| {
                let mut client = lane.client_sends(format!("{EXPECT}hello"))?;
                let mut backend = lane.backend()?;
                backend.request()?.body.is("hello")?;
                backend.send(format!("{GO}{OK}"))?;
                let mut answer = client.answer("POST")?;
                if answer.status == 100 {
                    answer = client.answer("POST")?;
                }
                answer.status(200)?.body.is("ok")
            }),
            row("100-continue without a body", S, "nothing to wait for", |lane| {
                let mut client = lane.client_sends("GET / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\r\n")?;
                let mut backend = lane.backend()?;
                backend.request()?;
                backend.send(OK)?;
                let mut answer = client.answer("GET")?;
                if answer.status == 100 {
                    answer = client.answer("GET")?;
                }
                answer.status(200)?.body.is("ok")
            }),
            row("100-continue from HTTP/1.0", S, "the expectation is ignored: no 100 to HTTP/1.0", |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.0\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")?;
                let mut backend = lane.backend()?;
                backend.request()?.body.is("hello")?;
                backend.send(format!("{GO}{OK}"))?;
                client.answer("POST")?.status(200)?.body.is("ok")
            }),
            either("another expectation", S, "417, or forwarded", &[417], "GET / HTTP/1.1\r\nHost: test\r\nExpect: x-other\r\n\r\n", |request| request.fields.is("expect", "x-other")),
            either("100-continue and another expectation", S, "417, or forwarded", &[417], "GET / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue, x-other\r\n\r\n", |_| Ok(())),
        ],
    );
}

#[test]
fn interim_answers() {
    const I: &str = "RFC 9110 15.2";
    const WHY: &str = "a proxy must forward 1xx answers that it did not ask for itself";
    let passes = |name: &'static str, interim: &'static str, statuses: &'static [u16]| {
        row(name, I, WHY, move |lane| {
            let mut client = lane.client_sends(GET)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            backend.send(interim)?;
            for status in statuses {
                client.answer("GET")?.status(*status)?;
            }
            // Only now: interim answers do not wait for the final one.
            backend.send(OK)?;
            client.answer("GET")?.status(200)?.body.is("ok")?;
            lane.lives(&mut client, backend).map(|_| ())
        })
    };
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    run(
        "interim answers",
        vec![
            passes("103", HINTS, &[103]),
            passes("100 that nobody expected", GO, &[100]),
            passes("102", "HTTP/1.1 102 Processing\r\n\r\n", &[102]),
            passes("an unknown 1xx", "HTTP/1.1 199 Odd\r\n\r\n", &[199]),
            passes("three of them", "HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 103 E\r\n\r\n", &[102, 103, 103]),
            row("103 with its fields", I, WHY, |lane| {
                let (mut client, _backend, _) = lane.exchange(GET, format!("{HINTS}{OK}").as_bytes())?;
                client.answer("GET")?.status(103)?.fields.is("link", "</a>; rel=preload")?;
                client.answer("GET")?.status(200)?.body.is("ok")
            }),
            row("103 loses its hop-by-hop fields", "RFC 9110 7.6.1", "in every message", |lane| {
                let (mut client, _backend, _) = lane.exchange(GET, format!("HTTP/1.1 103 E\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\n\r\n{OK}").as_bytes())?;
                client.answer("GET")?.status(103)?.fields.lack(&["x-hop", "keep-alive"])?;
                client.answer("GET")?.status(200)?.body.is("ok")
            }).own(),
            row("103 and the final answer in one segment", I, WHY, |lane| {
                let (mut client, backend, _) = lane.exchange(GET, format!("{HINTS}{OK}").as_bytes())?;
                client.answer("GET")?.status(103)?;
                client.answer("GET")?.status(200)?.body.is("ok")?;
                lane.lives(&mut client, backend).map(|_| ())
            }),
            row("103 to HTTP/1.0", "RFC 9110 15.2", "no 1xx to HTTP/1.0", |lane| {
                let (mut client, _backend, _) = lane.exchange("GET / HTTP/1.0\r\nHost: test\r\n\r\n", format!("{HINTS}{OK}").as_bytes())?;
                client.answer("GET")?.status(200)?.body.is("ok")
            }),
            row("103 to HEAD", I, WHY, |lane| {
                let (mut client, backend, _) = lane.exchange("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n", format!("{HINTS}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").as_bytes())?;
                client.answer("HEAD")?.status(103)?;
                client.answer("HEAD")?.status(200)?.fields.is("content-length", "5")?;
                lane.lives(&mut client, backend).map(|_| ())
            }),
            row("1xx with a length", "RFC 9110 8.6, RFC 9112 6.3", "it has no body; Content-Length is not passed on, or 502", |lane| {
                let (mut client, _backend, _) = lane.exchange(GET, format!("HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\n{OK}").as_bytes())?;
                let mut answer = client.answer("GET")?;
                if answer.status == 103 {
                    answer = client.answer("GET")?;
                }
                ensure!(answer.status == 502 || (answer.status == 200 && answer.body.data == b"ok"), "{}", answer.status);
                Ok(())
            }),
            row("1xx with a coding", "RFC 9112 6.1, 6.3", "it has no body; Transfer-Encoding is not passed on, or 502", |lane| {
                let (mut client, _backend, _) = lane.exchange(GET, format!("HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n{OK}").as_bytes())?;
                let mut answer = client.answer("GET")?;
                if answer.status == 103 {
                    answer = client.answer("GET")?;
                }
                ensure!(answer.status == 502 || (answer.status == 200 && answer.body.data == b"ok"), "{}", answer.status);
                Ok(())
            }),
        ],
    );
}
