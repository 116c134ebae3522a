use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use crate::command::{BackendWeight, ListenerPatch, NewListener};
use crate::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn env() -> Env {
    let instance = |text: &str| Instance {
        ip: ip(text),
        name: "web".to_owned(),
        wan_ips: vec![],
    };
    Env {
        public_vips: vec!["127.10.0.0/29".parse().unwrap()],
        private_vips: vec!["127.11.0.0/30".parse().unwrap()],
        domain_suffix: "clb.internal".to_owned(),
        instances: HashMap::from([
            ("ins-1".to_owned(), instance("127.0.0.1")),
            ("ins-2".to_owned(), instance("127.0.0.2")),
        ]),
        backend_networks: vec!["0.0.0.0/0".parse().unwrap()],
        own_sockets: vec!["127.0.0.1:8443".parse().unwrap()],
        limits: Limits {
            load_balancers: 100,
            listeners_per_load_balancer: 3,
            backends_per_pool: 3,
        },
    }
}

/// A state with the machinery round it that the control plane has.
struct Bench {
    state: State,
    env: Env,
}

impl Bench {
    fn new() -> Self {
        Self {
            state: State::new(Counters::new(42)),
            env: env(),
        }
    }

    fn run(&mut self, mut command: Command) -> Result<Applied, ModelError> {
        command.assign_ids(self.state.counters_mut());
        let applied = apply(&self.state, &self.env, &command)?;
        applied
            .changes
            .iter()
            .for_each(|change| self.state.apply(change));
        Ok(applied)
    }

    /// Runs a command as a pending task.
    fn task(&mut self, mut command: Command) -> TaskId {
        command.assign_ids(self.state.counters_mut());
        let applied = apply(&self.state, &self.env, &command).unwrap();
        applied
            .changes
            .iter()
            .for_each(|change| self.state.apply(change));
        let id = TaskId(
            self.state
                .counters_mut()
                .take(|counters| &mut counters.next_task),
        );
        let task = Task {
            id,
            load_balancers: applied.load_balancers,
            created: NOW,
            ended: None,
            state: TaskState::Pending {
                command: Box::new(command),
                changes: applied.changes.into(),
            },
        };
        self.state.insert(&Object::Task(Arc::new(task)));
        id
    }

    fn create(&mut self, number: usize) -> Vec<LbId> {
        self.run(create_command(number, LoadBalancerType::Public))
            .unwrap()
            .load_balancers
    }

    fn fail(&mut self, id: TaskId) -> Vec<Change> {
        fail(&mut self.state, &self.env, id, "port taken", NOW)
    }
}

fn create_command(number: usize, network_type: LoadBalancerType) -> Command {
    Command::CreateLoadBalancers(CreateLoadBalancers {
        ids: vec![],
        number,
        now: NOW,
        order_number: 0x59b2_5ffb,
        network_type,
        family: Family::Classic,
        name: None,
        domain_prefix: None,
        vpc: NetworkChoice::Number(0),
        subnet: NetworkChoice::Number(0),
        project_id: 0,
        special: None,
    })
}

fn health() -> HealthCheck {
    HealthCheck {
        enabled: true,
        time_out: TimeOut::try_from(2).unwrap(),
        interval_time: IntervalTime::try_from(5).unwrap(),
        health_num: CheckCount::try_from(3).unwrap(),
        unhealth_num: CheckCount::try_from(3).unwrap(),
    }
}

fn listen(load_balancer: LbId, ports: &[i64]) -> Command {
    let listeners = ports
        .iter()
        .map(|port| NewListener {
            id: ListenerId::from_number(0),
            name: String::new(),
            protocol: Protocol::Tcp,
            port: Port::try_from(*port).unwrap(),
            instance_port: Port::try_from(9000).unwrap(),
            scheduler: None,
            session_expire: None,
            health: health(),
        })
        .collect();
    Command::CreateListeners {
        load_balancer,
        listeners,
    }
}

fn bind(load_balancer: LbId, instances: &[&str], weight: Option<i64>) -> Command {
    let weight = weight.map(|weight| Weight::try_from(weight).unwrap());
    let backends = instances
        .iter()
        .map(|instance| BackendWeight {
            instance: (*instance).to_owned(),
            weight,
        })
        .collect();
    Command::BindBackends {
        load_balancer,
        backends,
    }
}

