//! What holds of redirects after any sequence of commands.

use proptest::prelude::*;

use super::application::{http_listener, new_rules, target};
use super::certificates::{https, tls, upload};
use super::properties::check_indexes;
use super::redirects::{NO_RULE, Site};
use super::*;
use crate::command::RulePair;

#[derive(Debug, Clone)]
enum Step {
    Listen(usize),
    Unlisten(Vec<usize>),
    Rules(usize, usize, usize),
    Unrule(usize, usize),
    RenameDomain(usize, usize, usize),
    ModifyUrl(usize, usize),
    Bind(usize),
    Redirect(Vec<(usize, usize)>),
    Auto(Option<usize>),
    Undo(usize),
}

const PORTS: [i64; 3] = [443, 80, 8080];
const DOMAINS: [&str; 2] = ["a.com", "*.a.com"];
const URLS: [&str; 5] = ["/", "/a", "= /a", "^~ /a", "~ b"];

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let (port, domain, url) = (0usize..3, 0usize..2, 0usize..5);
    let rule = 0usize..12;
    prop_oneof![
        1 => port.clone().prop_map(Listen),
        1 => prop::collection::vec(port.clone(), 1..3).prop_map(Unlisten),
        6 => (port.clone(), domain.clone(), url.clone()).prop_map(|(p, d, u)| Rules(p, d, u)),
        1 => (port.clone(), domain.clone()).prop_map(|(port, domain)| Unrule(port, domain)),
        1 => (port, domain.clone(), domain.clone()).prop_map(|(p, d, n)| RenameDomain(p, d, n)),
        8 => (rule.clone(), url).prop_map(|(rule, url)| ModifyUrl(rule, url)),
        1 => rule.clone().prop_map(Bind),
        10 => prop::collection::vec((rule.clone(), rule.clone()), 1..3).prop_map(Redirect),
        2 => prop::option::of(domain).prop_map(Auto),
        2 => rule.prop_map(Undo),
    ]
}

fn nth(state: &State, index: usize) -> Option<&Arc<Rule>> {
    let count = state.rules().count();
    state.rules().nth(index % count.max(1))
}

/// The listener and id of a rule, or those of none.
fn place(state: &State, index: usize) -> (ListenerId, RuleId) {
    nth(state, index).map_or((ListenerId::from_number(0), NO_RULE()), |rule| {
        (rule.listener, rule.id)
    })
}

fn command(site: &Site, step: &Step) -> Command {
    let state = site.state();
    let by_domain = |domain: usize| RuleSelection {
        domain: Some(DOMAINS[domain].to_owned()),
        ..RuleSelection::default()
    };
    let command = match step {
        Step::Listen(0) => return https(site.lb, vec![(443, tls(upload(1)))]),
        Step::Listen(port) => ApplicationCommand::CreateListeners {
            now: NOW,
            listeners: vec![http_listener(PORTS[*port])],
        },
        Step::Unlisten(ports) => ApplicationCommand::DeleteListeners {
            listeners: ports.iter().map(|port| site.at(PORTS[*port])).collect(),
        },
        Step::Rules(port, domain, url) => ApplicationCommand::CreateRules {
            listener: site.at(PORTS[*port]),
            rules: new_rules(&[(DOMAINS[*domain], URLS[*url])]),
        },
        Step::Unrule(port, domain) => ApplicationCommand::DeleteRules {
            listener: site.at(PORTS[*port]),
            rules: by_domain(*domain),
        },
        Step::RenameDomain(port, from, to) => ApplicationCommand::RenameDomain {
            listener: site.at(PORTS[*port]),
            domain: DOMAINS[*from].to_owned(),
            new_domain: DomainPattern::parse(DOMAINS[*to]).unwrap(),
        },
        Step::ModifyUrl(rule, url) => {
            let (listener, rule) = place(state, *rule);
            ApplicationCommand::ModifyRule {
                listener,
                rule,
                patch: Box::new(RulePatch {
                    url: UrlPattern::parse(URLS[*url]).ok(),
                    ..RulePatch::default()
                }),
            }
        }
        Step::Bind(rule) => {
            let (listener, rule) = place(state, *rule);
            ApplicationCommand::Bind {
                now: NOW,
                listener,
                rules: RuleSelection {
                    rules: vec![rule],
                    ..RuleSelection::default()
                },
                backends: vec![TargetWeight {
                    target: target("ins-1", 9000),
                    weight: None,
                }],
            }
        }
        Step::Redirect(pairs) => {
            let places = |(s, t): &(usize, usize)| (place(state, *s), place(state, *t));
            let places: Vec<_> = pairs.iter().map(places).collect();
            ApplicationCommand::Redirect {
                from: places[0].0.0,
                to: places[0].1.0,
                rules: places
                    .iter()
                    .map(|((_, source), (_, target))| RulePair {
                        source: *source,
                        target: *target,
                    })
                    .collect(),
            }
        }
        Step::Auto(domain) => {
            let domain = domain.map(|domain| DOMAINS[domain]);
            site.auto(443, domain.as_slice())
        }
        Step::Undo(index) => {
            let redirected: Vec<_> = state
                .rules()
                .filter(|rule| rule.redirect_to.is_some())
                .collect();
            let source = redirected.get(*index % redirected.len().max(1));
            let target = source.and_then(|source| state.rule(source.redirect_to?));
            let of = |rule: Option<&Arc<Rule>>| {
                rule.map_or((ListenerId::from_number(0), NO_RULE()), |rule| {
                    (rule.listener, rule.id)
                })
            };
            let ((from, source), (to, target)) = (of(source.copied()), of(target));
            ApplicationCommand::DeleteRedirects {
                from,
                to,
                rules: vec![RulePair { source, target }],
            }
        }
    };
    Command::Application {
        load_balancer: site.lb,
        command,
    }
}

