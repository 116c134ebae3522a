use std::net::TcpListener;
use std::time::Instant;

use clb_health::{HttpMethod, HttpProbe, ProbeKind};
use clb_model::{
    ApplicationCommand, BackendWeight, CheckDomain, CheckPath, Command, Counters,
    CreateLoadBalancers, DomainPattern, Env, Family, HealthCheck, HttpCheck, HttpCodeMask, LbId,
    Limits, LoadBalancerType, NetworkChoice, NewApplicationListener, NewListener, NewRule,
    PoolSettings, Port, PortMove, Protocol, RulePatch, RuleSelection, Scheduler, Target,
    TargetWeight, UnixMillis, UrlPattern, apply,
};
use clb_routing::Scratch;
use clb_snapshot::{HttpSettings, MemberHealth, PlaneSettings, Routed};
use clb_store::LiveStore;

use super::*;
use clb_model::ProbeMethod;

#[path = "../../../tests/support/ports.rs"]
mod ports;
mod redirects;
mod tls;

const WORKERS: usize = 2;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn board() -> Arc<Board> {
    let settings = PlaneSettings {
        backend_connect: std::time::Duration::from_secs(1),
        tcp_idle: std::time::Duration::from_secs(1),
        max_connections: u64::MAX,
        max_sockets: u64::MAX,
        max_memory: u64::MAX,
        max_per_source: u64::MAX,
        source_addresses: std::sync::Arc::new([]),
        tcp_keepalive: None,
        passive_health: true,
        http: HttpSettings::default(),
        udp: clb_snapshot::UdpSettings::default(),
    };
    Arc::new(Board::new(WORKERS, settings, 10))
}

fn settings(health: bool) -> PoolSettings {
    PoolSettings {
        scheduler: Scheduler::Wrr,
        session_expire: None,
        health: HealthCheck {
            enabled: health,
            time_out: 2.try_into().unwrap(),
            interval_time: 5.try_into().unwrap(),
            health_num: 3.try_into().unwrap(),
            unhealth_num: 3.try_into().unwrap(),
            http: Some(HttpCheck {
                code: HttpCodeMask::DEFAULT,
                path: CheckPath::default(),
                domain: None,
                method: None,
            }),
        },
    }
}

fn rule(domain: &str, url: &str, health: bool) -> NewRule {
    NewRule {
        id: RuleId::from_number(0),
        domain: DomainPattern::parse(domain).unwrap(),
        url: UrlPattern::parse(url).unwrap(),
        settings: settings(health),
    }
}

fn target(number: u8) -> Target {
    Target {
        instance: format!("192.0.2.{number}"),
        by_address: false,
        port: Port::try_from(80).unwrap(),
    }
}

/// As the API's parameters have it.
fn free_port() -> i64 {
    i64::from(ports::free_port())
}

/// The engine's state beside the plane's, and what carries changes from one to the other.
struct Bench {
    ahead: State,
    env: Env,
    plane: Plane,
    health: Health,
    lb: LbId,
    listener: ListenerId,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(family: Family) -> Self {
        let ahead = State::new(Counters::new(7));
        let dir = tempfile::tempdir().unwrap();
        let mut bench = Self {
            plane: Plane::new(ahead.clone(), board(), ProbeSettings::default()),
            ahead,
            env: Env {
                public_vips: vec!["127.0.0.0/30".parse().unwrap()],
                private_vips: vec![],
                domain_suffix: String::new(),
                instances: std::collections::HashMap::new(),
                certificates: std::collections::HashMap::new(),
                backend_networks: vec!["0.0.0.0/0".parse().unwrap()],
                own_sockets: vec![],
                http_method: ProbeMethod::Get,
                limits: Limits {
                    load_balancers: 0,
                    listeners_per_load_balancer: 0,
                    rules_per_listener: 0,
                    backends_per_pool: 0,
                    certificates: 0,
                },
            },
            health: Health::new(LiveStore::open(dir.path()).unwrap()),
            lb: LbId::from_number(0),
            listener: ListenerId::from_number(0),
            _dir: dir,
        };
        bench
            .run(Command::CreateLoadBalancers(CreateLoadBalancers {
                ids: vec![],
                number: 1,
                now: NOW,
                order_number: 1,
                network_type: LoadBalancerType::Public,
                family,
                name: None,
                domain_prefix: None,
                vip: None,
                vpc: NetworkChoice::Number(0),
                subnet: NetworkChoice::Number(0),
                project_id: 0,
                special: None,
                client_ip: clb_model::ClientIp::Gateway,
            }))
            .unwrap();
        bench.lb = bench.ahead.load_balancers().next().unwrap().id;
        bench
    }

