//! A data plane of two workers with its control plane played by the test, and backends and clients
//! on blocking sockets.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clb_l4::worker::Worker;
use clb_model::{BindingId, LbId, ListenerId, Protocol, Scheduler, Weight};
use clb_snapshot::{
    Board, HttpSettings, ListenSockets, Listener, Live, Member, MemberHealth, PlaneSettings, Pool,
    PoolKey, PoolView, RuleLive, Service, Stickiness,
};

pub const WORKERS: usize = 2;

/// What no step of a test may take, however slow the machine is.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn settings() -> PlaneSettings {
    PlaneSettings {
        backend_connect: Duration::from_secs(10),
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
    }
}

pub struct Plane {
    pub board: Arc<Board>,
    workers: Vec<JoinHandle<()>>,
}

impl Plane {
    pub fn new(settings: PlaneSettings) -> Self {
        Self::looking(settings, |_, _| {})
    }

    /// One whose workers look at a listener before they start it.
    pub fn looking(
        settings: PlaneSettings,
        look: impl Fn(&Worker, &Listener) + Clone + Send + Sync + 'static,
    ) -> Self {
        let board = Arc::new(Board::new(WORKERS, settings, 1_000));
        let workers = (0..WORKERS)
            .map(|index| {
                let look = look.clone();
                let start = move |worker: &Worker, listener: Arc<Listener>| {
                    look(worker, &listener);
                    match listener.protocol {
                        Protocol::Udp => clb_l4::udp::start(worker, listener),
                        _ => clb_l4::tcp::start(worker, listener),
                    }
                };
                clb_l4::spawn_worker(index, Arc::clone(&board), start).unwrap()
            })
            .collect();
        Self { board, workers }
    }

