//! What a scrape costs with many rules: `cargo run --release -p clb-observe --example scrape`.
//!
//! 10,000 rules of one listener, all asked for, each bound to 1 of 1,000 backends, and 1,000 rules that
//! are bound to 20.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clb_model::{
    BindingId, ClientIp, DomainPattern, LbId, ListenerId, PoolKey, Protocol, RuleId, Scheduler,
    UrlPattern, Weight,
};
use clb_observe::{ControlFigures, Metrics, MetricsSettings};
use clb_routing::Router;
use clb_snapshot::{
    Board, FinishedRequest, HttpSettings, ListenSockets, Listener, Live, Member, MemberHealth,
    PlaneSettings, Pool, PoolView, Rule, RuleLive, RuleName, Service, Stickiness, UdpSettings,
};

const RULES: u64 = 10_000;
const BACKENDS: u64 = 1_000;

fn settings() -> PlaneSettings {
    PlaneSettings {
        backend_connect: Duration::from_secs(3),
        tcp_idle: Duration::from_secs(900),
        max_connections: u64::MAX,
        max_sockets: u64::MAX,
        max_memory: u64::MAX,
        max_per_source: u64::MAX,
        source_addresses: Arc::new([]),
        tcp_keepalive: None,
        http: HttpSettings::default(),
        udp: UdpSettings::default(),
        passive_health: true,
    }
}

fn pool(number: u64) -> Result<Arc<Pool>, Box<dyn Error>> {
    let count = if number.is_multiple_of(10) { 20 } else { 1 };
    let members = (0..count).map(|more| {
        let backend = (number + more * 37) % BACKENDS;
        Ok(Member {
            binding: BindingId(number * 100 + more),
            addr: ([10, 0, (backend / 250) as u8, (backend % 250) as u8], 80).into(),
            weight: Weight::try_from(10)?,
            health: MemberHealth::Healthy,
            live: Arc::new(Live::new(2)),
        })
    });
    let members = members.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, members);
    let key = PoolKey::Rule(RuleId::from_number(number));
    Ok(Arc::new(Pool::new(key, view, 2)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let board = Arc::new(Board::new(2, settings(), 0));
    let mut router = Router::new();
    for number in 0..RULES {
        let domain = DomainPattern::try_from(format!("d{}.example.com", number / 10))?;
        let url = UrlPattern::try_from(format!("/l{}/", number % 10))?;
        let pool = pool(number)?;
        for status in [200, 200, 404] {
            let request = FinishedRequest {
                status: Some(status),
                is_gateways: false,
                took: Duration::from_micros(300 + number),
            };
            pool.requests().record((number % 2) as usize, &request);
            pool.requests().count_bytes((number % 2) as usize, 390, 900);
        }
        let rule = Arc::new(Rule {
            id: RuleId::from_number(number),
            domain: domain.clone(),
            url: url.clone(),
            redirect: None,
            pool,
            name: RuleName::default(),
        });
        router = router.with(&domain, &url, number, rule.into())?;
    }
    let listener = Listener {
        id: ListenerId::from_number(1),
        lb: LbId::from_number(1),
        addr: ([127, 0, 0, 1], 80).into(),
        protocol: Protocol::Http,
        client_ip: ClientIp::Gateway,
        service: Service::Rules(router),
        live: Arc::new(Live::new(2)),
        unruled: Arc::new(RuleLive::new(2)),
        tls: None,
        sockets: Arc::new(ListenSockets::tcp(Vec::new())),
    };
    board.publish(board.snapshot().insert(Arc::new(listener)));
    let metrics = Metrics::new("0", board, ControlFigures::default);
    for rule_histograms in [false, true] {
        metrics.set_settings(MetricsSettings {
            rule_histograms,
            ..MetricsSettings::default()
        });
        let mut times = Vec::new();
        let mut text = String::new();
        for _ in 0..9 {
            let began = Instant::now();
            text = metrics.text()?;
            times.push(began.elapsed());
        }
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        println!(
            "rule_histograms = {rule_histograms}: {} lines, {} bytes, {:.1} ms",
            text.lines().count(),
            text.len(),
            median.as_secs_f64() * 1e3
        );
    }
    Ok(())
}