    /// An application-based instance with one HTTP listener and these rules.
    fn web(rules: Vec<NewRule>) -> Self {
        let mut bench = Self::new(Family::Application);
        bench.listen(free_port()).unwrap();
        bench.listener = bench.ahead.listeners().next().unwrap().id;
        bench.create(rules);
        bench
    }

    fn changes(&mut self, mut command: Command) -> Vec<Change> {
        command.assign_ids(self.ahead.counters_mut());
        let applied = apply(&self.ahead, &self.env, &command).unwrap();
        applied.changes
    }

    fn run(&mut self, command: Command) -> Result<(Removed, Option<u64>), String> {
        let changes = self.changes(command);
        let removed = self.plane.apply(&changes, &mut self.health)?;
        changes.iter().for_each(|change| self.ahead.apply(change));
        Ok((removed, self.plane.publish()))
    }

    fn ask(&mut self, command: ApplicationCommand) -> (Removed, Option<u64>) {
        let load_balancer = self.lb;
        self.run(Command::Application {
            load_balancer,
            command,
        })
        .unwrap()
    }

    fn listen(&mut self, port: i64) -> Result<(Removed, Option<u64>), String> {
        let load_balancer = self.lb;
        self.run(Command::Application {
            load_balancer,
            command: ApplicationCommand::CreateListeners {
                now: NOW,
                listeners: vec![NewApplicationListener {
                    id: ListenerId::from_number(0),
                    name: String::new(),
                    protocol: Protocol::Http,
                    port: Port::try_from(port).unwrap(),
                    settings: None,
                    tls: None,
                }],
            },
        })
    }

    fn create(&mut self, rules: Vec<NewRule>) -> (Removed, Option<u64>) {
        let listener = self.listener;
        self.ask(ApplicationCommand::CreateRules { listener, rules })
    }

    fn bind(&mut self, domain: Option<&str>, number: u8) -> (Removed, Option<u64>) {
        let listener = self.listener;
        self.ask(ApplicationCommand::Bind {
            now: NOW,
            listener,
            rules: RuleSelection {
                domain: domain.map(ToOwned::to_owned),
                ..RuleSelection::default()
            },
            backends: vec![TargetWeight {
                target: target(number),
                weight: None,
            }],
        })
    }

    fn router(&self) -> Router<Routed> {
        let served = self.plane.board.snapshot();
        match &served.get(self.listener).unwrap().service {
            Service::Rules(router) => router.clone(),
            Service::Pool(_) => panic!("it has no rules"),
        }
    }

    /// Where a request goes, as the workers would find it.
    fn route(&self, host: &str, path: &str) -> Option<Arc<Rule>> {
        let router = self.router();
        let found = router.route(host.as_bytes(), path.as_bytes(), &mut Scratch::new());
        found.ok().map(|route| Arc::clone(route.value.rule()))
    }

    fn members(&self, host: &str) -> Vec<String> {
        let rule = self.route(host, "/").unwrap();
        let view = rule.pool.view();
        let members = view.members().iter();
        members.map(|member| member.addr.to_string()).collect()
    }
}

#[test]
fn rules_are_routed_and_the_others_stay_what_they_are() {
    let mut bench = Bench::web(vec![rule("a.com", "/", false), rule("b.com", "/", false)]);
    let (a, b) = (
        bench.route("a.com", "/").unwrap(),
        bench.route("b.com", "/").unwrap(),
    );
    assert!(bench.route("c.com", "/").is_none());
    assert!(bench.create(vec![rule("c.com", "/", false)]).1.is_some());
    assert!(bench.route("c.com", "/").is_some());
    let listener = bench.listener;
    let renamed = bench.ask(ApplicationCommand::RenameDomain {
        listener,
        domain: "b.com".to_owned(),
        new_domain: DomainPattern::parse("*.d.com").unwrap(),
    });
    assert!(renamed.1.is_some());
    assert!(bench.route("b.com", "/").is_none());
    let d = bench.route("www.d.com", "/").unwrap();
    assert!(Arc::ptr_eq(&d.pool, &b.pool));
    assert!(Arc::ptr_eq(&bench.route("a.com", "/").unwrap(), &a));
    let removed = bench.ask(ApplicationCommand::DeleteRules {
        listener,
        rules: RuleSelection {
            domain: Some("a.com".to_owned()),
            ..RuleSelection::default()
        },
    });
    assert!(removed.1.is_some());
    assert!(bench.route("a.com", "/").is_none());
    assert_eq!((bench.router().len(), bench.plane.rules.len()), (2, 2));
}

