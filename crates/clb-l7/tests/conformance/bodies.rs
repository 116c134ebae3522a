//! Bodies of all sizes both ways, in pieces, and backpressure.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::*;

const S: &str = "RFC 9112 6, 7.1, semantics 6";
const WHY: &str = "every octet arrives, in order, with either framing";
const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Octets that show a shift, a loss or a repetition anywhere.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// The chunks of a body, in uneven sizes.
fn chunked(data: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(data.len() + data.len() / 8);
    let mut rest = data;
    let mut size = 1;
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(size.min(rest.len()));
        octets.extend(format!("{:x}\r\n", chunk.len()).bytes());
        octets.extend(chunk);
        octets.extend(b"\r\n");
        rest = more;
        size = size * 3 % 70_001 + 1;
    }
    octets.extend(b"0\r\n\r\n");
    octets
}

fn framed(start: &str, data: &[u8], by_chunks: bool) -> Vec<u8> {
    if by_chunks {
        [
            format!("{start}Transfer-Encoding: chunked\r\n\r\n").as_bytes(),
            &chunked(data),
        ]
        .concat()
    } else {
        [
            format!("{start}Content-Length: {}\r\n\r\n", data.len()).as_bytes(),
            data,
        ]
        .concat()
    }
}

const SIZES: [usize; 7] = [0, 1, 2, 4096, 64 * 1024, 65_537, 5 << 20];

#[test]
fn sizes() {
    let mut rows = Vec::new();
    for size in SIZES {
        for by_chunks in [false, true] {
            let how = if by_chunks { "chunks" } else { "a length" };
            rows.push(row(
                format!("request of {size} octets by {how}"),
                S,
                WHY,
                move |lane| {
                    let data = pattern(size);
                    let mut client = lane.client()?;
                    let sending = client.send_aside(framed(
                        "POST / HTTP/1.1\r\nHost: test\r\n",
                        &data,
                        by_chunks,
                    ))?;
                    let mut backend = lane.backend()?;
                    backend.request()?.body.is(&data)?;
                    backend.send(OK)?;
                    client.answer("POST")?.status(200)?.body.is("ok")?;
                    sending.join().unwrap();
                    lane.lives(&mut client, backend).map(|_| ())
                },
            ));
            rows.push(row(
                format!("answer of {size} octets by {how}"),
                S,
                WHY,
                move |lane| {
                    let data = pattern(size);
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    let sending =
                        backend.send_aside(framed("HTTP/1.1 200 OK\r\n", &data, by_chunks))?;
                    client.answer("GET")?.status(200)?.body.is(&data)?;
                    sending.join().unwrap();
                    lane.lives(&mut client, backend).map(|_| ())
                },
            ));
        }
        rows.push(row(
            format!("answer of {size} octets until the end"),
            S,
            WHY,
            move |lane| {
                let data = pattern(size);
                let mut client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                let sending =
                    backend.send_aside([b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &data].concat())?;
                // The socket ends when both handles are gone.
                drop(backend);
                client.answer("GET")?.status(200)?.body.is(&data)?;
                sending.join().unwrap();
                Ok(())
            },
        ));
        rows.push(row(
            format!("answer of {size} octets by chunks to HTTP/1.0"),
            S,
            WHY,
            move |lane| {
                let data = pattern(size);
                let mut client = lane.client_sends("GET / HTTP/1.0\r\nHost: test\r\n\r\n")?;
                let mut backend = lane.backend()?;
                backend.request()?;
                let sending = backend.send_aside(framed("HTTP/1.1 200 OK\r\n", &data, true))?;
                client.answer("GET")?.status(200)?.body.is(&data)?;
                sending.join().unwrap();
                client.expect_end()
            },
        ));
    }
    run("sizes of bodies", rows);
}

