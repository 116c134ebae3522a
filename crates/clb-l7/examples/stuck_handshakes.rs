//! Measures what handshakes that are never finished cost, and what they do to a connection that is
//! established: `stuck_handshakes [kind] [connections]`, half the limit of open files at most. The
//! kinds: `silent` clients send nothing, others have `begun` a record or sent a whole `hello`.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clb_model::{BindingId, LbId, ListenerId, Protocol, Scheduler, Weight};
use clb_snapshot::{
    Board, HttpSettings, ListenSockets, Listener, Live, Member, MemberHealth, PlaneSettings, Pool,
    PoolKey, PoolView, RuleLive, ServerTls, Service, Stickiness,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Outcome<T> = Result<T, Box<dyn Error>>;

const WORKERS: usize = 1;
const REQUESTS: usize = 2_000;

fn main() -> Outcome<()> {
    clb_net::raise_nofile_limit()?;
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "hello".to_owned());
    let connections: usize = match arguments.next() {
        Some(connections) => connections.parse()?,
        None => 8_000,
    };
    let (addr, certificate) = serve(backend()?)?;
    let config = trusting(certificate)?;
    let mut hello = Vec::new();
    session(&config)?.write_tls(&mut hello)?;
    let octets = match kind.as_str() {
        "silent" => &[],
        "begun" => hello.get(..3).unwrap_or_default(),
        "hello" => hello.as_slice(),
        other => return Err(format!("{other:?} is not silent, begun or hello").into()),
    };
    let mut out = std::io::stdout();
    let mut established = connect(addr, &config)?;
    writeln!(out, "alone: {}", latencies(&mut established)?)?;
    let before = anonymous_kib()?;
    let held = stuck(addr, octets, connections)?;
    for round in ["while they come", "beside them"] {
        writeln!(out, "{round}: {}", latencies(&mut established)?)?;
    }
    let each = (anonymous_kib()? - before) * 1024.0 / held.len() as f64;
    writeln!(out, "{} {kind}: {each:.0} bytes each", held.len())?;
    Ok(())
}

fn stuck(addr: SocketAddr, octets: &[u8], connections: usize) -> Outcome<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut client = TcpStream::connect(addr)?;
        client.write_all(octets)?;
        held.push(client);
    }
    Ok(held)
}

fn latencies(client: &mut StreamOwned<ClientConnection, TcpStream>) -> Outcome<String> {
    let mut taken = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let started = Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut chunk = [0; 4096];
            let length = client.read(&mut chunk)?;
            answer.extend_from_slice(chunk.get(..length).unwrap_or_default());
        }
        taken.push(started.elapsed());
    }
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 1000).copied();
    let (half, most) = (at(500).unwrap_or_default(), at(990).unwrap_or_default());
    Ok(format!("p50 {half:?}, p99 {most:?}"))
}

fn backend() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let Ok(reader) = stream.try_clone() else {
                    return;
                };
                let lines = BufReader::new(reader).lines().map_while(Result::ok);
                for _ in lines.filter(String::is_empty) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(addr)
}

fn serve(backend: SocketAddr) -> Outcome<(SocketAddr, CertificateDer<'static>)> {
    let http = HttpSettings {
        tls_handshake: Duration::from_secs(600),
        tls_handshakes: usize::MAX,
        ..HttpSettings::default()
    };
    let settings = PlaneSettings {
        backend_connect: Duration::from_secs(3),
        tcp_idle: Duration::from_secs(900),
        max_connections: u64::MAX,
        max_sockets: u64::MAX,
        max_memory: u64::MAX,
        max_per_source: u64::MAX,
        source_addresses: std::sync::Arc::new([]),
        tcp_keepalive: None,
        http,
        udp: clb_snapshot::UdpSettings::default(),
        passive_health: true,
    };
    let board = Arc::new(Board::new(WORKERS, settings, 1_000));
    for index in 0..WORKERS {
        clb_l4::spawn_worker(index, Arc::clone(&board), clb_l7::start)?;
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
    let signed = rcgen::generate_simple_self_signed(vec!["a".to_owned()])?;
    let certificate = signed.cert.der().clone();
    let key = signed.signing_key.serialize_der().try_into()?;
    let tls = ServerTls::new(vec![certificate.clone()], key, None, false, None)?;
    board.publish(board.snapshot().insert(Arc::new(Listener {
        id,
        lb: LbId::from_number(1),
        addr,
        protocol: Protocol::Https,
        client_ip: clb_model::ClientIp::Gateway,
        service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(id), view, WORKERS))),
        live: Arc::new(Live::new(WORKERS)),
        unruled: Arc::new(RuleLive::new(WORKERS)),
        tls: Some(Arc::new(tls)),
        sockets: Arc::new(ListenSockets::tcp(sockets)),
    })));
    while board.acked() == 0 {
        std::thread::yield_now();
    }
    Ok((addr, certificate))
}

fn trusting(certificate: CertificateDer<'static>) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn session(config: &Arc<ClientConfig>) -> Outcome<ClientConnection> {
    Ok(ClientConnection::new(
        Arc::clone(config),
        ServerName::try_from("a")?,
    )?)
}

fn connect(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
    let socket = TcpStream::connect(addr)?;
    socket.set_nodelay(true)?;
    Ok(StreamOwned::new(session(config)?, socket))
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
