//! This crate's gateway in process: a board, one worker (so that what a kept backend connection
//! does never depends on which worker has it), and a listener for each lane.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use clb_model::{
    BindingId, DomainPattern, LbId, ListenerId, PathMap, Port, Protocol, RuleId, Scheduler,
    UrlPattern, Weight,
};
use clb_routing::Router;
use clb_snapshot::{
    Board, ListenSockets, Listener, Live, Member, MemberHealth, PlaneSettings, Pool, PoolKey,
    PoolView, Redirect, RequestTotals, Routed, Rule, RuleLive, RuleName, ServerTls, Service,
    Snapshot, Stickiness,
};
use tokio::runtime::Builder;

use super::lane::BARRIER;
use super::wire::patience;
use super::{RuleOf, Settings};

const WORKERS: usize = 1;

pub struct Plane {
    pub board: Arc<Board>,
    publishing: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Plane {
    pub fn start(settings: &Settings) -> Self {
        let board = Arc::new(Board::new(WORKERS, plane_settings(settings), 0));
        let workers = (0..WORKERS)
            .map(|index| clb_l4::spawn_worker(index, Arc::clone(&board), clb_l7::start).unwrap())
            .collect();
        Self {
            board,
            publishing: Mutex::new(()),
            workers,
        }
    }

    /// Serves an HTTP listener with these backends, or an HTTPS listener.
    pub fn listen(&self, backends: &[SocketAddr], tls: Option<Arc<ServerTls>>) -> Served<'_> {
        self.listen_with_rules(backends, &[], tls)
    }

    /// As [`listen`](Self::listen); with rules only requests that one of them takes are served.
    pub fn listen_with_rules(
        &self,
        backends: &[SocketAddr],
        rules: &[RuleOf],
        tls: Option<Arc<ServerTls>>,
    ) -> Served<'_> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = ListenerId::from_number(NEXT.fetch_add(1, Ordering::Relaxed));
        let sockets = clb_net::bind_listeners((Ipv4Addr::LOCALHOST, 0).into(), WORKERS).unwrap();
        let addr = sockets[0].local_addr().unwrap();
        let listener = Arc::new(Listener {
            id,
            lb: LbId::from_number(1),
            addr,
            protocol: match tls {
                Some(_) => Protocol::Https,
                None => Protocol::Http,
            },
            client_ip: clb_model::ClientIp::Gateway,
            service: match rules {
                [] => Service::Pool(pool(PoolKey::Listener(id), backends)),
                rules => Service::Rules(router(rules, backends)),
            },
            live: Arc::new(Live::new(WORKERS)),
            unruled: Arc::new(RuleLive::new(WORKERS)),
            tls,
            sockets: Arc::new(ListenSockets::tcp(sockets)),
        });
        self.publish(|snapshot| snapshot.insert(listener));
        Served {
            plane: self,
            id,
            addr,
        }
    }

    fn publish(&self, edit: impl FnOnce(&Snapshot) -> Snapshot) {
        let _one = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let generation = self.board.publish(edit(&self.board.snapshot()));
        Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(async {
                tokio::time::timeout(patience(), self.board.wait_acked(generation)).await
            })
            .expect("every worker acknowledges");
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.board.close();
        for worker in self.workers.drain(..) {
            // A worker's panic is reported where it happened.
            let _ = worker.join();
        }
    }
}

/// A listener that is served until this is dropped.
pub struct Served<'a> {
    plane: &'a Plane,
    id: ListenerId,
    addr: SocketAddr,
}

impl Served<'_> {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was counted at the rule of this domain and url.
    pub fn totals(&self, domain: &str, url: &str) -> RequestTotals {
        let snapshot = self.plane.board.snapshot();
        let Service::Rules(router) = &snapshot.get(self.id).unwrap().service else {
            panic!("the listener has no rules");
        };
        let is_it = |rule: &Rule| rule.domain.as_str() == domain && rule.url.as_str() == url;
        let mut rules = router.iter().map(|route| route.value.rule());
        let rule = rules.find(|rule| is_it(rule)).unwrap();
        rule.pool.requests().totals()
    }

    /// What its handshakes are done with now.
    pub fn tls(&self) -> Arc<ServerTls> {
        let snapshot = self.plane.board.snapshot();
        Arc::clone(snapshot.get(self.id).unwrap().tls.as_ref().unwrap())
    }

    /// Gives the listener another certificate, or takes it away.
    pub fn replace_tls(&self, tls: Option<Arc<ServerTls>>) {
        self.plane.publish(|snapshot| {
            let old = snapshot.get(self.id).unwrap();
            snapshot.insert(Arc::new(Listener {
                id: old.id,
                lb: old.lb,
                addr: old.addr,
                protocol: old.protocol,
                client_ip: clb_model::ClientIp::Gateway,
                service: old.service.clone(),
                live: Arc::clone(&old.live),
                unruled: Arc::clone(&old.unruled),
                tls,
                sockets: Arc::clone(&old.sockets),
            }))
        });
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.plane.publish(|snapshot| snapshot.remove(self.id));
    }
}

fn pool(key: PoolKey, backends: &[SocketAddr]) -> Arc<Pool> {
    let members = (0..)
        .zip(backends)
        .map(|(number, addr)| Member {
            binding: BindingId(number),
            addr: *addr,
            weight: Weight::try_from(10).unwrap(),
            health: MemberHealth::Off,
            live: Arc::new(Live::new(WORKERS)),
        })
        .collect();
    let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, members);
    Arc::new(Pool::new(key, view, WORKERS))
}

/// The rules, and one for the barrier.
fn router(rules: &[RuleOf], backends: &[SocketAddr]) -> Router<Routed> {
    let barrier = RuleOf {
        domain: "test",
        url: BARRIER,
        redirect: None,
    };
    let all = (1..).zip(rules.iter().chain([&barrier]));
    all.fold(Router::new(), |router, (number, wanted)| {
        let domain = DomainPattern::parse(wanted.domain).unwrap();
        let url = UrlPattern::parse(wanted.url).unwrap();
        let redirect = wanted.redirect.map(|(protocol, port, target)| {
            Box::new(Redirect {
                protocol,
                port: Port::try_from(i64::from(port)).unwrap(),
                path: PathMap::of(&url, &UrlPattern::parse(target).unwrap()),
            })
        });
        let id = RuleId::from_number(number);
        let rule = Rule {
            id,
            domain: domain.clone(),
            url: url.clone(),
            redirect,
            pool: pool(PoolKey::Rule(id), backends),
            name: RuleName::default(),
        };
        router
            .with(&domain, &url, number, Arc::new(rule).into())
            .unwrap()
    })
}

fn plane_settings(settings: &Settings) -> PlaneSettings {
    PlaneSettings {
        backend_connect: patience(),
        tcp_idle: patience(),
        max_connections: u64::MAX,
        max_sockets: u64::MAX,
        max_memory: u64::MAX,
        max_per_source: u64::MAX,
        source_addresses: std::sync::Arc::new([]),
        tcp_keepalive: None,
        http: settings.clone(),
        udp: clb_snapshot::UdpSettings::default(),
        // Rows make backends fail; what that does to later picks is tested elsewhere.
        passive_health: false,
    }
}
