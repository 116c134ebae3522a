//! What one row works with: the gateway's address and the pool behind it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use clb_snapshot::{RequestTotals, ServerTls};
use rustls::ClientConfig;

use anyhow::{Context as _, Result, bail, ensure};

use super::plane::{Plane, Served};
use super::tls::{Authority, Wrapper, client_config, server_tls};
use super::wire::{Log, Wire, patience};
use super::{Place, RuleOf, Settings};

/// Where lanes come from.
pub enum Source {
    /// This crate's gateway; each lane is a listener of its own.
    Own(Plane),
    /// A gateway that was started by hand: one lane at a time.
    Given(SocketAddr),
}

impl Source {
    pub fn start(settings: &Settings) -> Self {
        match std::env::var("CLB_HTTP_UNDER_TEST") {
            Ok(address) => Self::Given(address.parse().expect("CLB_HTTP_UNDER_TEST=host:port")),
            Err(_) => Self::Own(Plane::start(settings)),
        }
    }

    pub fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// How many rows may run at the same time.
    pub fn lanes(&self) -> usize {
        if self.is_own() { 8 } else { 1 }
    }

    pub fn lane<'a>(&'a self, pool: &[Place], rules: &[RuleOf], log: Log) -> Result<Lane<'a>> {
        match self {
            Self::Own(plane) => {
                let mut backends = Vec::new();
                let mut members = Vec::new();
                for place in pool {
                    let backend = match place {
                        Place::Alive => {
                            Backend::accepting(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)?
                        }
                        Place::Dead => Backend::dead()?,
                    };
                    members.push(backend.addr);
                    backends.push(backend);
                }
                let tls = crate::OVER_TLS.then(tls_pair);
                let server = tls.as_ref().map(|(tls, _)| Arc::clone(tls));
                let served = plane.listen_with_rules(&members, rules, server);
                let wrapper = tls.map(|(_, config)| Wrapper::start(served.addr(), config));
                Ok(Lane {
                    addr: wrapper
                        .as_ref()
                        .map_or(served.addr(), |wrapper| wrapper.addr),
                    _wrapper: wrapper,
                    served: Mutex::new(Some(served)),
                    backends: Backends::Own(backends),
                    log,
                })
            }
            Self::Given(addr) => {
                let backend = given_backend();
                // What the last row left behind.
                while backend
                    .accepted
                    .recv_timeout(Duration::from_millis(3))
                    .is_ok()
                {}
                Ok(Lane {
                    addr: *addr,
                    _wrapper: None,
                    served: Mutex::new(None),
                    backends: Backends::Given(backend),
                    log,
                })
            }
        }
    }
}

/// A backend's listening socket, whose connections wait in a queue.
pub struct Backend {
    pub addr: SocketAddr,
    accepted: Receiver<TcpStream>,
    /// Holds the port of a backend that refuses.
    _held: Option<socket2::Socket>,
}

impl Backend {
    fn accepting(listener: TcpListener) -> Result<Self> {
        let addr = listener.local_addr()?;
        let (sender, accepted) = channel();
        // Ends when a connection comes after the backend was dropped; the drop makes one.
        std::thread::spawn(move || serve(&listener, &sender));
        Ok(Self {
            addr,
            accepted,
            _held: None,
        })
    }

    fn dead() -> Result<Self> {
        let (socket, addr) = closed_port()?;
        Ok(Self {
            addr,
            accepted: channel().1,
            _held: Some(socket),
        })
    }
}

/// A port that refuses connections. It is held, so that no other test listens there meanwhile.
pub fn closed_port() -> Result<(socket2::Socket, SocketAddr)> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    socket.bind(&any.into())?;
    let addr = socket.local_addr()?.as_socket();
    Ok((socket, addr.context("an IPv4 address")?))
}

fn serve(listener: &TcpListener, sender: &Sender<TcpStream>) {
    while let Ok((stream, _)) = listener.accept() {
        if sender.send(stream).is_err() {
            return;
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // The queue goes first, so that the thread finds nobody to give the connection to.
        self.accepted = channel().1;
        let _ = TcpStream::connect(self.addr);
    }
}

enum Backends<'a> {
    Own(Vec<Backend>),
    Given(MutexGuard<'a, Backend>),
}

fn given_backend() -> MutexGuard<'static, Backend> {
    static BACKEND: OnceLock<Mutex<Backend>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            let port = std::env::var("CLB_HTTP_BACKEND_PORT")
                .expect("CLB_HTTP_BACKEND_PORT beside CLB_HTTP_UNDER_TEST");
            let port: u16 = port.parse().expect("CLB_HTTP_BACKEND_PORT is a port");
            let listener =
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the backend's port");
            Mutex::new(Backend::accepting(listener).expect("a backend"))
        })
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// A server's side for one listener, and what its clients go by.
fn tls_pair() -> (Arc<ServerTls>, Arc<ClientConfig>) {
    let authority = Authority::new("test");
    let tls = server_tls(&authority.server(), None, None);
    (
        tls,
        client_config(&authority, None, &rustls::version::TLS13),
    )
}

