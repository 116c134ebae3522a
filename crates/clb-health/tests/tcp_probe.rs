//! The TCP probe against real sockets on loopback.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use clb_health::{
    Check, Checker, Failure, Limit, MemberId, ProbeError, ProbeKind, ProbeRun, Thresholds, probe,
};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

const LOOPBACK: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// What a checker hands out for this target.
fn run(target: SocketAddr, timeout: Duration) -> ProbeRun {
    let mut checker = Checker::new();
    let id = MemberId {
        pool: (),
        binding: 1,
    };
    let check = Check {
        target,
        kind: ProbeKind::Tcp,
        interval: timeout * 2,
        timeout,
        thresholds: Thresholds {
            healthy: 2,
            unhealthy: 2,
        },
    };
    checker.set(0, id, check);
    let now = checker.next_due().expect("a member to probe");
    checker.due(now).pop().expect("a probe that is due")
}

fn patient(target: SocketAddr) -> ProbeRun {
    run(target, Duration::from_secs(20))
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// A listener on each loopback address that this machine has.
fn listeners() -> impl Iterator<Item = TcpListener> {
    LOOPBACK
        .iter()
        .filter_map(|address| TcpListener::bind(address).ok())
}

#[test]
fn a_listening_backend_is_a_success_and_sees_a_reset() {
    for listener in listeners() {
        let target = listener.local_addr().expect("bound");
        assert_eq!(block_on(probe(&patient(target))), Ok(()));
        let (mut accepted, _) = listener.accept().expect("the probe's connection");
        let end = accepted.read(&mut [0; 16]);
        let error = end.expect_err("an orderly close would be Ok(0)");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{target}");
    }
}

#[test]
fn a_port_nobody_listens_on_is_refused() {
    for address in LOOPBACK {
        let address: SocketAddr = address.parse().expect("an address");
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        // Bound and kept, but not listening: nobody else can take the port meanwhile.
        let Ok(socket) = socket.and_then(|socket| socket.bind(address).map(|()| socket)) else {
            continue;
        };
        let target = socket.local_addr().expect("bound");
        let result = block_on(probe(&patient(target)));
        assert_eq!(result, Err(Failure::Refused.into()), "{target}");
    }
}

/// A listener whose queue of connections to accept is full, so that the kernel drops every
/// further SYN, and the connections that fill it.
fn deaf_listener() -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(any).expect("a free port");
    let listener = socket.listen(0).expect("a listener");
    let target = listener.local_addr().expect("bound");
    let mut fillers = Vec::new();
    // Full is what was seen to be full: nobody accepts, so it stays so.
    loop {
        match TcpStream::connect_timeout(&target, Duration::from_millis(200)) {
            Ok(filler) => fillers.push(filler),
            Err(error) if error.kind() == ErrorKind::TimedOut => return (listener, fillers),
            Err(error) => panic!("filling the queue: {error}"),
        }
    }
}

#[test]
fn a_backend_that_does_not_answer_times_out_when_it_should() {
    block_on(async {
        let (listener, _fillers) = deaf_listener();
        let target = listener.local_addr().expect("bound");
        let timeout = Duration::from_millis(300);
        let begun = Instant::now();
        let result = probe(&run(target, timeout)).await;
        let took = begun.elapsed();
        assert_eq!(result, Err(Failure::TimedOut.into()));
        assert!(took >= timeout, "gave up after {took:?}");
        assert!(took < Duration::from_secs(10), "took {took:?}");
    });
}

#[test]
fn a_target_that_no_route_leads_to_is_unreachable() {
    // Linux gives no TCP connection a route to the limited broadcast address.
    let target = SocketAddr::from(([255, 255, 255, 255], 80));
    let result = block_on(probe(&patient(target)));
    let unreachable = Failure::Unreachable { network: true };
    assert_eq!(result, Err(unreachable.into()));
}

#[test]
fn probes_beyond_the_limit_wait_for_room_and_then_run_whole() {
    block_on(async {
        let (listener, _fillers) = deaf_listener();
        let deaf = listener.local_addr().expect("bound");
        let limit = Limit::new(1);
        let first = run(deaf, Duration::from_millis(300));
        let mut first = std::pin::pin!(limit.probe(&first));
        // Polled once, the first takes the only room.
        tokio::select! {
            biased;
            result = &mut first => panic!("cannot be over yet: {result:?}"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(limit.free(), 0);
        // The second waits longer for room than its timeout, which does not count.
        let open = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let second = run(
            open.local_addr().expect("bound"),
            Duration::from_millis(100),
        );
        let mut second = std::pin::pin!(limit.probe(&second));
        tokio::select! {
            biased;
            _ = &mut second => panic!("there was no room"),
            result = &mut first => assert_eq!(result, Err(Failure::TimedOut.into())),
        }
        assert_eq!(second.await, Ok(()));
        assert_eq!(limit.free(), 1);
    });
}

/// Runs in a process of its own, whose limit on open files it uses up.
#[test]
fn without_a_free_file_descriptor_the_backend_is_not_blamed() {
    const NAME: &str = "without_a_free_file_descriptor_the_backend_is_not_blamed";
    const CHILD: &str = "CLB_HEALTH_TEST_FEW_FILES";
    if std::env::var_os(CHILD).is_some() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let run = patient(listener.local_addr().expect("bound"));
        block_on(async {
            let mut files = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                files.push(file);
            }
            let result = probe(&run).await;
            // Panicking may need a file too.
            drop(files);
            let Err(ProbeError::Local(error)) = result else {
                panic!("{result:?}");
            };
            assert!(error.to_string().starts_with("opening a socket: Too many"));
            // With room again the probe works.
            assert_eq!(probe(&run).await, Ok(()));
        });
        return;
    }
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().expect("the test's own binary"))
        .arg(NAME)
        .env(CHILD, "1")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}