#[test]
fn backends_weights_and_settings_change_without_a_new_snapshot() {
    let mut bench = Bench::web(vec![rule("a.com", "/", false), rule("b.com", "/", false)]);
    assert_eq!(bench.bind(Some("a.com"), 1).1, None);
    assert_eq!(bench.bind(None, 2).1, None);
    assert_eq!(bench.members("a.com"), ["192.0.2.1:80", "192.0.2.2:80"]);
    assert_eq!(bench.members("b.com"), ["192.0.2.2:80"]);
    let listener = bench.listener;
    let live = |bench: &Bench| {
        let view = bench.route("b.com", "/").unwrap().pool.view().clone();
        Arc::clone(&view.members()[0].live)
    };
    let before = live(&bench);
    bench.ask(ApplicationCommand::MovePorts {
        listener,
        rules: RuleSelection {
            domain: Some("b.com".to_owned()),
            ..RuleSelection::default()
        },
        backends: vec![PortMove {
            target: target(2),
            port: Port::try_from(81).unwrap(),
            weight: None,
        }],
    });
    assert_eq!(bench.members("b.com"), ["192.0.2.2:81"]);
    assert!(Arc::ptr_eq(&live(&bench), &before), "it keeps its counts");
    let rule = bench.route("a.com", "/").unwrap().id;
    let (_, published) = bench.ask(ApplicationCommand::ModifyRule {
        listener,
        rule,
        patch: Box::new(RulePatch {
            scheduler: Some(Scheduler::LeastConn),
            ..RulePatch::default()
        }),
    });
    assert_eq!(published, None);
    let scheduler = bench.route("a.com", "/").unwrap().pool.view().scheduler();
    assert_eq!(scheduler, Scheduler::LeastConn);
    // What was unbound is drained, once for each rule.
    let (removed, _) = bench.ask(ApplicationCommand::Unbind {
        listener,
        rules: RuleSelection::default(),
        backends: vec![target(1)],
    });
    assert_eq!(removed.len(), 1);
    assert_eq!(bench.members("a.com"), ["192.0.2.2:80"]);
}

#[test]
fn each_rule_has_its_own_health() {
    let mut bench = Bench::web(vec![rule("a.com", "/", true), rule("b.com", "/", false)]);
    bench.bind(None, 1);
    let health =
        |bench: &Bench, host: &str| bench.route(host, "/").unwrap().pool.view().members()[0].health;
    assert_eq!(
        health(&bench, "a.com"),
        MemberHealth::Detecting { founding: true }
    );
    assert_eq!(health(&bench, "b.com"), MemberHealth::Off);
    assert_eq!(bench.health.figures().1, 1, "one member is checked");
    let rule = bench.route("a.com", "/").unwrap().id;
    let listener = bench.listener;
    bench.ask(ApplicationCommand::ModifyRule {
        listener,
        rule,
        patch: Box::new(RulePatch {
            health_enabled: Some(false),
            ..RulePatch::default()
        }),
    });
    assert_eq!(health(&bench, "a.com"), MemberHealth::Off);
    assert_eq!(bench.health.figures().1, 0);
}