/// A gateway may end a connection at any time between requests, but not leave it to itself.
fn lives_or_ends(lane: &Lane<'_>, mut client: Wire, backend: Wire) -> Result<()> {
    client.try_send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n");
    let Ok(mut backend) = lane.next_wire_or_end(backend, &mut client) else {
        ensure!(client.has_ended(), "the connection neither lives nor ends");
        return client.expect_gone();
    };
    ensure!(backend.request()?.target == "/again");
    backend.send(OK)?;
    client.answer("GET")?.status(200)?.body.is("ok")
}

#[test]
fn pieces() {
    let mut rows = Vec::new();
    for by_chunks in [false, true] {
        let how = if by_chunks { "chunks" } else { "a length" };
        rows.push(row(
            format!("request by {how}, octet by octet"),
            "RFC 9112 2.1",
            WHY,
            move |lane| {
                let data = pattern(100);
                let mut client = lane.client()?;
                client.send_each(framed(
                    "POST / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n",
                    &data,
                    by_chunks,
                ))?;
                let mut backend = lane.backend()?;
                let request = backend.request()?;
                request.body.is(&data)?;
                request.fields.is("x-a", "b")?;
                backend.send(OK)?;
                client.answer("POST")?.body.is("ok")?;
                lane.lives(&mut client, backend).map(|_| ())
            },
        ));
        rows.push(row(
            format!("answer by {how}, octet by octet"),
            "RFC 9112 2.1",
            WHY,
            move |lane| {
                let data = pattern(100);
                let mut client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                backend.send_each(framed("HTTP/1.1 200 OK\r\nX-A: b\r\n", &data, by_chunks))?;
                let answer = client.answer("GET")?;
                answer.status(200)?.body.is(&data)?;
                answer.fields.is("x-a", "b")?;
                lane.lives(&mut client, backend).map(|_| ())
            },
        ));
        rows.push(row(
            format!("request by {how}, each piece seen before the next is sent"),
            S,
            "bodies stream: what came is passed on without waiting for more",
            move |lane| {
                let octets = framed("POST / HTTP/1.1\r\nHost: test\r\n", b"abc", by_chunks);
                let head = octets
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .unwrap_or(0)
                    + 4;
                let pieces: Vec<&[u8]> = if by_chunks {
                    octets[head..].split_inclusive(|c| *c == b'\n').collect()
                } else {
                    octets[head..].chunks(1).collect()
                };
                let mut client = lane.client_sends(&octets[..head])?;
                let mut backend = lane.backend()?;
                let request = backend.request_head()?;
                for piece in pieces {
                    client.send(piece)?;
                    if piece == b"a" {
                        ensure!(backend.wait()?);
                    }
                }
                backend.body(request.body.framing)?.is("abc")?;
                backend.send(OK)?;
                client.answer("POST")?.body.is("ok")
            },
        ));
    }
    rows.push(row(
        "an answer in pieces, each seen before the next is sent",
        S,
        "bodies stream: what came is passed on without waiting for more",
        |lane| {
            let mut client = lane.client_sends(GET)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            backend.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?;
            client.answer_head("GET")?.status(200)?;
            for octet in ["h", "e", "l", "l", "o"] {
                backend.send(octet)?;
                client.expect(octet)?;
            }
            Ok(())
        },
    ));
    rows.push(row(
        "chunks in pieces, each seen before the next is sent",
        S,
        "bodies stream: a chunk is passed on without waiting for the next",
        |lane| {
            let mut client = lane.client_sends(GET)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let head = client.answer_head("GET")?;
            for octet in ["h", "e", "l", "l", "o"] {
                backend.send(format!("1\r\n{octet}\r\n"))?;
                ensure!(client.wait()?);
                let size = client.read_until(b"\r\n")?;
                ensure!(size.starts_with(b"1"), "{}", size.escape_ascii());
                client.expect(format!("{octet}\r\n"))?;
            }
            backend.send("0\r\n\r\n")?;
            client.body(head.body.framing)?.is("")
        },
    ));
    rows.push(row(
        "an answer until the end, each piece seen before the next is sent",
        S,
        "bodies stream: what came is passed on without waiting for more",
        |lane| {
            let mut client = lane.client_sends(GET)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            backend.send("HTTP/1.1 200 OK\r\n\r\n")?;
            let head = client.answer_head("GET")?;
            let mut seen = Vec::new();
            for octet in *b"hello" {
                backend.send([octet])?;
                ensure!(client.wait()?);
                if head.body.framing == Framing::Chunked {
                    client.read_until(b"\r\n")?;
                    seen.extend(client.read_some(1)?);
                    client.expect("\r\n")?;
                } else {
                    seen.extend(client.read_some(1)?);
                }
            }
            ensure!(seen == b"hello");
            drop(backend);
            client.body(head.body.framing)?.is("")
        },
    ));
    rows.push(
        row(
            "both bodies at the same time",
            S,
            "an answer may flow while the request still comes",
            |lane| {
                let data = pattern(1 << 20);
                let mut client = lane.client_sends(
                    "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1048576\r\n\r\n",
                )?;
                let mut backend = lane.backend()?;
                backend.request_head()?;
                backend.send("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")?;
                client.answer_head("POST")?.status(200)?;
                for piece in data.chunks(1 << 16) {
                    client.send(piece)?;
                    backend.expect(piece)?;
                    backend.send(piece)?;
                    client.expect(piece)?;
                }
                lives_or_ends(lane, client, backend)
            },
        )
        .own(),
    );
    for (name, first, second) in [
        (
            "an answer that ends with the request",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
            "k",
        ),
        (
            "an answer whose head comes before the request's end",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            "ok",
        ),
        (
            "an answer of chunks that begins before the request's end",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n",
            "1\r\nk\r\n0\r\n\r\n",
        ),
    ] {
        rows.push(row(
            name,
            "RFC 9112 9.3, 9.6",
            "both come whole; then the connection lives on, or it ends in order",
            move |lane| {
                let mut client = lane
                    .client_sends("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe")?;
                let mut backend = lane.backend()?;
                let request = backend.request_head()?;
                backend.expect("he")?;
                backend.send(first)?;
                let head = client.answer_head("POST")?;
                client.send("llo")?;
                backend.expect("llo")?;
                ensure!(request.body.framing == Framing::Length(5));
                backend.send(second)?;
                client.body(head.body.framing)?.is("ok")?;
                lives_or_ends(lane, client, backend)
            },
        ));
    }
    run("bodies in pieces", rows);
}

