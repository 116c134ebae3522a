//! An HTTP listener without a control plane, for profiling:
//! `proxy LISTEN BACKEND... [workers=N] [domains=N]`. With domains each of them, `d0.example.com` and
//! so on, has ten rules, `/l0/` to `/l9/`.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clb_model::{
    BindingId, DomainPattern, LbId, ListenerId, Protocol, RuleId, Scheduler, UrlPattern, Weight,
};
use clb_routing::Router;
use clb_snapshot::{
    Board, HttpSettings, ListenSockets, Listener, Live, Member, MemberHealth, PlaneSettings, Pool,
    PoolKey, PoolView, Rule, RuleLive, RuleName, Service, Snapshot, Stickiness,
};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut workers, mut domains) = (1, 0);
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("workers", count)) => workers = count.parse()?,
            Some(("domains", count)) => domains = count.parse()?,
            _ => addresses.push(argument.parse()?),
        }
    }
    let Some((&addr, backends)) = addresses.split_first() else {
        return Err("usage: proxy LISTEN BACKEND... [workers=N] [domains=N]".into());
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
        http: HttpSettings::default(),
        udp: clb_snapshot::UdpSettings::default(),
        passive_health: true,
    };
    let board = Arc::new(Board::new(workers, settings, 1_000));
    let threads: Vec<_> = (0..workers)
        .map(|index| clb_l4::spawn_worker(index, Arc::clone(&board), clb_l7::start))
        .collect::<Result<_, _>>()?;
    let pool = |key| -> Result<Arc<Pool>, Box<dyn Error>> {
        let members = (1..)
            .zip(backends)
            .map(|(number, &addr)| {
                Ok(Member {
                    binding: BindingId(number),
                    addr,
                    weight: Weight::try_from(10)?,
                    health: MemberHealth::Off,
                    live: Arc::new(Live::new(workers)),
                })
            })
            .collect::<Result<_, Box<dyn Error>>>()?;
        let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, members);
        Ok(Arc::new(Pool::new(key, view, workers)))
    };
    let id = ListenerId::from_number(1);
    let mut router = Router::new();
    for number in 0..domains * 10 {
        let domain = DomainPattern::try_from(format!("d{}.example.com", number / 10))?;
        let url = UrlPattern::try_from(format!("/l{}/", number % 10))?;
        let id = RuleId::from_number(number + 1);
        let rule = Rule {
            id,
            domain: domain.clone(),
            url: url.clone(),
            redirect: None,
            pool: pool(PoolKey::Rule(id))?,
            name: RuleName::default(),
        };
        router = router.with(&domain, &url, number, Arc::new(rule).into())?;
    }
    let service = match domains {
        0 => Service::Pool(pool(PoolKey::Listener(id))?),
        _ => Service::Rules(router),
    };
    let listener = Listener {
        id,
        lb: LbId::from_number(1),
        addr,
        protocol: Protocol::Http,
        client_ip: clb_model::ClientIp::Gateway,
        service,
        live: Arc::new(Live::new(workers)),
        unruled: Arc::new(RuleLive::new(workers)),
        tls: None,
        sockets: Arc::new(ListenSockets::tcp(clb_net::bind_listeners(addr, workers)?)),
    };
    board.publish(Snapshot::new().insert(Arc::new(listener)));
    println!("{addr}");
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}