#[test]
fn probes_ask_what_the_rule_says_and_else_what_the_configuration_says() {
    let mut named = rule("*.b.com", "/", true);
    if let Some(http) = &mut named.settings.health.http {
        http.domain = CheckDomain::parse("up.b.com").ok();
        http.method = Some(ProbeMethod::Get);
        http.path = CheckPath::parse("/up").unwrap();
    }
    let mut bench = Bench::web(vec![
        rule("A.com", "/", true),
        rule("~^c", "/", true),
        named,
    ]);
    bench.bind(None, 1);
    let probes = ProbeSettings {
        http_method: ProbeMethod::Head,
        ..ProbeSettings::default()
    };
    bench.plane.set_probes(&probes, &mut bench.health);
    let rules: Vec<_> = bench.ahead.rules().map(|rule| rule.id).collect();
    let kinds: Vec<ProbeKind> = rules
        .iter()
        .map(|id| {
            let members = bench.plane.checked_members(PoolKey::Rule(*id));
            members.into_iter().next().unwrap().check.kind
        })
        .collect();
    let probe = |method, path: &str, domain: Option<&str>| {
        let domain = domain.map(|text| DomainPattern::parse(text).unwrap());
        let path = CheckPath::parse(path).unwrap();
        HttpProbe::new(method, path, domain.as_ref(), HttpCodeMask::DEFAULT)
    };
    let host = CheckDomain::parse("up.b.com").unwrap();
    let wanted = [
        probe(HttpMethod::Head, "/", Some("a.com")),
        probe(HttpMethod::Head, "/", None),
        probe(HttpMethod::Get, "/up", None).with_host(&host),
    ];
    assert_eq!(kinds, wanted.map(|probe| ProbeKind::Http(Arc::new(probe))));
}

#[test]
fn a_listener_goes_with_all_that_hangs_on_it() {
    let mut bench = Bench::web(vec![rule("a.com", "/", true), rule("b.com", "/", true)]);
    bench.bind(None, 1);
    let listener = bench.listener;
    let deleted = ApplicationCommand::DeleteListeners {
        listeners: vec![listener],
    };
    let (removed, published) = bench.ask(deleted);
    assert!(published.is_some());
    assert_eq!(
        removed.len(),
        3,
        "the listener, and its backend once for each rule"
    );
    assert_eq!(bench.plane.rules.len(), 0);
    assert_eq!(
        (bench.plane.members.len(), bench.health.figures().1),
        (0, 0)
    );
}

