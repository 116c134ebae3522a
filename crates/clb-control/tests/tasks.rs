//! Tasks (actions.md C.8): many at once, in order and side by side, over a restart, too late, and
//! how long they are told of. The workers are this file: a task ends when they acknowledge.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/ports.rs"]
mod ports;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use clb_actions::Limits as GateLimits;
use clb_control::api::{Api, ApiLimits, Prices};
use clb_control::applier::ApplierSettings;
use clb_control::clock::Clock;
use clb_control::{Control, Records, Settings};
use clb_model::{Change, Env, Limits, Object, ProbeMethod, Task, TaskId, TaskState, UnixMillis};
use clb_snapshot::{Board, HttpSettings, PlaneSettings};
use clb_store::{SqliteStore, Store as _};
use serde_json::Value;
use tokio::task::JoinSet;

/// A clock that goes on by a millisecond each time it is looked at, so that no two things that it
/// dates are at the same time.
#[derive(Debug)]
struct Ticks(AtomicI64);

impl Ticks {
    fn new(from: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(from)))
    }
}

impl Clock for Ticks {
    fn unix(&self) -> UnixMillis {
        UnixMillis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

fn settings(task: Duration) -> Settings {
    Settings {
        env: Env {
            public_vips: vec!["127.0.0.0/26".parse().unwrap()],
            private_vips: vec![],
            domain_suffix: "clb.internal".to_owned(),
            instances: HashMap::new(),
            certificates: HashMap::new(),
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
            drain: Duration::ZERO,
            task,
            probes: clb_control::applier::ProbeSettings::default(),
        },
    }
}

/// A control plane whose workers do what the test says.
struct Bench {
    control: Control,
    board: Arc<Board>,
}

const PATIENT: Duration = Duration::from_secs(600);

impl Bench {
    fn start(dir: &Path, task: Duration, clock: Arc<Ticks>) -> Self {
        let plane = PlaneSettings {
            backend_connect: Duration::from_secs(1),
            tcp_idle: Duration::from_secs(1),
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
        let board = Arc::new(Board::new(1, plane, 10));
        let control = Control::start(
            dir,
            None,
            settings(task),
            Arc::clone(&board),
            clock,
            Records::default(),
            None,
        )
        .unwrap();
        Self { control, board }
    }

    fn api(&self) -> &Arc<Api> {
        self.control.api()
    }

    /// The worker serves whatever is published from now on.
    fn serve(&self) -> tokio::task::JoinHandle<()> {
        let board = Arc::clone(&self.board);
        tokio::spawn(async move {
            loop {
                board.ack(0, board.snapshot().generation);
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        })
    }

    async fn call(&self, action: &str, params: &[(&str, &str)]) -> Value {
        call(self.api(), action, params).await.unwrap()
    }

    /// An instance with an HTTP listener: (loadBalancerId, listenerId). The worker must serve.
    async fn web(&self) -> (String, String) {
        let made = self
            .call(
                "CreateLoadBalancer",
                &[("loadBalancerType", "2"), ("forward", "1")],
            )
            .await;
        self.ended(&made).await.unwrap();
        let ids = made["unLoadBalancerIds"]
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap();
        let lb = ids[0].as_str().unwrap().to_owned();
        let port = ports::free_port().to_string();
        let params = [
            ("loadBalancerId", lb.as_str()),
            ("listeners.0.loadBalancerPort", &port),
            ("listeners.0.protocol", "1"),
        ];
        let made = self
            .call("CreateForwardLBSeventhLayerListeners", &params)
            .await;
        let listener = made["listenerIds"][0].as_str().unwrap().to_owned();
        (lb, listener)
    }

    async fn ended(&self, answer: &Value) -> Result<(), String> {
        let ended = self.api().engine.wait_ended(task_of(answer)).await;
        ended.map_err(|error| error.to_string())
    }

    fn task(&self, id: TaskId) -> Arc<Task> {
        self.api()
            .engine
            .shared
            .read(|state| Arc::clone(state.task(id).unwrap()))
    }

    fn pending(&self) -> usize {
        let shared = &self.api().engine.shared;
        shared.read(|state| state.pending_tasks().count())
    }

    async fn domains(&self, web: &(String, String)) -> Vec<String> {
        let params = [("loadBalancerId", web.0.as_str())];
        let listed = self.call("DescribeForwardLBListeners", &params).await;
        let rules = listed["listenerSet"][0]["rules"].as_array().unwrap();
        let domain = |rule: &Value| rule["domain"].as_str().unwrap().to_owned();
        rules.iter().map(domain).collect()
    }
}

async fn call(api: &Api, action: &str, params: &[(&str, &str)]) -> Result<Value, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let params = params.iter().map(owned).collect();
    let answer = api.act_for_file(action, params).await;
    answer
        .map(|text| serde_json::from_str(&text).unwrap())
        .map_err(|error| error.to_string())
}

async fn add_rule(api: &Api, web: &(String, String), domain: &str) -> Value {
    let params = [
        ("loadBalancerId", web.0.as_str()),
        ("listenerId", web.1.as_str()),
        ("rules.0.domain", domain),
        ("rules.0.url", "/"),
    ];
    call(api, "CreateForwardLBListenerRules", &params)
        .await
        .unwrap()
}

fn task_of(answer: &Value) -> TaskId {
    TaskId(answer["requestId"].as_u64().unwrap())
}

/// Asks for `count` rules in each listener, in each one after the other, all listeners at once.
async fn queue(bench: &Bench, webs: &[(String, String)], count: usize) -> Vec<Vec<TaskId>> {
    let mut asking = JoinSet::new();
    for (at, web) in webs.iter().cloned().enumerate() {
        let api = Arc::clone(bench.api());
        asking.spawn(async move {
            let mut tasks = Vec::new();
            for number in 0..count {
                let answer = add_rule(&api, &web, &format!("r{number}.example")).await;
                tasks.push(task_of(&answer));
            }
            (at, tasks)
        });
    }
    let mut all = vec![Vec::new(); webs.len()];
    while let Some(asked) = asking.join_next().await {
        let (at, tasks) = asked.unwrap();
        all[at] = tasks;
    }
    all
}

/// That all have ended well, those of one instance in their order.
fn check_order(bench: &Bench, queued: &[Vec<TaskId>]) {
    for tasks in queued {
        let mut last = UnixMillis(0);
        for id in tasks {
            let task = bench.task(*id);
            assert_eq!(task.state, TaskState::Succeeded);
            let ended = task.ended.unwrap();
            assert!(ended > last, "{id} ended before the one before it");
            last = ended;
        }
    }
}

const LISTENERS: usize = 10;
const EACH: usize = 1_000;

fn expected() -> Vec<String> {
    (0..EACH)
        .map(|number| format!("r{number}.example"))
        .collect()
}

#[tokio::test]
async fn ten_thousand_wait_are_told_and_end_in_order_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Ticks::new(1_000_000);
    let bench = Bench::start(dir.path(), PATIENT, Arc::clone(&clock));
    let serving = bench.serve();
    let mut webs = Vec::new();
    for _ in 0..LISTENERS {
        webs.push(bench.web().await);
    }
    serving.abort();
    let _ = serving.await;

    let queued = queue(&bench, &webs, EACH).await;
    // None is in force, and all that was answered is seen.
    assert_eq!(bench.pending(), LISTENERS * EACH);
    for web in &webs {
        assert_eq!(bench.domains(web).await, expected());
    }
    let asked = queued[3][500].0.to_string();
    let told = bench
        .call("DescribeLoadBalancersTaskResult", &[("requestId", &asked)])
        .await;
    assert_eq!(told["data"]["status"], 2);

    // The process ends in the middle; with the next one they go on.
    bench.control.stop().await;
    let bench = Bench::start(dir.path(), PATIENT, clock);
    assert_eq!(bench.pending(), LISTENERS * EACH);
    let serving = bench.serve();
    for tasks in &queued {
        for id in tasks {
            bench.api().engine.wait_ended(*id).await.unwrap();
        }
    }
    check_order(&bench, &queued);
    for web in &webs {
        assert_eq!(bench.domains(web).await, expected());
    }
    serving.abort();
    bench.control.stop().await;
}

#[tokio::test]
async fn instances_do_not_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(dir.path(), PATIENT, Ticks::new(0));
    let serving = bench.serve();
    let slow = bench.web().await;
    let (other, _) = bench.web().await;
    serving.abort();
    let _ = serving.await;
    let waits = add_rule(bench.api(), &slow, "waits.example").await;
    // What needs no worker is done meanwhile, on another instance,
    let rename = [
        ("loadBalancerId", other.as_str()),
        ("loadBalancerName", "other"),
    ];
    bench.call("ModifyForwardLBName", &rename).await;
    // and not on the same one: that is after what was asked for before.
    let api = Arc::clone(bench.api());
    let lb = slow.0.clone();
    let later = tokio::spawn(async move {
        let rename = [
            ("loadBalancerId", lb.as_str()),
            ("loadBalancerName", "slow"),
        ];
        call(&api, "ModifyForwardLBName", &rename).await
    });
    while bench.pending() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.task(task_of(&waits)).ended, None);
    let serving = bench.serve();
    bench.ended(&waits).await.unwrap();
    later.await.unwrap().unwrap();
    assert_eq!(bench.pending(), 0);
    serving.abort();
    bench.control.stop().await;
}

