//! Redirects between rules.

use super::application::{
    application_instance, http_listener, new_rules, rule_settings, target, tcp_listener,
};
use super::certificates::{https, tls, upload};
use super::properties::check_indexes;
use super::*;
use crate::command::{AutoRedirect, RulePair};

/// Nobody's rule.
pub(super) const NO_RULE: fn() -> RuleId = || RuleId::from_number(0);

/// An instance with an HTTPS listener at port 443 and HTTP listeners at those that are named.
pub(super) struct Site {
    pub(super) bench: Bench,
    pub(super) lb: LbId,
}

impl Site {
    pub(super) fn new(http_ports: &[i64]) -> Self {
        let mut bench = Bench::new();
        bench.env.limits.listeners_per_load_balancer = 4;
        let lb = bench.run(application_instance()).unwrap().load_balancers[0];
        bench.run(https(lb, vec![(443, tls(upload(1)))])).unwrap();
        let mut site = Self { bench, lb };
        for port in http_ports {
            site.listen(http_listener(*port)).unwrap();
        }
        site
    }

    pub(super) fn state(&self) -> &State {
        &self.bench.state
    }

    fn run(&mut self, command: ApplicationCommand) -> Result<Applied, ModelError> {
        self.bench.run(Command::Application {
            load_balancer: self.lb,
            command,
        })
    }

    fn refusal(&mut self, command: ApplicationCommand) -> String {
        let before = picture(self.state());
        let error = self.run(command).unwrap_err();
        assert_eq!(picture(self.state()), before);
        assert!(matches!(error, ModelError::Contradiction(_)), "{error:?}");
        error.to_string()
    }

    fn listen(&mut self, listener: NewApplicationListener) -> Result<Applied, ModelError> {
        self.run(ApplicationCommand::CreateListeners {
            now: NOW,
            listeners: vec![listener],
        })
    }

    fn listener(&self, port: i64) -> Option<ListenerId> {
        let port = Port::try_from(port).unwrap();
        self.state().listener_at(self.lb, port)
    }

    pub(super) fn at(&self, port: i64) -> ListenerId {
        self.listener(port).unwrap_or(ListenerId::from_number(0))
    }

    fn create(&mut self, port: i64, rules: &[(&str, &str)]) {
        self.run(ApplicationCommand::CreateRules {
            listener: self.at(port),
            rules: new_rules(rules),
        })
        .unwrap();
    }

    fn rule(&self, port: i64, domain: &str, url: &str) -> Option<Arc<Rule>> {
        let (domain, url) = (DomainPattern::parse(domain), UrlPattern::parse(url));
        let id = self
            .state()
            .rule_at(self.at(port), &domain.unwrap(), &url.unwrap())?;
        self.state().rule(id).cloned()
    }

    fn id(&self, (port, domain, url): Place) -> RuleId {
        self.rule(port, domain, url)
            .map_or_else(NO_RULE, |rule| rule.id)
    }

    fn pair(&self, source: Place, target: Place) -> RulePair {
        RulePair {
            source: self.id(source),
            target: self.id(target),
        }
    }

    fn redirect(&self, pairs: &[(Place, Place)]) -> ApplicationCommand {
        ApplicationCommand::Redirect {
            from: self.at(pairs[0].0.0),
            to: self.at(pairs[0].1.0),
            rules: pairs.iter().map(|(s, t)| self.pair(*s, *t)).collect(),
        }
    }

    fn delete(&self, pairs: &[(Place, Place)]) -> ApplicationCommand {
        ApplicationCommand::DeleteRedirects {
            from: self.at(pairs[0].0.0),
            to: self.at(pairs[0].1.0),
            rules: pairs.iter().map(|(s, t)| self.pair(*s, *t)).collect(),
        }
    }

    pub(super) fn auto(&self, port: i64, domains: &[&str]) -> ApplicationCommand {
        let rules = self.state().rules_of(self.at(port));
        ApplicationCommand::AutoRedirect(Box::new(AutoRedirect {
            now: NOW,
            listener: self.at(port),
            domains: domains.iter().map(ToString::to_string).collect(),
            new_listener: ListenerId::from_number(0),
            new_rules: rules
                .map(|rule| RulePair {
                    source: NO_RULE(),
                    target: rule.id,
                })
                .collect(),
            settings: rule_settings(),
        }))
    }

