//! Application-based instances.

use super::*;

pub(super) fn application_instance() -> Command {
    let mut command = create_command(1, LoadBalancerType::Public);
    if let Command::CreateLoadBalancers(create) = &mut command {
        create.family = Family::Application;
    }
    command
}

pub(super) fn http_listener(port: i64) -> NewApplicationListener {
    NewApplicationListener {
        id: ListenerId::from_number(0),
        name: String::new(),
        protocol: Protocol::Http,
        port: Port::try_from(port).unwrap(),
        settings: None,
        tls: None,
    }
}

pub(super) fn tcp_listener(port: i64) -> NewApplicationListener {
    NewApplicationListener {
        protocol: Protocol::Tcp,
        settings: Some(PoolSettings {
            scheduler: Scheduler::Wrr,
            session_expire: None,
            health: health(),
        }),
        ..http_listener(port)
    }
}

pub(super) fn rule_settings() -> PoolSettings {
    PoolSettings {
        scheduler: Scheduler::Wrr,
        session_expire: None,
        health: HealthCheck {
            http: Some(HttpCheck {
                code: HttpCodeMask::DEFAULT,
                path: CheckPath::default(),
                domain: None,
                method: None,
            }),
            ..health()
        },
    }
}

pub(super) fn new_rules(named: &[(&str, &str)]) -> Vec<NewRule> {
    named
        .iter()
        .map(|(domain, url)| NewRule {
            id: RuleId::from_number(0),
            domain: DomainPattern::parse(domain).unwrap(),
            url: UrlPattern::parse(url).unwrap(),
            settings: rule_settings(),
        })
        .collect()
}

pub(super) fn target(instance: &str, port: i64) -> Target {
    Target {
        instance: instance.to_owned(),
        by_address: false,
        port: Port::try_from(port).unwrap(),
    }
}

fn with_weight(instance: &str, port: i64, weight: Option<i64>) -> TargetWeight {
    TargetWeight {
        target: target(instance, port),
        weight: weight.map(|weight| Weight::try_from(weight).unwrap()),
    }
}

/// An instance with an HTTP listener at port 80 and a TCP listener at 81.
struct Web {
    bench: Bench,
    lb: LbId,
    http: ListenerId,
    tcp: ListenerId,
}

impl Web {
    fn new(rules: &[(&str, &str)]) -> Self {
        let mut bench = Bench::new();
        let lb = bench.run(application_instance()).unwrap().load_balancers[0];
        let mut web = Self {
            bench,
            lb,
            http: ListenerId::from_number(0),
            tcp: ListenerId::from_number(0),
        };
        web.run(ApplicationCommand::CreateListeners {
            now: NOW,
            listeners: vec![http_listener(80), tcp_listener(81)],
        })
        .unwrap();
        let ids: Vec<_> = web.state().listeners_of(lb).map(|l| l.id).collect();
        (web.http, web.tcp) = (ids[0], ids[1]);
        if !rules.is_empty() {
            web.create(rules).unwrap();
        }
        web
    }

    fn state(&self) -> &State {
        &self.bench.state
    }

    fn run(&mut self, command: ApplicationCommand) -> Result<Applied, ModelError> {
        self.bench.run(Command::Application {
            load_balancer: self.lb,
            command,
        })
    }

    fn create(&mut self, rules: &[(&str, &str)]) -> Result<Applied, ModelError> {
        self.run(ApplicationCommand::CreateRules {
            listener: self.http,
            rules: new_rules(rules),
        })
    }

    fn rename_domain(&mut self, from: &str, to: &str) -> Result<Applied, ModelError> {
        self.run(ApplicationCommand::RenameDomain {
            listener: self.http,
            domain: from.to_owned(),
            new_domain: DomainPattern::parse(to).unwrap(),
        })
    }

    fn bind(
        &mut self,
        rules: RuleSelection,
        backends: &[(&str, i64, Option<i64>)],
    ) -> Result<Applied, ModelError> {
        self.run(ApplicationCommand::Bind {
            now: NOW,
            listener: self.http,
            rules,
            backends: backends
                .iter()
                .map(|(instance, port, weight)| with_weight(instance, *port, *weight))
                .collect(),
        })
    }

