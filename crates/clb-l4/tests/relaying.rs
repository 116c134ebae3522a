//! What happens to the bytes, the ends and the resets of a relayed connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::{
    PATIENCE, Plane, Served, assert_reset, backend, echo, eventually, in_background, ping,
    read_to_end, reset, serving_backend, settings, watch_turns,
};
use tokio::io::Interest;

const MIB: usize = 1 << 20;

/// A stream of bytes in which no run repeats soon (xorshift64), and sizes drawn from it.
#[derive(Clone)]
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, block: &mut [u8]) {
        for chunk in block.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

const BLOCK: usize = 64 * 1024;

/// Sends `blocks` blocks of the seed's bytes in pieces of random sizes, then ends.
fn send_noise(mut stream: TcpStream, seed: u64, blocks: usize) {
    let (mut noise, mut sizes) = (Noise(seed), Noise(seed ^ 0x5555));
    let mut block = vec![0; BLOCK];
    for _ in 0..blocks {
        noise.fill(&mut block);
        let mut rest = &block[..];
        while !rest.is_empty() {
            let size = (1 + sizes.next() as usize % 50_000).min(rest.len());
            stream.write_all(&rest[..size]).unwrap();
            rest = &rest[size..];
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Receives exactly that, then the end.
fn expect_noise(mut stream: TcpStream, seed: u64, blocks: usize) {
    let mut noise = Noise(seed);
    let (mut wanted, mut got) = (vec![0; BLOCK], vec![0; BLOCK]);
    for block in 0..blocks {
        noise.fill(&mut wanted);
        stream.read_exact(&mut got).unwrap();
        assert!(got == wanted, "block {block} differs");
    }
    assert_eq!(stream.read(&mut got).unwrap(), 0);
}

/// A connection through which as much flows as the worker can move leaves others their events after
/// each turn.
#[test]
fn a_bulky_connection_leaves_turns_to_others() {
    let (listener, addr) = backend();
    let served = Served::bind_of(1, &[(addr, 10)]);
    let sender = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        while stream.write_all(&[7; MIB]).is_ok() {}
    });
    let mut stream = served.connect();
    let receiver = std::thread::spawn(move || {
        let mut block = vec![0; MIB];
        for _ in 0..256 {
            stream.read_exact(&mut block).unwrap();
        }
    });
    let (mut before, mut most) = (0, 0);
    watch_turns(&served, clb_l4::tcp::start, || {
        let moved = served.listener.live.totals().bytes_out;
        most = most.max(moved - before);
        before = moved;
        receiver.is_finished()
    });
    receiver.join().unwrap();
    sender.join().unwrap();
    assert!(most <= 3 * MIB as u64, "{most} octets went in one turn");
}

#[test]
fn sixty_four_mebibytes_each_way_arrive_whole_and_in_order() {
    const CONNECTIONS: u64 = 4;
    const BLOCKS: usize = 64 * MIB / BLOCK / CONNECTIONS as usize;
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    std::thread::scope(|scope| {
        for seed in 1..=CONNECTIONS {
            let (client, stream) = served.connect_through(&listener);
            for (stream, sends, expects) in [(client, seed, seed + 100), (stream, seed + 100, seed)]
            {
                let sender = stream.try_clone().unwrap();
                scope.spawn(move || send_noise(sender, sends, BLOCKS));
                scope.spawn(move || expect_noise(stream, expects, BLOCKS));
            }
        }
    });
    let totals = served.listener.live.totals();
    assert_eq!(totals, served.member(0).totals());
    assert_eq!(totals.bytes_in, 64 * MIB as u64);
    assert_eq!(totals.bytes_out, 64 * MIB as u64);
    eventually("all connections are over", || {
        plane.board.connections() == 0
    });
}

/// Descriptors of this process that are pipes.
fn pipes() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("pipe:"))
        .count()
}

#[test]
fn more_bulky_directions_than_there_are_pipes_are_all_exact() {
    // Both directions of each: more than a worker has pipes for.
    const CONNECTIONS: u64 = 50;
    const BLOCKS: usize = 2 * MIB / BLOCK;
    let before = pipes();
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    // Nobody reads before all have sent what the ways take, so that all are stuck at once.
    let started = std::sync::Barrier::new(2 * CONNECTIONS as usize);
    std::thread::scope(|scope| {
        for seed in 1..=CONNECTIONS {
            let (client, stream) = served.connect_through(&listener);
            for (stream, sends, expects) in [(client, seed, seed + 100), (stream, seed + 100, seed)]
            {
                let sender = stream.try_clone().unwrap();
                let started = &started;
                scope.spawn(move || send_noise(sender, sends, BLOCKS));
                scope.spawn(move || {
                    started.wait();
                    expect_noise(stream, expects, BLOCKS);
                });
            }
        }
    });
    assert_eq!(
        served.listener.live.totals().bytes_in,
        CONNECTIONS * 2 * MIB as u64
    );
    eventually("all connections are over", || {
        plane.board.connections() == 0
    });
    // Some were made, and all are in the worker's store again.
    let kept = pipes() - before;
    assert!((1..=clb_l4::PIPE_DESCRIPTORS).contains(&kept), "{kept}");
}

