//! What holds after any sequence of commands.

use proptest::prelude::*;

use super::application::{application_instance, http_listener, new_rules, target, tcp_listener};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    CreateApplication,
    Delete(usize),
    Listen(usize, i64),
    Unlisten(usize, usize),
    Bind(usize, usize, Option<i64>),
    Unbind(usize, usize),
    Rename(usize, usize),
    Health(usize, bool, i64),
    Application(usize, usize, Application),
}

/// What happens to an application-based instance's listener, or to the first of its rules.
#[derive(Debug, Clone)]
enum Application {
    Rename(usize),
    Listen(i64, bool),
    Unlisten,
    Rules(Vec<(usize, usize)>),
    RenameDomain(usize, usize),
    Modify(usize),
    ModifyFourth(Scheduler, i64),
    Unrule(usize),
    Bind(Option<usize>, usize, i64, Option<i64>),
    Reweight(Option<usize>, usize, i64, i64),
    Move(Option<usize>, usize, i64, i64),
    Unbind(Option<usize>, usize, i64),
}

fn application() -> impl Strategy<Value = Application> {
    use Application::*;
    let domain = 0usize..3;
    let of = || prop::option::of(0usize..3);
    let port = 9000i64..9003;
    let machine = 0usize..4;
    prop_oneof![
        1 => (0usize..4).prop_map(Rename),
        3 => (80i64..83, any::<bool>()).prop_map(|(port, tcp)| Listen(port, tcp)),
        1 => Just(Unlisten),
        4 => prop::collection::vec((domain.clone(), 0usize..3), 1..3).prop_map(Rules),
        2 => (domain.clone(), domain.clone()).prop_map(|(from, to)| RenameDomain(from, to)),
        2 => (0usize..3).prop_map(Modify),
        2 => (prop_oneof![Just(Scheduler::Wrr), Just(Scheduler::LeastConn)], 2i64..=5)
            .prop_map(|(scheduler, time_out)| ModifyFourth(scheduler, time_out)),
        1 => domain.prop_map(Unrule),
        5 => (of(), machine.clone(), port.clone(), prop::option::of(0i64..=100))
            .prop_map(|(of, machine, port, weight)| Bind(of, machine, port, weight)),
        2 => (of(), machine.clone(), port.clone(), 0i64..=100)
            .prop_map(|(of, machine, port, weight)| Reweight(of, machine, port, weight)),
        2 => (of(), machine.clone(), port.clone(), port.clone())
            .prop_map(|(of, machine, from, to)| Move(of, machine, from, to)),
        2 => (of(), machine, port).prop_map(|(of, machine, port)| Unbind(of, machine, port)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let lb = 0usize..4;
    prop_oneof![
        1 => (1usize..3).prop_map(Step::Create),
        1 => Just(Step::CreateApplication),
        1 => lb.clone().prop_map(Step::Delete),
        1 => (lb.clone(), 80i64..84).prop_map(|(lb, port)| Step::Listen(lb, port)),
        1 => (lb.clone(), 0usize..3).prop_map(|(lb, index)| Step::Unlisten(lb, index)),
        1 => (lb.clone(), 0usize..4, prop::option::of(0i64..=100))
            .prop_map(|(lb, index, weight)| Step::Bind(lb, index, weight)),
        1 => (lb.clone(), 0usize..4).prop_map(|(lb, index)| Step::Unbind(lb, index)),
        1 => (lb.clone(), 0usize..4).prop_map(|(lb, index)| Step::Rename(lb, index)),
        1 => (lb.clone(), any::<bool>(), 2i64..=6)
            .prop_map(|(lb, enabled, time_out)| Step::Health(lb, enabled, time_out)),
        8 => (lb, 0usize..2, application())
            .prop_map(|(lb, listener, what)| Step::Application(lb, listener, what)),
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
        Step::CreateApplication => application_instance(),
        Step::Application(index, listener, what) => {
            application_command(state, lb(*index), *listener, what)
        }
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
        Step::Health(index, enabled, time_out) => Command::ModifyHealth {
            load_balancer: lb(*index),
            health: HealthTimes {
                enabled: *enabled,
                time_out: TimeOut::try_from(*time_out).unwrap(),
                interval_time: IntervalTime::try_from(5).unwrap(),
                health_num: CheckCount::try_from(2).unwrap(),
                unhealth_num: CheckCount::try_from(2).unwrap(),
            },
        },
        Step::Rename(index, prefix) => Command::ModifyLoadBalancer {
            load_balancer: lb(*index),
            name: Some(format!("name-{prefix}")),
            domain_prefix: Some(format!("prefix-{prefix}")),
        },
    }
}

const DOMAINS: [&str; 3] = ["www.a.com", "*.a.com", "~^x"];
const URLS: [&str; 3] = ["/", "= /a", "~ b"];

fn application_command(state: &State, lb: LbId, listener: usize, what: &Application) -> Command {
    let listener = state
        .listeners_of(lb)
        .nth(listener)
        .map_or(ListenerId::from_number(0), |listener| listener.id);
    let selection = |domain: &Option<usize>| RuleSelection {
        domain: domain.map(|index| DOMAINS[index].to_owned()),
        ..RuleSelection::default()
    };
    let target = |machine: usize, port: i64| target(MACHINES[machine], port);
    let weight = |weight: i64| Weight::try_from(weight).ok();
    let command = match what {
        Application::Rename(index) => ApplicationCommand::Rename {
            name: format!("name-{index}"),
        },
        Application::Listen(port, tcp) => ApplicationCommand::CreateListeners {
            now: NOW,
            listeners: vec![match tcp {
                true => tcp_listener(*port),
                false => http_listener(*port),
            }],
        },
        Application::Unlisten => ApplicationCommand::DeleteListeners {
            listeners: vec![listener],
        },
        Application::Rules(rules) => {
            let named: Vec<_> = rules
                .iter()
                .map(|(domain, url)| (DOMAINS[*domain], URLS[*url]))
                .collect();
            ApplicationCommand::CreateRules {
                listener,
                rules: new_rules(&named),
            }
        }
        Application::RenameDomain(from, to) => ApplicationCommand::RenameDomain {
            listener,
            domain: DOMAINS[*from].to_owned(),
            new_domain: DomainPattern::parse(DOMAINS[*to]).unwrap(),
        },
        Application::Modify(url) => ApplicationCommand::ModifyRule {
            listener,
            rule: state
                .rules_of(listener)
                .next()
                .map_or(RuleId::from_number(0), |rule| rule.id),
            patch: Box::new(RulePatch {
                url: UrlPattern::parse(URLS[*url]).ok(),
                ..RulePatch::default()
            }),
        },
        Application::ModifyFourth(scheduler, time_out) => {
            ApplicationCommand::ModifyFourthListener {
                listener,
                patch: Box::new(ListenerPatch {
                    scheduler: Some(*scheduler),
                    time_out: TimeOut::try_from(*time_out).ok(),
                    ..ListenerPatch::default()
                }),
            }
        }
        Application::Unrule(domain) => ApplicationCommand::DeleteRules {
            listener,
            rules: selection(&Some(*domain)),
        },
        Application::Bind(domain, machine, port, given) => ApplicationCommand::Bind {
            now: NOW,
            listener,
            rules: selection(domain),
            backends: vec![TargetWeight {
                target: target(*machine, *port),
                weight: given.and_then(weight),
            }],
        },
        Application::Reweight(domain, machine, port, given) => ApplicationCommand::Reweight {
            listener,
            rules: selection(domain),
            backends: vec![TargetWeight {
                target: target(*machine, *port),
                weight: weight(*given),
            }],
        },
        Application::Move(domain, machine, from, to) => ApplicationCommand::MovePorts {
            listener,
            rules: selection(domain),
            backends: vec![PortMove {
                target: target(*machine, *from),
                port: Port::try_from(*to).unwrap(),
                weight: None,
            }],
        },
        Application::Unbind(domain, machine, port) => ApplicationCommand::Unbind {
            listener,
            rules: selection(domain),
            backends: vec![target(*machine, *port)],
        },
    };
    Command::Application {
        load_balancer: lb,
        command,
    }
}

/// Every index agrees with the objects themselves.
pub(super) fn check_indexes(state: &State) {
    for (index, length, expected) in state.lengths() {
        assert_eq!(length, expected, "{index}");
    }
    for rule in state.rules() {
        assert_eq!(
            state.rule_at(rule.listener, &rule.domain, &rule.url),
            Some(rule.id)
        );
        assert!(
            state.listener(rule.listener).is_some(),
            "an orphan: {rule:?}"
        );
    }
    for listener in state.listeners() {
        assert_eq!(
            state.rule_count(listener.id),
            state.rules_of(listener.id).count()
        );
    }
    let mut found = 0;
    for lb in state.load_balancers() {
        for binding in state.bindings_under(lb.id) {
            found += 1;
            let by_place = state.binding(binding.owner(), &binding.instance, binding.port());
            assert_eq!(by_place.map(|by| by.id), Some(binding.id));
        }
    }
    assert_eq!(found, state.bindings().count(), "bindings without an owner");
}

/// A state made from the stored form of another one's objects.
fn reloaded(state: &State) -> State {
    let mut copy = State::new(*state.counters());
    let objects = state
        .load_balancers()
        .cloned()
        .map(Object::LoadBalancer)
        .chain(state.listeners().cloned().map(Object::Listener))
        .chain(state.rules().cloned().map(Object::Rule))
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
    fn taking_back_is_the_inverse_of_applying(steps in prop::collection::vec(step(), 1..60)) {
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
            check_indexes(&bench.state);
        }
    }

    #[test]
    fn failing_every_task_in_any_order_leaves_nothing(
        steps in prop::collection::vec(step(), 1..40),
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
    fn the_stored_form_reads_back(steps in prop::collection::vec(step(), 1..50)) {
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
