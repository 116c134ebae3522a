//! Handshakes that do not end well.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clb_snapshot::{HandshakeFailure, Refusal};
use rustls::version::TLS13;

use super::harness::tls::client_config;
use super::harness::{Settings, patience};
use super::{Bench, Client};

fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(patience())).unwrap();
    socket
}

/// Reads until the connection ends in any way.
fn rest(socket: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = socket.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn one_that_is_not_finished_in_time_ends() {
    let bench = Bench::start(&Settings {
        tls_handshake: Duration::from_millis(100),
        ..Settings::default()
    });
    let listener = bench.listen(None);
    let mut silent = connect(listener.addr());
    let mut slow = connect(listener.addr());
    // The beginning of a record.
    slow.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    for socket in [&mut silent, &mut slow] {
        assert_eq!(rest(socket), "");
    }
    let live = &listener.tls().live;
    assert_eq!(live.failed(HandshakeFailure::TimedOut), 2);
}

#[test]
fn the_oldest_makes_room_and_what_is_established_goes_on() {
    let bench = Bench::start(&Settings {
        tls_handshakes: 8,
        ..Settings::default()
    });
    let listener = bench.listen(None);
    let config = client_config(&bench.authority, None, &TLS13);
    let mut established = Client::new(listener.addr(), &config);
    established.get().unwrap();
    let mut stuck = Vec::new();
    for round in 0..200 {
        let mut socket = connect(listener.addr());
        socket.write_all(b"\x16\x03\x01").unwrap();
        stuck.push(socket);
        if round % 50 == 0 {
            established.get().unwrap();
            Client::new(listener.addr(), &config).get().unwrap();
        }
    }
    // The last connect was accepted before this.
    Client::new(listener.addr(), &config).get().unwrap();
    let displaced = listener.tls().live.failed(HandshakeFailure::Displaced);
    assert!(displaced >= 192, "{displaced}");
    let refused = bench.plane.board.refused.total(Refusal::TlsHandshakes);
    assert_eq!(refused, displaced);
    assert_eq!(rest(&mut stuck[0]), "");
}

#[test]
fn http_without_tls_is_told_so() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let mut socket = connect(listener.addr());
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let answer = rest(&mut socket);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.contains("this port speaks HTTPS"), "{answer}");
    let live = &listener.tls().live;
    assert_eq!(live.failed(HandshakeFailure::PlainHttp), 1);
}

#[test]
fn what_is_no_tls_is_counted() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let mut socket = connect(listener.addr());
    socket.write_all(&[0; 64]).unwrap();
    rest(&mut socket);
    let live = &listener.tls().live;
    assert_eq!(live.failed(HandshakeFailure::Malformed), 1);
    drop(connect(listener.addr()));
    // The drop above was taken notice of before this handshake ends, or with the next.
    let config = client_config(&bench.authority, None, &TLS13);
    while live.failed(HandshakeFailure::Cut) == 0 {
        Client::new(listener.addr(), &config).get().unwrap();
    }
}
