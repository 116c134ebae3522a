//! The limits of interfaces.md: 414, 431, 413, 502.

use anyhow::{Result, ensure};

use crate::harness::*;

fn small() -> Settings {
    Settings {
        request_line: 1024,
        request_head: 4096,
        request_fields: 10,
        response_head: 4096,
        request_body: 1000,
        ..Settings::default()
    }
}

fn padded(length: usize) -> String {
    "a".repeat(length)
}

/// Sends without end until the gateway refuses.
fn endless(
    name: &str,
    why: &'static str,
    statuses: &'static [u16],
    start: &'static str,
    piece: String,
) -> Row {
    row(name, "interfaces: limits", why, move |lane| {
        let mut client = lane.client_sends(start)?;
        for _ in 0..1000 {
            client.try_send(&piece);
        }
        client.wait()?;
        is_refused(&mut client, statuses)?;
        lane.nothing_reached()
    })
    .own()
}

#[test]
fn requests() {
    const S: &str = "interfaces: limits, RFC 9110 15.5";
    const AT: &str = "at the limit is within it";
    const OVER: &str = "beyond the limit is refused, with the status that says which";
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", padded(length));
    let field = |length: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: test\r\nX-A: {}\r\n\r\n",
            padded(length)
        )
    };
    let fields = |count: usize| {
        let more: String = (1..count)
            .map(|number| format!("X-{number}: a\r\n"))
            .collect();
        format!("GET / HTTP/1.1\r\nHost: test\r\n{more}\r\n")
    };
    let body = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{}",
            padded(length)
        )
    };
    let chunks = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
            padded(length)
        )
    };
    let fine = |name: &'static str, octets: String| passed(name, S, AT, octets, |_| Ok(())).own();
    let over = |name: &'static str, statuses: &'static [u16], octets: String| {
        refused_by(name, S, OVER, statuses, octets).own()
    };
    run_with(
        "limits of requests",
        small(),
        vec![
            fine("a request line below its limit", line(1024 - 40)),
            over("a request line above its limit", &[414], line(1024)),
            over("a request line far above its limit", &[414], line(3000)),
            over("a request line above the head's limit too", &[414], line(100_000)),
            endless("a request line without end", OVER, &[414], "GET /", padded(1000)),
            endless("a method without end", OVER, &[400, 414, 501], "G", "E".repeat(1000)),
            endless("spaces without end", OVER, &[400, 414], "GET ", " ".repeat(1000)),
            fine("a head below its limit", field(4096 - 100)),
            over("a head above its limit", &[431], field(4096)),
            over("a head far above its limit", &[431], field(100_000)),
            endless("a field without end", OVER, &[431], "GET / HTTP/1.1\r\nHost: test\r\nX-A: ", padded(1000)),
            endless("a field name without end", OVER, &[431], "GET / HTTP/1.1\r\nHost: test\r\nX", padded(1000)),
            endless("fields without end", OVER, &[431], "GET / HTTP/1.1\r\nHost: test\r\n", "X-A: b\r\n".repeat(100)),
            endless("empty lines without end", "ignored lines are bounded too", &[400, 414, 431, 408], "\r\n", "\r\n".repeat(500)),
            fine("as many fields as the limit", fields(10)),
            over("one field more than the limit", &[431], fields(11)),
            over("many fields more than the limit", &[431], fields(200)),
            fine("a body at its limit", body(1000)),
            over("a body above its limit", &[413], body(1001)),
            over("a body far above its limit, announced only", &[413], "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n".to_string()),
            over("a body above its limit with an expectation", &[413], "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n".to_string()),
            fine("chunks at the body's limit", chunks(1000)),
            row("chunks above the body's limit", S, OVER, move |lane| {
                let mut client = lane.client_sends(chunks(1001))?;
                client.wait()?;
                is_refused(&mut client, &[413])?;
                lane.nothing_came_whole()
            }).own(),
            row("many small chunks above the body's limit", S, OVER, |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                for _ in 0..1001 {
                    client.try_send("1\r\na\r\n");
                }
                client.wait()?;
                is_refused(&mut client, &[413])?;
                lane.nothing_came_whole()
            }).own(),
            row("a refusal is the gateway's own answer", "semantics 6", "short text with the status, Server: clbd", |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n")?;
                let answer = is_refused(&mut client, &[413])?;
                answer.fields.is("server", "clbd")?;
                answer.fields.one("date")?;
                ensure!(answer.fields.one("content-type")?.starts_with("text/plain"));
                ensure!(latin1(&answer.body.data).contains("413"), "{:?}", latin1(&answer.body.data));
                Ok(())
            }).own(),
            row("a refusal of HEAD has no body", "RFC 9110 9.3.2", "no answer to HEAD has one", |lane| {
                let mut client = lane.client_sends("HEAD / HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n")?;
                let answer = client.answer("HEAD")?;
                answer.status(413)?;
                client.expect_end()
            }).own(),
        ],
    );
}

