//! Rules across parameters of one request.

use super::client::{call, refused};

const LISTENERS: &str = "CreateLoadBalancerListeners";
const MODIFY: &str = "ModifyLoadBalancerListener";
const HTTP: &str = "1";
const TCP: &str = "2";
const UDP: &str = "3";
const HTTPS: &str = "4";

type Own = Vec<(String, String)>;

/// CreateLoadBalancerListeners with one listener of this protocol and these fields.
fn listener(protocol: &str, fields: &[(&str, &str)]) -> Own {
    let mut own = vec![("loadBalancerId".to_owned(), "lb-abcdefgh".to_owned())];
    let all = [
        ("loadBalancerPort", "80"),
        ("instancePort", "80"),
        ("protocol", protocol),
    ];
    for (field, value) in all.iter().chain(fields) {
        own.push((format!("listeners.0.{field}"), (*value).to_owned()));
    }
    own
}

fn modification(fields: &[(&str, &str)]) -> Own {
    let ids = [
        ("loadBalancerId", "lb-abcdefgh"),
        ("listenerId", "lbl-abcdefgh"),
    ];
    ids.iter()
        .chain(fields)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn borrowed(own: &Own) -> Vec<(&str, &str)> {
    own.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[track_caller]
fn allows(action: &str, own: &Own) {
    if let Err(error) = call(action, &borrowed(own)) {
        panic!("{own:?}: {error}");
    }
}

#[track_caller]
fn refuses(action: &str, own: &Own, parameter: &str, because: &str) {
    let message = refused(action, &borrowed(own));
    assert!(
        message.starts_with(parameter) && message.contains(because),
        "{parameter} {because}: {message}"
    );
}

#[test]
fn only_classic_public_instances_have_a_domain_prefix() {
    let own = |extra: &[(&str, &str)]| -> Own {
        extra
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    };
    let create = "CreateLoadBalancer";
    allows(
        create,
        &own(&[("loadBalancerType", "2"), ("domainPrefix", "web")]),
    );
    allows(
        create,
        &own(&[
            ("loadBalancerType", "2"),
            ("forward", "0"),
            ("domainPrefix", "web"),
        ]),
    );
    allows(create, &own(&[("loadBalancerType", "3"), ("forward", "1")]));
    let private = own(&[("loadBalancerType", "3"), ("domainPrefix", "web")]);
    refuses(create, &private, "domainPrefix=web:", "private");
    let application = own(&[
        ("loadBalancerType", "2"),
        ("forward", "1"),
        ("domainPrefix", "web"),
    ]);
    refuses(
        create,
        &application,
        "domainPrefix=web:",
        "application-based",
    );
}

#[test]
fn a_probe_must_time_out_before_the_next_one() {
    allows(LISTENERS, &listener(TCP, &[("timeOut", "4")]));
    allows(
        LISTENERS,
        &listener(UDP, &[("timeOut", "60"), ("intervalTime", "61")]),
    );
    refuses(
        LISTENERS,
        &listener(TCP, &[("timeOut", "5")]),
        "listeners.0.timeOut=5:",
        "which is 5",
    );
    refuses(
        LISTENERS,
        &listener(TCP, &[("timeOut", "6"), ("intervalTime", "6")]),
        "listeners.0.timeOut=6:",
        "smaller than intervalTime",
    );
    // With the health check off as well: it may be switched on later.
    refuses(
        LISTENERS,
        &listener(TCP, &[("timeOut", "60"), ("healthSwitch", "0")]),
        "listeners.0.timeOut=60:",
        "intervalTime",
    );
    allows(MODIFY, &modification(&[("timeOut", "60")]));
    allows(
        MODIFY,
        &modification(&[("timeOut", "4"), ("intervalTime", "5")]),
    );
    refuses(
        MODIFY,
        &modification(&[("timeOut", "5"), ("intervalTime", "5")]),
        "timeOut=5:",
        "smaller",
    );
}

#[test]
fn each_protocol_has_its_own_parameters() {
    for protocol in [TCP, UDP] {
        for (name, value) in [
            ("httpHash", "wrr"),
            ("httpCode", "31"),
            ("httpCheckPath", "/"),
        ] {
            refuses(
                LISTENERS,
                &listener(protocol, &[(name, value)]),
                &format!("listeners.0.{name}="),
                "HTTP and HTTPS",
            );
        }
        allows(
            LISTENERS,
            &listener(protocol, &[("scheduler", "least_conn"), ("timeOut", "3")]),
        );
    }
    refuses(
        LISTENERS,
        &listener(HTTP, &[("scheduler", "wrr")]),
        "listeners.0.scheduler=",
        "httpHash",
    );
    refuses(
        LISTENERS,
        &listener(HTTP, &[("timeOut", "2")]),
        "listeners.0.timeOut=",
        "cannot be set",
    );
    allows(
        LISTENERS,
        &listener(
            HTTP,
            &[
                ("httpHash", "ip_hash"),
                ("httpCode", "6"),
                ("httpCheckPath", "/x"),
                ("intervalTime", "9"),
            ],
        ),
    );
    for protocol in [HTTP, TCP, UDP] {
        for name in [
            "SSLMode",
            "certId",
            "certCaId",
            "certCaContent",
            "certCaName",
            "certContent",
            "certKey",
            "certName",
        ] {
            let value = if name == "SSLMode" {
                "mutual"
            } else {
                "private-text"
            };
            let own = listener(protocol, &[(name, value)]);
            refuses(LISTENERS, &own, &format!("listeners.0.{name}"), "HTTPS");
            if name == "certKey" {
                assert!(!refused(LISTENERS, &borrowed(&own)).contains("private-text"));
            }
        }
    }
}

#[test]
fn an_https_listener_comes_alone() {
    let mut own = listener(
        HTTPS,
        &[("SSLMode", "unidirectional"), ("certId", "4b9fc92b")],
    );
    allows(LISTENERS, &own);
    for (field, value) in [
        ("loadBalancerPort", "81"),
        ("instancePort", "81"),
        ("protocol", "2"),
    ] {
        own.push((format!("listeners.1.{field}"), value.to_owned()));
    }
    refuses(LISTENERS, &own, "listeners.0.protocol=4:", "only one");
}

#[test]
fn an_https_listener_needs_a_mode_and_a_certificate() {
    let uploaded = [("certContent", "c"), ("certKey", "k"), ("certName", "n")];
    let server = |more: &[(&str, &str)]| listener(HTTPS, &[&uploaded[..], more].concat());
    refuses(
        LISTENERS,
        &listener(HTTPS, &[("certId", "4b9fc92b")]),
        "listeners.0.SSLMode:",
        "required",
    );
    let mode = ("SSLMode", "unidirectional");
    refuses(
        LISTENERS,
        &listener(HTTPS, &[mode]),
        "listeners.0.certId:",
        "certContent",
    );
    allows(LISTENERS, &server(&[mode]));
    for missing in ["certKey", "certName"] {
        let mut own = server(&[mode]);
        own.retain(|(name, _)| !name.ends_with(missing));
        refuses(
            LISTENERS,
            &own,
            &format!("listeners.0.{missing}:"),
            "required with certContent",
        );
    }
    let mut own = server(&[mode]);
    own.retain(|(name, _)| !name.ends_with("certContent"));
    refuses(
        LISTENERS,
        &own,
        "listeners.0.certKey:",
        "certContent is absent",
    );
    refuses(
        LISTENERS,
        &server(&[mode, ("certId", "4b9fc92b")]),
        "listeners.0.certId=",
        "together",
    );
}

#[test]
fn mutual_needs_a_ca_and_unidirectional_has_none() {
    let with = |mode: &str, more: &[(&str, &str)]| {
        listener(
            HTTPS,
            &[&[("SSLMode", mode), ("certId", "4b9fc92b")][..], more].concat(),
        )
    };
    refuses(
        LISTENERS,
        &with("mutual", &[]),
        "listeners.0.certCaId:",
        "required for SSLMode=mutual",
    );
    allows(LISTENERS, &with("mutual", &[("certCaId", "ee4c5590")]));
    allows(
        LISTENERS,
        &with("mutual", &[("certCaContent", "c"), ("certCaName", "n")]),
    );
    refuses(
        LISTENERS,
        &with("mutual", &[("certCaContent", "c")]),
        "listeners.0.certCaName:",
        "required with certCaContent",
    );
    refuses(
        LISTENERS,
        &with(
            "mutual",
            &[
                ("certCaId", "x"),
                ("certCaContent", "c"),
                ("certCaName", "n"),
            ],
        ),
        "listeners.0.certCaId=x:",
        "together",
    );
    refuses(
        LISTENERS,
        &with("mutual", &[("certCaId", "x"), ("certCaName", "n")]),
        "listeners.0.certCaName=n:",
        "certCaContent is absent",
    );
    for (name, value) in [
        ("certCaId", "x"),
        ("certCaContent", "c"),
        ("certCaName", "n"),
    ] {
        refuses(
            LISTENERS,
            &with("unidirectional", &[(name, value)]),
            &format!("listeners.0.{name}="),
            "unidirectional",
        );
    }
}

#[test]
fn persistence_does_not_go_with_least_conn() {
    for (protocol, scheduler) in [(TCP, "scheduler"), (UDP, "scheduler"), (HTTP, "httpHash")] {
        let own = |expire| {
            listener(
                protocol,
                &[(scheduler, "least_conn"), ("sessionExpire", expire)],
            )
        };
        allows(LISTENERS, &own("0"));
        refuses(
            LISTENERS,
            &own("30"),
            "listeners.0.sessionExpire=30:",
            "least_conn",
        );
    }
    allows(
        LISTENERS,
        &listener(HTTP, &[("httpHash", "ip_hash"), ("sessionExpire", "30")]),
    );
    allows(LISTENERS, &listener(TCP, &[("sessionExpire", "30")]));
    let both = modification(&[("scheduler", "least_conn"), ("sessionExpire", "60")]);
    refuses(MODIFY, &both, "sessionExpire=60:", "least_conn");
    allows(MODIFY, &modification(&[("sessionExpire", "60")]));
}

#[test]
fn a_modification_must_fit_some_listener() {
    allows(MODIFY, &modification(&[]));
    refuses(
        MODIFY,
        &modification(&[("scheduler", "wrr"), ("httpHash", "wrr")]),
        "httpHash=wrr:",
        "scheduler",
    );
    for layer_4 in [("scheduler", "wrr"), ("timeOut", "3")] {
        for other in [
            ("httpCode", "31"),
            ("httpCheckPath", "/"),
            ("SSLMode", "mutual"),
            ("certId", "x"),
        ] {
            let because = format!("together with {}", layer_4.0);
            refuses(MODIFY, &modification(&[layer_4, other]), other.0, &because);
        }
    }
    allows(MODIFY, &modification(&[("SSLMode", "mutual")]));
    allows(
        MODIFY,
        &modification(&[
            ("SSLMode", "mutual"),
            ("certCaId", "ee4c5590"),
            ("certId", "x"),
        ]),
    );
    allows(
        MODIFY,
        &modification(&[("certContent", "c"), ("certKey", "k"), ("certName", "n")]),
    );
    refuses(
        MODIFY,
        &modification(&[("certContent", "c")]),
        "certKey:",
        "required with certContent",
    );
    refuses(
        MODIFY,
        &modification(&[("certContent", "c"), ("certKey", "k")]),
        "certName:",
        "required with certContent",
    );
    refuses(
        MODIFY,
        &modification(&[("certCaContent", "c")]),
        "certCaName:",
        "certCaContent",
    );
    refuses(
        MODIFY,
        &modification(&[("certName", "n")]),
        "certName=n:",
        "certContent is absent",
    );
    refuses(
        MODIFY,
        &modification(&[
            ("certId", "x"),
            ("certContent", "c"),
            ("certKey", "k"),
            ("certName", "n"),
        ]),
        "certId=x:",
        "together",
    );
    refuses(
        MODIFY,
        &modification(&[("SSLMode", "unidirectional"), ("certCaId", "x")]),
        "certCaId=x:",
        "unidirectional",
    );
}

#[test]
fn a_backend_may_be_named_once() {
    for action in [
        "RegisterInstancesWithLoadBalancer",
        "ModifyLoadBalancerBackends",
        "DeregisterInstancesFromLoadBalancer",
    ] {
        let own = |instances: [&str; 3]| -> Own {
            let mut own = vec![("loadBalancerId".to_owned(), "lb-abcdefgh".to_owned())];
            for (index, instance) in instances.iter().enumerate() {
                own.push((
                    format!("backends.{index}.instanceId"),
                    (*instance).to_owned(),
                ));
                if action == "ModifyLoadBalancerBackends" {
                    own.push((format!("backends.{index}.weight"), "1".to_owned()));
                }
            }
            own
        };
        allows(action, &own(["ins-1", "ins-2", "Ins-1"]));
        let twice = own(["ins-1", "ins-2", "ins-1"]);
        refuses(
            action,
            &twice,
            "backends.2.instanceId=ins-1:",
            "backends.0.instanceId",
        );
    }
}

const TARGETS: [&str; 4] = [
    "RegisterInstancesWithForwardLBSeventhListener",
    "DeregisterInstancesFromForwardLB",
    "ModifyForwardSeventhBackends",
    "ModifyForwardSeventhBackendsPort",
];

/// Backends of an application-based listener, each with these fields.
fn targets(action: &str, backends: &[&[(&str, &str)]]) -> Own {
    let mut own = modification(&[]);
    for (index, fields) in backends.iter().enumerate() {
        let new_port = [("newPort", "99")];
        let more = if action.ends_with("Port") {
            &new_port[..]
        } else {
            &[]
        };
        for (field, value) in fields.iter().chain(more) {
            own.push((format!("backends.{index}.{field}"), (*value).to_owned()));
        }
    }
    own
}

#[test]
fn a_target_has_one_name() {
    for action in TARGETS {
        let by_id = [("instanceId", "ins-1"), ("port", "80")];
        let by_address = [("eniIp", "::1"), ("port", "80")];
        allows(action, &targets(action, &[&by_id, &by_address]));
        refuses(
            action,
            &targets(action, &[&by_id, &[("port", "81")]]),
            "backends.1.instanceId:",
            "eniIp in its place",
        );
        refuses(
            action,
            &targets(
                action,
                &[&[("port", "80"), ("instanceId", "a"), ("eniIp", "::1")]],
            ),
            "backends.0.eniIp=::1:",
            "together",
        );
        refuses(
            action,
            &targets(action, &[&[("port", "80"), ("eniIp", "ins-1")]]),
            "backends.0.eniIp=ins-1:",
            "IP address",
        );
        refuses(action, &modification(&[]), "backends.0.port:", "required");
        refuses(
            action,
            &targets(action, &[&[("instanceId", "ins-1")]]),
            "backends.0.port:",
            "required",
        );
    }
}

#[test]
fn a_backend_and_port_may_be_named_once() {
    for action in TARGETS {
        let target = |name, value, port| [(name, value), ("port", port)];
        let first = target("instanceId", "127.0.0.9", "80");
        let other_port = target("instanceId", "127.0.0.9", "81");
        allows(action, &targets(action, &[&first, &other_port]));
        for second in [first, target("eniIp", "127.0.0.9", "80")] {
            refuses(
                action,
                &targets(action, &[&first, &other_port, &second]),
                "backends.2.port=80:",
                "backends.0",
            );
        }
        let short = target("eniIp", "::1", "80");
        let long = target("eniIp", "0:0:0:0:0:0:0:1", "80");
        let own = targets(action, &[&short, &long]);
        refuses(action, &own, "backends.1.port=80:", "backends.0");
    }
}

#[test]
fn one_id_or_a_list_of_them() {
    let lb = ("loadBalancerId".to_owned(), "lb-abcdefgh".to_owned());
    let pair = |name: &str| (name.to_owned(), "x".to_owned());
    let delete = "DeleteForwardLBListener";
    allows(
        delete,
        &vec![lb.clone(), pair("listenerIds.0"), pair("listenerIds.7")],
    );
    refuses(delete, &vec![lb.clone()], "listenerId:", "required");
    let both = vec![lb.clone(), pair("listenerId"), pair("listenerIds.3")];
    refuses(delete, &both, "listenerId=x:", "together");
    let health = "DescribeForwardLBHealthStatus";
    refuses(health, &vec![], "loadBalancerIds.0:", "required");
    let both = vec![lb, pair("loadBalancerIds.3")];
    refuses(health, &both, "loadBalancerId=lb-abcdefgh:", "together");
}

#[test]
fn a_rule_has_the_rules_of_every_pool() {
    let create = "CreateForwardLBListenerRules";
    let rule = |fields: &[(&str, &str)]| -> Own {
        let mut own = modification(&[]);
        for (field, value) in [("domain", "a.com"), ("url", "/")].iter().chain(fields) {
            own.push((format!("rules.4.{field}"), (*value).to_owned()));
        }
        own
    };
    allows(create, &rule(&[("timeOut", "4"), ("sessionExpire", "30")]));
    refuses(
        create,
        &rule(&[("timeOut", "5")]),
        "rules.4.timeOut=5:",
        "which is 5",
    );
    let least = ("httpHash", "least_conn");
    allows(create, &rule(&[least, ("sessionExpire", "0")]));
    let sticky = rule(&[least, ("sessionExpire", "30")]);
    refuses(create, &sticky, "rules.4.sessionExpire=30:", "least_conn");
    allows(
        create,
        &rule(&[("httpHash", "ip_hash"), ("sessionExpire", "30")]),
    );

    let modify = "ModifyLoadBalancerRulesProbe";
    let change = |fields: &[(&str, &str)]| {
        modification(&[&[("locationId", "loc-abcdefgh")], fields].concat())
    };
    allows(modify, &change(&[]));
    allows(modify, &change(&[("timeOut", "60")]));
    let slow = change(&[("timeOut", "6"), ("intervalTime", "6")]);
    refuses(modify, &slow, "timeOut=6:", "smaller");
    refuses(
        modify,
        &change(&[least, ("sessionExpire", "30")]),
        "sessionExpire=30:",
        "least_conn",
    );
}

#[test]
fn an_application_listener_has_certificates_only_with_https() {
    let create = "CreateForwardLBSeventhLayerListeners";
    let listeners = |fields: &[(&str, &str)]| -> Own {
        let mut own = vec![("loadBalancerId".to_owned(), "lb-abcdefgh".to_owned())];
        for index in [0, 1] {
            for (field, value) in [("loadBalancerPort", "80")].iter().chain(fields) {
                own.push((format!("listeners.{index}.{field}"), (*value).to_owned()));
            }
        }
        own
    };
    allows(create, &listeners(&[("protocol", HTTP)]));
    for (name, value) in [
        ("SSLMode", "unidirectional"),
        ("certId", "4b9fc92b"),
        ("certKey", "k"),
    ] {
        let own = listeners(&[("protocol", HTTP), (name, value)]);
        refuses(create, &own, &format!("listeners.0.{name}"), "HTTPS");
    }
    let mode = ("SSLMode", "unidirectional");
    // Several of them in one request: that is forbidden on classic instances only.
    allows(
        create,
        &listeners(&[("protocol", HTTPS), mode, ("certId", "4b9fc92b")]),
    );
    let bare = listeners(&[("protocol", HTTPS), ("certId", "4b9fc92b")]);
    refuses(create, &bare, "listeners.0.SSLMode:", "required");
    let none = listeners(&[("protocol", HTTPS), mode]);
    refuses(create, &none, "listeners.0.certId:", "certContent");
    let ca = listeners(&[
        ("protocol", HTTPS),
        mode,
        ("certId", "a"),
        ("certCaId", "b"),
    ]);
    refuses(create, &ca, "listeners.0.certCaId=b:", "unidirectional");
    for other in ["instancePort", "scheduler", "timeOut"] {
        let own = listeners(&[("protocol", HTTP), (other, "80")]);
        refuses(
            create,
            &own,
            &format!("listeners.0.{other}:"),
            "no such parameter",
        );
    }
}

#[test]
fn the_same_port_twice_is_left_to_the_state() {
    let mut own = listener(TCP, &[]);
    for (field, value) in [
        ("loadBalancerPort", "80"),
        ("instancePort", "81"),
        ("protocol", "3"),
    ] {
        own.push((format!("listeners.1.{field}"), value.to_owned()));
    }
    allows(LISTENERS, &own);
}
