use std::net::SocketAddr;
use std::time::Duration;

use clb_model::{
    ClientIp, DomainPattern, LbId, ListenerId, Protocol, RuleId, Scheduler, UrlPattern, Weight,
};
use clb_routing::Router;
use clb_snapshot::{
    FinishedRequest, HttpSettings, ListenSockets, Live, MemberHealth, PlaneSettings, PoolView,
    RuleName, Snapshot, Stickiness, UdpSettings,
};

use super::*;

pub(crate) fn board() -> Arc<Board> {
    let settings = PlaneSettings {
        http: HttpSettings::default(),
        udp: UdpSettings::default(),
        backend_connect: Duration::from_secs(3),
        tcp_idle: Duration::from_secs(900),
        max_connections: 1,
        max_sockets: u64::MAX,
        max_memory: u64::MAX,
        max_per_source: u64::MAX,
        source_addresses: Arc::new([]),
        tcp_keepalive: None,
        passive_health: true,
    };
    Arc::new(Board::new(1, settings, 0))
}

fn view(addr: SocketAddr, live: &Arc<MemberLive>) -> PoolView {
    let member = Member {
        binding: BindingId(1),
        addr,
        weight: Weight::try_from(10).unwrap(),
        health: MemberHealth::Off,
        live: Arc::clone(live),
    };
    PoolView::build(Scheduler::Wrr, Stickiness::Off, vec![member])
}

fn rule(domain: &str, pool: &Arc<Pool>) -> Arc<Rule> {
    Arc::new(Rule {
        id: RuleId::from_number(1),
        domain: DomainPattern::parse(domain).unwrap(),
        url: UrlPattern::parse("/").unwrap(),
        redirect: None,
        pool: Arc::clone(pool),
        name: RuleName::default(),
    })
}

/// The board's only listener is one with this rule now.
fn publish(board: &Board, rule: &Arc<Rule>) {
    let id = ListenerId::from_number(1);
    let router = Router::new().with(&rule.domain, &rule.url, 1, Arc::clone(rule).into());
    let listener = Listener {
        id,
        lb: LbId::from_number(1),
        addr: ([127, 0, 0, 1], 80).into(),
        protocol: Protocol::Http,
        client_ip: ClientIp::Gateway,
        service: Service::Rules(router.unwrap()),
        live: Arc::new(Live::new(1)),
        unruled: Arc::new(RuleLive::new(1)),
        tls: None,
        sockets: Arc::new(ListenSockets::tcp(Vec::new())),
    };
    board.publish(Snapshot::new().insert(Arc::new(listener)));
}

fn request(pool: &Pool) {
    let request = FinishedRequest {
        status: Some(200),
        is_gateways: false,
        took: Duration::ZERO,
    };
    pool.requests().record(0, &request);
}

/// What of an object was taken: its requests, by its names.
fn requests(taken: &[(Identity, Point)], wanted: &Identity) -> Option<u64> {
    let mut found = taken.iter().filter(|(identity, _)| identity == wanted);
    let (_, point) = found.next()?;
    assert!(found.next().is_none());
    Some(point.requests)
}

#[test]
fn names_follow_the_rule_and_its_backends_and_counts_go_on() {
    let (board, live) = (board(), Arc::new(MemberLive::new(1)));
    let addresses: [SocketAddr; 2] = [([127, 0, 0, 1], 81).into(), ([127, 0, 0, 1], 82).into()];
    let key = PoolKey::Rule(RuleId::from_number(1));
    let pool = Arc::new(Pool::new(key, view(addresses[0], &live), 1));
    let mut sampler = Sampler::new(Arc::clone(&board));
    let names = |rule: &Rule| {
        let snapshot = board.snapshot();
        let listener = Identity::listener(snapshot.iter().next().unwrap());
        listener.rule(rule)
    };

    let first = rule("a.com", &pool);
    publish(&board, &first);
    request(&pool);
    sampler.look();
    sampler.look();
    let taken = sampler.take();
    assert_eq!(requests(&taken, &names(&first)), Some(1));
    let member = names(&first).member(addresses[0]);
    assert_eq!(requests(&taken, &member), Some(0));
    assert_eq!(taken.len(), 3);

    // The same rule with another domain, and its backend elsewhere.
    let second = rule("b.com", &pool);
    publish(&board, &second);
    pool.set_view(view(addresses[1], &live));
    request(&pool);
    request(&pool);
    let taken = sampler.take();
    assert_eq!(requests(&taken, &names(&first)), None);
    assert_eq!(requests(&taken, &names(&second)), Some(2));
    let member = names(&second).member(addresses[1]);
    assert_eq!(requests(&taken, &member), Some(0));
    assert_eq!(taken.len(), 3);

    // Only the backend moves: no snapshot is published for that.
    pool.set_view(view(addresses[0], &live));
    let taken = sampler.take();
    let member = names(&second).member(addresses[0]);
    assert_eq!(requests(&taken, &member), Some(0));

    // What is gone is told of once more.
    request(&pool);
    board.publish(Snapshot::new());
    let taken = sampler.take();
    assert_eq!(taken.len(), 3);
    assert_eq!(
        taken.iter().map(|(_, point)| point.requests).sum::<u64>(),
        1
    );
    assert!(sampler.take().is_empty());
}
