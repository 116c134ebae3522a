//! Which backend a connection meets, and what happens when it does not answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clb_snapshot::{MemberHealth, Refusal};
use common::{
    Plane, assert_reset, backend, dead_backend, echo, patient, ping, read_to_end, serving_backend,
    settings,
};

fn named_backend(name: u8) -> SocketAddr {
    serving_backend(move |mut stream| {
        let _ = stream.write_all(&[name]);
    })
}

#[test]
fn the_worked_example_of_weights_is_exact_over_two_workers() {
    let plane = Plane::new(settings());
    let served = plane.listen(&[
        (named_backend(0), 10),
        (named_backend(1), 6),
        (named_backend(2), 0),
    ]);
    let names: Vec<u8> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..400)
                        .map(|_| read_to_end(&mut served.connect())[0])
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([(0, 1_000), (1, 600)]));
    let opened = [0, 1, 2].map(|index| served.member(index).totals().opened);
    assert_eq!(opened, [1_000, 600, 0]);
    assert_eq!(served.listener.live.totals().opened, 1_600);
}

#[test]
fn a_backend_that_refuses_is_passed_over() {
    let plane = Plane::new(settings());
    let (_held, dead) = dead_backend();
    let served = plane.listen(&[(dead, 10), (named_backend(1), 10)]);
    for _ in 0..20 {
        assert_eq!(read_to_end(&mut served.connect()), [1]);
    }
    assert_eq!(served.member(0).totals().failed, 10);
    assert_eq!(served.member(0).active(), 0);
    assert_eq!(served.member(1).totals().opened, 20);
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_passed_over() {
    let mut settings = settings();
    settings.backend_connect = Duration::from_millis(200);
    let plane = Plane::new(settings);
    // A full accept queue: the kernel drops further SYNs.
    let (silent, addr) = dead_backend();
    silent.listen(0).unwrap();
    let fillers: Vec<_> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&addr, Duration::from_millis(100)).ok())
            .collect();
    assert!(!fillers.is_empty());
    let served = plane.listen(&[(addr, 10), (named_backend(1), 10)]);
    assert_eq!(read_to_end(&mut served.connect()), [1]);
    assert_eq!(served.member(0).totals().failed, 1);
}

#[test]
fn when_all_are_dead_three_are_tried_and_the_client_is_reset() {
    let plane = Plane::new(settings());
    let held: Vec<_> = (0..4).map(|_| dead_backend()).collect();
    let members: Vec<_> = held.iter().map(|&(_, addr)| (addr, 10)).collect();
    let served = plane.listen(&members);
    assert_reset(&mut served.connect());
    let failed: u64 = (0..4)
        .map(|index| served.member(index).totals().failed)
        .sum();
    assert_eq!(failed, 3);
    assert_eq!(plane.board.refused.total(Refusal::BackendsFailed), 1);
    assert_eq!(served.listener.live.totals().failed, 1);
}

#[test]
fn without_a_backend_the_client_is_reset_at_once() {
    let plane = Plane::new(settings());
    let empty = plane.listen(&[]);
    let weightless = plane.listen(&[(named_backend(0), 0)]);
    assert_reset(&mut empty.connect());
    assert_reset(&mut weightless.connect());
    assert_eq!(plane.board.refused.total(Refusal::NoBackend), 2);
}

#[test]
fn over_the_limit_of_connections_a_client_is_reset() {
    let mut settings = settings();
    settings.max_connections = 2;
    let plane = Plane::new(settings);
    let served = plane.listen(&[(serving_backend(echo), 10)]);
    let mut clients = [served.connect(), served.connect()];
    clients.iter_mut().for_each(|client| ping(client, b"hello"));
    assert_reset(&mut served.connect());
    assert_eq!(plane.board.refused.total(Refusal::Connections), 1);

    // A place that was given back can be had again.
    drop(clients);
    common::eventually("both places are free", || plane.board.connections() == 0);
    ping(&mut served.connect(), b"hello");
}

#[test]
fn a_change_of_weight_or_health_fails_no_connection_and_holds_from_the_next() {
    let plane = Plane::new(settings());
    let served = plane.listen(&[(serving_backend(echo), 10), (serving_backend(echo), 10)]);
    let (alive, dead) = (MemberHealth::Healthy, MemberHealth::Unhealthy);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut client = served.connect();
                        ping(&mut client, b"one");
                        ping(&mut client, b"two");
                    }
                })
            })
            .collect();
        for round in 0u64.. {
            if clients.iter().all(|client| client.is_finished()) {
                break;
            }
            served.set_members(&match round % 4 {
                0 => [(10, alive), (0, alive)],
                1 => [(3, alive), (7, dead)],
                2 => [(10, dead), (10, dead)],
                _ => [(0, alive), (1, alive)],
            });
            std::thread::yield_now();
        }
    });
    assert_eq!(served.listener.live.totals().opened, 600);
    assert_eq!(served.listener.live.totals().failed, 0);

    served.set_members(&[(0, alive), (1, alive)]);
    let before = served.member(1).totals().opened;
    for _ in 0..10 {
        ping(&mut served.connect(), b"three");
    }
    assert_eq!(served.member(1).totals().opened, before + 10);
}

#[test]
fn what_a_client_sends_before_the_backend_answers_is_kept() {
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    let mut client = served.connect();
    client.write_all(b"early").unwrap();
    let mut stream = patient(listener.accept().unwrap().0);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream), b"early");
}
