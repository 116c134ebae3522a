//! Whatever runs and whatever a file says: afterwards what runs is what the file says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use clb_actions::Limits as GateLimits;
use clb_declared::{LoadBalancer, Place, Rule, read, write};
use clb_model::{DomainKind, Env, Instance, Limits, Protocol, UrlModifier};
use clb_snapshot::{Board, HttpSettings, PlaneSettings};
use proptest::prelude::*;

use super::{Stage, declare, rehearse};
use crate::Settings;
use crate::api::{ApiLimits, Prices};
use crate::applier::ApplierSettings;

fn settings() -> Settings {
    let instance = |last: u8| Instance {
        ip: [192, 0, 2, last].into(),
        name: String::new(),
        wan_ips: vec![],
    };
    Settings {
        env: Env {
            public_vips: vec!["127.10.0.0/24".parse().unwrap()],
            private_vips: vec!["127.11.0.0/24".parse().unwrap()],
            domain_suffix: "clb.internal".to_owned(),
            instances: HashMap::from([
                ("ins-a".to_owned(), instance(1)),
                ("ins-b".to_owned(), instance(2)),
            ]),
            certificates: HashMap::new(),
            backend_networks: vec!["0.0.0.0/0".parse().unwrap()],
            own_sockets: vec![],
            http_method: clb_model::ProbeMethod::Get,
            limits: Limits {
                load_balancers: 0,
                listeners_per_load_balancer: 0,
                rules_per_listener: 0,
                backends_per_pool: 0,
                certificates: 0,
            },
        },
        keys: vec![],
        region: "ap-guangzhou".to_owned(),
        hosts: vec![],
        gate: GateLimits {
            nonces: 10,
            requests_per_second: 10,
        },
        audit_entries: 0,
        api_limits: ApiLimits {
            url_bytes: 0,
            body_bytes: 0,
        },
        prices: Prices {
            public: 0,
            private: 0,
        },
        applier: ApplierSettings {
            drain: std::time::Duration::ZERO,
            task: std::time::Duration::from_secs(60),
            probes: crate::applier::ProbeSettings::default(),
        },
    }
}

fn plane_settings() -> PlaneSettings {
    PlaneSettings {
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
    }
}

fn stage() -> Stage {
    let board = Arc::new(Board::new(1, plane_settings(), 0));
    Stage::start(Vec::new(), settings(), board).unwrap()
}