    fn move_port(&mut self, instance: &str, from: i64, to: i64) -> Result<Applied, ModelError> {
        self.run(ApplicationCommand::MovePorts {
            listener: self.http,
            rules: RuleSelection::default(),
            backends: vec![PortMove {
                target: target(instance, from),
                port: Port::try_from(to).unwrap(),
                weight: None,
            }],
        })
    }

    fn rules(&self) -> Vec<(String, String)> {
        self.state()
            .rules_of(self.http)
            .map(|rule| (rule.domain.to_string(), rule.url.to_string()))
            .collect()
    }

    /// Each rule's backends: instance, port, weight.
    fn bound(&self) -> Vec<Vec<(String, u16, u8)>> {
        self.state()
            .rules_of(self.http)
            .map(|rule| {
                self.state()
                    .bindings_of(Owner::Pool(PoolKey::Rule(rule.id)))
                    .map(|b| {
                        let port = b.port().unwrap().get();
                        (b.instance.to_string(), port, b.weight.get())
                    })
                    .collect()
            })
            .collect()
    }
}

fn by_domain(domain: &str) -> RuleSelection {
    RuleSelection {
        domain: Some(domain.to_owned()),
        ..RuleSelection::default()
    }
}

#[test]
fn families_do_not_mix() {
    let mut web = Web::new(&[]);
    let refused = web.bench.run(listen(web.lb, &[90])).unwrap_err();
    assert!(matches!(
        refused,
        ModelError::WrongFamily {
            family: Family::Application,
            ..
        }
    ));
    let classic = web.bench.create(1)[0];
    let refused = web.bench.run(Command::Application {
        load_balancer: classic,
        command: ApplicationCommand::Rename {
            name: "x".to_owned(),
        },
    });
    assert!(matches!(
        refused,
        Err(ModelError::WrongFamily {
            family: Family::Classic,
            ..
        })
    ));
}

#[test]
fn tcp_and_http_exclude_each_other() {
    let mut web = Web::new(&[]);
    let mut listen = |listeners| {
        web.run(ApplicationCommand::CreateListeners {
            now: NOW,
            listeners,
        })
    };
    for taken in [http_listener(80), tcp_listener(80), http_listener(81)] {
        let refused = listen(vec![http_listener(90), taken]);
        assert!(matches!(
            refused,
            Err(ModelError::PortTaken { by: Some(_), .. })
        ));
    }
    let twice = listen(vec![http_listener(90), tcp_listener(90)]);
    assert!(matches!(twice, Err(ModelError::PortTaken { by: None, .. })));
    let many = listen(vec![http_listener(90), http_listener(91)]);
    assert!(matches!(many, Err(ModelError::Limit { .. })));
    listen(vec![http_listener(90)]).unwrap();
}

#[test]
fn domain_and_url_are_unique_in_a_listener() {
    let mut web = Web::new(&[("www.a.com", "/"), ("www.a.com", "= /x")]);
    for (domain, url) in [("www.a.com", "/"), ("WWW.A.com", "/"), ("www.a.com", "=/x")] {
        let refused = web
            .create(&[("www.b.com", "/"), (domain, url)])
            .unwrap_err();
        assert!(
            matches!(refused, ModelError::RuleTaken { by: Some(_), .. }),
            "{refused}"
        );
    }
    let twice = web
        .create(&[("www.b.com", "/"), ("www.B.com", "/")])
        .unwrap_err();
    assert!(
        matches!(twice, ModelError::RuleTaken { by: None, .. }),
        "{twice}"
    );
    assert_eq!(web.rules().len(), 2, "all or nothing");
    web.create(&[("www.a.com", "/x"), ("~A", "/"), ("~a", "/")])
        .unwrap();
    let full = web.create(&[("www.c.com", "/"), ("www.d.com", "/")]);
    assert!(matches!(
        full,
        Err(ModelError::Limit {
            name: "rules_per_listener",
            max: 6
        })
    ));
}

