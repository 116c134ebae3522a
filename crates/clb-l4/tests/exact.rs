//! Every octet of many streams, both ways at once, with random sizes, pauses and half-closes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{Plane, backend, patient, settings};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

const CONNECTIONS: u64 = 200;
/// Longest piece that is written at once.
const PIECE: usize = 256 << 10;

/// What one side of a connection sends: a stream that follows from a seed.
struct Sent {
    data: SmallRng,
    left: usize,
}

impl Sent {
    fn new(seed: u64, length: usize) -> Self {
        Self {
            data: SmallRng::seed_from_u64(seed),
            left: length,
        }
    }

    /// The next octets; whole words of the stream, but at its end.
    fn next(&mut self, length: usize) -> Vec<u8> {
        let length = length.next_multiple_of(8).min(self.left);
        let mut piece = vec![0; length.next_multiple_of(8)];
        self.data.fill_bytes(&mut piece);
        piece.truncate(length);
        self.left -= length;
        piece
    }
}

/// Both sides know it from the connection's number.
fn plan(number: u64, total: usize) -> [(u64, usize); 2] {
    let mut random = SmallRng::seed_from_u64(number);
    // So that all of them together are a little more than the total.
    let mean = total * 5 / 4 / CONNECTIONS as usize;
    // Some send next to nothing, some much.
    let length = |random: &mut SmallRng| match random.random_range(0..10) {
        0 => random.random_range(0..2_000),
        1 => mean * 4,
        _ => random.random_range(mean / 3..mean),
    };
    [0, 1].map(|side| (number * 2 + side, length(&mut random)))
}

fn send(mut stream: TcpStream, seed: u64, length: usize) -> usize {
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut sent = Sent::new(seed, length);
    while sent.left > 0 {
        let size = match random.random_range(0..4) {
            0 => random.random_range(1..100),
            1 => random.random_range(1..5_000),
            _ => random.random_range(1..PIECE),
        };
        stream.write_all(&sent.next(size)).unwrap();
        if random.random_bool(0.02) {
            thread::sleep(Duration::from_millis(random.random_range(0..20)));
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    length
}

fn receive(mut stream: TcpStream, seed: u64, length: usize) {
    let mut random = SmallRng::seed_from_u64(seed ^ 0x5555);
    let mut wanted = Sent::new(seed, length);
    let mut buffer = vec![0; PIECE];
    let mut received = 0;
    while wanted.left > 0 {
        let piece = wanted.next(random.random_range(8..PIECE));
        let got = &mut buffer[..piece.len()];
        stream.read_exact(got).unwrap();
        assert!(
            *got == *piece,
            "stream {seed}: wrong after {received} octets"
        );
        received += piece.len();
        if random.random_bool(0.02) {
            thread::sleep(Duration::from_millis(random.random_range(0..20)));
        }
    }
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "more than {length}");
}

#[test]
fn every_octet_of_every_stream_arrives_once_and_in_order() {
    let total = std::env::var("CLB_EXACT_MIB")
        .map_or(1024, |mib| mib.parse::<usize>().expect("a number"))
        << 20;
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = Arc::new(plane.listen(&[(addr, 10)]));
    let backends = thread::spawn(move || {
        let each = (0..CONNECTIONS).map(|_| {
            let mut stream = patient(listener.accept().unwrap().0);
            thread::spawn(move || {
                let mut number = [0; 8];
                stream.read_exact(&mut number).unwrap();
                let [own, clients] = plan(u64::from_be_bytes(number), total);
                let reading = stream.try_clone().unwrap();
                let reader = thread::spawn(move || receive(reading, clients.0, clients.1));
                let sent = send(stream, own.0, own.1);
                reader.join().unwrap();
                sent
            })
        });
        let each: Vec<_> = each.collect();
        each.into_iter()
            .map(|one| one.join().unwrap())
            .sum::<usize>()
    });
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let mut stream = served.connect();
            thread::spawn(move || {
                stream.write_all(&number.to_be_bytes()).unwrap();
                let [backends, own] = plan(number, total);
                let reading = stream.try_clone().unwrap();
                let reader = thread::spawn(move || receive(reading, backends.0, backends.1));
                let sent = send(stream, own.0, own.1);
                reader.join().unwrap();
                sent
            })
        })
        .collect();
    let up: usize = clients.into_iter().map(|one| one.join().unwrap()).sum();
    let down = backends.join().unwrap();
    assert!(up >= total && down >= total, "{up} {down}");
    common::eventually("all is counted", || {
        let totals = served.listener.live.totals();
        // And the connections' numbers.
        (totals.bytes_in, totals.bytes_out) == (up as u64 + 8 * CONNECTIONS, down as u64)
    });
}