    fn bind(&mut self, place: Place) {
        let rules = RuleSelection {
            rules: vec![self.id(place)],
            ..RuleSelection::default()
        };
        self.run(ApplicationCommand::Bind {
            now: NOW,
            listener: self.at(place.0),
            rules,
            backends: vec![TargetWeight {
                target: target("ins-1", 9000),
                weight: None,
            }],
        })
        .unwrap();
    }

    fn unrule(&mut self, port: i64, domain: &str) {
        self.run(ApplicationCommand::DeleteRules {
            listener: self.at(port),
            rules: RuleSelection {
                domain: Some(domain.to_owned()),
                ..RuleSelection::default()
            },
        })
        .unwrap();
    }

    /// Where a rule is redirected to.
    fn to(&self, place: Place) -> Option<RuleId> {
        self.rule(place.0, place.1, place.2).unwrap().redirect_to
    }

    /// Rules of a port: domain, url, whether AutoRewrite made it, whether it is redirected.
    fn rules(&self, port: i64) -> Vec<(String, String, bool, bool)> {
        let rules = self.state().rules_of(self.at(port));
        rules
            .map(|rule| {
                let (domain, url) = (rule.domain.to_string(), rule.url.to_string());
                (domain, url, rule.auto_created, rule.redirect_to.is_some())
            })
            .collect()
    }
}

/// Port, domain and url.
type Place = (i64, &'static str, &'static str);

const A: Place = (80, "a.com", "/");
const A_OLD: Place = (80, "a.com", "/old");
const A_NEW: Place = (80, "a.com", "/new");
const B: Place = (80, "b.com", "/");
const TLS_A: Place = (443, "a.com", "/");
const TLS_A_API: Place = (443, "a.com", "/api");
const TLS_B: Place = (443, "b.com", "/");

/// Rules at ports 80 and 443.
fn site() -> Site {
    let mut site = Site::new(&[80]);
    let plain = [
        ("a.com", "/"),
        ("a.com", "/old"),
        ("a.com", "/new"),
        ("b.com", "/"),
    ];
    site.create(80, &plain);
    site.create(443, &[("a.com", "/"), ("a.com", "/api"), ("b.com", "/")]);
    site
}

#[test]
fn a_rule_has_one_target() {
    let mut site = site();
    site.run(site.redirect(&[(A, TLS_A), (B, TLS_B)])).unwrap();
    assert_eq!(site.to(A), Some(site.id(TLS_A)));
    assert_eq!(site.to(B), Some(site.id(TLS_B)));
    let again = site.run(site.redirect(&[(A, TLS_A)])).unwrap();
    assert_eq!(again.changes, vec![]);
    assert_eq!(again.load_balancers, vec![site.lb]);
    let (source_rule, target) = (site.id(A), site.id(TLS_A));
    let taken = ModelError::RuleRedirected {
        source_rule,
        target,
    };
    assert_eq!(
        site.run(site.redirect(&[(A, TLS_A_API)])).unwrap_err(),
        taken
    );
    // All or nothing, and two targets in one request are two targets.
    let both = site.redirect(&[(A_OLD, TLS_A), (A_OLD, TLS_A_API)]);
    assert!(matches!(
        site.run(both),
        Err(ModelError::RuleRedirected { .. })
    ));
    assert_eq!(site.to(A_OLD), None);
    site.run(site.redirect(&[(A_OLD, TLS_A), (A_OLD, TLS_A)]))
        .unwrap();
    assert_eq!(site.to(A_OLD), Some(site.id(TLS_A)));
}

