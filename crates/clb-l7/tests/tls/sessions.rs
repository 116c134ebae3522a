//! Sessions: versions, resumption, replaced certificates, ends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

use clb_snapshot::HandshakeFailure;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::harness::tls::{Authority, client_config, client_session, server_tls};
use super::harness::{Settings, patience};
use super::{Bench, Client, eventually};

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn both_versions_carry_request_after_request() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    for version in VERSIONS {
        let config = client_config(&bench.authority, None, version);
        let mut client = Client::new(listener.addr(), &config);
        for _ in 0..3 {
            let seen = client.get().unwrap();
            assert!(seen.contains("\r\nX-Forwarded-Proto: https\r\n"), "{seen}");
            assert!(seen.contains("\r\nX-Client-Proto: https\r\n"), "{seen}");
            assert!(!seen.contains("X-SSL-Client"), "{seen}");
        }
        assert_eq!(client.session().protocol_version(), Some(version.version));
    }
}

#[test]
fn a_ticket_resumes_on_its_own_listener_only() {
    let bench = Bench::start(&Settings::default());
    let (listener, other) = (bench.listen(None), bench.listen(None));
    for version in VERSIONS {
        let config = client_config(&bench.authority, None, version);
        let kind = |addr| {
            let mut client = Client::new(addr, &config);
            client.get().unwrap();
            client.session().handshake_kind().unwrap()
        };
        assert_eq!(kind(listener.addr()), HandshakeKind::Full);
        assert_eq!(kind(listener.addr()), HandshakeKind::Resumed);
        // The client offers what the first listener gave it: the name is the same.
        assert_eq!(kind(other.addr()), HandshakeKind::Full);
    }
    assert_eq!(listener.tls().live.full(), 2);
    assert_eq!(listener.tls().live.resumed(), 2);
}

/// What has come from the server and is not read yet, once there is something.
fn arrived(socket: &TcpStream) -> Vec<u8> {
    let mut octets = vec![0; 64 * 1024];
    let length = (&*socket).read(&mut octets).unwrap();
    octets.truncate(length);
    octets
}

/// The records in `octets`, which are whole.
fn records(mut octets: &[u8]) -> usize {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = octets {
        octets = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
        count += 1;
    }
    count
}

#[test]
fn a_ticket_comes_with_the_answer_or_at_once() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    for asks in [true, false] {
        let config = client_config(&bench.authority, None, &TLS13);
        let mut session = client_session(&config);
        let mut socket = TcpStream::connect(listener.addr()).unwrap();
        socket.set_read_timeout(Some(patience())).unwrap();
        session.write_tls(&mut socket).unwrap();
        while session.is_handshaking() {
            session.read_tls(&mut arrived(&socket).as_slice()).unwrap();
            session.process_new_packets().unwrap();
        }
        // Finished, and the request in the same segment.
        if asks {
            let request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
            session.writer().write_all(request).unwrap();
        }
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight).unwrap();
        }
        socket.write_all(&flight).unwrap();
        let octets = arrived(&socket);
        // One ticket; and the answer, if there was a request.
        assert_eq!(records(&octets), 1 + usize::from(asks), "asks: {asks}");
        session.read_tls(&mut octets.as_slice()).unwrap();
        let state = session.process_new_packets().unwrap();
        assert_eq!(state.plaintext_bytes_to_read() > 0, asks);
        assert_eq!(session.tls13_tickets_received(), 1);
    }
}