#[test]
fn what_can_not_be_bound_leaves_everything_as_it_was() {
    let mut bench = Bench::web(vec![rule("a.com", "/", false)]);
    let lb = bench.ahead.load_balancer(bench.lb).unwrap();
    let holder = TcpListener::bind((lb.vip, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let refused = bench.listen(port.into()).unwrap_err();
    assert!(refused.contains("can not be bound"), "{refused}");
    assert_eq!(bench.plane.state.listeners().count(), 1);
    assert!(bench.plane.publish().is_none());
    drop(holder);
    bench.listen(port.into()).unwrap();
}

#[test]
fn a_late_task_is_taken_back_with_its_rules() {
    let mut bench = Bench::web(vec![rule("a.com", "/", false)]);
    let (load_balancer, listener) = (bench.lb, bench.listener);
    let changes = bench.changes(Command::Application {
        load_balancer,
        command: ApplicationCommand::CreateRules {
            listener,
            rules: vec![rule("b.com", "/", true)],
        },
    });
    bench.plane.apply(&changes, &mut bench.health).unwrap();
    bench.plane.publish();
    assert!(bench.route("b.com", "/").is_some());
    bench.plane.take_back(&changes, &mut bench.health);
    bench.plane.publish();
    assert!(bench.route("b.com", "/").is_none());
    assert_eq!((bench.router().len(), bench.plane.rules.len()), (1, 1));
}

#[test]
fn a_start_serves_what_is_stored_and_a_port_that_is_free_again() {
    let mut bench = Bench::web(vec![rule("a.com", "/", false), rule("~^b", "= /x", true)]);
    bench.bind(None, 1);
    let lb = bench.ahead.load_balancer(bench.lb).unwrap().vip;
    let stored = bench.ahead.clone();
    let port = stored.listeners().next().unwrap().port.get();
    // The old process is gone, and another program has the port.
    bench.plane = Plane::new(
        State::new(Counters::new(7)),
        board(),
        ProbeSettings::default(),
    );
    let holder = TcpListener::bind((lb, port)).unwrap();
    bench.plane = Plane::new(stored, board(), ProbeSettings::default());
    let left = bench
        .plane
        .start(&mut bench.health, NOW.0, Default::default());
    assert!(left.is_empty());
    assert_eq!(bench.plane.unbound(), 1);
    // Meanwhile things change.
    bench.create(vec![rule("c.com", "/", false)]);
    bench.bind(Some("c.com"), 2);
    drop(holder);
    bench.plane.retry_unbound(&mut bench.health);
    assert_eq!(bench.plane.unbound(), 0);
    bench.plane.publish();
    assert_eq!(bench.router().len(), 3);
    assert_eq!(bench.members("a.com"), ["192.0.2.1:80"]);
    assert_eq!(bench.members("c.com"), ["192.0.2.2:80"]);
    assert!(bench.route("b", "/x").is_some());
}

#[test]
fn classic_http_listeners_have_the_instances_backends() {
    let mut bench = Bench::new(Family::Classic);
    let load_balancer = bench.lb;
    bench
        .run(Command::BindBackends {
            load_balancer,
            now: NOW,
            backends: vec![BackendWeight {
                instance: "192.0.2.1".to_owned(),
                weight: None,
            }],
        })
        .unwrap();
    bench
        .run(Command::CreateListeners {
            load_balancer,
            now: NOW,
            listeners: vec![NewListener {
                id: ListenerId::from_number(0),
                name: String::new(),
                protocol: Protocol::Http,
                port: Port::try_from(free_port()).unwrap(),
                instance_port: Port::try_from(8080).unwrap(),
                scheduler: Some(Scheduler::IpHash),
                session_expire: None,
                health: settings(true).health,
                tls: None,
            }],
        })
        .unwrap();
    let id = bench.ahead.listeners().next().unwrap().id;
    let snapshot = bench.plane.board.snapshot();
    let served = snapshot.get(id).unwrap();
    assert_eq!(served.protocol, Protocol::Http);
    let view = served.service.pool().unwrap().view();
    assert_eq!(view.scheduler(), Scheduler::IpHash);
    assert_eq!(view.members()[0].addr.to_string(), "192.0.2.1:8080");
    assert_eq!(bench.health.figures().1, 1);
}

/// The least time that one more rule takes; the least is what the work itself costs, the rest is
/// what else the machine does.
fn cost_of_a_rule(existing: usize) -> std::time::Duration {
    let name = |number: usize| format!("host-{number}.example.com");
    let rules = (0..existing).map(|number| rule(&name(number), "/", false));
    let mut bench = Bench::web(rules.collect());
    (0..200)
        .map(|number| {
            let (load_balancer, listener) = (bench.lb, bench.listener);
            let changes = bench.changes(Command::Application {
                load_balancer,
                command: ApplicationCommand::CreateRules {
                    listener,
                    rules: vec![rule(&name(existing + number), "/", false)],
                },
            });
            let started = Instant::now();
            bench.plane.apply(&changes, &mut bench.health).unwrap();
            bench.plane.publish();
            let took = started.elapsed();
            changes.iter().for_each(|change| bench.ahead.apply(change));
            took
        })
        .min()
        .unwrap()
}

#[test]
fn one_more_rule_costs_the_same_beside_ten_thousand() {
    let (few, many) = (cost_of_a_rule(100), cost_of_a_rule(10_000));
    println!("one rule beside 100: {few:?}, beside 10,000: {many:?}");
    assert!(
        many < few * 4,
        "beside 100: {few:?}, beside 10,000: {many:?}"
    );
}

#[test]
fn a_successor_binds_nothing_that_it_is_handed_and_says_what_it_can_not_serve() {
    let mut bench = Bench::web(vec![rule("a.com", "/", false)]);
    let stored = bench.ahead.clone();
    let listener = stored.listeners().next().unwrap();
    let vip = stored.load_balancer(listener.load_balancer).unwrap().vip;
    let addr = std::net::SocketAddr::new(vip, listener.port.get());
    let promised = |addr| crate::applier::Promised {
        addr,
        is_udp: false,
        sockets: Arc::new(ListenSockets::promised(false, 1)),
        tickets: Vec::new(),
    };
    // The old one has the port, so that it could not be bound.
    assert!(TcpListener::bind(addr).is_err());
    let unknown = ListenerId::from_number(99);
    let all = HashMap::from([(listener.id, promised(addr)), (unknown, promised(addr))]);
    let mut plane = Plane::new(stored.clone(), board(), ProbeSettings::default());
    let left = plane.start(&mut bench.health, NOW.0, all);
    assert_eq!(left, [unknown]);
    assert_eq!(plane.unbound(), 0);
}