#[test]
fn neither_chains_nor_loops() {
    let mut site = site();
    let itself = site.refusal(site.redirect(&[(A, A)]));
    assert!(itself.ends_with("a rule to itself"), "{itself}");
    site.run(site.redirect(&[(A_OLD, A_NEW)])).unwrap();
    let back = site.refusal(site.redirect(&[(A_NEW, A_OLD)]));
    assert!(
        back.contains("the target is itself redirected, to loc-"),
        "{back}"
    );
    let on = site.refusal(site.redirect(&[(A_NEW, TLS_A)]));
    assert!(
        on.ends_with("other rules are redirected to the source"),
        "{on}"
    );
    let to_source = site.refusal(site.redirect(&[(TLS_A, A_OLD)]));
    assert!(to_source.contains("itself redirected"), "{to_source}");
    // The same within one request.
    site.run(site.delete(&[(A_OLD, A_NEW)])).unwrap();
    for pairs in [
        [(A_OLD, A_NEW), (A_NEW, A_OLD)],
        [(A_OLD, A_NEW), (A_NEW, A)],
        [(A_NEW, A), (A_OLD, A_NEW)],
    ] {
        site.refusal(site.redirect(&pairs));
    }
}

#[test]
fn within_a_listener_a_redirect_leads_away() {
    let mut site = site();
    site.create(80, &[("a.com", "~ ^/x"), ("a.com", "= /new")]);
    const REGEX: Place = (80, "a.com", "~ ^/x");
    const EXACT: Place = (80, "a.com", "= /new");
    let domains = site.refusal(site.redirect(&[(A, B)]));
    assert!(domains.contains("different domains"), "{domains}");
    for (source, target) in [(REGEX, A), (A, REGEX), (EXACT, A_NEW)] {
        let kept = site.refusal(site.redirect(&[(source, target)]));
        assert!(kept.ends_with("the path that they had: a loop"), "{kept}");
    }
    // Another listener is another address.
    site.run(site.redirect(&[(REGEX, TLS_A), (B, TLS_A)]))
        .unwrap();
    site.run(site.redirect(&[(A_NEW, EXACT)])).unwrap();
    site.run(site.redirect(&[(A_OLD, A)])).unwrap();
    // Nor does a new url bring it back, at either end.
    for (place, url) in [(A_OLD, "^~ /"), (A_OLD, "~ q"), (A, "~ q")] {
        let moved = ApplicationCommand::ModifyRule {
            listener: site.at(80),
            rule: site.id(place),
            patch: Box::new(RulePatch {
                url: UrlPattern::parse(url).ok(),
                ..RulePatch::default()
            }),
        };
        let kept = site.refusal(moved);
        assert!(kept.ends_with("a loop"), "{kept}");
    }
}

#[test]
fn both_rules_must_be_where_the_request_says() {
    let mut site = site();
    let unknown = (80, "c.com", "/");
    for (source, target) in [(unknown, TLS_A), (A, (443, "c.com", "/"))] {
        let error = site.run(site.redirect(&[(source, target)])).unwrap_err();
        assert!(
            matches!(error, ModelError::RuleNotFound { .. }),
            "{error:?}"
        );
        let error = site.run(site.delete(&[(source, target)])).unwrap_err();
        assert!(
            matches!(error, ModelError::RuleNotFound { .. }),
            "{error:?}"
        );
    }
    let swapped = ApplicationCommand::Redirect {
        from: site.at(443),
        to: site.at(80),
        rules: vec![site.pair(A, TLS_A)],
    };
    let error = site.run(swapped).unwrap_err();
    assert!(
        matches!(error, ModelError::RuleNotFound { .. }),
        "{error:?}"
    );
    let error = site.run(site.redirect(&[(A, (81, "a.com", "/"))]));
    assert!(matches!(error, Err(ModelError::ListenerNotFound { .. })));
    site.listen(tcp_listener(81)).unwrap();
    let error = site.run(site.redirect(&[(A, (81, "a.com", "/"))]));
    assert!(matches!(error, Err(ModelError::WrongLayer { .. })));
}