#[tokio::test]
async fn one_that_is_too_late_is_taken_back_whole_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let task = Duration::from_millis(50);
    let bench = Bench::start(dir.path(), PATIENT, Ticks::new(0));
    let serving = bench.serve();
    let web = bench.web().await;
    let first = add_rule(bench.api(), &web, "first.example").await;
    bench.ended(&first).await.unwrap();
    serving.abort();
    let _ = serving.await;
    bench.control.reload(settings(task));
    let late = add_rule(bench.api(), &web, "late.example").await;
    // Built on it: its rule is not there any more when it is its turn.
    let params = [
        ("loadBalancerId", web.0.as_str()),
        ("listenerId", web.1.as_str()),
        ("domain", "late.example"),
        ("newDomain", "renamed.example"),
    ];
    let built_on_it = bench.call("ModifyForwardLBRulesDomain", &params).await;
    assert_eq!(
        bench.domains(&web).await,
        ["first.example", "renamed.example"]
    );
    let reason = bench.ended(&late).await.unwrap_err();
    assert_eq!(
        reason,
        "not in force on every worker within timeouts.task = 0.05 s"
    );
    let reason = bench.ended(&built_on_it).await.unwrap_err();
    assert!(
        reason.starts_with(&format!(
            "task {}, on which this one was built, failed",
            task_of(&late).0
        )),
        "{reason}"
    );
    assert_eq!(bench.domains(&web).await, ["first.example"]);
    let asked = task_of(&late).0.to_string();
    let told = bench
        .call("DescribeLoadBalancersTaskResult", &[("requestId", &asked)])
        .await;
    assert_eq!(told["data"]["status"], 1);
    assert_eq!(
        told["data"]["message"],
        "not in force on every worker within timeouts.task = 0.05 s"
    );
    // Neither is it there after a restart, and the next change is as if it had never been.
    bench.control.stop().await;
    let bench = Bench::start(dir.path(), PATIENT, Ticks::new(1_000_000));
    let serving = bench.serve();
    assert_eq!(bench.domains(&web).await, ["first.example"]);
    let again = add_rule(bench.api(), &web, "late.example").await;
    bench.ended(&again).await.unwrap();
    assert_eq!(bench.domains(&web).await, ["first.example", "late.example"]);
    serving.abort();
    bench.control.stop().await;
}