#[test]
fn a_replaced_certificate_is_for_the_next_handshake_and_nothing_is_dropped() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let config = client_config(&bench.authority, None, &TLS13);
    let mut clients: Vec<_> = (0..20)
        .map(|_| Client::new(listener.addr(), &config))
        .collect();
    for client in &mut clients {
        client.get().unwrap();
    }
    let next = bench.authority.server();
    let replaced = server_tls(&next, None, Some(&listener.tls()));
    listener.replace_tls(Some(replaced));
    for client in &mut clients {
        client.get().unwrap();
    }
    let fresh = client_config(&bench.authority, None, &TLS13);
    let mut client = Client::new(listener.addr(), &fresh);
    client.get().unwrap();
    assert_eq!(
        client.session().peer_certificates(),
        Some(next.chain.as_slice())
    );
    // What was a session before is one still.
    let mut client = Client::new(listener.addr(), &config);
    client.get().unwrap();
    assert_eq!(
        client.session().handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    // With another client CA it is none any more.
    let clients = Authority::new("clients");
    let mutual = server_tls(&next, Some(&clients), Some(&listener.tls()));
    listener.replace_tls(Some(mutual));
    let mut client = Client::new(listener.addr(), &config);
    client.get().unwrap_err();
    let live = &listener.tls().live;
    eventually(|| live.failed(HandshakeFailure::NoClientCertificate) == 1);
    // Without any there is nothing to be spoken.
    listener.replace_tls(None);
    Client::new(listener.addr(), &fresh).get().unwrap_err();
}

#[test]
fn a_request_may_come_with_the_last_message_of_the_handshake() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    for version in VERSIONS {
        let config = client_config(&bench.authority, None, version);
        let mut client = Client::new(listener.addr(), &config);
        let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ".to_vec();
        request.resize(12_000, b'x');
        request.extend(b"\r\n\r\n");
        let session = &mut client.0.get_mut().conn;
        session.writer().write_all(&request).unwrap();
        assert!(client.answer().unwrap().contains("X-Long: xxx"));
    }
}

#[test]
fn the_end_is_announced() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let config = client_config(&bench.authority, None, &TLS13);
    let mut client = Client::new(listener.addr(), &config);
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    client.answer().unwrap();
    // Without close_notify this were an error.
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_body_that_ends_without_close_notify_is_cut() {
    let bench = Bench::start(&Settings::default());
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let tls = server_tls(&bench.authority.server(), None, None);
    let listener = bench
        .plane
        .listen(&[backend.local_addr().unwrap()], Some(tls));
    let config = client_config(&bench.authority, None, &TLS13);
    let mut client = Client::new(listener.addr(), &config);
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .unwrap();
    let (mut stream, _) = backend.accept().unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"half") {
        let mut chunk = [0; 1024];
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the backend's connection ended early");
        seen.extend(&chunk[..length]);
    }
    client.0.get_ref().sock.shutdown(Shutdown::Write).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn garbage_after_the_handshake_is_answered_with_an_alert() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let config = client_config(&bench.authority, None, &TLS13);
    let mut socket = TcpStream::connect(listener.addr()).unwrap();
    socket.set_read_timeout(Some(patience())).unwrap();
    let mut session = client_session(&config);
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    socket.write_all(b"\x17\x03\x03\x00\x20").unwrap();
    socket.write_all(&[0; 32]).unwrap();
    let error = loop {
        match session.complete_io(&mut socket) {
            Ok(_) if session.wants_read() => {}
            Ok(_) => panic!("the session goes on"),
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().contains("BadRecordMac") || error.kind() == ErrorKind::ConnectionReset,
        "{error}"
    );
}

#[test]
fn a_target_in_absolute_form_names_the_scheme_of_the_connection() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let config = client_config(&bench.authority, None, &TLS13);
    let mut client = Client::new(listener.addr(), &config);
    // At once, and in pieces: each is parsed in its own way.
    for request in [
        &["GET https://www.example.com/a HTTP/1.1\r\nHost: b\r\n\r\n"][..],
        &[
            "GET https://www.example.com/a HT",
            "TP/1.1\r\nHost: b\r\n\r\n",
        ],
    ] {
        for piece in request {
            client.send(piece).unwrap();
        }
        let seen = client.answer().unwrap();
        assert!(
            seen.starts_with("GET /a HTTP/1.1\r\nHost: www.example.com\r\n"),
            "{seen}"
        );
    }
    client
        .send("GET http://www.example.com/a HTTP/1.1\r\nHost: b\r\n\r\n")
        .unwrap();
    let answer = super::read_head(&mut client.0).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}
