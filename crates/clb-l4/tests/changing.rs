//! Listeners that come and go under traffic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;

use clb_l4::run_worker;
use clb_snapshot::{Board, Listener};
use common::{
    Plane, Served, assert_reset, backend, echo, eventually, ping, serving_backend, settings,
};
use tokio::runtime::{Builder, LocalOptions};

#[test]
fn a_removed_listener_accepts_no_more_but_its_connections_live_until_they_are_reset() {
    let plane = Plane::new(settings());
    let served = plane.listen(&[(serving_backend(echo), 10)]);
    let mut clients: Vec<_> = (0..10).map(|_| served.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| ping(client, b"before"));

    plane.publish(|snapshot| snapshot.remove(served.listener.id));
    let error = TcpStream::connect(served.addr).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    // The port is free for others as soon as the removal is acknowledged.
    assert!(clb_net::bind_listeners(served.addr, 2).is_ok());
    clients.iter_mut().for_each(|client| ping(client, b"after"));

    // The drain's end.
    served.listener.live.reset_all();
    clients.iter_mut().for_each(assert_reset);
    eventually("nothing is open", || plane.board.connections() == 0);
}

#[test]
fn the_end_of_a_members_drain_resets_its_connections_on_both_sides_and_no_others() {
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10), (serving_backend(echo), 10)]);
    let (mut leaving, mut stream) = served.connect_through(&listener);
    let mut staying = served.connect();
    ping(&mut staying, b"hello");

    served.set_members(&[
        (0, clb_snapshot::MemberHealth::Off),
        (10, clb_snapshot::MemberHealth::Off),
    ]);
    served.member(0).reset_all();
    assert_reset(&mut leaving);
    assert_reset(&mut stream);
    ping(&mut staying, b"still here");
    assert_eq!(served.member(0).active(), 0);
}

#[test]
fn a_changed_listener_keeps_its_socket_and_its_connections() {
    let plane = Plane::new(settings());
    let served = plane.listen(&[(serving_backend(echo), 10)]);
    let mut client = served.connect();
    ping(&mut client, b"before");

    let other = Served::bind(&[(serving_backend(echo), 10)]);
    let old = &served.listener;
    let changed = Arc::new(Listener {
        id: old.id,
        lb: old.lb,
        addr: old.addr,
        protocol: old.protocol,
        client_ip: clb_model::ClientIp::Gateway,
        service: other.listener.service.clone(),
        live: Arc::clone(&old.live),
        unruled: Arc::clone(&old.unruled),
        tls: None,
        sockets: Arc::clone(&old.sockets),
    });
    plane.publish(|snapshot| snapshot.insert(changed));
    ping(&mut client, b"after");
    ping(&mut served.connect(), b"new");
    assert_eq!(served.member(0).totals().opened, 1);
    assert_eq!(other.member(0).totals().opened, 1);
}

#[test]
fn a_listener_that_moves_to_another_port_leaves_the_old_one() {
    let plane = Plane::new(settings());
    let served = plane.listen(&[(serving_backend(echo), 10)]);
    let target = Served::bind(&[]);
    let old = &served.listener;
    let moved = Arc::new(Listener {
        id: old.id,
        lb: old.lb,
        addr: target.addr,
        protocol: old.protocol,
        client_ip: clb_model::ClientIp::Gateway,
        service: old.service.clone(),
        live: Arc::clone(&old.live),
        unruled: Arc::clone(&old.unruled),
        tls: None,
        sockets: Arc::clone(&target.listener.sockets),
    });
    plane.publish(|snapshot| snapshot.insert(moved));
    assert!(TcpStream::connect(served.addr).is_err());
    ping(&mut target.connect(), b"here");
}

#[test]
fn sockets_cannot_be_served_twice() {
    let plane = Plane::new(settings());
    let served = plane.listen(&[(serving_backend(echo), 10)]);
    plane.publish(|snapshot| snapshot.remove(served.listener.id));
    plane.publish(|snapshot| snapshot.insert(Arc::clone(&served.listener)));
    let failures: Vec<_> = plane
        .board
        .workers()
        .iter()
        .map(|worker| worker.start_failures())
        .collect();
    assert_eq!(failures, [1, 1]);
}

/// Connections that wait in the kernel's queue when their listener is removed are established as
/// far as their clients know.
#[test]
fn connections_in_the_accept_queue_are_served_before_the_socket_closes() {
    let board = Arc::new(Board::new(1, settings(), 0));
    let served = Served::bind(&[(serving_backend(echo), 10)]);
    // One worker has to serve both of the sockets here, so only what is on its own counts.
    drop(served.listener.sockets.take_tcp(1));
    let mut clients: Vec<_> = (0..20).map(|_| served.connect()).collect();
    let id = served.listener.id;
    board.publish(board.snapshot().insert(Arc::clone(&served.listener)));
    let worker = {
        let board = Arc::clone(&board);
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
                .unwrap();
            runtime.block_on(run_worker(0, Arc::clone(&board), |worker, listener| {
                // It is removed before what serves it has run for the first time.
                board.publish(board.snapshot().remove(id));
                clb_l4::tcp::start(worker, listener)
            }));
        })
    };
    clients
        .iter_mut()
        .for_each(|client| ping(client, b"I was here first"));
    eventually("the removal is acknowledged", || board.acked() == 2);
    assert!(TcpStream::connect(served.addr).is_err());
    board.close();
    worker.join().unwrap();
    // The worker's end resets what is left.
    clients.iter_mut().for_each(assert_reset);
}