#[test]
fn answers() {
    const S: &str = "interfaces: limits, RFC 9110 15.6.3";
    const OVER: &str = "an answer's head beyond the limit is 502";
    const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    fn endless(name: &str, start: &'static str, piece: String) -> Row {
        row(name, S, OVER, move |lane| {
            let mut client = lane.client_sends(GET)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            backend.send(start)?;
            for _ in 0..1000 {
                backend.try_send(&piece);
            }
            client.answer("GET")?.status(502)?;
            backend.expect_gone()
        })
        .own()
    }
    run_with(
        "limits of answers",
        small(),
        vec![
            answered(
                "an answer's head below the limit",
                S,
                "at the limit is within it",
                GET,
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: {}\r\n\r\nok",
                    padded(4000)
                ),
                Then::Keep,
                |answer| answer.status(200)?.body.is("ok"),
            )
            .own(),
            bad_answer(
                "an answer's head above the limit",
                S,
                OVER,
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: {}\r\n\r\nok",
                    padded(4096)
                ),
            )
            .own(),
            endless(
                "an answer's status line without end",
                "HTTP/1.1 200 ",
                padded(1000),
            ),
            endless(
                "an answer's field without end",
                "HTTP/1.1 200 OK\r\nX-A: ",
                padded(1000),
            ),
            endless(
                "an answer's fields without end",
                "HTTP/1.1 200 OK\r\n",
                "X-A: b\r\n".repeat(100),
            ),
            endless("an answer without any line", "", padded(1000)),
            row(
                "an answer's trailers without end",
                S,
                "bounded; the answer never looks whole",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
                    )?;
                    for number in 0..10_000 {
                        backend.try_send(format!("X-{number}: {}\r\n", padded(100)));
                    }
                    let answer = client.answer("GET")?;
                    ensure!(
                        answer.status == 502 || !answer.body.complete,
                        "{:?}",
                        answer.status
                    );
                    backend.expect_gone()
                },
            )
            .own(),
            row(
                "an answer's chunk extensions without end",
                S,
                "bounded; the answer never looks whole",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;")?;
                    for _ in 0..1000 {
                        backend.try_send(padded(1000));
                    }
                    let answer = client.answer("GET")?;
                    ensure!(
                        answer.status == 502 || !answer.body.complete,
                        "{:?}",
                        answer.status
                    );
                    backend.expect_gone()
                },
            )
            .own(),
        ],
    );
}

#[test]
fn defaults() {
    fn long(request: &Request) -> Result<()> {
        ensure!(request.target.len() == 8001, "{}", request.target.len());
        Ok(())
    }
    run(
        "default limits",
        vec![
            passed(
                "a target of 8,000 octets",
                "RFC 9112 3",
                "request lines of at least 8000 octets are RECOMMENDED",
                format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", padded(8000)),
                long,
            )
            .own(),
            passed(
                "100 fields",
                "interfaces: limits",
                "128 are allowed",
                format!(
                    "GET / HTTP/1.1\r\nHost: test\r\n{}\r\n",
                    "X-A: b\r\n".repeat(100)
                ),
                |request| {
                    ensure!(request.fields.all("x-a").len() == 100);
                    Ok(())
                },
            ),
            refused_by(
                "a target of 20,000 octets",
                "RFC 9110 15.5.15",
                "414",
                &[414],
                format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", padded(20_000)),
            )
            .own(),
            refused_by(
                "200 fields",
                "RFC 6585 5",
                "431",
                &[431],
                format!(
                    "GET / HTTP/1.1\r\nHost: test\r\n{}\r\n",
                    "X-A: b\r\n".repeat(200)
                ),
            )
            .own(),
            refused_by(
                "a head of 100,000 octets",
                "RFC 6585 5",
                "431",
                &[431],
                format!(
                    "GET / HTTP/1.1\r\nHost: test\r\nX-A: {}\r\n\r\n",
                    padded(100_000)
                ),
            )
            .own(),
        ],
    );
}
