//! What passes between a client of HTTP/2 and a backend of HTTP/1.1.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::harness::Settings;
use super::harness::plane::Served;
use super::raw::*;
use super::table::Bench;

const HEAD: u8 = END_HEADERS | END_STREAM;

/// Runs with a backend's listening socket.
fn with(settings: &Settings, within: impl FnOnce(&mut Raw, &TcpListener, Served<'_>)) {
    let bench = Bench::start(settings);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let served = bench.listen(&[listener.local_addr().unwrap()]);
    let mut raw = bench.open(&served);
    within(&mut raw, &listener, served);
}

/// The next frame of these kinds.
fn next(raw: &mut Raw, kinds: &[u8]) -> Frame {
    loop {
        let frame = raw.read().expect("the connection goes on");
        if kinds.contains(&frame.kind) {
            return frame;
        }
    }
}

fn head_of(stream: &TcpStream) -> String {
    read_head(&mut BufReader::new(stream)).expect("a head")
}

#[test]
fn what_the_backend_gets() {
    with(&Settings::default(), |raw, listener, _| {
        let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")];
        raw.frame(HEADERS, HEAD, 1, &request("GET", &fields));
        let head = head_of(&listener.accept().unwrap().0);
        for line in [
            "GET / HTTP/1.1\r\nHost: www.example.com\r\n",
            "\r\ncookie: a=1; b=2\r\n",
            "\r\nX-Forwarded-Proto: https\r\n",
            "\r\nX-Client-Proto-Ver: HTTP/2\r\n",
            "\r\nTE: trailers\r\n",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
    });
}

#[test]
fn interim_answers_content_and_trailer_fields_pass() {
    with(&Settings::default(), |raw, listener, _| {
        raw.frame(HEADERS, HEAD, 1, &get());
        let (mut backend, _) = listener.accept().unwrap();
        head_of(&backend);
        backend
            .write_all(
                b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                  Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\
                  X-Sum: 1\r\n\r\n",
            )
            .unwrap();
        let kinds = [HEADERS, DATA, RST_STREAM];
        let came: Vec<_> = (0..4).map(|_| next(raw, &kinds)).collect();
        let shape: Vec<_> = came
            .iter()
            .map(|frame| (frame.kind, frame.flags & END_STREAM))
            .collect();
        let expected = [(HEADERS, 0), (HEADERS, 0), (DATA, 0), (HEADERS, END_STREAM)];
        assert_eq!(shape, expected);
        assert_eq!(came[2].payload, b"hello");
    });
}

#[test]
fn a_cut_answer_is_reset() {
    with(&Settings::default(), |raw, listener, _| {
        for (stream, framing) in [(1, "Content-Length: 9"), (3, "Transfer-Encoding: chunked")] {
            raw.frame(HEADERS, HEAD, stream, &get());
            let (mut backend, _) = listener.accept().unwrap();
            head_of(&backend);
            let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhell");
            backend.write_all(answer.as_bytes()).unwrap();
            drop(backend);
            let reset = next(raw, &[RST_STREAM]);
            assert_eq!((reset.stream, reset.code()), (stream, INTERNAL_ERROR));
        }
    });
}

#[test]
fn a_cancelled_request_ends_at_the_backend() {
    with(&Settings::default(), |raw, listener, _| {
        raw.frame(HEADERS, HEAD, 1, &get());
        let (mut backend, _) = listener.accept().unwrap();
        head_of(&backend);
        raw.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        // A reset, or at least the end.
        assert!(backend.read(&mut [0; 9]).is_err());
    });
}

#[test]
fn a_body_of_the_wrong_length_never_ends_at_the_backend() {
    with(&Settings::default(), |raw, listener, _| {
        for (stream, pieces) in [(1, &["abc"][..]), (3, &["abcd", "e"])] {
            raw.frame(
                HEADERS,
                END_HEADERS,
                stream,
                &request("POST", &[("content-length", "4")]),
            );
            let (backend, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&backend);
            let head = read_head(&mut reader).unwrap();
            for (index, piece) in pieces.iter().enumerate() {
                let last = index + 1 == pieces.len();
                raw.frame(
                    DATA,
                    if last { END_STREAM } else { 0 },
                    stream,
                    piece.as_bytes(),
                );
            }
            assert_eq!(read_body(&mut reader, &head), None);
            assert_eq!(next(raw, &[RST_STREAM]).code(), PROTOCOL_ERROR);
        }
    });
}

#[test]
fn an_early_answer_ends_the_upload_without_an_error() {
    with(&Settings::default(), |raw, listener, _| {
        raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
        let (mut backend, _) = listener.accept().unwrap();
        head_of(&backend);
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        backend.write_all(answer).unwrap();
        assert_eq!(next(raw, &[DATA]).flags & END_STREAM, END_STREAM);
        assert_eq!(next(raw, &[RST_STREAM]).code(), NO_ERROR);
    });
}

#[test]
fn an_early_answer_lets_an_upload_end_that_is_about_to() {
    with(&Settings::default(), |raw, listener, _| {
        raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
        let (mut backend, _) = listener.accept().unwrap();
        head_of(&backend);
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        backend.write_all(answer).unwrap();
        assert_eq!(next(raw, &[DATA]).flags & END_STREAM, END_STREAM);
        for _ in 0..20 {
            for _ in 0..2 {
                raw.frame(DATA, 0, 1, &[b'a'; 16_384]);
            }
            // Half of its window is gone, and is opened again.
            let update = next(raw, &[WINDOW_UPDATE, RST_STREAM]);
            assert_eq!(update.kind, WINDOW_UPDATE);
        }
        raw.frame(DATA, END_STREAM, 1, b"end");
        // Answered by the gateway; the stream before was not reset.
        let connect = fields(&[(":method", "CONNECT"), (":authority", "a:1")]);
        raw.frame(HEADERS, HEAD, 3, &connect);
        let after = next(raw, &[HEADERS, RST_STREAM]);
        assert_eq!((after.kind, after.stream), (HEADERS, 3));
    });
}

#[test]
fn a_backend_that_takes_nothing_stops_the_client() {
    with(&Settings::default(), |raw, listener, _| {
        raw.frame(HEADERS, END_HEADERS, 1, &request("POST", &[]));
        let (backend, _) = listener.accept().unwrap();
        head_of(&backend);
        // Both sockets' buffers fill up; then no window is opened any more.
        raw.0
            .sock
            .set_read_timeout(Some(std::time::Duration::from_millis(500)))
            .unwrap();
        let (mut window, mut sent) = (65_535_usize, 0);
        while sent < 64 << 20 {
            while window >= 16_384 {
                raw.frame(DATA, 0, 1, &[0; 16_384]);
                (window, sent) = (window - 16_384, sent + 16_384);
            }
            let mut head = [0; 9];
            if raw.0.read_exact(&mut head).is_err() {
                break;
            }
            let mut payload = vec![0; usize::from(head[2])];
            raw.0.read_exact(&mut payload).unwrap();
            if head[3] == WINDOW_UPDATE && head[8] == 1 {
                window += u32::from_be_bytes(payload[..4].try_into().unwrap()) as usize;
            }
        }
        assert!(sent < 64 << 20, "{sent}");
    });
}

#[test]
fn a_client_that_takes_nothing_stops_the_backend() {
    with(&Settings::default(), |raw, listener, _| {
        raw.frame(HEADERS, HEAD, 1, &get());
        let (mut backend, _) = listener.accept().unwrap();
        head_of(&backend);
        backend.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        backend
            .set_write_timeout(Some(std::time::Duration::from_millis(500)))
            .unwrap();
        let mut sent = 0;
        while sent < 64 << 20 && backend.write_all(&[0; 65_536]).is_ok() {
            sent += 65_536;
        }
        assert!(sent < 64 << 20, "{sent}");
    });
}

#[test]
fn connect_and_long_heads_are_refused_with_an_answer() {
    with(&Settings::default(), |raw, _, _| {
        let connect = fields(&[(":method", "CONNECT"), (":authority", "a:1")]);
        raw.frame(HEADERS, END_HEADERS, 1, &connect);
        assert_eq!(next(raw, &[HEADERS, RST_STREAM]).kind, HEADERS);
        let many = vec![("x", "y"); 200];
        raw.frame(HEADERS, HEAD, 3, &request("GET", &many));
        let answer = next(raw, &[HEADERS]);
        assert_eq!(answer.stream, 3);
    });
}

#[test]
fn a_drain_lets_streams_end() {
    with(&Settings::default(), |raw, listener, served| {
        raw.frame(HEADERS, HEAD, 1, &get());
        let (mut backend, _) = listener.accept().unwrap();
        head_of(&backend);
        drop(served);
        assert_eq!(next(raw, &[GOAWAY]).code(), NO_ERROR);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        backend.write_all(answer).unwrap();
        while let Some(frame) = raw.read() {
            match frame.kind {
                PING => raw.frame(PING, ACK, 0, &frame.payload),
                DATA => assert_eq!(frame.payload, b"ok"),
                _ => {}
            }
        }
    });
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let settings = Settings {
        client_keepalive: std::time::Duration::from_millis(50),
        ..Settings::default()
    };
    with(&settings, |raw, _, _| {
        assert_eq!(next(raw, &[GOAWAY]).code(), NO_ERROR);
        while raw.read().is_some() {}
    });
}

#[test]
fn a_request_that_crosses_the_goodbye_is_answered() {
    let settings = Settings {
        client_keepalive: std::time::Duration::from_millis(50),
        ..Settings::default()
    };
    with(&settings, |raw, listener, _| {
        // RFC 9113, 6.8: its stream is not above the one that GOAWAY names, since the client has not
        // answered the PING that comes with it.
        assert_eq!(next(raw, &[GOAWAY]).code(), NO_ERROR);
        raw.frame(HEADERS, HEAD, 1, &get());
        // One that is not answered may never get there.
        let listener = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let (mut backend, _) = listener.accept().unwrap();
            head_of(&backend);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            backend.write_all(answer).unwrap();
        });
        let frame = next(raw, &[DATA, RST_STREAM]);
        assert_eq!((frame.kind, &*frame.payload), (DATA, &b"ok"[..]));
    });
}

#[test]
fn a_websocket_becomes_a_tunnel() {
    // RFC 8441, 5.1
    with(&Settings::default(), |raw, listener, _| {
        let connect = fields(&[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", "/chat"),
            (":authority", super::harness::tls::NAME),
            ("sec-websocket-version", "13"),
        ]);
        raw.frame(HEADERS, END_HEADERS, 1, &connect);
        let (mut backend, _) = listener.accept().unwrap();
        let head = head_of(&backend).to_ascii_lowercase();
        assert!(head.starts_with("get /chat http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-key: "), "{head}");
        // A backend that has not understood the key is none.
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n";
        backend.write_all(answer).unwrap();
        assert_eq!(next(raw, &[HEADERS, RST_STREAM]).kind, HEADERS);
        assert!(!next(raw, &[DATA]).payload.is_empty());
    });
}