/// No redirect dangles, none leads on to another one, and within a listener none comes back.
fn check_redirects(state: &State) {
    for source in state.rules() {
        let Some(id) = source.redirect_to else {
            continue;
        };
        let target = state
            .rule(id)
            .unwrap_or_else(|| panic!("dangling: {source:?}"));
        assert_eq!(target.redirect_to, None, "a chain: {source:?} {target:?}");
        assert_eq!(source.load_balancer, target.load_balancer);
        assert!(state.redirected_to(id).any(|found| found.id == source.id));
        if source.listener == target.listener {
            assert_eq!(source.domain.key(), target.domain.key());
            assert_ne!(PathMap::of(&source.url, &target.url), PathMap::Kept);
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_leaves_a_loop_a_chain_or_a_loose_end(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut site = Site::new(&[80, 8080]);
        for step in &steps {
            let before = picture(site.state());
            let mut command = command(&site, step);
            command.assign_ids(site.bench.state.counters_mut());
            let Ok(applied) = apply(&site.bench.state, &site.bench.env, &command) else {
                prop_assert_eq!(picture(site.state()), before);
                continue;
            };
            applied.changes.iter().for_each(|change| site.bench.state.apply(change));
            let after = picture(site.state());
            for change in site.bench.state.taken_back(&applied.changes) {
                site.bench.state.apply(&change);
            }
            prop_assert_eq!(picture(site.state()), before);
            check_indexes(site.state());
            applied.changes.iter().for_each(|change| site.bench.state.apply(change));
            prop_assert_eq!(picture(site.state()), after);
            check_indexes(site.state());
            check_redirects(site.state());
        }
    }

    #[test]
    fn nor_does_a_task_that_fails(
        steps in prop::collection::vec(step(), 1..40),
        order in any::<u64>(),
    ) {
        let mut site = Site::new(&[80, 8080]);
        let untouched = picture(site.state());
        for step in &steps {
            let mut probe = command(&site, step);
            probe.assign_ids(&mut site.bench.state.counters().clone());
            if apply(&site.bench.state, &site.bench.env, &probe).is_ok() {
                let again = command(&site, step);
                site.bench.task(again);
            }
        }
        let mut random = order;
        loop {
            let pending: Vec<TaskId> = site.state().pending_tasks().map(|task| task.id).collect();
            if pending.is_empty() {
                break;
            }
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
            site.bench.fail(pending[(random >> 33) as usize % pending.len()]);
            check_indexes(site.state());
            check_redirects(site.state());
        }
        prop_assert_eq!(picture(site.state()), untouched);
    }
}