/// The request of [`Lane::barrier`].
pub const BARRIER: &str = "/barrier-of-the-test";

/// What one row works with.
pub struct Lane<'a> {
    pub addr: SocketAddr,
    _wrapper: Option<Wrapper>,
    served: Mutex<Option<Served<'a>>>,
    backends: Backends<'a>,
    pub log: Log,
}

impl Lane<'_> {
    /// A client's connection to the gateway.
    pub fn client(&self) -> Result<Wire> {
        Wire::new(TcpStream::connect(self.addr)?, "client", self.log.clone())
    }

    /// A client that has sent these octets.
    pub fn client_sends(&self, octets: impl AsRef<[u8]>) -> Result<Wire> {
        let mut client = self.client()?;
        client.send(octets)?;
        Ok(client)
    }

    /// The gateway's next connection to the (first) backend.
    pub fn backend(&self) -> Result<Wire> {
        self.backend_of(0)
    }

    /// The gateway's next connection to a backend of the pool.
    pub fn backend_of(&self, index: usize) -> Result<Wire> {
        match self.backend_within(index, patience())? {
            Some(wire) => Ok(wire),
            None => bail!("no connection comes to backend {index}"),
        }
    }

    /// The gateway's next connection to a backend, if it comes in time.
    pub fn backend_within(&self, index: usize, time: Duration) -> Result<Option<Wire>> {
        let backend = match &self.backends {
            Backends::Own(backends) => &backends[index],
            Backends::Given(backend) => backend,
        };
        match backend.accepted.recv_timeout(time) {
            Ok(stream) => {
                let name = format!("backend {index}");
                Ok(Some(Wire::new(stream, &name, self.log.clone())?))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("backend {index} refuses connections"),
        }
    }

    /// The address of a backend.
    pub fn backend_addr(&self, index: usize) -> SocketAddr {
        match &self.backends {
            Backends::Own(backends) => backends[index].addr,
            Backends::Given(backend) => backend.addr,
        }
    }

    /// Sends a request of its own through the gateway and fails if any backend connection sees
    /// anything but this request: whatever came before has reached nobody.
    pub fn nothing_reached(&self) -> Result<()> {
        self.barrier(None, false)
    }

    /// As [`nothing_reached`](Self::nothing_reached), where the gateway may have kept a connection
    /// that the row has seen all of.
    pub fn nothing_reached_over(&self, kept: Option<Wire>) -> Result<()> {
        self.barrier(kept, false)
    }

    /// As [`nothing_reached`](Self::nothing_reached), where requests may have come that were cut.
    pub fn nothing_came_whole(&self) -> Result<()> {
        self.barrier(None, true)
    }

    fn barrier(&self, mut kept: Option<Wire>, cut_allowed: bool) -> Result<()> {
        let request = format!("GET {BARRIER} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let mut client = self.client_sends(request)?;
        loop {
            let mut backend = match kept.take() {
                Some(kept) => self.next_wire(kept)?,
                None => self.backend()?,
            };
            if !backend.wait()? {
                continue;
            }
            match backend.request() {
                Ok(request) if request.target == BARRIER => {
                    backend.send(
                        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    )?;
                    client.answer("GET")?.status(200)?;
                    return Ok(());
                }
                Ok(request) => ensure!(
                    cut_allowed && !request.body.complete,
                    "the backend got {} {}, which it must never see{}",
                    request.method,
                    request.target,
                    if cut_allowed { " whole" } else { "" }
                ),
                Err(error) => ensure!(cut_allowed && backend.has_ended(), "{error:#}"),
            }
            backend
                .expect_gone()
                .context("the cut request's connection must be closed")?;
        }
    }

    /// What was counted at the rule of this domain and url.
    pub fn totals(&self, domain: &str, url: &str) -> Result<RequestTotals> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(served
            .as_ref()
            .context("only in process")?
            .totals(domain, url))
    }

    /// Takes the listener out of the gateway; returns when no worker accepts on it any more.
    pub fn remove_listener(&self) -> Result<()> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.take().context("only in process")?;
        Ok(())
    }
}