    /// Publishes and waits until every worker serves it.
    pub fn publish(&self, edit: impl FnOnce(&clb_snapshot::Snapshot) -> clb_snapshot::Snapshot) {
        let generation = self.board.publish(edit(&self.board.snapshot()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime
            .block_on(async {
                tokio::time::timeout(PATIENCE, self.board.wait_acked(generation)).await
            })
            .expect("every worker acknowledges");
    }

    /// Serves a TCP listener on a free port, with these backends.
    pub fn listen(&self, members: &[(SocketAddr, i64)]) -> Served {
        let served = Served::bind(members);
        self.publish(|snapshot| snapshot.insert(Arc::clone(&served.listener)));
        served
    }

    /// The same for a UDP listener.
    pub fn listen_udp(&self, members: &[(SocketAddr, i64)]) -> Served {
        let served = Served::bind_udp(members);
        self.publish(|snapshot| snapshot.insert(Arc::clone(&served.listener)));
        served
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.board.close();
        for worker in self.workers.drain(..) {
            worker.join().expect("the worker ends in order");
        }
    }
}

/// Serves a listener on the one worker of a board, in this thread, until `is_over`; shows how it goes
/// each time that the runtime has looked for events.
pub fn watch_turns(
    served: &Served,
    start: impl Fn(&Worker, Arc<Listener>) -> std::io::Result<clb_l4::worker::Running> + 'static,
    mut is_over: impl FnMut() -> bool,
) {
    let board = Arc::new(Board::new(1, settings(), 1_000));
    board.publish(board.snapshot().insert(Arc::clone(&served.listener)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let running = clb_l4::run_worker(0, Arc::clone(&board), start);
        let worker = tokio::task::spawn_local(running);
        while !is_over() {
            tokio::task::yield_now().await;
        }
        board.close();
        worker.await.unwrap();
    });
}

/// A listener and its members' live state.
pub struct Served {
    pub listener: Arc<Listener>,
    pub addr: SocketAddr,
    members: Vec<(SocketAddr, Arc<Live>)>,
}

impl Served {
    pub fn bind(members: &[(SocketAddr, i64)]) -> Self {
        Self::bind_of(WORKERS, members)
    }

    /// With sockets for this many workers.
    pub fn bind_of(workers: usize, members: &[(SocketAddr, i64)]) -> Self {
        let sockets = clb_net::bind_listeners((Ipv4Addr::LOCALHOST, 0).into(), workers).unwrap();
        let addr = sockets[0].local_addr().unwrap();
        Self::new(members, Protocol::Tcp, addr, ListenSockets::tcp(sockets))
    }

    pub fn bind_udp(members: &[(SocketAddr, i64)]) -> Self {
        Self::bind_udp_of(WORKERS, members)
    }

    /// With sockets for this many workers.
    pub fn bind_udp_of(workers: usize, members: &[(SocketAddr, i64)]) -> Self {
        let sockets = clb_net::udp::bind_group((Ipv4Addr::LOCALHOST, 0).into(), workers).unwrap();
        let addr = sockets[0].local_addr().unwrap();
        Self::new(members, Protocol::Udp, addr, ListenSockets::udp(sockets))
    }

    fn new(
        members: &[(SocketAddr, i64)],
        protocol: Protocol,
        addr: SocketAddr,
        sockets: ListenSockets,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = ListenerId::from_number(NEXT.fetch_add(1, Ordering::Relaxed));
        let lives: Vec<_> = members
            .iter()
            .map(|&(addr, _)| (addr, Arc::new(Live::new(WORKERS))))
            .collect();
        let weights: Vec<_> = members
            .iter()
            .map(|&(_, weight)| (weight, MemberHealth::Off))
            .collect();
        let view = view(&lives, &weights, Stickiness::Off);
        let listener = Arc::new(Listener {
            id,
            lb: LbId::from_number(1),
            addr,
            protocol,
            client_ip: clb_model::ClientIp::Gateway,
            service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(id), view, WORKERS))),
            live: Arc::new(Live::new(WORKERS)),
            unruled: Arc::new(RuleLive::new(WORKERS)),
            tls: None,
            sockets: Arc::new(sockets),
        });
        Self {
            listener,
            addr,
            members: lives,
        }
    }

    pub fn set_members(&self, members: &[(i64, MemberHealth)]) {
        self.set_sticky_members(members, Stickiness::Off);
    }

    pub fn set_sticky_members(&self, members: &[(i64, MemberHealth)], stickiness: Stickiness) {
        let view = view(&self.members, members, stickiness);
        self.listener.service.pool().unwrap().set_view(view);
    }

    /// Makes it one backend, at this address.
    pub fn set_backend(&self, addr: SocketAddr) {
        let members = [(addr, Arc::new(Live::new(WORKERS)))];
        let view = view(&members, &[(10, MemberHealth::Off)], Stickiness::Off);
        self.listener.service.pool().unwrap().set_view(view);
    }

    pub fn member(&self, index: usize) -> &Arc<Live> {
        &self.members[index].1
    }

    pub fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.addr).unwrap())
    }

    /// A client connection and the backend's end of it.
    pub fn connect_through(&self, backend: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.connect();
        (client, patient(backend.accept().unwrap().0))
    }
}

fn view(
    members: &[(SocketAddr, Arc<Live>)],
    weights: &[(i64, MemberHealth)],
    stickiness: Stickiness,
) -> PoolView {
    let members = (0..)
        .zip(members)
        .zip(weights)
        .map(|((number, (addr, live)), &(weight, health))| Member {
            binding: BindingId(number),
            addr: *addr,
            weight: Weight::try_from(weight).unwrap(),
            health,
            live: Arc::clone(live),
        })
        .collect();
    PoolView::build(Scheduler::Wrr, stickiness, members)
}

/// Nothing in a test waits for ever.
pub fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A backend that the test accepts on by hand.
pub fn backend() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A port that is held but refuses connections.
pub fn dead_backend() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// A backend that serves each connection on a thread until the test ends.
pub fn serving_backend(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let (listener, addr) = backend();
    serve_on(listener, serve);
    addr
}

/// Serves every connection of a listener on a thread of its own.
pub fn serve_on(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(patient(stream)));
        }
    });
}

/// Sends back what comes, until the end.
pub fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// One question and its answer over an echoing backend.
pub fn ping(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text);
}

pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut data = Vec::new();
    stream.read_to_end(&mut data).unwrap();
    data
}

/// The stream's next event is a reset, not an end.
pub fn assert_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

pub fn reset(stream: TcpStream) {
    clb_net::set_linger_zero(&stream).unwrap();
}

/// Waits for something that another thread brings about soon.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// Runs something on another thread; its result comes from the receiver.
pub fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver
}
