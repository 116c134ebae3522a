//! Long bodies both ways, and tunnels.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use super::harness::tls::{client_config, server_tls};
use super::harness::{Settings, patience};
use super::{Bench, Client, eventually, read_head};

/// Octets that show a shift, a loss or a repetition anywhere.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A backend that serves one connection.
fn backend(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || serve(listener.accept().unwrap().0));
    addr
}

#[test]
fn a_long_body_comes_back_as_it_went() {
    const LENGTH: usize = 8 << 20;
    let bench = Bench::start(&Settings::default());
    for version in [&TLS12, &TLS13] {
        let addr = backend(|mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            read_head(&mut reader).unwrap();
            let mut body = vec![0; LENGTH];
            reader.read_exact(&mut body).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        });
        let tls = server_tls(&bench.authority.server(), None, None);
        let listener = bench.plane.listen(&[addr], Some(tls));
        let config = client_config(&bench.authority, None, version);
        let mut client = Client::new(listener.addr(), &config);
        let body = pattern(LENGTH);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
        client.send(head).unwrap();
        client.send(&body).unwrap();
        assert!(
            read_head(&mut client.0)
                .unwrap()
                .starts_with("HTTP/1.1 200 ")
        );
        let mut back = vec![0; LENGTH];
        client.0.read_exact(&mut back).unwrap();
        assert!(body == back, "{version:?}");
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_backend_and_gets_all_in_the_end() {
    const LENGTH: usize = 64 << 20;
    let bench = Bench::start(&Settings::default());
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let addr = backend(move |mut stream| {
        read_head(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A write that takes this long has met a socket that is full.
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let body = pattern(LENGTH);
        let mut rest = body.as_slice();
        while let Ok(length) = stream.write(rest) {
            rest = &rest[length..];
            if rest.is_empty() {
                panic!("nobody stops the backend");
            }
        }
        counted.store(LENGTH - rest.len(), Ordering::SeqCst);
        stream.set_write_timeout(Some(patience())).unwrap();
        stream.write_all(rest).unwrap();
    });
    let tls = server_tls(&bench.authority.server(), None, None);
    let listener = bench.plane.listen(&[addr], Some(tls));
    let config = client_config(&bench.authority, None, &TLS13);
    let mut client = Client::new(listener.addr(), &config);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually(|| sent.load(Ordering::SeqCst) > 0);
    // The sockets' buffers hold some megabytes, the gateway next to nothing.
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < LENGTH / 2, "{sent}");
    assert!(
        read_head(&mut client.0)
            .unwrap()
            .starts_with("HTTP/1.1 200 ")
    );
    let mut body = vec![0; LENGTH];
    client.0.read_exact(&mut body).unwrap();
    assert!(body == pattern(LENGTH));
}

#[test]
fn a_tunnel_carries_both_directions_and_each_ends_by_itself() {
    const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: line\r\nConnection: Upgrade\r\n\r\n";
    const YES: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: line\r\nConnection: Upgrade\r\n\r\n";
    let bench = Bench::start(&Settings::default());
    for version in [&TLS12, &TLS13] {
        let addr = backend(|mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            read_head(&mut reader).unwrap();
            stream.write_all(YES).unwrap();
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
            // The client's end comes, and an answer can still go.
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
            stream.write_all(b"bye\n").unwrap();
        });
        let tls = server_tls(&bench.authority.server(), None, None);
        let listener = bench.plane.listen(&[addr], Some(tls));
        let config = client_config(&bench.authority, None, version);
        let mut client = Client::new(listener.addr(), &config);
        client.send(ASK).unwrap();
        assert!(
            read_head(&mut client.0)
                .unwrap()
                .starts_with("HTTP/1.1 101 ")
        );
        client.send("hello\n").unwrap();
        let mut line = String::new();
        client.0.read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
        let stream = client.0.get_mut();
        stream.conn.send_close_notify();
        stream.conn.write_tls(&mut stream.sock).unwrap();
        let mut rest = String::new();
        client.0.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "bye\n");
    }
}