#[test]
fn a_layer_4_listener_has_no_rules() {
    let mut web = Web::new(&[]);
    let (http, tcp) = (web.http, web.tcp);
    web.http = tcp;
    for refused in [
        web.create(&[("www.a.com", "/")]),
        web.rename_domain("www.a.com", "www.b.com"),
        web.bind(by_domain("www.a.com"), &[("ins-1", 80, None)]),
        web.run(ApplicationCommand::DeleteRules {
            listener: tcp,
            rules: RuleSelection::default(),
        }),
    ] {
        assert!(
            matches!(refused, Err(ModelError::WrongLayer { .. })),
            "{refused:?}"
        );
    }
    // But backends of its own.
    web.bind(
        RuleSelection::default(),
        &[("ins-1", 80, Some(7)), ("ins-1", 81, None)],
    )
    .unwrap();
    let of = |listener| {
        web.state()
            .bindings_of(Owner::Pool(PoolKey::Listener(listener)))
            .count()
    };
    assert_eq!((of(tcp), of(http)), (2, 0));
}

#[test]
fn a_renamed_domain_keeps_its_rules_and_their_order() {
    let mut web = Web::new(&[
        ("www.a.com", "/1"),
        ("www.b.com", "/2"),
        ("www.A.com", "/2"),
    ]);
    web.bind(by_domain("www.a.com"), &[("ins-1", 80, None)])
        .unwrap();
    let ids = |web: &Web| {
        web.state()
            .rules_of(web.http)
            .map(|rule| rule.id)
            .collect::<Vec<_>>()
    };
    let before = (ids(&web), web.bound());
    let refused = web.rename_domain("www.a.com", "www.b.com").unwrap_err();
    assert!(
        matches!(refused, ModelError::RuleTaken { by: Some(_), .. }),
        "{refused}"
    );
    for ghost in ["www.c.com", "a..b", "www.a.co"] {
        let refused = web.rename_domain(ghost, "www.d.com").unwrap_err();
        assert!(
            matches!(refused, ModelError::NoRuleSelected { .. }),
            "{ghost}: {refused}"
        );
    }
    web.rename_domain("www.a.com", "~^a").unwrap();
    let named = |domain: &str, url: &str| (domain.to_owned(), url.to_owned());
    assert_eq!(
        web.rules(),
        [
            named("~^a", "/1"),
            named("www.b.com", "/2"),
            named("~^a", "/2")
        ]
    );
    assert_eq!((ids(&web), web.bound()), before);
    assert!(web.rename_domain("~^a", "~^a").unwrap().changes.is_empty());
    // Only the spelling changes: the rule is not in its own way.
    web.rename_domain("www.b.com", "www.B.com").unwrap();
    assert_eq!(web.rules()[1], named("www.B.com", "/2"));
}

#[test]
fn a_rule_is_checked_with_what_stays() {
    let mut web = Web::new(&[("www.a.com", "/1"), ("www.a.com", "/2")]);
    let id = web.state().rules_of(web.http).next().unwrap().id;
    let mut modify = |rule, patch: RulePatch| {
        let (listener, patch) = (web.http, Box::new(patch));
        web.run(ApplicationCommand::ModifyRule {
            listener,
            rule,
            patch,
        })
    };
    let url = |text| RulePatch {
        url: UrlPattern::parse(text).ok(),
        ..RulePatch::default()
    };
    assert!(matches!(
        modify(id, url("/2")),
        Err(ModelError::RuleTaken { .. })
    ));
    assert!(matches!(
        modify(RuleId::from_number(9), url("/3")),
        Err(ModelError::RuleNotFound { .. })
    ));
    assert!(modify(id, RulePatch::default()).unwrap().changes.is_empty());
    let slow = RulePatch {
        time_out: TimeOut::try_from(5).ok(),
        ..RulePatch::default()
    };
    assert!(matches!(
        modify(id, slow),
        Err(ModelError::Contradiction(_))
    ));
    let least = RulePatch {
        scheduler: Some(Scheduler::LeastConn),
        ..RulePatch::default()
    };
    modify(id, least).unwrap();
    let sticky = RulePatch {
        session_expire: Some(SessionExpire::try_from(30).ok()),
        ..RulePatch::default()
    };
    assert!(matches!(
        modify(id, sticky),
        Err(ModelError::Contradiction(_))
    ));
    let check = RulePatch {
        check_domain: CheckDomain::parse("health.a.com").ok(),
        check_method: Some(ProbeMethod::Head),
        check_path: CheckPath::parse("/up").ok(),
        http_code: HttpCodeMask::try_from(2).ok(),
        ..url("/3")
    };
    modify(id, check).unwrap();
    let rule = web.state().rule(id).unwrap();
    let http = rule.settings.health.http.as_ref().unwrap();
    assert_eq!(http.domain.as_ref().unwrap().as_str(), "health.a.com");
    assert_eq!((http.method, http.code.get()), (Some(ProbeMethod::Head), 2));
    assert_eq!((http.path.as_str(), rule.url.as_str()), ("/up", "/3"));
    assert_eq!(
        rule.settings.scheduler,
        Scheduler::LeastConn,
        "what is absent stays"
    );
}

