//! Redirects: what the workers are given, and when it is compiled anew.

use clb_model::{PathMap, RulePair};
use clb_snapshot::Redirect;

use super::*;

impl Bench {
    /// A second HTTP listener with these rules.
    fn second(&mut self, rules: Vec<NewRule>) -> ListenerId {
        self.listen(free_port()).unwrap();
        let listener = self.ahead.listeners().last().unwrap().id;
        self.ask(ApplicationCommand::CreateRules { listener, rules });
        listener
    }

    fn rule_of(&self, listener: ListenerId, domain: &str) -> RuleId {
        let found = self.ahead.rules_with_domain(listener, domain);
        found.first().unwrap().id
    }

    /// The redirect of a rule of the first listener to one of `to`.
    fn pair(&self, to: ListenerId, domain: &str) -> Vec<RulePair> {
        vec![RulePair {
            source: self.rule_of(self.listener, domain),
            target: self.rule_of(to, domain),
        }]
    }

    fn redirect(&self, host: &str) -> Option<Redirect> {
        self.route(host, "/")?.redirect.as_deref().cloned()
    }
}

fn redirected() -> (Bench, ListenerId) {
    let rules = || vec![rule("a.com", "/", false), rule("b.com", "/", false)];
    let mut bench = Bench::web(rules());
    let to = bench.second(rules());
    let (from, rules) = (bench.listener, bench.pair(to, "a.com"));
    let (_, published) = bench.ask(ApplicationCommand::Redirect { from, to, rules });
    assert!(published.is_some());
    (bench, to)
}

#[test]
fn a_redirect_is_its_rules_and_follows_the_targets_url() {
    let (mut bench, to) = redirected();
    let port = bench.ahead.listener(to).unwrap().port;
    let wanted = |path| Redirect {
        protocol: Protocol::Http,
        port,
        path,
    };
    assert_eq!(bench.redirect("a.com"), Some(wanted(PathMap::Kept)));
    assert_eq!(bench.redirect("b.com"), None);
    let (a, b) = (
        bench.route("a.com", "/").unwrap(),
        bench.route("b.com", "/").unwrap(),
    );
    let rule = bench.rule_of(to, "a.com");
    let (_, published) = bench.ask(ApplicationCommand::ModifyRule {
        listener: to,
        rule,
        patch: Box::new(RulePatch {
            url: UrlPattern::parse("/new").ok(),
            ..RulePatch::default()
        }),
    });
    assert!(published.is_some());
    let moved = PathMap::Prefix {
        from: "/".to_owned(),
        to: "/new".to_owned(),
    };
    assert_eq!(bench.redirect("a.com"), Some(wanted(moved)));
    let again = bench.route("a.com", "/").unwrap();
    assert!(Arc::ptr_eq(&again.pool, &a.pool));
    assert!(Arc::ptr_eq(&bench.route("b.com", "/").unwrap(), &b));
    // The target's domain is not in the address.
    let other = bench.route("a.com", "/").unwrap();
    bench.ask(ApplicationCommand::RenameDomain {
        listener: to,
        domain: "a.com".to_owned(),
        new_domain: DomainPattern::parse("c.com").unwrap(),
    });
    assert!(Arc::ptr_eq(&bench.route("a.com", "/").unwrap(), &other));
}

#[test]
fn a_redirected_rule_keeps_its_backends() {
    let (mut bench, to) = redirected();
    bench.bind(Some("a.com"), 1);
    assert_eq!(bench.members("a.com"), ["192.0.2.1:80"]);
    let (from, rules) = (bench.listener, bench.pair(to, "a.com"));
    bench.ask(ApplicationCommand::DeleteRedirects { from, to, rules });
    assert_eq!(bench.redirect("a.com"), None);
    assert_eq!(bench.members("a.com"), ["192.0.2.1:80"]);
}

#[test]
fn a_redirect_goes_with_its_target() {
    for whole_listener in [false, true] {
        let (mut bench, to) = redirected();
        bench.ask(match whole_listener {
            true => ApplicationCommand::DeleteListeners {
                listeners: vec![to],
            },
            false => ApplicationCommand::DeleteRules {
                listener: to,
                rules: RuleSelection::default(),
            },
        });
        assert_eq!(bench.redirect("a.com"), None);
        assert!(bench.route("a.com", "/").is_some());
    }
}

#[test]
fn a_late_task_takes_its_redirects_back() {
    let (mut bench, to) = redirected();
    let (load_balancer, from) = (bench.lb, bench.listener);
    let rules = bench.pair(to, "b.com");
    let changes = bench.changes(Command::Application {
        load_balancer,
        command: ApplicationCommand::Redirect { from, to, rules },
    });
    bench.plane.apply(&changes, &mut bench.health).unwrap();
    bench.plane.publish();
    assert!(bench.redirect("b.com").is_some());
    bench.plane.take_back(&changes, &mut bench.health);
    bench.plane.publish();
    assert!(bench.redirect("b.com").is_none());
    assert!(bench.redirect("a.com").is_some());
}

#[test]
fn a_start_serves_redirects() {
    let (mut bench, to) = redirected();
    let stored = bench.ahead.clone();
    let before = bench.redirect("a.com");
    assert!(before.is_some());
    // The old process is gone.
    bench.plane = Plane::new(
        State::new(Counters::new(7)),
        board(),
        ProbeSettings::default(),
    );
    bench.plane = Plane::new(stored, board(), ProbeSettings::default());
    bench
        .plane
        .start(&mut bench.health, NOW.0, Default::default());
    bench.plane.publish();
    assert_eq!(
        (bench.plane.unbound(), bench.redirect("a.com")),
        (0, before)
    );
    assert!(bench.plane.state.listener(to).is_some());
}
