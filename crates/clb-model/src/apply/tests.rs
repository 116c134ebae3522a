use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::command::{BackendWeight, ListenerPatch, NewListener};
use crate::*;

mod application;
mod certificates;
mod classic_http;
mod properties;
mod redirect_properties;
mod redirects;

pub(super) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub(super) fn ip(text: &str) -> IpAddr {
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
        certificates: HashMap::new(),
        backend_networks: vec!["0.0.0.0/0".parse().unwrap()],
        own_sockets: vec!["127.0.0.1:8443".parse().unwrap()],
        http_method: ProbeMethod::Get,
        limits: Limits {
            load_balancers: 100,
            listeners_per_load_balancer: 3,
            rules_per_listener: 6,
            backends_per_pool: 3,
            certificates: 3,
        },
    }
}

/// A state with the machinery round it that the control plane has.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) env: Env,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            state: State::new(Counters::new(42)),
            env: env(),
        }
    }

    pub(super) fn run(&mut self, mut command: Command) -> Result<Applied, ModelError> {
        command.assign_ids(self.state.counters_mut());
        let applied = apply(&self.state, &self.env, &command)?;
        applied
            .changes
            .iter()
            .for_each(|change| self.state.apply(change));
        Ok(applied)
    }

    /// Runs a command as a pending task.
    pub(super) fn task(&mut self, mut command: Command) -> TaskId {
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

    pub(super) fn create(&mut self, number: usize) -> Vec<LbId> {
        self.run(create_command(number, LoadBalancerType::Public))
            .unwrap()
            .load_balancers
    }

    pub(super) fn fail(&mut self, id: TaskId) -> Vec<Change> {
        fail(&mut self.state, &self.env, id, "port taken", NOW)
    }
}

pub(super) fn create_command(number: usize, network_type: LoadBalancerType) -> Command {
    Command::CreateLoadBalancers(CreateLoadBalancers {
        ids: vec![],
        number,
        now: NOW,
        order_number: 0x59b2_5ffb,
        network_type,
        family: Family::Classic,
        name: None,
        domain_prefix: None,
        vip: None,
        vpc: NetworkChoice::Number(0),
        subnet: NetworkChoice::Number(0),
        project_id: 0,
        special: None,
        client_ip: ClientIp::Gateway,
    })
}

pub(super) fn health() -> HealthCheck {
    HealthCheck {
        enabled: true,
        time_out: TimeOut::try_from(2).unwrap(),
        interval_time: IntervalTime::try_from(5).unwrap(),
        health_num: CheckCount::try_from(3).unwrap(),
        unhealth_num: CheckCount::try_from(3).unwrap(),
        http: None,
    }
}

pub(super) fn listen(load_balancer: LbId, ports: &[i64]) -> Command {
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
            tls: None,
        })
        .collect();
    Command::CreateListeners {
        load_balancer,
        now: NOW,
        listeners,
    }
}

pub(super) fn bind(load_balancer: LbId, instances: &[&str], weight: Option<i64>) -> Command {
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
        now: NOW,
        backends,
    }
}

/// Everything but what only rises.
pub(super) fn picture(state: &State) -> String {
    let mut freed: Vec<IpAddr> = state.freed_vips().collect();
    freed.sort();
    format!(
        "{:?} {:?} {:?} {:?} {freed:?}",
        state.load_balancers().collect::<Vec<_>>(),
        state.listeners().collect::<Vec<_>>(),
        state.rules().collect::<Vec<_>>(),
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
    // Without a certificate.
    let mut listener = listen(lb, &[81]);
    if let Command::CreateListeners { listeners, .. } = &mut listener {
        listeners[0].protocol = Protocol::Https;
    }
    let refused = bench.run(listener);
    assert!(matches!(refused, Err(ModelError::Contradiction(_))));
    // A port of a classic instance has one protocol.
    let mut listener = listen(lb, &[80]);
    if let Command::CreateListeners { listeners, .. } = &mut listener {
        listeners[0].protocol = Protocol::Udp;
    }
    let refused = bench.run(listener);
    assert!(matches!(refused, Err(ModelError::PortTaken { .. })));
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
    let weight = |bench: &Bench| {
        bench
            .state
            .binding(Owner::LoadBalancer(lb), "ins-1", None)
            .unwrap()
            .weight
            .get()
    };
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
    let address = |bench: &Bench| {
        bench
            .state
            .binding(Owner::LoadBalancer(lb), "ins-1", None)
            .unwrap()
            .address
    };
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
        bench
            .state
            .binding(Owner::LoadBalancer(ids[0]), "ins-1", None)
            .unwrap()
            .weight
            .get(),
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

#[test]
fn a_wanted_vip_is_given_or_refused_with_the_reason() {
    let mut bench = Bench::new();
    bench.env.own_sockets = vec!["127.10.0.6:8443".parse().unwrap()];
    let wanted = |vip: &str| {
        let Command::CreateLoadBalancers(create) = create_command(1, LoadBalancerType::Public)
        else {
            unreachable!()
        };
        Command::CreateLoadBalancers(CreateLoadBalancers {
            vip: Some(ip(vip)),
            ..create
        })
    };
    let made = bench.run(wanted("127.10.0.3")).unwrap().load_balancers;
    let lb = bench.state.load_balancer(made[0]).unwrap().clone();
    assert_eq!(lb.vip, ip("127.10.0.3"));
    bench.run(bind(made[0], &["127.10.0.5"], None)).unwrap();
    for (vip, reason) in [
        ("127.11.0.1", "it is not in [vips] public"),
        ("127.10.0.3", "it is the VIP of a load balancer"),
        ("127.10.0.5", "it is the address of a backend"),
        ("127.10.0.6", "the gateway itself listens there"),
    ] {
        let error = bench.run(wanted(vip)).unwrap_err();
        assert_eq!(error, ModelError::NoVip(format!("vip={vip}: {reason}")));
    }
    // What was freed is no longer among the free ones.
    bench
        .run(Command::DeleteLoadBalancers {
            load_balancers: made.clone(),
        })
        .unwrap();
    let task = bench.state.pending_tasks().map(|task| task.id).max();
    if let Some(task) = task {
        let task = bench.state.task(task).unwrap().clone();
        for change in succeed(&bench.state, &task, NOW) {
            bench.state.apply(&change);
        }
    }
    bench.run(wanted("127.10.0.3")).unwrap();
    assert!(!bench.state.is_freed(ip("127.10.0.3")));
}