#[test]
fn a_reset_in_the_middle_of_much_is_passed_on_and_its_pipe_is_used_by_nobody_else() {
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    for _ in 0..clb_l4::PIPE_DESCRIPTORS {
        let (mut client, mut stream) = served.connect_through(&listener);
        client
            .set_write_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        // Much, of which some stays in the relay.
        let block = vec![1; MIB];
        while client.write(&block).is_ok() {}
        reset(client);
        let error = loop {
            match stream.read(&mut [0; BLOCK]) {
                Ok(0) => panic!("a cut looks like an end"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let (client, stream) = served.connect_through(&listener);
    let sender = in_background(move || send_noise(client, 5, 64));
    expect_noise(stream, 5, 64);
    sender.recv().unwrap();
}

#[test]
fn a_receiver_that_does_not_read_stops_the_sender_and_loses_nothing() {
    const BLOCKS: usize = 128 * MIB / BLOCK;
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    let (mut client, stream) = served.connect_through(&listener);

    // Sends until the way is full. Its length is that of the kernel's four socket buffers and one
    // buffer of the relay; that nothing fits for half a second only ends the wait.
    client
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let (mut noise, mut block, mut sent) = (Noise(9), vec![0; BLOCK], 0);
    let left = 'full: {
        for _ in 0..BLOCKS {
            noise.fill(&mut block);
            let mut written = 0;
            while written < BLOCK {
                match client.write(&block[written..]) {
                    Ok(length) => written += length,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break 'full block[written..].to_vec();
                    }
                }
            }
            sent += 1;
        }
        panic!("128 MiB went into a connection that nobody reads");
    };

    // Now the backend reads: everything is there, then the rest comes.
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    let receiver = in_background(move || expect_noise(stream, 9, BLOCKS));
    client.write_all(&left).unwrap();
    for _ in sent + 1..BLOCKS {
        noise.fill(&mut block);
        client.write_all(&block).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_half_close_by_the_client_passes_through_and_the_answer_still_comes() {
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    let (mut client, mut stream) = served.connect_through(&listener);
    client.write_all(b"the whole question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream), b"the whole question");
    stream.write_all(&vec![7; 3 * MIB]).unwrap();
    drop(stream);
    assert_eq!(read_to_end(&mut client), vec![7; 3 * MIB]);
    eventually("the connection is over", || plane.board.connections() == 0);
}

#[test]
fn a_half_close_by_the_backend_passes_through_and_the_client_can_go_on() {
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);
    let (mut client, mut stream) = served.connect_through(&listener);
    stream.write_all(b"greeting").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), b"greeting");
    client.write_all(b"still talking").unwrap();
    drop(client);
    assert_eq!(read_to_end(&mut stream), b"still talking");
    eventually("the connection is over", || plane.board.connections() == 0);
}

#[test]
fn a_reset_by_either_side_becomes_a_reset_on_the_other() {
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);

    let (client, mut stream) = served.connect_through(&listener);
    reset(client);
    assert_reset(&mut stream);

    let (mut client, stream) = served.connect_through(&listener);
    reset(stream);
    assert_reset(&mut client);

    eventually("both are over", || plane.board.connections() == 0);
    assert_eq!(served.member(0).active(), 0);
    assert_eq!(served.listener.live.active(), 0);
}

#[test]
fn a_reset_after_the_half_close_is_passed_on_without_waiting_for_data() {
    let plane = Plane::new(settings());
    let (listener, addr) = backend();
    let served = plane.listen(&[(addr, 10)]);

    let (client, mut stream) = served.connect_through(&listener);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
    reset(client);
    assert_error_comes(stream);

    let (mut client, stream) = served.connect_through(&listener);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), b"");
    reset(stream);
    assert_error_comes(client);
}

/// A reset after the end of the data shows as an error of the socket only.
fn assert_error_comes(stream: TcpStream) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let ready = tokio::time::timeout(PATIENCE, stream.ready(Interest::ERROR)).await;
        assert!(ready.unwrap().unwrap().is_error());
    });
}

#[test]
fn an_idle_connection_is_reset_on_both_sides_and_a_busy_one_is_not() {
    let mut settings = settings();
    let idle = Duration::from_millis(300);
    settings.tcp_idle = idle;
    let plane = Plane::new(settings);

    let (listener, addr) = backend();
    let quiet = plane.listen(&[(addr, 10)]);
    let (mut client, mut stream) = quiet.connect_through(&listener);
    let started = Instant::now();
    assert_reset(&mut client);
    assert_reset(&mut stream);
    assert!(started.elapsed() >= idle - Duration::from_millis(50));

    let busy = plane.listen(&[(serving_backend(echo), 10)]);
    let mut client = busy.connect();
    let started = Instant::now();
    while started.elapsed() < 3 * idle {
        ping(&mut client, b"still here");
    }
    assert_reset(&mut client);
}

#[test]
fn a_bulk_transfer_leaves_others_their_turns() {
    let plane = Plane::new(settings());
    let served = plane.listen(&[(serving_backend(echo), 10)]);
    let (listener, addr) = backend();
    let bulky = plane.listen(&[(addr, 10)]);
    // Two a worker, most likely; each keeps sending until the other end is dropped.
    let sinks: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, mut stream) = bulky.connect_through(&listener);
            let _sender = in_background(move || while client.write_all(&[0; BLOCK]).is_ok() {});
            let end = stream.try_clone().unwrap();
            let _sink = in_background(move || {
                let mut buffer = vec![0; MIB];
                while let Ok(1..) = stream.read(&mut buffer) {}
            });
            end
        })
        .collect();
    let mut clients: Vec<_> = (0..8).map(|_| served.connect()).collect();
    for _ in 0..50 {
        clients
            .iter_mut()
            .for_each(|client| ping(client, b"my turn"));
    }
    sinks
        .iter()
        .for_each(|sink| sink.shutdown(Shutdown::Both).unwrap());
}