#[test]
fn redirects_are_deleted_all_or_none() {
    let mut site = site();
    site.bind(A);
    site.run(site.redirect(&[(A, TLS_A), (B, TLS_B)])).unwrap();
    let wrong = site
        .run(site.delete(&[(A, TLS_A), (B, TLS_A)]))
        .unwrap_err();
    assert_eq!(wrong, ModelError::RedirectNotFound(site.pair(B, TLS_A)));
    assert!(site.to(A).is_some());
    site.run(site.delete(&[(A, TLS_A), (A, TLS_A), (B, TLS_B)]))
        .unwrap();
    assert_eq!((site.to(A), site.to(B)), (None, None));
    let twice = site.run(site.delete(&[(A, TLS_A)])).unwrap_err();
    assert_eq!(twice, ModelError::RedirectNotFound(site.pair(A, TLS_A)));
    assert_eq!(site.state().bindings().count(), 1);
}

#[test]
fn auto_makes_what_is_missing() {
    let mut site = Site::new(&[]);
    site.create(443, &[("a.com", "/"), ("a.com", "/api"), ("b.com", "/")]);
    let error = site.run(site.auto(443, &["a.com", "c.com"])).unwrap_err();
    assert!(
        matches!(error, ModelError::NoRuleSelected { .. }),
        "{error:?}"
    );
    assert_eq!(error.to_string().matches("domain=c.com").count(), 1);
    assert_eq!(site.listener(80), None);

    site.run(site.auto(443, &["A.com", "a.com"])).unwrap();
    let row = |domain: &str, url: &str, auto, redirected| {
        (domain.to_owned(), url.to_owned(), auto, redirected)
    };
    let of_a = vec![
        row("a.com", "/", true, true),
        row("a.com", "/api", true, true),
    ];
    assert_eq!(site.rules(80), of_a);
    let listener = site.state().listener(site.at(80)).unwrap();
    assert_eq!(
        (listener.protocol, listener.status),
        (Protocol::Http, Status::Creating)
    );
    assert_eq!(site.to(A), Some(site.id(TLS_A)));
    assert_eq!(site.to((80, "a.com", "/api")), Some(site.id(TLS_A_API)));

    // Again, for all: adds the rest and leaves what there is.
    site.run(site.auto(443, &[])).unwrap();
    assert_eq!(site.rules(80).len(), 3);
    let nothing = site.run(site.auto(443, &[])).unwrap();
    assert_eq!(nothing.changes, vec![]);
}

#[test]
fn auto_redirects_rules_that_are_there() {
    let mut site = site();
    site.run(site.redirect(&[(B, TLS_A)])).unwrap();
    site.run(site.auto(443, &[])).unwrap();
    assert_eq!(site.to(A), Some(site.id(TLS_A)));
    assert!(!site.rule(80, "a.com", "/").unwrap().auto_created);
    // What is redirected elsewhere stays.
    assert_eq!(site.to(B), Some(site.id(TLS_A)));
    assert!(site.rule(80, "a.com", "/api").unwrap().auto_created);

    let mut site = self::site();
    site.run(site.redirect(&[(TLS_A_API, TLS_A)])).unwrap();
    let redirected = site.refusal(site.auto(443, &["a.com"]));
    assert!(redirected.contains("itself redirected"), "{redirected}");
    site.run(site.auto(443, &["b.com"])).unwrap();
    let mut site = self::site();
    site.run(site.redirect(&[(A_OLD, A)])).unwrap();
    let target = site.refusal(site.auto(443, &["a.com"]));
    assert!(target.ends_with("redirected to the source"), "{target}");
}