/// Writes until the other side takes no more for a while; how much it took. The pause only decides
/// when to stop counting: a slow machine makes the count smaller, never larger.
fn fill(mut stream: &std::net::TcpStream, most: usize) -> Result<usize> {
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let block = vec![b'x'; 1 << 16];
    let mut taken = 0;
    while taken < most {
        match stream.write(&block) {
            Ok(length) => taken += length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    stream.set_write_timeout(Some(patience()))?;
    Ok(taken)
}

#[test]
fn backpressure() {
    const TOTAL: usize = 256 << 20;
    // What the kernel's buffers of two connections hold at the most, and the gateway's own.
    const BOUND: usize = 64 << 20;
    const B: &str = "semantics 6";
    run(
        "backpressure",
        vec![
            row(
                "a client that does not read stops the backend",
                B,
                "bounded buffers",
                |lane| {
                    let client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n"
                    ))?;
                    let taken = fill(backend.stream(), TOTAL)?;
                    ensure!(
                        taken < BOUND,
                        "{taken} octets were taken for a client that reads nothing"
                    );
                    drop(client);
                    Ok(())
                },
            ),
            row(
                "a backend that does not read stops the client",
                B,
                "bounded buffers",
                |lane| {
                    let client = lane.client_sends(format!(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {TOTAL}\r\n\r\n"
                    ))?;
                    let backend = lane.backend()?;
                    let taken = fill(client.stream(), TOTAL)?;
                    ensure!(
                        taken < BOUND,
                        "{taken} octets were taken for a backend that reads nothing"
                    );
                    drop(backend);
                    Ok(())
                },
            ),
            row(
                "a slow reader gets all",
                B,
                "backpressure loses nothing",
                |lane| {
                    let data = pattern(8 << 20);
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    let sending = backend.send_aside(framed("HTTP/1.1 200 OK\r\n", &data, true))?;
                    let head = client.answer_head("GET")?;
                    std::thread::sleep(Duration::from_millis(200));
                    client.body(head.body.framing)?.is(&data)?;
                    sending.join().unwrap();
                    Ok(())
                },
            ),
        ],
    );
}

