//! A compiled listener.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use clb_model::{ClientIp, LbId, ListenerId, Protocol};
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
#[derive(Debug)]
pub struct ListenSockets {
    tcp: Untaken<TcpListener>,
    udp: Untaken<UdpSocket>,
}

type Untaken<T> = Box<[Mutex<Option<T>>]>;

fn untaken<T>(sockets: Vec<T>) -> Untaken<T> {
    let sockets = sockets.into_iter();
    sockets.map(|socket| Mutex::new(Some(socket))).collect()
}

fn take<T>(sockets: &Untaken<T>, worker: usize) -> Option<T> {
    sockets
        .get(worker)?
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

impl ListenSockets {
    /// Non-blocking TCP sockets of one address, one for each worker in order.
    #[must_use]
    pub fn tcp(sockets: Vec<TcpListener>) -> Self {
        Self {
            tcp: untaken(sockets),
            udp: Untaken::default(),
        }
    }

    /// Non-blocking UDP sockets of one address, one for each worker in order.
    #[must_use]
    pub fn udp(sockets: Vec<UdpSocket>) -> Self {
        Self {
            tcp: Untaken::default(),
            udp: untaken(sockets),
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
}