#[test]
fn auto_needs_https_at_443_and_port_80() {
    let mut site = Site::new(&[8080]);
    site.create(443, &[("a.com", "/")]);
    let http = site.refusal(site.auto(8080, &[]));
    assert!(http.contains("is HTTP at port 8080"), "{http}");
    let lb = site.lb;
    site.bench
        .run(https(lb, vec![(8443, tls(upload(1)))]))
        .unwrap();
    let elsewhere = site.refusal(site.auto(8443, &[]));
    assert!(elsewhere.contains("is HTTPS at port 8443"), "{elsewhere}");
    site.listen(tcp_listener(80)).unwrap();
    let taken = site.run(site.auto(443, &[])).unwrap_err();
    assert!(
        matches!(taken, ModelError::PortTaken { by, .. } if by == site.listener(80)),
        "{taken:?}"
    );

    site.bench.env.limits.listeners_per_load_balancer = 3;
    site.run(ApplicationCommand::DeleteListeners {
        listeners: vec![site.at(80)],
    })
    .unwrap();
    let full = site.run(site.auto(443, &[])).unwrap_err();
    assert_eq!(
        full.to_string(),
        "limits.listeners_per_load_balancer = 3 would be passed"
    );

    let mut site = Site::new(&[80]);
    site.create(443, &[("a.com", "/"), ("b.com", "/")]);
    site.bench.env.limits.rules_per_listener = 1;
    let full = site.run(site.auto(443, &[])).unwrap_err();
    assert_eq!(
        full.to_string(),
        "limits.rules_per_listener = 1 would be passed"
    );
    site.run(site.auto(443, &["a.com"])).unwrap();
}

#[test]
fn what_auto_made_goes_with_its_redirect_unless_it_has_backends() {
    let automatic = || {
        let mut site = Site::new(&[]);
        site.create(443, &[("a.com", "/"), ("b.com", "/")]);
        site.run(site.auto(443, &[])).unwrap();
        site.bind(B);
        site
    };
    let mut site = automatic();
    site.run(site.delete(&[(A, TLS_A), (B, TLS_B)])).unwrap();
    assert_eq!(
        site.rules(80),
        [("b.com".to_owned(), "/".to_owned(), true, false)]
    );

    // The same when the target goes: by itself, by its listener.
    let mut site = automatic();
    site.unrule(443, "a.com");
    assert_eq!(
        site.rules(80),
        [("b.com".to_owned(), "/".to_owned(), true, true)]
    );
    site.run(ApplicationCommand::DeleteListeners {
        listeners: vec![site.at(443)],
    })
    .unwrap();
    assert_eq!(
        site.rules(80),
        [("b.com".to_owned(), "/".to_owned(), true, false)]
    );

    // Both ends in one request, and the whole instance.
    let mut site = automatic();
    site.run(ApplicationCommand::DeleteListeners {
        listeners: vec![site.at(443), site.at(80)],
    })
    .unwrap();
    assert_eq!(site.state().rules().count(), 0);
    let mut site = automatic();
    let load_balancers = vec![site.lb];
    let command = Command::DeleteLoadBalancers { load_balancers };
    site.bench.run(command).unwrap();
    assert_eq!(site.state().rules().count(), 0);
    check_indexes(site.state());
}

#[test]
fn deleting_a_rule_ends_the_redirects_from_and_to_it() {
    let mut site = site();
    site.run(site.redirect(&[(A, TLS_A), (B, TLS_A)])).unwrap();
    site.unrule(80, "b.com");
    assert_eq!(site.state().redirected_to(site.id(TLS_A)).count(), 1);
    site.unrule(443, "a.com");
    assert_eq!(site.to(A), None);
    check_indexes(site.state());
}

#[test]
fn executed_anew_it_makes_the_same_rules() {
    let mut site = Site::new(&[]);
    site.create(443, &[("a.com", "/"), ("b.com", "/")]);
    let load_balancer = site.lb;
    let on = |command| Command::Application {
        load_balancer,
        command,
    };
    let first = site.bench.task(on(ApplicationCommand::Rename {
        name: "other".to_owned(),
    }));
    let auto = site.auto(443, &[]);
    site.bench.task(on(auto));
    let before = (site.at(80), site.id(A), site.id(B));
    site.bench.fail(first);
    assert_eq!((site.at(80), site.id(A), site.id(B)), before);
    assert_eq!(site.to(A), Some(site.id(TLS_A)));
}

#[test]
fn a_rule_without_a_redirect_is_stored_as_ever() {
    let site = site();
    let rule = site.rule(80, "a.com", "/").unwrap();
    let text = serde_json::to_string(&Object::Rule(Arc::clone(&rule))).unwrap();
    assert!(
        !text.contains("redirect_to") && !text.contains("auto_created"),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<Object>(&text).unwrap(),
        Object::Rule(rule)
    );
}