#[test]
fn selections_must_match_all_of_their_conditions() {
    let web = Web::new(&[("a.com", "/"), ("a.com", "/x"), ("b.com", "/x")]);
    let ids: Vec<_> = web.state().rules_of(web.http).map(|rule| rule.id).collect();
    let select = |rules: &[usize], domain: Option<&str>, url: Option<&str>| {
        let selection = RuleSelection {
            rules: rules.iter().map(|index| ids[*index]).collect(),
            domain: domain.map(ToOwned::to_owned),
            url: url.map(ToOwned::to_owned),
        };
        let found = web.state().select_rules(web.http, &selection).ok()?;
        let place = |id| ids.iter().position(|known| *known == id).unwrap();
        Some(found.iter().map(|rule| place(rule.id)).collect::<Vec<_>>())
    };
    assert_eq!(select(&[], None, None), Some(vec![0, 1, 2]));
    assert_eq!(select(&[2, 0, 2], None, None), Some(vec![0, 2]));
    assert_eq!(select(&[], Some("A.com"), None), Some(vec![0, 1]));
    assert_eq!(select(&[], None, Some("x")), Some(vec![1, 2]));
    assert_eq!(select(&[], Some("a.com"), Some("/x")), Some(vec![1]));
    assert_eq!(select(&[0, 1], Some("a.com"), Some("/x")), Some(vec![1]));
    assert_eq!(select(&[2], Some("a.com"), None), None);
    assert_eq!(select(&[], Some("c.com"), None), None);
    assert_eq!(select(&[], Some("..."), None), None);
    assert_eq!(select(&[], None, Some("/x y")), None);
    let ghost = RuleSelection {
        rules: vec![ids[0], RuleId::from_number(9)],
        ..Default::default()
    };
    let refused = web.state().select_rules(web.http, &ghost).unwrap_err();
    assert!(
        matches!(refused, ModelError::RuleNotFound { .. }),
        "{refused}"
    );
}