/// Everything but what only rises.
fn picture(state: &State) -> String {
    let mut freed: Vec<IpAddr> = state.freed_vips().collect();
    freed.sort();
    format!(
        "{:?} {:?} {:?} {freed:?}",
        state.load_balancers().collect::<Vec<_>>(),
        state.listeners().collect::<Vec<_>>(),
        state.bindings().collect::<Vec<_>>(),
    )
}

#[test]
fn names_and_domains_are_generated_as_in_the_document() {
    let mut bench = Bench::new();
    let ids = bench.create(2);
    let lb = bench.state.load_balancer(ids[1]).unwrap();
    assert_eq!(
        (lb.name.as_str(), lb.domain_prefix.as_deref()),
        ("59b25ffb-1", Some("59b25f-1"))
    );
    let again = bench.create(1);
    let lb = bench.state.load_balancer(again[0]).unwrap();
    assert_ne!(lb.name, "59b25ffb-0");
    assert_ne!(lb.domain_prefix.as_deref(), Some("59b25f-0"));
}

#[test]
fn a_wanted_name_goes_to_the_first_and_only_if_it_is_free() {
    let mut bench = Bench::new();
    let mut wanted = create_command(2, LoadBalancerType::Public);
    if let Command::CreateLoadBalancers(create) = &mut wanted {
        create.name = Some("web".to_owned());
        create.domain_prefix = Some("shop".to_owned());
    }
    let first = bench.run(wanted.clone()).unwrap().load_balancers;
    let second = bench.run(wanted).unwrap().load_balancers;
    let name = |id: LbId| bench.state.load_balancer(id).unwrap().name.clone();
    assert_eq!(name(first[0]), "web");
    assert!(
        [first[1], second[0], second[1]]
            .iter()
            .all(|id| name(*id) != "web")
    );
    assert_eq!(bench.state.domain_owner("shop"), Some(first[0]));
}

#[test]
fn a_freed_vip_is_given_out_again_last() {
    let mut bench = Bench::new();
    let ids = bench.create(2);
    let vip = |bench: &Bench, id: LbId| bench.state.load_balancer(id).unwrap().vip;
    assert_eq!(vip(&bench, ids[0]), ip("127.10.0.1"));
    let freed = vip(&bench, ids[0]);
    bench
        .run(Command::DeleteLoadBalancers {
            load_balancers: vec![ids[0]],
        })
        .unwrap();
    // /29 has six addresses: one is in use, one freed, four were never used.
    let fresh = bench.create(4);
    assert!(fresh.iter().all(|id| vip(&bench, *id) != freed));
    let last = bench.create(1);
    assert_eq!(vip(&bench, last[0]), freed);
    let error = bench
        .run(create_command(1, LoadBalancerType::Public))
        .unwrap_err();
    assert!(matches!(error, ModelError::NoVip(_)), "{error}");
}

#[test]
fn without_a_vip_for_each_nothing_is_created() {
    let mut bench = Bench::new();
    let before = picture(&bench.state);
    assert!(
        bench
            .run(create_command(7, LoadBalancerType::Public))
            .is_err()
    );
    assert_eq!(picture(&bench.state), before);
}

#[test]
fn listeners_are_refused_for_the_right_reason() {
    let mut bench = Bench::new();
    let lb = bench.create(1)[0];
    bench.run(listen(lb, &[80])).unwrap();
    assert!(matches!(
        bench.run(listen(lb, &[81, 80])),
        Err(ModelError::PortTaken { by: Some(_), .. })
    ));
    assert!(matches!(
        bench.run(listen(lb, &[81, 81])),
        Err(ModelError::PortTaken { by: None, .. })
    ));
    assert!(matches!(
        bench.run(listen(lb, &[81, 82, 83])),
        Err(ModelError::Limit {
            name: "listeners_per_load_balancer",
            max: 3
        })
    ));
    let ghost = LbId::from_number(7);
    assert!(matches!(
        bench.run(listen(ghost, &[1])),
        Err(ModelError::LoadBalancerNotFound(_))
    ));
    let mut http = listen(lb, &[81]);
    if let Command::CreateListeners { listeners, .. } = &mut http {
        listeners[0].protocol = Protocol::Http;
    }
    assert!(matches!(bench.run(http), Err(ModelError::NotAvailable(_))));
}

