//! Answers that are cut or whose chunks are wrong.

use std::time::Duration;

use anyhow::ensure;

use crate::answers::ok;
use crate::harness::*;

#[test]
fn chunks() {
    const S: &str = "RFC 9112 7.1, 8";
    const WHY: &str = "chunks that are wrong or cut never look like a whole answer";
    let bad = [
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a letter", "5g\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        (
            "a size that overflows",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        ("data longer than the size", "4\r\nhello\r\n0\r\n\r\n"),
        ("a LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("a LF behind the data", "5\r\nhello\n0\r\n\r\n"),
        ("nothing behind the data", "5\r\nhello0\r\n\r\n"),
        ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("a last chunk of minus zero", "5\r\nhello\r\n-0\r\n\r\n"),
        (
            "a second chunk that is none",
            "5\r\nhello\r\nxyz\r\n0\r\n\r\n",
        ),
        ("text", "hello"),
        (
            "a trailer with white space before the colon",
            "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        ),
        ("a trailer without colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
    ];
    let cut = [
        ("no last chunk", "5\r\nhello\r\n"),
        ("half a chunk", "5\r\nhel"),
        ("no CRLF behind the data", "5\r\nhello"),
        ("half the last chunk's line", "5\r\nhello\r\n0"),
        ("no empty line at the end", "5\r\nhello\r\n0\r\n"),
        ("half a trailer", "5\r\nhello\r\n0\r\nX-T: y"),
        ("nothing", ""),
    ];
    let mut rows = Vec::new();
    for (name, chunks) in bad {
        rows.push(cut_answer(
            format!("answer's chunks: {name}"),
            S,
            WHY,
            ok("Transfer-Encoding: chunked", chunks),
            Then::Keep,
        ));
    }
    for (name, chunks) in cut {
        for then in [Then::Close, Then::Reset] {
            rows.push(cut_answer(
                format!("answer's chunks: {name}, {then:?}"),
                S,
                WHY,
                ok("Transfer-Encoding: chunked", chunks),
                then,
            ));
        }
    }
    for (name, octets) in [
        ("half", ok("Content-Length: 10", "hello")),
        ("nothing", ok("Content-Length: 10", "")),
        ("all but one", ok("Content-Length: 6", "hello")),
    ] {
        for then in [Then::Close, Then::Reset] {
            rows.push(cut_answer(
                format!("answer's length: {name}, {then:?}"),
                "RFC 9112 8",
                "a short body never looks whole",
                &octets,
                then,
            ));
        }
    }
    rows.push(
        cut_answer(
            "until the end, but reset",
            "RFC 9112 8",
            "a reset is no end of a body",
            ok("X: y", "hello"),
            Then::Reset,
        )
        .own(),
    );
    for (name, octets) in [
        ("nothing", ""),
        ("half a status line", "HTTP/1.1 20"),
        ("a status line", "HTTP/1.1 200 OK\r\n"),
        (
            "half the fields",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        ),
        ("only an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ] {
        for then in [Then::Close, Then::Reset] {
            rows.push(row(
                format!("answer's head: {name}, {then:?}"),
                "RFC 9110 15.6.3",
                "no valid answer: 502",
                move |lane| {
                    let (mut client, backend, _) = lane.exchange(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
                        octets.as_bytes(),
                    )?;
                    if then == Then::Reset {
                        backend.reset()?;
                    } else {
                        drop(backend);
                    }
                    let mut answer = client.answer("POST")?;
                    if answer.status == 103 {
                        answer = client.answer("POST")?;
                    }
                    answer.status(502).map(|_| ())
                },
            ));
        }
    }
    run("cut and wrong answers", rows);
}

#[test]
fn cut_while_the_client_lags() {
    const SENT: u32 = 1024 * 1024;
    let content: Vec<u8> = (0..SENT).flat_map(u32::to_be_bytes).collect();
    let framings = [
        ("a length", "Content-Length: 5000000", None),
        ("chunks", "Transfer-Encoding: chunked", Some("500000\r\n")),
    ];
    let mut rows = Vec::new();
    for (name, field, size) in framings {
        for then in [Then::Close, Then::Reset] {
            let content = content.clone();
            rows.push(row(
                format!("cut while the client lags: {name}, {then:?}"),
                "RFC 9112 8",
                "what the client gets of a cut answer is its beginning, each octet once",
                move |lane| {
                    let mut client = lane.client()?;
                    socket2::SockRef::from(client.stream()).set_recv_buffer_size(32 * 1024)?;
                    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n"))?;
                    backend.send(size.unwrap_or_default())?;
                    let sending = backend.send_aside(content.clone())?;
                    let ending = std::thread::spawn(move || {
                        let _ = sending.join();
                        match then {
                            Then::Reset => backend.reset(),
                            _ => Ok(()),
                        }
                    });
                    let answer = client.answer("GET")?;
                    let ended = ending.join();
                    ensure!(ended.is_ok_and(|ended| ended.is_ok()), "the backend failed");
                    answer.status(200)?;
                    ensure!(!answer.body.complete, "a cut answer looks whole");
                    let got = &answer.body.data;
                    let differ = got
                        .iter()
                        .zip(&content)
                        .position(|(one, other)| one != other);
                    ensure!(
                        differ.is_none() && got.len() <= content.len(),
                        "{} octets of {}, the first other one at {differ:?}",
                        got.len(),
                        content.len()
                    );
                    if then == Then::Close {
                        ensure!(got.len() == content.len(), "only {} octets", got.len());
                    }
                    client.expect_gone()
                },
            ));
        }
    }
    run("cut while the client lags", rows);
}

#[test]
fn cut_while_both_sides_lag() {
    let content: Vec<u8> = (0..4 * 1024 * 1024_u32)
        .flat_map(u32::to_be_bytes)
        .collect();
    let settings = Settings {
        // The backend's own threads may be late on a busy machine; its answer's head must not be.
        backend_response: Duration::from_secs(2),
        ..Settings::default()
    };
    let mut rows = Vec::new();
    for (name, field, size) in [
        ("a length", "Content-Length: 50000000", None),
        ("chunks", "Transfer-Encoding: chunked", Some("5000000\r\n")),
    ] {
        let content = content.clone();
        let run = move |lane: &Lane<'_>| {
            let mut client = lane.client()?;
            socket2::SockRef::from(client.stream()).set_recv_buffer_size(32 * 1024)?;
            client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n")?;
            let uploading = client.send_aside(vec![b'u'; 50_000_000])?;
            let mut backend = lane.backend()?;
            backend.request_head()?;
            backend.send(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n"))?;
            backend.send(size.unwrap_or_default())?;
            // Ends when the gateway has had enough of a backend that takes nothing.
            let sending = backend.send_aside(content.clone())?;
            ensure!(sending.join().is_ok(), "the backend failed");
            let answer = client.answer("POST")?;
            ensure!(uploading.join().is_ok(), "the client failed");
            answer.status(200)?;
            ensure!(!answer.body.complete, "a cut answer looks whole");
            let got = &answer.body.data;
            let mut pairs = got.iter().zip(&content);
            let differ = pairs.position(|(one, other)| one != other);
            ensure!(
                differ.is_none(),
                "{} octets, the first other one at {differ:?}",
                got.len()
            );
            client.expect_gone()
        };
        rows.push(
            row(
                format!("cut while both sides lag: {name}"),
                "RFC 9112 8",
                "what the client gets of a cut answer is its beginning, each octet once",
                run,
            )
            .own(),
        );
    }
    run_with("cut while both sides lag", settings, rows);
}