#[test]
fn binding_is_all_or_nothing_over_the_selected_rules() {
    let mut web = Web::new(&[("a.com", "/"), ("b.com", "/")]);
    let all = RuleSelection::default();
    for bad in ["ins-9", "224.0.0.1", "127.10.0.1"] {
        let refused = web
            .bind(all.clone(), &[("ins-1", 80, None), (bad, 80, None)])
            .unwrap_err();
        assert!(
            matches!(refused, ModelError::BackendRefused { .. }),
            "{bad}: {refused}"
        );
    }
    let own = web.bind(all.clone(), &[("ins-1", 8443, None)]);
    assert!(matches!(own, Err(ModelError::BackendRefused { .. })));
    assert_eq!(web.bound(), [vec![], vec![]]);

    web.bind(
        by_domain("a.com"),
        &[("ins-1", 80, Some(3)), ("ins-1", 81, None)],
    )
    .unwrap();
    let bound = |port, weight| ("ins-1".to_owned(), port, weight);
    assert_eq!(web.bound(), [vec![bound(80, 3), bound(81, 10)], vec![]]);
    // Bound already in one of them: there the weight stays, or is set when given.
    web.bind(all.clone(), &[("ins-1", 80, None)]).unwrap();
    assert_eq!(web.bound()[0][0], bound(80, 3));
    assert_eq!(web.bound()[1], [bound(80, 10)]);
    web.bind(all.clone(), &[("ins-1", 80, Some(9))]).unwrap();
    assert_eq!((web.bound()[0][0].2, web.bound()[1][0].2), (9, 9));
    let full = web.bind(all.clone(), &[("ins-2", 1, None), ("ins-2", 2, None)]);
    assert!(matches!(
        full,
        Err(ModelError::Limit {
            name: "backends_per_pool",
            ..
        })
    ));
    assert!(
        web.bind(all, &[("ins-1", 80, None)])
            .unwrap()
            .changes
            .is_empty()
    );
    // A machine that left clb.toml can still be given another weight where it is bound.
    web.bench.env.instances.clear();
    web.bind(by_domain("a.com"), &[("ins-1", 81, Some(1))])
        .unwrap();
    assert_eq!(web.bound()[0][1], bound(81, 1));
}

#[test]
fn without_a_rule_there_is_nothing_to_bind_to() {
    let mut web = Web::new(&[]);
    let refused = web
        .bind(RuleSelection::default(), &[("ins-1", 80, None)])
        .unwrap_err();
    assert!(
        matches!(refused, ModelError::NoRuleSelected { .. }),
        "{refused}"
    );
    let listener = web.http;
    let all = RuleSelection::default();
    let deleted = web.run(ApplicationCommand::DeleteRules {
        listener,
        rules: all,
    });
    assert!(deleted.unwrap().changes.is_empty(), "all of none is done");
}

#[test]
fn a_moved_backend_keeps_its_binding() {
    let mut web = Web::new(&[("a.com", "/"), ("b.com", "/")]);
    let all = RuleSelection::default();
    web.bind(all.clone(), &[("ins-1", 80, Some(3))]).unwrap();
    web.bind(by_domain("b.com"), &[("ins-1", 81, None)])
        .unwrap();
    let ids = |web: &Web| {
        web.state()
            .bindings()
            .map(|binding| binding.id)
            .collect::<Vec<_>>()
    };
    let before = ids(&web);
    assert!(matches!(
        web.move_port("ins-1", 80, 81),
        Err(ModelError::PortBound { .. })
    ));
    assert!(matches!(
        web.move_port("ins-1", 81, 82),
        Err(ModelError::TargetNotBound { .. })
    ));
    assert!(matches!(
        web.move_port("ins-1", 80, 8443),
        Err(ModelError::BackendRefused { .. })
    ));
    assert!(web.move_port("ins-1", 80, 80).unwrap().changes.is_empty());
    web.move_port("ins-1", 80, 90).unwrap();
    assert_eq!(ids(&web), before);
    let bound = |port, weight| ("ins-1".to_owned(), port, weight);
    assert_eq!(
        web.bound(),
        [vec![bound(90, 3)], vec![bound(90, 3), bound(81, 10)]]
    );
    // Two ports of one machine can not become one.
    let listener = web.http;
    let to = |from| PortMove {
        target: target("ins-1", from),
        port: Port::try_from(99).unwrap(),
        weight: None,
    };
    let both = ApplicationCommand::MovePorts {
        listener,
        rules: by_domain("b.com"),
        backends: vec![to(90), to(81)],
    };
    assert!(matches!(web.run(both), Err(ModelError::PortBound { .. })));
    let missing = ApplicationCommand::Reweight {
        listener,
        rules: all,
        backends: vec![
            with_weight("ins-1", 90, Some(1)),
            with_weight("ins-1", 81, Some(1)),
        ],
    };
    assert!(matches!(
        web.run(missing),
        Err(ModelError::TargetNotBound { .. })
    ));
    let weightless = ApplicationCommand::Reweight {
        listener,
        rules: by_domain("a.com"),
        backends: vec![with_weight("ins-1", 90, None)],
    };
    web.run(weightless).unwrap();
    assert_eq!(web.bound()[0], [bound(90, 10)]);
}