const HOUR: i64 = 3_600_000;

/// actions.md C.8: for a day at least, and the newest 100,000.
#[tokio::test]
async fn results_are_told_for_a_day_and_the_newest_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let old = 50;
    let last = 100_000 + old;
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    clb_control::engine::load(&mut store).unwrap();
    let changes: Vec<Change> = (1..=last)
        .map(|id| {
            Change::made(Object::Task(Arc::new(Task {
                id: TaskId(id),
                load_balancers: vec![],
                created: UnixMillis(0),
                ended: Some(UnixMillis(0)),
                state: TaskState::Failed {
                    message: format!("reason {id}"),
                },
            })))
        })
        .collect();
    store.commit(vec![changes.into()]).unwrap();
    let Some(Object::Counters(mut counters)) = store.get(&clb_model::Key::Counters).unwrap() else {
        panic!("no counters");
    };
    counters.next_task = last + 1;
    store
        .commit(vec![vec![Change::made(Object::Counters(counters))].into()])
        .unwrap();
    drop(store);

    let told = |bench: &Bench, id: u64| {
        let api = Arc::clone(bench.api());
        async move {
            let asked = id.to_string();
            let params = [("requestId", asked.as_str())];
            let told = call(&api, "DescribeLoadBalancersTaskResult", &params).await;
            told.map(|told| told["data"]["message"].as_str().unwrap().to_owned())
        }
    };
    let clock = Ticks::new(23 * HOUR);
    let bench = Bench::start(dir.path(), PATIENT, Arc::clone(&clock));
    let serving = bench.serve();
    bench.web().await;
    assert_eq!(told(&bench, 1).await.unwrap(), "reason 1");
    clock.0.store(25 * HOUR, Ordering::Relaxed);
    bench.web().await;
    // The engine clears up after an answer, not before it; the next one comes after that.
    bench.web().await;
    let gone = told(&bench, 1).await.unwrap_err();
    assert!(gone.contains("(11045) task 1: "), "{gone}");
    assert_eq!(told(&bench, last).await.unwrap(), format!("reason {last}"));
    assert_eq!(told(&bench, old + 10).await.unwrap(), "reason 60");
    serving.abort();
    bench.control.stop().await;
}
