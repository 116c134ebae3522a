//! A compiled listener.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use clb_model::{BindingId, ClientIp, LbId, ListenerId, Protocol};
use clb_routing::Router;

use crate::live::ListenerLive;
use crate::pool::Pool;
use crate::rule::Routed;
use crate::rule_live::RuleLive;
use crate::tls::ServerTls;

/// Where a listener's sessions or requests go.
#[derive(Debug, Clone)]
pub enum Service {
    /// All to one pool: layer-4 listeners, and every listener of a classic load balancer.
    Pool(Arc<Pool>),
    /// By host and path: HTTP and HTTPS listeners of application-based load balancers.
    Rules(Router<Routed>),
}

impl Service {
    /// All pools: the one, or those of all rules.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let (pool, router) = match self {
            Self::Pool(pool) => (Some(pool), None),
            Self::Rules(router) => (None, Some(router)),
        };
        let rules = router.into_iter().flat_map(|router| router.iter());
        pool.into_iter()
            .chain(rules.map(|route| &route.value.rule().pool))
    }

    /// The one pool, if there is one.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        match self {
            Self::Pool(pool) => Some(pool),
            Self::Rules(_) => None,
        }
    }
}

/// A listener as the workers serve it. Immutable; a changed listener is a new value that carries
/// over its pools, `live`, `unruled` and, unless its address changed, `sockets`.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its id.
    pub id: ListenerId,
    /// The load balancer that it belongs to.
    pub lb: LbId,
    /// Where it listens: the VIP and the port.
    pub addr: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// TCP: whom backends see as the client.
    pub client_ip: ClientIp,
    /// Where its sessions go.
    pub service: Service,
    /// Its live state.
    pub live: Arc<ListenerLive>,
    /// HTTP and HTTPS: the requests that belong to no rule. Belongs to the id, as `live` does.
    pub unruled: Arc<RuleLive>,
    /// What the next TLS handshake is done with; an HTTPS listener without it takes no connection.
    /// `None` for other protocols.
    pub tls: Option<Arc<ServerTls>>,
    /// Its sockets, one for each worker.
    pub sockets: Arc<ListenSockets>,
}

impl Listener {
    /// HTTP and HTTPS: where requests are counted that belong to no rule, for none matched or the
    /// load balancer is classic.
    #[must_use]
    pub fn requests(&self) -> &RuleLive {
        match &self.service {
            Service::Pool(pool) => pool.requests(),
            Service::Rules(_) => &self.unruled,
        }
    }
}

/// The listening sockets of one listener. Each worker takes its own, once, and closes it when the
/// listener leaves the snapshot; until then only the worker holds it, so that the port is free as
/// soon as all workers have acknowledged the removal. Sockets that were never taken close with
/// this value.
///
/// While the sockets [move to another process](crate::Board::hand_over), workers give them back
/// instead of closing them.
#[derive(Debug)]
pub struct ListenSockets {
    tcp: Untaken<TcpListener>,
    udp: Untaken<UdpSocket>,
    sessions: Untaken<UdpSessions>,
}

/// The UDP sessions of a listener on one worker, on their way to another process.
#[derive(Debug, Default)]
pub struct UdpSessions {
    /// Sockets towards backends.
    pub sockets: Vec<UdpTowards>,
    /// Sessions, those first that have been silent longest.
    pub sessions: Vec<UdpSession>,
}

/// A socket towards backends.
#[derive(Debug)]
pub struct UdpTowards {
    /// The socket.
    pub socket: UdpSocket,
    /// The hops that its datagrams have before them.
    pub hops: u8,
    /// The backend that it is connected to; none: sessions with different backends share it.
    pub connected: Option<SocketAddr>,
}

/// A session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpSession {
    /// The client.
    pub client: SocketAddr,
    /// Its backend's address.
    pub to: SocketAddr,
    /// Its backend.
    pub binding: BindingId,
    /// Its socket, as a place among the [`sockets`](UdpSessions::sockets).
    pub socket: usize,
    /// How long no datagram came either way, milliseconds.
    pub silent_ms: u64,
}

type Untaken<T> = Box<[Mutex<Option<T>>]>;

fn untaken<T>(sockets: Vec<T>) -> Untaken<T> {
    let sockets = sockets.into_iter();
    sockets.map(|socket| Mutex::new(Some(socket))).collect()
}

fn nothing<T>(count: usize) -> Untaken<T> {
    (0..count).map(|_| Mutex::new(None)).collect()
}

fn take<T>(places: &Untaken<T>, worker: usize) -> Option<T> {
    places
        .get(worker)?
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

fn put<T>(places: &Untaken<T>, worker: usize, thing: T) {
    if let Some(place) = places.get(worker) {
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(thing);
    }
}

impl ListenSockets {
    /// Non-blocking TCP sockets of one address, one for each worker in order.
    #[must_use]
    pub fn tcp(sockets: Vec<TcpListener>) -> Self {
        Self {
            tcp: untaken(sockets),
            udp: Untaken::default(),
            sessions: Untaken::default(),
        }
    }

    /// Non-blocking UDP sockets of one address, one for each worker in order.
    #[must_use]
    pub fn udp(sockets: Vec<UdpSocket>) -> Self {
        Self {
            tcp: Untaken::default(),
            sessions: nothing(sockets.len()),
            udp: untaken(sockets),
        }
    }

    /// Sockets of so many workers that another process is going to hand over.
    #[must_use]
    pub fn promised(is_udp: bool, workers: usize) -> Self {
        let (tcp, udp) = if is_udp { (0, workers) } else { (workers, 0) };
        Self {
            tcp: nothing(tcp),
            udp: nothing(udp),
            sessions: nothing(udp),
        }
    }

    /// The worker's TCP socket; `None` if it was taken before or there are fewer sockets.
    #[must_use]
    pub fn take_tcp(&self, worker: usize) -> Option<TcpListener> {
        take(&self.tcp, worker)
    }

    /// The worker's UDP socket; `None` if it was taken before or there are fewer sockets.
    #[must_use]
    pub fn take_udp(&self, worker: usize) -> Option<UdpSocket> {
        take(&self.udp, worker)
    }

    /// The sessions that came with the worker's UDP socket.
    #[must_use]
    pub fn take_sessions(&self, worker: usize) -> Option<UdpSessions> {
        take(&self.sessions, worker)
    }

    /// Gives a worker's TCP socket back, for whoever is next.
    pub fn put_tcp(&self, worker: usize, socket: TcpListener) {
        put(&self.tcp, worker, socket);
    }

    /// Gives a worker's UDP socket back, for whoever is next.
    pub fn put_udp(&self, worker: usize, socket: UdpSocket) {
        put(&self.udp, worker, socket);
    }

    /// Leaves a worker's UDP sessions to whoever is next.
    pub fn put_sessions(&self, worker: usize, sessions: UdpSessions) {
        put(&self.sessions, worker, sessions);
    }

    /// Closes the sockets that nobody has taken, and ends the sessions that nobody has.
    pub fn close(&self) {
        for worker in 0..self.tcp.len().max(self.udp.len()) {
            drop((
                self.take_tcp(worker),
                self.take_udp(worker),
                self.take_sessions(worker),
            ));
        }
    }
}