#[test]
fn unbinding_goes_where_the_backend_is() {
    let mut web = Web::new(&[("a.com", "/"), ("b.com", "/")]);
    web.bind(RuleSelection::default(), &[("ins-1", 80, None)])
        .unwrap();
    web.bind(by_domain("a.com"), &[("ins-2", 80, None)])
        .unwrap();
    let listener = web.http;
    let unbind = |instances: &[&str]| ApplicationCommand::Unbind {
        listener,
        rules: RuleSelection::default(),
        backends: instances
            .iter()
            .map(|instance| target(instance, 80))
            .collect(),
    };
    let refused = web.run(unbind(&["ins-1", "ins-3"])).unwrap_err();
    assert!(
        matches!(refused, ModelError::TargetNotBound { of: None, .. }),
        "{refused}"
    );
    assert_eq!(web.state().bindings().count(), 3, "nothing is unbound");
    web.run(unbind(&["ins-1", "ins-2"])).unwrap();
    assert_eq!(web.state().bindings().count(), 0);
}

#[test]
fn an_address_is_the_same_backend_however_it_is_named() {
    let mut web = Web::new(&[("a.com", "/")]);
    web.bind(RuleSelection::default(), &[("127.0.0.9", 80, None)])
        .unwrap();
    let listener = web.http;
    let by_address = Target {
        by_address: true,
        ..target("127.0.0.9", 80)
    };
    let unbind = |target: Target| ApplicationCommand::Unbind {
        listener,
        rules: RuleSelection::default(),
        backends: vec![target],
    };
    web.run(unbind(by_address.clone())).unwrap();
    // An instance whose id looks like another address does not lead it astray.
    let entry = Instance {
        ip: ip("127.0.0.1"),
        name: String::new(),
        wan_ips: vec![],
    };
    web.bench
        .env
        .instances
        .insert("127.0.0.9".to_owned(), entry);
    let bind = ApplicationCommand::Bind {
        now: NOW,
        listener,
        rules: RuleSelection::default(),
        backends: vec![TargetWeight {
            target: by_address,
            weight: None,
        }],
    };
    web.run(bind).unwrap();
    let address = |web: &Web| web.state().bindings().next().unwrap().address;
    assert_eq!(address(&web), ip("127.0.0.9"));
    assert!(
        web.bench
            .run(Command::FollowInstances)
            .unwrap()
            .changes
            .is_empty()
    );
}

#[test]
fn deleting_takes_along_what_hangs_on_it() {
    let mut web = Web::new(&[("a.com", "/"), ("b.com", "/")]);
    web.bind(RuleSelection::default(), &[("ins-1", 80, None)])
        .unwrap();
    let (http, tcp) = (web.http, web.tcp);
    web.http = tcp;
    web.bind(RuleSelection::default(), &[("ins-2", 80, None)])
        .unwrap();
    web.http = http;
    let count = |web: &Web| {
        let state = web.state();
        (
            state.listeners().count(),
            state.rules().count(),
            state.bindings().count(),
        )
    };
    assert_eq!(count(&web), (2, 2, 3));
    web.run(ApplicationCommand::DeleteRules {
        listener: http,
        rules: by_domain("a.com"),
    })
    .unwrap();
    assert_eq!(count(&web), (2, 1, 2));
    web.run(ApplicationCommand::DeleteListeners {
        listeners: vec![http, http],
    })
    .unwrap();
    assert_eq!(count(&web), (1, 0, 1));
    let again = web.run(ApplicationCommand::DeleteListeners {
        listeners: vec![http],
    });
    assert!(matches!(again, Err(ModelError::ListenerNotFound { .. })));
    let lb = web.lb;
    web.bench
        .run(Command::DeleteLoadBalancers {
            load_balancers: vec![lb],
        })
        .unwrap();
    assert_eq!(count(&web), (0, 0, 0));
    assert!(!web.state().is_backend_address(ip("127.0.0.2")));
}