#[test]
fn a_change_is_checked_with_what_stays() {
    let mut bench = Bench::new();
    let lb = bench.create(1)[0];
    bench.run(listen(lb, &[80])).unwrap();
    let listener = bench.state.listeners_of(lb).next().unwrap().id;
    let modify = |patch| Command::ModifyListener {
        load_balancer: lb,
        listener,
        patch,
    };
    let slow = ListenerPatch {
        time_out: TimeOut::try_from(5).ok(),
        ..Default::default()
    };
    assert!(matches!(
        bench.run(modify(slow.clone())),
        Err(ModelError::Contradiction(_))
    ));
    let slower = ListenerPatch {
        interval_time: IntervalTime::try_from(6).ok(),
        ..slow
    };
    bench.run(modify(slower)).unwrap();
    let least = ListenerPatch {
        scheduler: Some(Scheduler::LeastConn),
        ..Default::default()
    };
    bench.run(modify(least)).unwrap();
    let sticky = ListenerPatch {
        session_expire: Some(SessionExpire::try_from(30).ok()),
        ..Default::default()
    };
    assert!(matches!(
        bench.run(modify(sticky)),
        Err(ModelError::Contradiction(_))
    ));
    assert!(
        bench
            .run(modify(ListenerPatch::default()))
            .unwrap()
            .changes
            .is_empty()
    );
    let http = ListenerPatch {
        layer7_parameter: Some("httpCode".to_owned()),
        ..Default::default()
    };
    assert!(matches!(
        bench.run(modify(http)),
        Err(ModelError::NotOfProtocol { .. })
    ));
}

#[test]
fn backends_that_must_not_be_bound() {
    let mut bench = Bench::new();
    let lb = bench.create(1)[0];
    for bad in [
        "ins-9",
        "Ins-1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
        "127.10.0.1",
        "::ffff:127.10.0.1",
    ] {
        let error = bench.run(bind(lb, &[bad], None)).unwrap_err();
        assert!(
            matches!(error, ModelError::BackendRefused { .. }),
            "{bad}: {error}"
        );
    }
    bench.run(bind(lb, &["ins-1"], None)).unwrap();
    let mut own = listen(lb, &[80]);
    if let Command::CreateListeners { listeners, .. } = &mut own {
        listeners[0].instance_port = Port::try_from(8443).unwrap();
    }
    assert!(matches!(
        bench.run(own.clone()),
        Err(ModelError::BackendRefused { .. })
    ));
    let other = bench.create(1)[0];
    if let Command::CreateListeners { load_balancer, .. } = &mut own {
        *load_balancer = other;
    }
    bench.run(own).unwrap();
    assert!(matches!(
        bench.run(bind(other, &["ins-1"], None)),
        Err(ModelError::BackendRefused { .. })
    ));
}

#[test]
fn binding_twice_sets_the_weight_or_keeps_it() {
    let mut bench = Bench::new();
    let lb = bench.create(1)[0];
    let weight = |bench: &Bench| bench.state.binding(lb, "ins-1").unwrap().weight.get();
    bench.run(bind(lb, &["ins-1", "127.0.0.9"], None)).unwrap();
    assert_eq!(weight(&bench), 10);
    bench.run(bind(lb, &["ins-1"], Some(3))).unwrap();
    assert_eq!(weight(&bench), 3);
    assert!(
        bench
            .run(bind(lb, &["ins-1"], None))
            .unwrap()
            .changes
            .is_empty()
    );
    let many = ["127.0.0.3", "127.0.0.4"];
    assert!(matches!(
        bench.run(bind(lb, &many, None)),
        Err(ModelError::Limit { .. })
    ));
    let unbind = |name: &str| Command::UnbindBackends {
        load_balancer: lb,
        instances: vec![name.to_owned()],
    };
    bench.run(unbind("ins-1")).unwrap();
    assert!(matches!(
        bench.run(unbind("ins-1")),
        Err(ModelError::NotBound { .. })
    ));
}

