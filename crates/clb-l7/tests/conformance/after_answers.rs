//! Octets that come after an answer.

use anyhow::ensure;

use crate::answers::{GET, HEAD, ok};
use crate::harness::*;

#[test]
fn after_the_answer() {
    const S: &str = "RFC 9112 9.3, 6.3";
    const WHY: &str = "octets behind an answer belong to nobody";
    const EXTRA: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    let mut rows: Vec<Row> = [
        ("a length", GET, ok("Content-Length: 2", "ok")),
        ("a length of zero", GET, ok("Content-Length: 0", "")),
        (
            "chunks",
            GET,
            ok("Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n"),
        ),
        ("204", GET, "HTTP/1.1 204 N\r\n\r\n".to_string()),
        (
            "304",
            GET,
            "HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n".to_string(),
        ),
        ("HEAD", HEAD, ok("Content-Length: 5", "")),
        (
            "HEAD with chunks",
            HEAD,
            ok("Transfer-Encoding: chunked", ""),
        ),
        (
            "401",
            GET,
            "HTTP/1.1 401 N\r\nContent-Length: 0\r\n\r\n".to_string(),
        ),
    ]
    .into_iter()
    .flat_map(|(name, request, answer)| {
        ["garbage", EXTRA, "\r\n", "0\r\n\r\n"].map(|extra| {
            let answer = answer.clone();
            row(
                format!("extra octets behind {name}: {}", extra.escape_default()),
                S,
                WHY,
                move |lane| {
                    let (mut client, mut backend, _) =
                        lane.exchange(request, format!("{answer}{extra}").as_bytes())?;
                    let method = request.split(' ').next().unwrap_or_default();
                    client.answer(method)?;
                    // The connection must not be used again, and the client's goes on (or ends).
                    client.try_send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n");
                    let mut fresh =
                        match lane.backend_within(0, std::time::Duration::from_millis(500))? {
                            Some(fresh) => fresh,
                            None => {
                                ensure!(
                                    backend.so_far()?.is_empty(),
                                    "the doubtful connection is used again"
                                );
                                return client.expect_gone();
                            }
                        };
                    ensure!(fresh.request()?.target == "/again");
                    fresh.send(OK)?;
                    client.answer("GET")?.status(200)?.body.is("ok")?;
                    drop(backend);
                    Ok(())
                },
            )
        })
    })
    .collect();
    rows.push(row(
        "an answer nobody asked for on a kept connection",
        S,
        WHY,
        |lane| {
            let (mut client, mut backend, _) = lane.exchange(GET, OK.as_bytes())?;
            client.answer("GET")?.body.is("ok")?;
            backend.send(EXTRA)?;
            // The gateway closes it, at once or when it would use it.
            client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
            let mut fresh = lane.backend()?;
            ensure!(fresh.request()?.target == "/again");
            fresh.send(OK)?;
            client.answer("GET")?.status(200)?.body.is("ok")?;
            backend.expect_gone()
        },
    ));
    rows.push(row(
        "a 408 on a kept connection",
        "RFC 9110 15.5.9, RFC 9112 9.3",
        "an unsolicited 408 and close are for nobody",
        |lane| {
            let (mut client, mut backend, _) = lane.exchange(GET, OK.as_bytes())?;
            client.answer("GET")?.body.is("ok")?;
            backend
                .send("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            drop(backend);
            client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
            let mut fresh = lane.backend()?;
            ensure!(fresh.request()?.target == "/again");
            fresh.send(OK)?;
            client.answer("GET")?.status(200)?.body.is("ok")
        },
    ));
    run("after the answer", rows);
}
