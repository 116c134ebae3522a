//! UDP over real sockets: what the state machine can not show.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use clb_model::SessionExpire;
use clb_net::udp::Batch;
use clb_snapshot::MemberHealth::{Healthy, Off, Unhealthy};
use clb_snapshot::{PlaneSettings, Refusal, Stickiness, UdpDrop, UdpSettings};
use common::{PATIENCE, Plane, Served, eventually, settings, watch_turns};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A socket that takes datagrams from the gateway only.
fn client(served: &Served) -> UdpSocket {
    let client = socket();
    client.connect(served.addr).unwrap();
    client
}

/// A backend that the test drives by hand.
fn backend() -> (UdpSocket, SocketAddr) {
    let socket = socket();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// Sends everything back with its own number before it, until the test ends.
fn echoing_backend(number: u8) -> SocketAddr {
    let (socket, addr) = backend();
    std::thread::spawn(move || {
        socket.set_read_timeout(None).unwrap();
        let mut buffer = vec![0; 65_536];
        buffer[0] = number;
        while let Ok((length, from)) = socket.recv_from(&mut buffer[1..]) {
            let length = (length + 1).min(65_507);
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    addr
}

/// A port that refuses what comes from anyone but its own peer; it stays taken, so that no other test
/// gets it.
fn dead_backend() -> (UdpSocket, SocketAddr) {
    let (socket, addr) = backend();
    refuse(&socket);
    (socket, addr)
}

/// From now on the kernel answers for this socket that nobody listens.
fn refuse(socket: &UdpSocket) {
    socket.connect((Ipv4Addr::LOCALHOST, 9)).unwrap();
}

/// A question's answer: the backend's number, and that it is the same text.
fn ask(client: &UdpSocket, text: &[u8]) -> u8 {
    client.send(text).unwrap();
    answer(client, text)
}

fn answer(client: &UdpSocket, text: &[u8]) -> u8 {
    let mut buffer = vec![0; 65_536];
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[1..length], text);
    buffer[0]
}

/// What comes next, and from whom.
fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, from)
}

fn udp(settings: UdpSettings) -> PlaneSettings {
    PlaneSettings {
        udp: settings,
        ..common::settings()
    }
}

#[test]
fn datagrams_of_every_size_pass_whole_and_in_order_both_ways() {
    let plane = Plane::new(settings());
    let (backend, at_backend) = backend();
    let served = plane.listen_udp(&[(at_backend, 10)]);
    let client = client(&served);
    let sizes = [0, 1, 100, 1_472, 1_473, 9_000, 65_507, 7];
    let data = |size: usize| {
        (0..size)
            .map(|at| (at * 31 % 251) as u8)
            .collect::<Vec<_>>()
    };
    for size in sizes {
        client.send(&data(size)).unwrap();
    }
    let mut through = None;
    for size in sizes {
        let (received, from) = next(&backend);
        assert_eq!(received, data(size));
        assert_eq!(*through.get_or_insert(from), from);
    }
    for size in sizes {
        backend.send_to(&data(size), through.unwrap()).unwrap();
    }
    for size in sizes {
        assert_eq!(next(&client), (data(size), served.addr));
    }
    let totals = served.listener.live.totals();
    assert_eq!((totals.opened, totals.failed), (1, 0));
    assert_eq!((totals.datagrams_in, totals.datagrams_out), (8, 8));
    let octets = sizes.iter().sum::<usize>() as u64;
    assert_eq!((totals.bytes_in, totals.bytes_out), (octets, octets));
    assert_eq!(served.member(0).totals(), totals);
    assert_eq!(
        (served.member(0).active(), plane.board.udp.sessions()),
        (1, 1)
    );
}

#[test]
fn each_client_gets_its_own_answers_and_backends_their_shares() {
    // Not so many that each session could have its own.
    let plane = Plane::new(PlaneSettings {
        max_sockets: 400,
        ..settings()
    });
    let backends: Vec<_> = (0..4).map(|number| (echoing_backend(number), 10)).collect();
    let served = plane.listen_udp(&backends);
    let clients: Vec<_> = (0..200).map(|_| client(&served)).collect();
    let mut counts = [0; 4];
    let mut mine = HashMap::new();
    for (number, client) in clients.iter().enumerate() {
        let backend = ask(client, &number.to_be_bytes());
        counts[usize::from(backend)] += 1;
        mine.insert(number, backend);
    }
    assert_eq!(counts, [50; 4]);
    for round in 0..5_usize {
        let text = |number: usize| [number.to_be_bytes(), round.to_be_bytes()].concat();
        for (number, client) in clients.iter().enumerate() {
            client.send(&text(number)).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(answer(client, &text(number)), mine[&number]);
        }
    }
    assert_eq!(plane.board.udp.sessions(), 200);
    let sockets = plane.board.udp.sockets();
    assert!((25..120).contains(&sockets), "{sockets}");
    assert_eq!(served.listener.live.active(), 200);
}

#[test]
fn the_datagram_after_one_that_was_refused_goes_to_another_backend() {
    let plane = Plane::new(settings());
    let (_dead, at_dead) = dead_backend();
    let served = plane.listen_udp(&[(at_dead, 10), (echoing_backend(1), 10)]);
    let clients: Vec<_> = (0..10).map(|_| client(&served)).collect();
    for client in &clients {
        client
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        // The first one may be lost, no more.
        eventually("an answer", || {
            client.send(b"anyone?").unwrap();
            client.recv(&mut [0; 16]).is_ok()
        });
    }
    assert_eq!(served.member(0).totals().failed, 5);
    assert_eq!(
        (served.member(0).active(), served.member(1).active()),
        (0, 10)
    );
    assert_eq!(plane.board.udp.dropped(UdpDrop::Unsendable), 0);
}

#[test]
fn those_behind_a_refused_one_follow_it_in_order() {
    let plane = Plane::new(settings());
    let (first, at_first) = backend();
    let (second, at_second) = backend();
    let served = plane.listen_udp(&[(at_first, 10), (at_second, 10)]);
    served.set_members(&[(10, Off), (0, Off)]);
    let client = client(&served);
    client.send(b"hello").unwrap();
    next(&first);
    served.set_members(&[(10, Off), (10, Off)]);
    refuse(&first);
    // Of different sizes, so that each is sent by itself.
    for number in 0..20_u8 {
        client.send(&vec![number; usize::from(number) + 1]).unwrap();
    }
    let numbers: Vec<_> = (1..20).map(|_| next(&second).0[0]).collect();
    assert_eq!(numbers, (1..20).collect::<Vec<_>>());
}

#[test]
fn a_session_leaves_a_backend_that_is_no_longer_eligible() {
    let plane = Plane::new(settings());
    let (old, at_old) = backend();
    let served = plane.listen_udp(&[(at_old, 10), (echoing_backend(1), 10)]);
    served.set_members(&[(10, Off), (0, Off)]);
    let client = client(&served);
    client.send(b"one").unwrap();
    let (_, gateway) = next(&old);
    // Until its next datagram, it is the old one's.
    served.set_members(&[(0, Off), (10, Off)]);
    old.send_to(b"late", gateway).unwrap();
    assert_eq!(next(&client).0, b"late");
    assert_eq!(ask(&client, b"two"), 1);
    old.send_to(b"too late", gateway).unwrap();
    eventually("it is dropped", || {
        plane.board.udp.dropped(UdpDrop::Stray) == 1
    });
    served.set_members(&[(10, Healthy), (10, Unhealthy)]);
    client.send(b"three").unwrap();
    assert_eq!(next(&old).0, b"three");
    assert_eq!(
        (served.member(0).active(), served.member(1).active()),
        (1, 0)
    );
}

#[test]
fn without_a_backend_datagrams_are_dropped_and_counted() {
    let plane = Plane::new(settings());
    let served = plane.listen_udp(&[(echoing_backend(0), 0)]);
    let client = client(&served);
    client.send(b"x").unwrap();
    let refused = || plane.board.refused.total(Refusal::NoBackend);
    eventually("it is counted", || refused() == 1);
    assert_eq!(plane.board.udp.sessions(), 0);
    served.set_members(&[(1, Off)]);
    assert_eq!(ask(&client, b"y"), 0);
}

#[test]
fn silence_ends_a_session_and_its_socket() {
    let plane = Plane::new(udp(UdpSettings {
        idle: Duration::from_millis(20),
        ..UdpSettings::default()
    }));
    let served = plane.listen_udp(&[(echoing_backend(0), 10)]);
    for round in 1..=2 {
        assert_eq!(ask(&client(&served), b"x"), 0);
        eventually("the session ends", || plane.board.udp.sessions() == 0);
        eventually("its socket is closed", || plane.board.udp.sockets() == 0);
        assert_eq!(served.listener.live.totals().opened, round);
        assert_eq!(
            (served.listener.live.active(), served.member(0).active()),
            (0, 0)
        );
    }
}

#[test]
fn at_the_limits_new_sessions_are_refused_and_counted_and_old_ones_live() {
    let plane = Plane::new(PlaneSettings {
        max_sockets: 6,
        ..udp(UdpSettings {
            max_sessions: 5,
            ..UdpSettings::default()
        })
    });
    let served = plane.listen_udp(&[(echoing_backend(0), 10), (echoing_backend(1), 10)]);
    let refused = |reason| plane.board.refused.total(reason);
    let all = || refused(Refusal::UdpSessions) + refused(Refusal::Descriptors);
    let mut in_order = Vec::new();
    for _ in 0..20 {
        let client = client(&served);
        let before = all();
        client.send(b"x").unwrap();
        client.set_nonblocking(true).unwrap();
        eventually("an answer or a refusal", || {
            client.recv(&mut [0; 8]).is_ok() || all() > before
        });
        client.set_nonblocking(false).unwrap();
        in_order.push((client, all() == before));
    }
    assert_eq!(
        all() as usize,
        in_order.iter().filter(|(_, is_served)| !is_served).count()
    );
    assert!(plane.board.udp.sessions() <= 5 && plane.board.udp.sockets() <= 3);
    assert!(plane.board.udp.sessions() >= 3);
    for (client, _) in in_order.iter().filter(|(_, is_served)| *is_served) {
        ask(client, b"still here");
    }
}

#[test]
fn connections_and_udp_share_the_descriptors() {
    let plane = Plane::new(PlaneSettings {
        max_sockets: 8,
        ..settings()
    });
    let client = std::net::IpAddr::from([192, 0, 2, 1]);
    let permits: Vec<_> = (0..3).map(|_| plane.board.permit(client)).collect();
    assert!(permits.iter().all(Result::is_ok));
    let sockets: Vec<_> = (0..3).filter_map(|_| plane.board.udp_socket()).collect();
    assert_eq!(sockets.len(), 2);
    assert!(plane.board.permit(client).is_err());
    drop(permits);
    // Half of them at most.
    let more: Vec<_> = (0..3).filter_map(|_| plane.board.udp_socket()).collect();
    assert_eq!(more.len(), 2);
    assert_eq!(
        (0..9)
            .map_while(|_| plane.board.permit(client).ok().map(std::mem::forget))
            .count(),
        2
    );
}

#[test]
fn a_clients_sessions_go_to_its_backend_if_the_pool_remembers_clients() {
    let plane = Plane::new(settings());
    let served = plane.listen_udp(&[(echoing_backend(0), 10), (echoing_backend(1), 10)]);
    let sticky = Stickiness::Address(SessionExpire::try_from(30).unwrap());
    served.set_sticky_members(&[(10, Off), (10, Off)], sticky);
    let first = ask(&client(&served), b"x");
    for _ in 0..10 {
        assert_eq!(ask(&client(&served), b"x"), first);
    }
    assert_eq!(plane.board.persistence.len(), 1);
}

#[test]
fn a_removed_listener_leaves_its_port_and_its_counts() {
    let plane = Plane::new(settings());
    let served = plane.listen_udp(&[(echoing_backend(0), 10)]);
    let client = client(&served);
    ask(&client, b"x");
    plane.publish(|snapshot| snapshot.remove(served.listener.id));
    assert!(clb_net::udp::bind_group(served.addr, 2).is_ok());
    eventually("all is given back", || {
        plane.board.udp.sessions() == 0 && plane.board.udp.sockets() == 0
    });
    assert_eq!(
        (served.listener.live.active(), served.member(0).active()),
        (0, 0)
    );
}

#[test]
fn a_loop_of_gateways_ends() {
    let planes = [Plane::new(settings()), Plane::new(settings())];
    let (_dead, at_dead) = dead_backend();
    let one = planes[0].listen_udp(&[(at_dead, 10)]);
    let two = planes[1].listen_udp(&[(one.addr, 10)]);
    // Each is the other's backend now.
    one.set_backend(two.addr);
    client(&one).send(b"round and round").unwrap();
    eventually("it has gone round", || {
        let dropped = planes
            .each_ref()
            .map(|plane| plane.board.udp.dropped(UdpDrop::Hops));
        dropped.iter().sum::<u64>() == 1
    });
    let sessions = planes.each_ref().map(|plane| plane.board.udp.sessions());
    assert_eq!(sessions, [4, 3]);
}

/// As many datagrams as it may take, each with its number, through a window: none is doubled or
/// overtakes another, and what is missing was counted.
#[test]
fn numbers_come_in_order_and_what_is_missing_is_counted() {
    let count: u32 = std::env::var("CLB_UDP_DATAGRAMS")
        .map_or(200_000, |count| count.parse().expect("a number"));
    let plane = Plane::new(settings());
    let (backend, at_backend) = backend();
    let served = plane.listen_udp(&[(at_backend, 10)]);
    let sender = client(&served);
    let received = std::thread::spawn(move || {
        let mut batch = Batch::new();
        let (mut received, mut last) = (0_u64, None);
        loop {
            // One by hand to wait for it, the rest as it comes.
            let mut first = [0; 8];
            if backend.recv(&mut first).is_err() {
                return received;
            }
            let mut take = |data: &[u8]| {
                let number = u32::from_be_bytes(data[..4].try_into().unwrap());
                assert!(
                    last.is_none_or(|last| last < number),
                    "{last:?}, then {number}"
                );
                received += 1;
                last = Some(number);
                number == u32::MAX
            };
            if take(&first) {
                return received;
            }
            while let Ok(count) = batch.recv(&backend) {
                if (0..count).any(|at| take(batch.data(at))) {
                    return received;
                }
            }
        }
    });
    for number in 0..count {
        sender.send(&number.to_be_bytes()).unwrap();
    }
    // The last one, until it arrives.
    let mut sent = u64::from(count);
    while !received.is_finished() {
        sender.send(&u32::MAX.to_be_bytes()).unwrap();
        sent += 1;
        std::thread::yield_now();
    }
    let received = received.join().unwrap();
    eventually("the gateway has seen all", || {
        let totals = served.listener.live.totals();
        let dropped: u64 = UdpDrop::ALL
            .iter()
            .map(|reason| plane.board.udp.dropped(*reason))
            .sum();
        totals.datagrams_in + dropped == sent
    });
    assert!(received > 0);
}

#[test]
fn a_batch_to_several_backends_keeps_each_sessions_order() {
    let plane = Plane::new(settings());
    let served = plane.listen_udp(&[(echoing_backend(0), 10), (echoing_backend(1), 10)]);
    let clients: Vec<_> = (0..8).map(|_| client(&served)).collect();
    for round in 0..200_u32 {
        for client in &clients {
            for part in 0..4_u32 {
                client.send(&(round * 4 + part).to_be_bytes()).unwrap();
            }
        }
        for client in &clients {
            for part in 0..4_u32 {
                answer(client, &(round * 4 + part).to_be_bytes());
            }
        }
    }
}

/// A flood from new clients has a small part of each turn of its worker, and others see their own
/// events between.
#[test]
fn a_flood_of_new_sessions_leaves_turns_to_others() {
    const CLIENTS: usize = 300;
    let (_backend, at_backend) = backend();
    let served = Served::bind_udp_of(1, &[(at_backend, 10)]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| client(&served)).collect();
    for client in &clients {
        client.send(b"new").unwrap();
    }
    let (mut before, mut most) = (0, 0);
    watch_turns(&served, clb_l4::udp::start, || {
        let active = served.listener.live.active();
        // The first batch is received before anyone knows what it brings.
        if before > 0 {
            most = most.max(active - before);
        }
        before = active;
        active == CLIENTS as u64
    });
    assert!(most <= 4, "{most} sessions were begun in one turn");
}
