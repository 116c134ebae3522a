//! Listeners whose sockets go to another data plane, with the sessions that hang on them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use clb_snapshot::{Listener, PlaneSettings, Snapshot};
use common::{PATIENCE, Plane, Served, echo, patient, ping, serving_backend, settings};

/// Has a plane give its listeners' sockets back.
fn give_back(plane: &Plane) {
    plane.board.hand_over(true);
    plane.publish(|_| Snapshot::new());
    plane.board.hand_over(false);
}

/// The same listener for another plane: with counters of its own.
fn heir(served: &Served) -> Arc<Listener> {
    Arc::new(Listener {
        live: Arc::new(clb_snapshot::Live::new(common::WORKERS)),
        ..Listener::clone(&served.listener)
    })
}

fn serve(plane: &Plane, listener: &Arc<Listener>) {
    plane.publish(|snapshot| snapshot.insert(Arc::clone(listener)));
}

#[test]
fn connections_that_wait_meanwhile_are_accepted_by_the_next_one() {
    let (old, new) = (Plane::new(settings()), Plane::new(settings()));
    let served = old.listen(&[(serving_backend(echo), 10)]);
    let mut before: Vec<_> = (0..20).map(|_| served.connect()).collect();
    before.iter_mut().for_each(|client| ping(client, b"before"));
    give_back(&old);
    // Nobody serves now, and nobody is refused.
    let mut between: Vec<_> = (0..50)
        .map(|_| patient(TcpStream::connect(served.addr).unwrap()))
        .collect();
    serve(&new, &heir(&served));
    between.iter_mut().for_each(|client| ping(client, b"new"));
    before.iter_mut().for_each(|client| ping(client, b"old"));
    assert_eq!((old.board.connections(), new.board.connections()), (20, 50));

    // Back again, as when the next one has failed.
    give_back(&new);
    serve(&old, &served.listener);
    let mut client = served.connect();
    ping(&mut client, b"back");
    assert_eq!(old.board.connections(), 21);
}

/// A backend that tells a client's datagrams by the address that they come from.
fn heard(backend: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut data = [0; 64];
    let (length, from) = backend.recv_from(&mut data).unwrap();
    (data[..length].to_vec(), from)
}

#[test]
fn udp_sessions_go_on_through_the_same_sockets_and_nothing_is_lost_between() {
    // Each with a socket of its own; and so few that sessions with different backends share them.
    for max_sockets in [u64::MAX, 100] {
        sessions_go_on(max_sockets);
    }
}

fn sessions_go_on(max_sockets: u64) {
    let settings = || PlaneSettings {
        max_sockets,
        ..settings()
    };
    let (old, new) = (Plane::new(settings()), Plane::new(settings()));
    let backends: Vec<_> = (0..3)
        .map(|_| {
            let backend = UdpSocket::bind("127.0.0.1:0").unwrap();
            backend.set_read_timeout(Some(PATIENCE)).unwrap();
            backend
        })
        .collect();
    let members: Vec<_> = backends
        .iter()
        .map(|backend| (backend.local_addr().unwrap(), 10))
        .collect();
    let served = old.listen_udp(&members);
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.connect(served.addr).unwrap();
            client
        })
        .collect();
    let mut sources = Vec::new();
    for (number, client) in (0u8..).zip(&clients) {
        client.send(&[number]).unwrap();
        let at = usize::from(number) % 3;
        let (data, from) = heard(&backends[at]);
        assert_eq!(data, [number]);
        sources.push((at, from));
    }
    let heir = heir(&served);
    for _ in 0..2 {
        give_back(&old);
        assert_eq!(old.board.udp.sessions(), 0);
        // Datagrams from both sides wait.
        for (number, client) in (0u8..).zip(&clients) {
            client.send(&[number, 1]).unwrap();
            let (at, from) = sources[usize::from(number)];
            backends[at].send_to(&[number, 2], from).unwrap();
        }
        serve(&new, &heir);
        assert_eq!(new.board.udp.sessions(), 60);
        // Each session's in its order, the sessions as the workers have them.
        for _ in 0..20 {
            for backend in &backends {
                let (data, from) = heard(backend);
                assert_eq!((data.len(), data[1]), (2, 1));
                let (at, source) = sources[usize::from(data[0])];
                assert_eq!(from, source);
                assert_eq!(
                    backend.local_addr().unwrap(),
                    backends[at].local_addr().unwrap()
                );
            }
        }
        for (number, client) in (0u8..).zip(&clients) {
            let mut data = [0; 8];
            assert_eq!(client.recv(&mut data).unwrap(), 2);
            assert_eq!(data[..2], [number, 2]);
        }
        // And back.
        give_back(&new);
        serve(&old, &served.listener);
        assert_eq!(old.board.udp.sessions(), 60);
    }
    // One whose backend may no longer be used finds another.
    give_back(&old);
    let mut weights = vec![(10, clb_snapshot::MemberHealth::Off); 3];
    weights[0].0 = 0;
    served.set_members(&weights);
    serve(&new, &heir);
    assert_eq!(new.board.udp.sessions(), 40);
    clients[0].send(b"moved").unwrap();
    assert_eq!(heard(&backends[1]).0, b"moved");
}