#[test]
fn an_instance_keeps_its_last_address_and_follows_a_new_one() {
    let mut bench = Bench::new();
    let lb = bench.create(1)[0];
    bench.run(bind(lb, &["ins-1"], None)).unwrap();
    let address = |bench: &Bench| bench.state.binding(lb, "ins-1").unwrap().address;
    bench.env.instances.remove("ins-1");
    assert!(
        bench
            .run(Command::FollowInstances)
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(address(&bench), ip("127.0.0.1"));
    assert!(
        bench.run(bind(lb, &["ins-1"], Some(1))).is_ok(),
        "still bound, so its weight can change"
    );
    bench.env.instances.insert(
        "ins-1".to_owned(),
        Instance {
            ip: ip("127.0.0.7"),
            name: String::new(),
            wan_ips: vec![],
        },
    );
    assert_eq!(
        bench.run(Command::FollowInstances).unwrap().load_balancers,
        [lb]
    );
    assert_eq!(address(&bench), ip("127.0.0.7"));
}

#[test]
fn a_failed_task_takes_later_ones_of_its_instance_along_where_it_must() {
    let mut bench = Bench::new();
    let ids = bench.create(2);
    let untouched = picture(&bench.state);
    let failing = bench.task(listen(ids[0], &[80]));
    let listener = bench.state.listeners_of(ids[0]).next().unwrap().id;
    let depends = bench.task(Command::DeleteListeners {
        load_balancer: ids[0],
        listeners: vec![listener],
    });
    let stands = bench.task(bind(ids[0], &["ins-1"], Some(7)));
    let other = bench.task(bind(ids[1], &["ins-2"], None));
    bench.fail(failing);
    let state = |id| bench.state.task(id).unwrap().state.clone();
    assert_eq!(
        state(failing),
        TaskState::Failed {
            message: "port taken".to_owned()
        }
    );
    assert!(
        matches!(state(depends), TaskState::Failed { message } if message.contains("does not exist"))
    );
    assert!(matches!(state(stands), TaskState::Pending { .. }));
    assert!(matches!(state(other), TaskState::Pending { .. }));
    assert_eq!(bench.state.listeners_of(ids[0]).count(), 0);
    assert_eq!(
        bench.state.binding(ids[0], "ins-1").unwrap().weight.get(),
        7
    );
    bench.fail(stands);
    bench.fail(other);
    assert_eq!(picture(&bench.state), untouched);
}

#[test]
fn success_makes_what_the_task_made_run() {
    let mut bench = Bench::new();
    let lb = bench.create(1)[0];
    let id = bench.task(listen(lb, &[80]));
    assert_eq!(
        bench.state.listeners_of(lb).next().unwrap().status,
        Status::Creating
    );
    let task = Arc::clone(bench.state.task(id).unwrap());
    for change in succeed(&bench.state, &task, NOW) {
        bench.state.apply(&change);
    }
    assert_eq!(
        bench.state.listeners_of(lb).next().unwrap().status,
        Status::Running
    );
    assert_eq!(bench.state.task(id).unwrap().state, TaskState::Succeeded);
    assert_eq!(bench.state.pending_tasks().count(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Delete(usize),
    Listen(usize, i64),
    Unlisten(usize, usize),
    Bind(usize, usize, Option<i64>),
    Unbind(usize, usize),
    Rename(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let lb = 0usize..4;
    prop_oneof![
        (1usize..3).prop_map(Step::Create),
        lb.clone().prop_map(Step::Delete),
        (lb.clone(), 80i64..84).prop_map(|(lb, port)| Step::Listen(lb, port)),
        (lb.clone(), 0usize..3).prop_map(|(lb, index)| Step::Unlisten(lb, index)),
        (lb.clone(), 0usize..4, prop::option::of(0i64..=100))
            .prop_map(|(lb, index, weight)| Step::Bind(lb, index, weight)),
        (lb.clone(), 0usize..4).prop_map(|(lb, index)| Step::Unbind(lb, index)),
        (lb, 0usize..4).prop_map(|(lb, index)| Step::Rename(lb, index)),
    ]
}

const MACHINES: [&str; 4] = ["ins-1", "ins-2", "127.0.0.3", "127.0.0.4"];

fn command(state: &State, step: &Step) -> Command {
    let lb = |index: usize| {
        state
            .load_balancers()
            .nth(index)
            .map_or(LbId::from_number(0), |lb| lb.id)
    };
    match step {
        Step::Create(number) => create_command(*number, LoadBalancerType::Public),
        Step::Delete(index) => Command::DeleteLoadBalancers {
            load_balancers: vec![lb(*index)],
        },
        Step::Listen(index, port) => listen(lb(*index), &[*port]),
        Step::Unlisten(index, which) => Command::DeleteListeners {
            load_balancer: lb(*index),
            listeners: state
                .listeners_of(lb(*index))
                .skip(*which)
                .take(1)
                .map(|l| l.id)
                .collect(),
        },
        Step::Bind(index, machine, weight) => bind(lb(*index), &[MACHINES[*machine]], *weight),
        Step::Unbind(index, machine) => Command::UnbindBackends {
            load_balancer: lb(*index),
            instances: vec![MACHINES[*machine].to_owned()],
        },
        Step::Rename(index, prefix) => Command::ModifyLoadBalancer {
            load_balancer: lb(*index),
            name: Some(format!("name-{prefix}")),
            domain_prefix: Some(format!("prefix-{prefix}")),
        },
    }
}

/// A state made from the stored form of another one's objects.
fn reloaded(state: &State) -> State {
    let mut copy = State::new(*state.counters());
    let objects = state
        .load_balancers()
        .cloned()
        .map(Object::LoadBalancer)
        .chain(state.listeners().cloned().map(Object::Listener))
        .chain(state.bindings().cloned().map(Object::Binding))
        .chain(
            state
                .freed_vips()
                .filter_map(|vip| state.object(&Key::FreedVip(vip))),
        )
        .chain(state.pending_tasks().cloned().map(Object::Task));
    for object in objects {
        let text = serde_json::to_string(&object).unwrap();
        copy.insert(&serde_json::from_str(&text).unwrap());
    }
    copy
}

proptest! {
    #[test]
    fn taking_back_is_the_inverse_of_applying(steps in prop::collection::vec(step(), 1..40)) {
        let mut bench = Bench::new();
        for step in &steps {
            let before = picture(&bench.state);
            let mut command = command(&bench.state, step);
            command.assign_ids(bench.state.counters_mut());
            let Ok(applied) = apply(&bench.state, &bench.env, &command) else {
                prop_assert_eq!(picture(&bench.state), before);
                continue;
            };
            applied.changes.iter().for_each(|change| bench.state.apply(change));
            let after = picture(&bench.state);
            for change in bench.state.taken_back(&applied.changes) {
                bench.state.apply(&change);
            }
            prop_assert_eq!(picture(&bench.state), before);
            applied.changes.iter().for_each(|change| bench.state.apply(change));
            prop_assert_eq!(picture(&bench.state), after);
        }
    }

    #[test]
    fn failing_every_task_in_any_order_leaves_nothing(
        steps in prop::collection::vec(step(), 1..20),
        order in any::<u64>(),
    ) {
        let mut bench = Bench::new();
        let untouched = picture(&bench.state);
        for step in &steps {
            let mut probe = command(&bench.state, step);
            probe.assign_ids(&mut bench.state.counters().clone());
            if apply(&bench.state, &bench.env, &probe).is_ok() {
                let again = command(&bench.state, step);
                bench.task(again);
            }
        }
        let mut random = order;
        loop {
            let pending: Vec<TaskId> = bench.state.pending_tasks().map(|task| task.id).collect();
            if pending.is_empty() {
                break;
            }
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
            bench.fail(pending[(random >> 33) as usize % pending.len()]);
        }
        prop_assert_eq!(picture(&bench.state), untouched);
    }

    #[test]
    fn the_stored_form_reads_back(steps in prop::collection::vec(step(), 1..30)) {
        let mut bench = Bench::new();
        for step in &steps {
            let next = command(&bench.state, step);
            let mut probe = next.clone();
            probe.assign_ids(&mut bench.state.counters().clone());
            if apply(&bench.state, &bench.env, &probe).is_ok() {
                bench.task(next);
            }
        }
        let copy = reloaded(&bench.state);
        prop_assert_eq!(picture(&copy), picture(&bench.state));
        let tasks = |state: &State| state.pending_tasks().cloned().collect::<Vec<_>>();
        prop_assert_eq!(tasks(&copy), tasks(&bench.state));
    }
}