fn parsed(text: &str) -> Vec<LoadBalancer> {
    read::parse(text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

/// What a file says, as text, in which every key that is left out has its default.
fn file() -> impl Strategy<Value = String> {
    let lb = |name: &'static str, vip: &'static str| {
        (
            prop::bool::weighted(0.2),
            prop::option::of(Just(vip)),
            prop::collection::btree_map(0u8..3, listener(), 0..3),
            backends(false),
            prop::sample::select(vec!["", "project_id = 3\n", "client_ip = \"proxy-v2\"\n"]),
        )
            .prop_map(move |(classic, vip, listeners, own, project)| {
                let family = if classic { "classic" } else { "application" };
                let mut text =
                    format!("[[load_balancers]]\nname = {name:?}\nforward = {family:?}\n");
                text.push_str(project);
                if let Some(vip) = vip {
                    text.push_str(&format!("vip = {vip:?}\n"));
                }
                if classic {
                    text.push_str(&own);
                }
                for (slot, listener) in &listeners {
                    text.push_str(&listener.text(*slot, classic, &listeners));
                }
                text
            })
    };
    let one = prop::option::weighted(0.8, lb("one", "127.10.0.50"));
    let two = prop::option::weighted(0.5, lb("two", "127.10.0.51"));
    (one, two, any::<bool>()).prop_map(|(one, two, swapped)| {
        let (one, two) = (one.unwrap_or_default(), two.unwrap_or_default());
        if swapped { two + &one } else { one + &two }
    })
}

/// A listener of either family and layer.
#[derive(Debug, Clone)]
struct AnyListener {
    layer7: bool,
    settings: String,
    scheduler: &'static str,
    instance_port: u16,
    rules: Vec<AnyRule>,
    backends: String,
}

#[derive(Debug, Clone)]
struct AnyRule {
    domain: &'static str,
    url: &'static str,
    settings: String,
    redirected: bool,
    backends: String,
}

fn pool_settings() -> impl Strategy<Value = String> {
    let lines = vec![
        "",
        "session_expire = 30\n",
        "health_switch = 0\n",
        "interval_time = 7\nhealth_num = 2\n",
        "unhealth_num = 5\n",
    ];
    prop::sample::select(lines).prop_map(str::to_owned)
}

fn backends(with_port: bool) -> impl Strategy<Value = String> {
    let names = vec![
        "instance_id = \"ins-a\"",
        "instance_id = \"ins-b\"",
        "eni_ip = \"192.0.2.9\"",
        "instance_id = \"192.0.2.8\"",
    ];
    let names: Vec<_> = names
        .into_iter()
        .filter(|name| with_port || !name.starts_with("eni"))
        .collect();
    let weight = prop::option::of(0u8..=100);
    let one = (prop::sample::select(names), 1u16..3);
    prop::collection::btree_map(one, weight, 0..4).prop_map(move |backends| {
        let mut seen = BTreeSet::new();
        let rows: Vec<String> = backends
            .into_iter()
            .filter(|((name, _), _)| with_port || seen.insert(*name))
            .map(|((name, port), weight)| {
                let port = if with_port {
                    format!(", port = {port}")
                } else {
                    String::new()
                };
                let weight = weight.map(|weight| format!(", weight = {weight}"));
                format!("{{ {name}{port}{} }}", weight.unwrap_or_default())
            })
            .collect();
        format!("backends = [{}]\n", rows.join(", "))
    })
}

/// Few enough that files have many in common, in another order.
const RULES: &[(&str, &str)] = &[
    ("a.com", "/"),
    ("a.com", "= /x"),
    ("a.com", "~ a"),
    ("a.com", "~ b"),
    ("a.com", "~* c"),
    ("*.a.com", "/"),
    (".a.com", "/"),
    ("~^a", "/"),
    ("~^a", "~ x"),
    ("~^b", "/"),
    ("~^c", "/x"),
    ("b.*", "/x"),
    ("b.*", "^~ /x"),
];

fn rules() -> impl Strategy<Value = Vec<AnyRule>> {
    let places = prop::sample::subsequence(RULES, 0..=RULES.len()).prop_shuffle();
    places.prop_flat_map(|places| places.into_iter().map(rule).collect::<Vec<_>>())
}

fn rule((domain, url): (&'static str, &'static str)) -> impl Strategy<Value = AnyRule> {
    let probes = vec![
        "",
        "http_code = 3\n",
        "http_check_path = \"/h\"\n",
        "http_check_domain = \"probe.example\"\n",
        "http_check_domain = \"a.com\"\nhttp_hash = \"ip_hash\"\n",
        "time_out = 4\n",
        "http_check_method = \"HEAD\"\n",
    ];
    (
        pool_settings(),
        prop::sample::select(probes),
        any::<bool>(),
        backends(true),
    )
        .prop_map(move |(settings, probe, redirected, backends)| AnyRule {
            domain,
            url,
            settings: settings + probe,
            redirected,
            backends,
        })
}

fn listener() -> impl Strategy<Value = AnyListener> {
    (
        prop::bool::weighted(0.8),
        pool_settings(),
        prop::sample::select(vec!["wrr", "least_conn"]),
        1u16..3,
        rules(),
        backends(true),
        prop::option::of("[a-z]{1,3}"),
    )
        .prop_map(
            |(layer7, settings, scheduler, instance_port, rules, backends, name)| {
                let name = name.map(|name| format!("listener_name = {name:?}\n"));
                AnyListener {
                    layer7,
                    // Persistence by address and least_conn exclude each other.
                    scheduler: if settings.contains("expire") {
                        "wrr"
                    } else {
                        scheduler
                    },
                    settings: name.unwrap_or_default() + &settings,
                    instance_port,
                    rules,
                    backends,
                }
            },
        )
}

impl AnyListener {
    fn text(&self, slot: u8, classic: bool, all: &BTreeMap<u8, AnyListener>) -> String {
        let protocol = if self.layer7 { "http" } else { "tcp" };
        let port = 80 + u16::from(slot);
        let mut text = format!(
            "[[load_balancers.listeners]]\nprotocol = {protocol:?}\nload_balancer_port = {port}\n"
        );
        if classic || !self.layer7 {
            text.push_str(&self.settings);
            let scheduler = if self.layer7 {
                "http_hash"
            } else {
                "scheduler"
            };
            text.push_str(&format!("{scheduler} = {:?}\n", self.scheduler));
        }
        if classic {
            text.push_str(&format!("instance_port = {}\n", self.instance_port));
            return text;
        }
        if !self.layer7 {
            return text + &self.backends;
        }
        for rule in &self.rules {
            text.push_str(&format!(
                "[[load_balancers.listeners.rules]]\ndomain = {:?}\nurl = {:?}\n{}{}",
                rule.domain, rule.url, rule.settings, rule.backends
            ));
            // To the same rule of the first listener, which redirects nothing itself.
            let is_target = |other: &AnyRule| other.domain == rule.domain && other.url == rule.url;
            let first = all.get(&0).filter(|first| first.layer7 && slot > 0);
            if rule.redirected && first.is_some_and(|first| first.rules.iter().any(is_target)) {
                text.push_str("rewrite_port = 80\n");
            }
        }
        text
    }
}

/// What decides between the rules of a listener by the order in which they were made.
fn decisive(rules: &[Rule]) -> BTreeMap<String, Vec<String>> {
    let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in rules {
        if rule.domain.kind() == DomainKind::Regex {
            let domains = orders.entry("domains".to_owned()).or_default();
            if !domains.contains(&rule.domain.key()) {
                domains.push(rule.domain.key());
            }
        }
        if matches!(
            rule.url.modifier(),
            UrlModifier::Regex | UrlModifier::RegexNoCase
        ) {
            orders
                .entry(rule.domain.key())
                .or_default()
                .push(rule.url.key());
        }
    }
    orders
}

/// What runs, without what the file does not say.
fn plain(mut running: LoadBalancer, wanted: &LoadBalancer) -> LoadBalancer {
    let unplaced = |mut backends: Vec<clb_declared::Backend>| {
        backends
            .iter_mut()
            .for_each(|backend| backend.place = Place::default());
        backends.sort_by(|a, b| a.key().cmp(&b.key()));
        backends
    };
    running.place = Place::default();
    running.id = String::new();
    if wanted.vip.is_none() {
        running.vip = None;
    }
    running.settings.remove("domainPrefix");
    running.backends = unplaced(running.backends);
    running
        .listeners
        .sort_by_key(|listener| (listener.port, listener.protocol == Protocol::Udp));
    for listener in &mut running.listeners {
        listener.place = Place::default();
        listener.id = String::new();
        listener.backends = unplaced(std::mem::take(&mut listener.backends));
        let of = wanted
            .listeners
            .iter()
            .find(|other| other.port == listener.port);
        if of.is_none_or(|other| !other.settings.contains_key("listenerName")) {
            listener.settings.remove("listenerName");
        }
        listener.rules.sort_by_key(Rule::key);
        for rule in &mut listener.rules {
            rule.place = Place::default();
            rule.id = String::new();
            rule.backends = unplaced(std::mem::take(&mut rule.backends));
            let of =
                of.and_then(|other| other.rules.iter().find(|other| other.key() == rule.key()));
            let said = |key: &str| of.is_some_and(|of| of.settings.contains_key(key));
            if !said("httpCheckMethod") {
                rule.settings.remove("httpCheckMethod");
            }
            // The default in other words.
            if !said("httpCheckDomain")
                && rule.settings.get("httpCheckDomain") == Some(&rule.domain.key())
            {
                rule.settings.remove("httpCheckDomain");
            }
        }
    }
    running
}

async fn running(stage: &Stage) -> Vec<LoadBalancer> {
    let own = crate::declared::Own {
        api: &stage.api,
        told: &|_| {},
    };
    clb_declared::observe::all(&own).await.unwrap()
}

async fn check(stage: &Stage, text: &str) {
    let wanted = parsed(text);
    let report = declare(&stage.api, &wanted, &|_| {}).await;
    assert_eq!(report.problems, [], "{text}");
    let running = running(stage).await;
    assert_eq!(running.len(), wanted.len());
    for wanted in &wanted {
        let found = running
            .iter()
            .find(|found| found.name == wanted.name)
            .unwrap();
        for listener in &wanted.listeners {
            let same = found
                .listeners
                .iter()
                .find(|other| other.port == listener.port)
                .unwrap();
            assert_eq!(decisive(&same.rules), decisive(&listener.rules), "{text}");
        }
        assert_eq!(plain(found.clone(), wanted), plain(wanted.clone(), wanted));
    }
    // What runs, written as a file, is what runs.
    let exported = parsed(&write::to_toml(&running));
    for one in &exported {
        let found = running.iter().find(|found| found.name == one.name).unwrap();
        assert_eq!(clb_declared::plan::plan(Some(found), one), [], "{text}");
    }
    let again = declare(&stage.api, &wanted, &|_| panic!("twice")).await;
    assert_eq!((again.steps, again.problems), (0, vec![]));
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn any_file_after_any_other(files in prop::collection::vec(file(), 1..4)) {
        block_on(async {
            let stage = stage();
            for text in &files {
                check(&stage, text).await;
            }
            stage.end().await;
        });
    }
}

#[test]
fn a_redirect_from_or_to_a_rule_that_is_made_anew() {
    let file = |target: &str, source: &str| {
        format!(
            r#"
[[load_balancers]]
name = "one"
forward = "application"
[[load_balancers.listeners]]
protocol = "http"
load_balancer_port = 80
[[load_balancers.listeners.rules]]
domain = "a.com"
url = "/"
{target}
[[load_balancers.listeners]]
protocol = "http"
load_balancer_port = 81
[[load_balancers.listeners.rules]]
domain = "a.com"
url = "/"
{source}
"#
        )
    };
    // No Action takes it back.
    let probed = "http_check_domain = \"probe.example\"";
    block_on(async {
        let stage = stage();
        for (target, source) in [
            (probed, probed),
            ("", "rewrite_port = 80"),
            (probed, ""),
            ("", "rewrite_port = 80"),
            ("", probed),
            ("", "rewrite_port = 80"),
        ] {
            check(&stage, &file(target, source)).await;
        }
        stage.end().await;
    });
}

async fn ids(stage: &Stage) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    for lb in running(stage).await {
        ids.insert(lb.name.clone(), lb.id.clone());
        for listener in &lb.listeners {
            ids.insert(
                format!("{} {}", lb.name, listener.port),
                listener.id.clone(),
            );
            for rule in &listener.rules {
                let name = format!(
                    "{} {} {} {}",
                    lb.name,
                    listener.port,
                    rule.domain.as_str(),
                    rule.url.as_str()
                );
                ids.insert(name, rule.id.clone());
            }
        }
    }
    ids
}

const WEB: &str = r#"
[[load_balancers]]
name = "web"
forward = "application"
[[load_balancers.listeners]]
protocol = "http"
load_balancer_port = 80
[[load_balancers.listeners.rules]]
domain = "a.com"
url = "/"
backends = [{ instance_id = "ins-a", port = 1 }]
[[load_balancers.listeners.rules]]
domain = "~^x"
url = "/"
[[load_balancers.listeners.rules]]
domain = "~^xy"
url = "/"
"#;

#[test]
fn what_stays_the_same_keeps_its_id() {
    block_on(async {
        let stage = stage();
        check(&stage, WEB).await;
        let before = ids(&stage).await;
        let changed = WEB.replace("port = 1", "port = 2") + "http_code = 3\n";
        check(&stage, &changed).await;
        assert_eq!(ids(&stage).await, before);
        // Only what must come later is made anew.
        let (head, tail) = WEB.split_at(
            WEB.find("[[load_balancers.listeners.rules]]\ndomain = \"~^x\"")
                .unwrap(),
        );
        let first = "[[load_balancers.listeners.rules]]\ndomain = \"~^w\"\nurl = \"/\"\n";
        check(&stage, &format!("{head}{first}{tail}")).await;
        let after = ids(&stage).await;
        for (name, id) in &before {
            assert_eq!(after[name] == *id, !name.contains("~^x"), "{name}");
        }
        stage.end().await;
    });
}

#[test]
fn the_file_speaks_when_it_changes_and_the_api_in_between() {
    block_on(async {
        let stage = stage();
        check(&stage, WEB).await;
        let lb = ids(&stage).await["web"].clone();
        let rename = vec![
            ("loadBalancerId".to_owned(), lb.clone()),
            ("loadBalancerName".to_owned(), "else".to_owned()),
        ];
        stage
            .api
            .act_for_file("ModifyForwardLBName", rename)
            .await
            .unwrap();
        let report = declare(&stage.api, &parsed(WEB), &|_| {}).await;
        assert_eq!(report.steps, 0);
        assert!(ids(&stage).await.contains_key("else"));
        // Also in other words it is the same.
        let other = WEB.replace("url = \"/\"", "session_expire = 0\nurl   = '/'");
        let report = declare(&stage.api, &parsed(&other), &|_| {}).await;
        assert_eq!(report.steps, 0);
        check(&stage, &WEB.replace("port = 80", "port = 81")).await;
        assert_eq!(ids(&stage).await["web"], lb);
        // Declared no more: gone; what the API made: not.
        let make = vec![
            ("loadBalancerType".to_owned(), "2".to_owned()),
            ("loadBalancerName".to_owned(), "mine".to_owned()),
        ];
        stage
            .api
            .act_for_file("CreateLoadBalancer", make)
            .await
            .unwrap();
        declare(&stage.api, &[], &|_| {}).await;
        assert_eq!(ids(&stage).await.into_keys().collect::<Vec<_>>(), ["mine"]);
        // Deleted through the API it stays so until the file changes.
        check_beside(&stage, WEB).await;
        let delete = vec![(
            "loadBalancerIds.0".to_owned(),
            ids(&stage).await["web"].clone(),
        )];
        stage
            .api
            .act_for_file("DeleteLoadBalancers", delete)
            .await
            .unwrap();
        declare(&stage.api, &parsed(WEB), &|_| {}).await;
        assert!(!ids(&stage).await.contains_key("web"));
        stage.end().await;
    });
}

async fn check_beside(stage: &Stage, text: &str) {
    let report = declare(&stage.api, &parsed(text), &|_| {}).await;
    assert_eq!(report.problems, []);
}

#[test]
fn another_name_with_the_same_vip_is_the_same_load_balancer() {
    block_on(async {
        let stage = stage();
        let text = WEB.replace("forward", "vip = \"127.10.0.9\"\nforward");
        check(&stage, &text).await;
        let before = ids(&stage).await["web"].clone();
        check(&stage, &text.replace("\"web\"", "\"www\"")).await;
        assert_eq!(ids(&stage).await["www"], before);
        stage.end().await;
    });
}

#[test]
fn what_is_refused_is_told_with_its_place_and_tried_again() {
    block_on(async {
        let stage = stage();
        let text = WEB.replace("ins-a", "ins-x");
        let report = declare(&stage.api, &parsed(&text), &|_| {}).await;
        let [(place, problem)] = &*report.problems else {
            panic!("{:?}", report.problems);
        };
        assert_eq!(place.line, 11);
        assert!(
            problem.contains("rule a.com /: backend ins-x port 1, weight 10: (10005)"),
            "{problem}"
        );
        // The rest is there.
        assert_eq!(ids(&stage).await.len(), 5);
        let report = declare(&stage.api, &parsed(&text), &|_| {}).await;
        assert_eq!((report.steps, report.problems.len()), (0, 1));
        check(&stage, WEB).await;
        stage.end().await;
    });
}

#[test]
fn a_rehearsal_tells_all_steps_and_changes_nothing() {
    block_on(async {
        let board = || Arc::new(Board::new(1, plane_settings(), 0));
        let told = rehearse(Vec::new(), settings(), board(), &parsed(WEB))
            .await
            .unwrap();
        assert_eq!(told.problems, []);
        assert_eq!(told.steps.len(), 6, "{:?}", told.steps);
        assert_eq!(told.steps[0], "+ load balancer \"web\"");
        let bad = WEB.replace("~^xy", "~^(");
        let told = rehearse(Vec::new(), settings(), board(), &parsed(&bad))
            .await
            .unwrap();
        assert!(
            told.problems[0].1.contains("rule ~^( /"),
            "{:?}",
            told.problems
        );
    });
}

#[test]
fn what_can_not_be_made_anew_does_not_cost_the_old_one() {
    block_on(async {
        let stage = stage();
        let text = WEB.replace("forward", "vip = \"127.10.0.9\"\nforward");
        check(&stage, &text).await;
        let before = ids(&stage).await;
        for bad in [
            text.replace("127.10.0.9", "10.0.0.1"),
            text.replace("forward", "type = \"private\"\nforward"),
            // Application-based ones have no domain.
            text.replace("\"web\"", "\"web\"\nproject_id = 4\ndomain_prefix = \"p\""),
        ] {
            let report = declare(&stage.api, &parsed(&bad), &|_| {}).await;
            assert_eq!(report.problems.len(), 1, "{bad}");
            assert_eq!(ids(&stage).await, before, "{:?}", report.problems);
        }
        check(&stage, &text.replace("127.10.0.9", "127.10.0.8")).await;
        stage.end().await;
    });
}
