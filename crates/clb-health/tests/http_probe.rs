//! The HTTP probe against raw backends on loopback.

#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clb_health::{
    ANSWER_OCTETS, Check, Checker, Failure, HttpMethod, HttpProbe, MemberId, ProbeError, ProbeKind,
    ProbeRun, Thresholds, probe,
};
use clb_model::{CheckPath, DomainPattern, HttpCodeMask};
use tokio::net::TcpSocket;

const PATIENCE: Duration = Duration::from_secs(20);

fn kind(path: &str, domain: Option<&str>, mask: i64) -> ProbeKind {
    let domain = domain.map(|domain| DomainPattern::parse(domain).expect("a domain"));
    ProbeKind::Http(Arc::new(HttpProbe::new(
        HttpMethod::Get,
        CheckPath::parse(path).expect("a path"),
        domain.as_ref(),
        HttpCodeMask::try_from(mask).expect("a mask"),
    )))
}

/// What a checker hands out for this target.
fn run(target: SocketAddr, kind: ProbeKind, timeout: Duration) -> ProbeRun {
    let mut checker = Checker::new();
    let id = MemberId {
        pool: (),
        binding: 1,
    };
    let check = Check {
        target,
        kind,
        interval: timeout * 2,
        timeout,
        thresholds: Thresholds {
            healthy: 2,
            unhealthy: 2,
        },
    };
    checker.set(0, id, check);
    let now = checker.next_due().expect("a member to probe");
    checker.due(now).pop().expect("a probe that is due")
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Reads one request.
fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).expect("a whole request");
        request.extend(octet);
    }
    String::from_utf8(request).expect("ASCII")
}

/// The result of a probe of a backend that does this with its connection, and what that gives.
fn against<T: Send + 'static>(
    mask: i64,
    timeout: Duration,
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Result<(), ProbeError>, T) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = listener.local_addr().expect("bound");
    let backend = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the probe's connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        serve(stream)
    });
    let result = block_on(probe(&run(target, kind("/up", None, mask), timeout)));
    (result, backend.join().expect("the backend"))
}

/// The result when the backend reads the request, answers this and waits for the end.
fn answered(mask: i64, answer: &'static [u8]) -> (Result<(), ProbeError>, std::io::Result<usize>) {
    against(mask, PATIENCE, move |mut stream| {
        request(&mut stream);
        stream.write_all(answer).expect("an answer");
        stream.read(&mut [0; 16])
    })
}

#[test]
fn a_wanted_status_is_a_success_and_the_connection_is_reset() {
    // The body never comes: nobody waits for it.
    let answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 1000000\r\n\r\n";
    let (result, end) = answered(2, answer);
    assert_eq!(result, Ok(()));
    let error = end.expect_err("an orderly close would be Ok(0)");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn an_unwanted_status_is_told() {
    let (result, _) = answered(15, b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
    assert_eq!(result, Err(Failure::Status(503).into()));
}

#[test]
fn the_request_is_as_specified() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = listener.local_addr().expect("bound");
    let backend = thread::spawn(move || {
        [(); 2].map(|()| {
            let (mut stream, _) = listener.accept().expect("the probe's connection");
            let request = request(&mut stream);
            stream
                .write_all(b"HTTP/1.0 200 OK\r\n\r\n")
                .expect("an answer");
            request
        })
    });
    for domain in [None, Some("www.example.com")] {
        let run = run(target, kind("/up?now#x", domain, 31), PATIENCE);
        assert_eq!(block_on(probe(&run)), Ok(()));
    }
    let of = |host: &str| {
        format!(
            "GET /up?now HTTP/1.1\r\nHost: {host}\r\nUser-Agent: clbd-health\r\n\
             Connection: close\r\n\r\n"
        )
    };
    let wanted = [of(&target.to_string()), of("www.example.com")];
    assert_eq!(backend.join().expect("the backend"), wanted);
}

#[test]
fn an_answer_in_single_octets_is_put_together() {
    let (result, ()) = against(4, PATIENCE, |mut stream| {
        request(&mut stream);
        stream.set_nodelay(true).expect("no delay");
        for octet in b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 302 Found\r\n" {
            stream.write_all(&[*octet]).expect("an octet");
        }
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn an_answer_that_comes_before_the_request_is_read_counts() {
    let (result, _stream) = against(2, PATIENCE, |mut stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .expect("an answer");
        stream
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn what_is_not_http_is_told() {
    let (result, _) = answered(31, b"220 mail.example.com ESMTP\r\n");
    let failure = result.expect_err("no HTTP").to_string();
    let wanted = "not HTTP: the answer begins with \"220 mail.example.com ESM\"";
    assert_eq!(failure, wanted);
}

#[test]
fn a_backend_that_closes_or_resets_is_told() {
    for sent in [&b""[..], b"HTTP/1.1 200 O"] {
        let (result, ()) = against(31, PATIENCE, move |mut stream| {
            request(&mut stream);
            stream.write_all(sent).expect("a beginning");
        });
        assert_eq!(result, Err(Failure::Closed.into()), "{sent:?}");
    }
    // A close with octets unread is a reset.
    let (result, ()) = against(31, PATIENCE, |stream| {
        let seen = stream.peek(&mut [0]).expect("the request");
        assert_eq!(seen, 1);
    });
    assert_eq!(result, Err(Failure::Reset.into()));
}

#[test]
fn a_backend_that_says_nothing_or_too_little_times_out() {
    let timeout = Duration::from_millis(300);
    for sent in [&b""[..], b"HTTP/1.1 ", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let begun = Instant::now();
        let (result, end) = against(30, timeout, move |mut stream| {
            request(&mut stream);
            stream.write_all(sent).expect("a beginning");
            stream.read(&mut [0; 16])
        });
        assert_eq!(result, Err(Failure::TimedOut.into()), "{sent:?}");
        assert!(begun.elapsed() >= timeout);
        // Nobody keeps the connection.
        let error = end.expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_line_without_an_end_is_given_up() {
    let (result, sent) = against(31, PATIENCE, |mut stream| {
        request(&mut stream);
        let mut sent = stream.write(b"HTTP/1.1 200 ").expect("a beginning");
        // Until the probe resets the connection.
        while let Ok(more) = stream.write(&[b'a'; 512]) {
            sent += more;
        }
        sent
    });
    assert_eq!(result, Err(Failure::TooLong.into()));
    assert!(sent >= ANSWER_OCTETS);
}

#[test]
fn a_port_nobody_listens_on_is_refused() {
    block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        // Bound and kept, but not listening: nobody else can take the port meanwhile.
        socket.bind(any).expect("a free port");
        let target = socket.local_addr().expect("bound");
        let result = probe(&run(target, kind("/", None, 31), PATIENCE)).await;
        assert_eq!(result, Err(Failure::Refused.into()));
    });
}
