//! Out of descriptors. A program of its own, because the limit is the whole process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::fs::File;
use std::net::{SocketAddr, TcpStream};

use clb_snapshot::Refusal;
use common::{Plane, assert_reset, backend, echo, eventually, patient, ping, serve_on, settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// Unconnected, so that connecting needs no further descriptor.
fn clients(count: usize) -> Vec<Socket> {
    (0..count)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap())
        .collect()
}

fn connect(socket: Socket, addr: SocketAddr) -> TcpStream {
    socket.connect(&addr.into()).unwrap();
    patient(socket.into())
}

#[test]
fn without_descriptors_clients_wait_or_are_reset_and_are_served_when_there_are_some_again() {
    let plane = Plane::new(settings());
    // Its kernel takes connections; it accepts later, because an accept(2) that waits holds a
    // descriptor, and one that fails would end it.
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    let refused = || plane.board.refused.total(Refusal::Descriptors);
    let (waiting, unlucky) = (clients(5), clients(1));

    let roomy = getrlimit(Resource::Nofile);
    let tight = Rlimit {
        current: Some(200),
        ..roomy
    };
    setrlimit(Resource::Nofile, tight).unwrap();
    let mut fillers: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();

    // One descriptor: enough to accept, too few to connect. That is not the backend's failure.
    fillers.pop();
    // They stay open until the end, so that the only descriptor to come back is the gateway's.
    let mut unlucky: Vec<_> = unlucky
        .into_iter()
        .map(|socket| connect(socket, served.addr))
        .collect();
    unlucky.iter_mut().for_each(assert_reset);
    // Beside the connect, the next accept(2) may be counted: it wants a descriptor before it looks
    // whether anyone waits.
    assert!(refused() >= 1);
    assert_eq!(served.member(0).totals().failed, 0);

    // None: the kernel's queue holds the clients until there are.
    eventually("the last descriptor is filled", || {
        File::open("/dev/null").is_ok_and(|file| {
            fillers.push(file);
            true
        })
    });
    let mut waiting: Vec<_> = waiting
        .into_iter()
        .map(|socket| connect(socket, served.addr))
        .collect();
    let before = refused();
    eventually("accepting fails", || refused() > before);
    // The unlucky client's permit may come back a little later than its descriptor.
    eventually("nobody is connected", || plane.board.connections() == 0);
    // All at once: were the files closed one by one, a client could be accepted while there is no
    // second descriptor for its backend.
    setrlimit(Resource::Nofile, roomy).unwrap();
    serve_on(listener, echo);
    waiting
        .iter_mut()
        .for_each(|client| ping(client, b"at last"));
    assert_eq!(served.member(0).totals().opened, 5);
}