/// What is much goes from socket to socket (ADR 25): it must not show.
#[test]
fn much_content_of_a_length() {
    const S: &str = "RFC 9112 6.3";
    const MUCH: usize = 5 << 20;
    let mut rows = Vec::new();
    rows.push(row(
        "a slow reader gets all of much",
        S,
        "backpressure loses nothing",
        |lane| {
            let data = pattern(MUCH);
            let mut client = lane.client_sends(GET)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            let sending = backend.send_aside(framed("HTTP/1.1 200 OK\r\n", &data, false))?;
            let head = client.answer_head("GET")?;
            std::thread::sleep(Duration::from_millis(200));
            client.body(head.body.framing)?.is(&data)?;
            sending.join().unwrap();
            Ok(())
        },
    ));
    rows.push(row(
        "what follows much belongs to the next answer",
        S,
        "the length says where the content ends",
        |lane| {
            let data = pattern(MUCH);
            let second = "GET /second HTTP/1.1\r\nHost: test\r\n\r\n";
            let mut client = lane.client_sends(format!("{GET}{second}"))?;
            let mut backend = lane.backend()?;
            backend.request()?;
            let sending = backend.send_aside(framed("HTTP/1.1 200 OK\r\n", &data, false))?;
            client.answer("GET")?.status(200)?.body.is(&data)?;
            sending.join().unwrap();
            let mut backend = lane.next_wire(backend)?;
            ensure!(backend.request()?.target == "/second");
            backend.send(OK)?;
            client.answer("GET")?.status(200)?.body.is("ok")?;
            lives_or_ends(lane, client, backend)
        },
    ));
    rows.push(row(
        "octets after much are nobody's",
        "RFC 9112 6.3, 9.3",
        "they are not sent on, and nothing more is sent on that connection",
        |lane| {
            let data = pattern(MUCH);
            let mut client = lane.client_sends(GET)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            let answer = framed("HTTP/1.1 200 OK\r\n", &data, false);
            let extra = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad";
            let sending = backend.send_aside([&answer[..], extra].concat())?;
            client.answer("GET")?.status(200)?.body.is(&data)?;
            sending.join().unwrap();
            client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
            let mut fresh = lane.backend()?;
            ensure!(fresh.request()?.target == "/again");
            fresh.send(OK)?;
            client.answer("GET")?.status(200)?.body.is("ok")?;
            backend.expect_gone()
        },
    ));
    for (name, resets) in [("ends", false), ("is reset", true)] {
        rows.push(row(
            format!("much content that {name} in the middle"),
            "RFC 9112 8",
            "a cut answer never looks like a whole one",
            move |lane| {
                let data = pattern(MUCH);
                let mut client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                let answer = framed("HTTP/1.1 200 OK\r\n", &data, false);
                let cut = answer.len() - (1 << 20);
                let sending = backend.send_aside(answer[..cut].to_vec())?;
                client.answer_head("GET")?;
                let before = client.read_some(1 << 20)?;
                ensure!(before == data[..1 << 20]);
                if resets {
                    backend.reset()?;
                    drop(sending);
                } else {
                    let rest = std::thread::spawn(move || {
                        sending.join().unwrap();
                        drop(backend);
                    });
                    let (got, _) = client.rest()?;
                    ensure!(data[1 << 20..].starts_with(&got) && got.len() < MUCH - (1 << 20));
                    rest.join().unwrap();
                    return Ok(());
                }
                let (got, _) = client.rest()?;
                ensure!(data[1 << 20..].starts_with(&got) && got.len() < MUCH - (1 << 20));
                Ok(())
            },
        ));
    }
    run("much content", rows);
}
