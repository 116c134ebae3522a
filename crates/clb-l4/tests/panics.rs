//! A worker that panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::io::Read;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{PATIENCE, Plane, echo, eventually, ping, serving_backend, settings};

#[test]
fn a_worker_that_panics_takes_its_own_connections_and_is_started_anew() {
    let fails = Arc::new(AtomicBool::new(false));
    let look = {
        let fails = Arc::clone(&fails);
        move |worker: &clb_l4::worker::Worker, _: &clb_snapshot::Listener| {
            assert!(
                worker.index() != 1 || !fails.swap(false, Ordering::SeqCst),
                "a fault of the test"
            );
        }
    };
    let plane = Plane::looking(settings(), look);
    let backend = serving_backend(echo);
    let served = plane.listen(&[(backend, 10)]);
    let answers = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = plane.listen_udp(&[(answers.local_addr().unwrap(), 10)]);
    // The second time shows that the worker serves again what it did.
    for round in 1..=2 {
        let mut clients: Vec<_> = (0..60).map(|_| served.connect()).collect();
        clients
            .iter_mut()
            .for_each(|client| ping(client, b"before"));
        assert_eq!(plane.board.connections(), 60);

        // It meets the fault when it starts the next listener; the publisher waits until it has.
        fails.store(true, Ordering::SeqCst);
        let other = plane.listen(&[(backend, 10)]);
        assert_eq!(plane.board.workers()[1].restarts(), round);
        assert_eq!(plane.board.workers()[0].restarts(), 0);

        // Those of the other worker do not notice; the others are told, and not counted any more.
        let mut living = 0;
        for client in &mut clients {
            std::io::Write::write_all(client, b"after").unwrap_or_default();
            let mut answer = [0; 5];
            living += u64::from(client.read_exact(&mut answer).is_ok());
        }
        assert!(0 < living && living < 60, "{living}");
        eventually("they are not counted", || {
            plane.board.connections() == living
        });
        for served in [&served, &other] {
            let mut clients: Vec<_> = (0..60).map(|_| served.connect()).collect();
            clients.iter_mut().for_each(|client| ping(client, b"again"));
        }
        drop(clients);
        eventually("all have gone", || plane.board.connections() == 0);
    }
    answers.set_read_timeout(Some(PATIENCE)).unwrap();
    for number in 0..40u8 {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[number], udp.addr).unwrap();
        let mut data = [0; 8];
        assert_eq!(answers.recv(&mut data).unwrap(), 1);
        assert_eq!(data[0], number);
    }
}
