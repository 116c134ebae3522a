//! Measures the user memory of one idle relayed connection: `idle_memory [connections]`.
//!
//! This process holds nothing but the data plane; clients and backends live in a second process,
//! a copy of this program. Each connection carries some bytes both ways first, so that what a busy
//! connection needs for a while is not counted.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clb_model::{BindingId, LbId, ListenerId, Protocol, Scheduler, Weight};
use clb_snapshot::{
    Board, HttpSettings, ListenSockets, Listener, Live, Member, MemberHealth, PlaneSettings, Pool,
    PoolKey, PoolView, RuleLive, Service, Stickiness,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const WORKERS: usize = 2;

fn main() -> Outcome<()> {
    clb_net::raise_nofile_limit()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [peer, connections] if peer == "--peer" => peer_process(connections.parse()?),
        [connections] => measure(connections.parse()?),
        _ => measure(4_500),
    }
}

/// Prints the backend's address, reads the plane's, opens and uses the connections, says so, and
/// holds them until its input ends.
fn peer_process(connections: usize) -> Outcome<()> {
    let backend = TcpListener::bind("127.0.0.1:0")?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", backend.local_addr()?)?;
    output.flush()?;
    let mut input = BufReader::new(std::io::stdin());
    let plane: SocketAddr = line(&mut input)?.parse()?;
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut client = TcpStream::connect(plane)?;
        let (mut stream, _) = backend.accept()?;
        let mut buffer = [0; 1000];
        client.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
        stream.write_all(&buffer)?;
        client.read_exact(&mut buffer)?;
        held.push((client, stream));
    }
    writeln!(output, "open")?;
    output.flush()?;
    line(&mut input)?;
    Ok(())
}

fn measure(connections: usize) -> Outcome<()> {
    let mut peer = Command::new(std::env::current_exe()?)
        .args(["--peer", &connections.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = BufReader::new(peer.stdout.take().ok_or("no output")?);
    let mut input = peer.stdin.take().ok_or("no input")?;
    let backend: SocketAddr = line(&mut output)?.parse()?;

    let settings = PlaneSettings {
        backend_connect: Duration::from_secs(3),
        tcp_idle: Duration::from_secs(900),
        max_connections: u64::MAX,
        max_sockets: u64::MAX,
        max_memory: u64::MAX,
        max_per_source: u64::MAX,
        source_addresses: std::sync::Arc::new([]),
        tcp_keepalive: None,
        http: HttpSettings::default(),
        udp: clb_snapshot::UdpSettings::default(),
        passive_health: true,
    };
    let board = Arc::new(Board::new(WORKERS, settings, 1_000));
    for index in 0..WORKERS {
        clb_l4::spawn_worker(index, Arc::clone(&board), clb_l4::tcp::start)?;
    }
    let sockets = clb_net::bind_listeners("127.0.0.1:0".parse()?, WORKERS)?;
    let addr = sockets.first().ok_or("no socket")?.local_addr()?;
    let id = ListenerId::from_number(1);
    let member = Member {
        binding: BindingId(1),
        addr: backend,
        weight: Weight::DEFAULT,
        health: MemberHealth::Off,
        live: Arc::new(Live::new(WORKERS)),
    };
    let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, vec![member]);
    board.publish(board.snapshot().insert(Arc::new(Listener {
        id,
        lb: LbId::from_number(1),
        addr,
        protocol: Protocol::Tcp,
        client_ip: clb_model::ClientIp::Gateway,
        service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(id), view, WORKERS))),
        live: Arc::new(Live::new(WORKERS)),
        unruled: Arc::new(RuleLive::new(WORKERS)),
        tls: None,
        sockets: Arc::new(ListenSockets::tcp(sockets)),
    })));
    while board.acked() == 0 {
        std::thread::yield_now();
    }

    let before = anonymous_kib()?;
    writeln!(input, "{addr}")?;
    line(&mut output)?;
    let after = anonymous_kib()?;
    let mut report = std::io::stdout();
    let each = (after - before) * 1024.0 / connections as f64;
    writeln!(
        report,
        "{connections} idle relayed connections: {before} -> {after} KiB, {each:.0} bytes each"
    )?;
    writeln!(input)?;
    peer.wait()?;
    Ok(())
}

/// The process's own memory in use, in KiB.
fn anonymous_kib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("no RssAnon in /proc/self/status")?;
    Ok(value.parse()?)
}

fn line(input: &mut impl BufRead) -> Outcome<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
