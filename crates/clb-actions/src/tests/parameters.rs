//! Step 5: names, arrays, empty values, messages.

use super::client::{call, refused};
use crate::ACTIONS;
use crate::table::{Alias, ParamSpec, Presence, Tolerated};

const LISTENERS: &str = "CreateLoadBalancerListeners";

/// A valid TCP listener at each of these indexes.
fn listeners(names: &[[String; 3]]) -> Vec<(&str, &str)> {
    let mut own = vec![("loadBalancerId", "lb-abcdefgh")];
    for [port, instance_port, protocol] in names {
        own.extend([
            (port.as_str(), "80"),
            (instance_port.as_str(), "8080"),
            (protocol.as_str(), "2"),
        ]);
    }
    own
}

fn names(indexes: &[u16]) -> Vec<[String; 3]> {
    indexes
        .iter()
        .map(|index| {
            ["loadBalancerPort", "instancePort", "protocol"]
                .map(|field| format!("listeners.{index}.{field}"))
        })
        .collect()
}

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [base, more].concat()
}

#[test]
fn an_unknown_parameter_is_refused_with_the_nearest_known_name() {
    for (name, nearest) in [
        ("sesionExpire", "sessionExpire"),
        ("LoadBalancerId", "loadBalancerId"),
        ("SecretID", "SecretId"),
        ("listenername", "listenerName"),
    ] {
        let message = refused("ModifyLoadBalancerListener", &[(name, "x")]);
        assert_eq!(
            message,
            format!(
                "{name}: ModifyLoadBalancerListener has no such parameter; the nearest known one is {nearest}"
            )
        );
    }
    for name in [
        "listeners[3][protocl]",
        "listeners_3_protocol",
        "listeners.3.Protocol",
    ] {
        let message = refused(LISTENERS, &[(name, "2")]);
        assert!(
            message.ends_with("nearest known one is listeners.3.protocol"),
            "{message}"
        );
    }
}

#[test]
fn unknown_names_come_before_everything_else_and_count_even_when_empty() {
    let message = refused(LISTENERS, &[("listeners.0.timeOut", "99"), ("oops", "")]);
    assert!(message.starts_with("oops:"), "{message}");
}

#[test]
fn a_hostile_name_is_cut_and_escaped() {
    let message = refused(LISTENERS, &[(&"x\n".repeat(5000), "1")]);
    assert!(message.len() < 400 && message.contains("\\n") && message.contains('…'));
    assert!(!message.contains('\n'));
}

#[test]
fn the_table_is_checked_row_by_row_and_within_a_row_by_index() {
    let names = names(&[0, 1]);
    let valid = listeners(&names);
    let message = refused(
        LISTENERS,
        &with(
            &valid,
            &[
                ("listeners.0.timeOut", "61"),
                ("listeners.1.sessionExpire", "7"),
                ("listeners.0.httpCode", "0"),
            ],
        ),
    );
    assert!(
        message.starts_with("listeners.1.sessionExpire=7:"),
        "{message}"
    );
    let message = refused(
        LISTENERS,
        &with(
            &valid,
            &[("listeners.1.timeOut", "61"), ("listeners.0.timeOut", "61")],
        ),
    );
    assert_eq!(
        message,
        "listeners.0.timeOut=61: must be an integer from 2 to 60"
    );
}

#[test]
fn a_required_parameter_must_be_there_and_not_empty() {
    for own in [&[][..], &[("loadBalancerId", "")]] {
        assert!(refused("DescribeLBHealthStatus", own).starts_with("loadBalancerId: required"));
    }
    let message = refused("CreateLoadBalancer", &[("loadBalancerType", "")]);
    assert_eq!(
        message,
        "loadBalancerType: required, but absent or empty; must be one of 2, 3"
    );
}

#[test]
fn a_required_array_needs_an_element_and_the_error_names_the_first() {
    let message = refused(LISTENERS, &[("loadBalancerId", "lb-abcdefgh")]);
    assert!(
        message.starts_with("listeners.0.loadBalancerPort: required"),
        "{message}"
    );
    let message = refused("DeleteLoadBalancers", &[]);
    assert!(
        message.starts_with("loadBalancerIds.0: required"),
        "{message}"
    );
    let message = refused(
        "RegisterInstancesWithLoadBalancer",
        &[("loadBalancerId", "lb-abcdefgh")],
    );
    assert!(
        message.starts_with("backends.0.instanceId: required"),
        "{message}"
    );
}

#[test]
fn every_index_that_occurs_needs_what_is_required() {
    let names = names(&[0]);
    let valid = listeners(&names);
    let message = refused(
        LISTENERS,
        &with(&valid, &[("listeners.7.listenerName", "x")]),
    );
    assert!(
        message.starts_with("listeners.7.loadBalancerPort: required"),
        "{message}"
    );
    // A value that was lost on the way must not delete less, or bind less, than was meant.
    let message = refused(
        "DeleteLoadBalancers",
        &[
            ("loadBalancerIds.0", "lb-abcdefgh"),
            ("loadBalancerIds.1", ""),
        ],
    );
    assert!(
        message.starts_with("loadBalancerIds.1: required"),
        "{message}"
    );
}

#[test]
fn an_empty_value_counts_as_absent() {
    let admitted = call(
        "DescribeLoadBalancers",
        &[
            ("loadBalancerIds.0", ""),
            ("limit", ""),
            ("orderBy", ""),
            ("searchKey", ""),
            ("loadBalancerIds.5", "lb-abcdefgh"),
        ],
    )
    .unwrap();
    let params = admitted.params;
    assert_eq!(params.texts("loadBalancerIds"), ["lb-abcdefgh"]);
    for name in ["limit", "orderBy", "searchKey"] {
        assert!(!params.is_given(name), "{name}");
    }
    let nothing = call("DescribeLoadBalancers", &[("loadBalancerIds.0", "")]).unwrap();
    assert!(!nothing.params.is_given("loadBalancerIds"));
}

#[test]
fn arrays_may_have_gaps_and_stand_in_the_order_of_their_numbers() {
    let names = names(&[10, 2, 9999]);
    let admitted = call(LISTENERS, &listeners(&names)).unwrap();
    let indexes: Vec<u16> = admitted
        .params
        .elements("listeners")
        .iter()
        .map(|listener| listener.index)
        .collect();
    assert_eq!(indexes, [2, 10, 9999]);
    let from_one = call(
        "ModifyLoadBalancerBackends",
        &[
            ("loadBalancerId", "lb-abcdefgh"),
            ("backends.1.instanceId", "ins-1"),
            ("backends.1.weight", "7"),
        ],
    )
    .unwrap();
    let backends = from_one.params.elements("backends");
    assert_eq!(backends[0].text("instanceId"), Some("ins-1"));
    assert_eq!(backends[0].int("weight"), Some(7));
}

#[test]
fn other_index_forms_are_refused() {
    for index in [
        "00",
        "01",
        "10000",
        "-1",
        "+1",
        "",
        "n",
        "1 ",
        "x",
        "１",
        "99999999999999999999",
    ] {
        let name = format!("loadBalancerIds.{index}");
        let message = refused("DescribeLoadBalancers", &[(&name, "lb-abcdefgh")]);
        assert!(message.contains("loadBalancerIds"), "{message}");
    }
    let message = refused("DescribeLoadBalancers", &[("loadBalancerIds.01", "x")]);
    assert!(message.contains("without leading zeros"), "{message}");
    let message = refused(
        "DescribeLoadBalancers",
        &[("loadBalancerIds", "lb-abcdefgh")],
    );
    assert!(message.contains("loadBalancerIds.0"), "{message}");
    refused("DescribeLoadBalancers", &[("loadBalancerIds.0.x", "x")]);
    refused("DescribeLoadBalancers", &[("limit.0", "1")]);
}

#[test]
fn an_array_has_at_most_a_thousand_elements() {
    let ids: Vec<String> = (0..1001)
        .map(|index| format!("loadBalancerIds.{}", index * 9))
        .collect();
    let own: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "lb-abcdefgh")).collect();
    let admitted = call("DescribeLoadBalancers", &own[..1000]).unwrap();
    assert_eq!(admitted.params.texts("loadBalancerIds").len(), 1000);
    let message = refused("DescribeLoadBalancers", &own);
    assert!(
        message.contains("1001") && message.contains("1000"),
        "{message}"
    );
}

#[test]
fn the_misspelt_id_that_clients_send_is_taken_but_not_both() {
    let admitted = call(
        "DescribeLBHealthStatus",
        &[("loadBalanceId", "lb-abcdefgh")],
    )
    .unwrap();
    assert_eq!(admitted.params.text("loadBalancerId"), Some("lb-abcdefgh"));
    let both = [
        ("loadBalanceId", "lb-abcdefgh"),
        ("loadBalancerId", "lb-abcdefgh"),
    ];
    let message = refused("DescribeLBHealthStatus", &both);
    assert!(message.contains("loadBalanceId") && message.contains("loadBalancerId"));
    for one_empty in [
        [("loadBalanceId", ""), ("loadBalancerId", "lb-abcdefgh")],
        [("loadBalanceId", "lb-abcdefgh"), ("loadBalancerId", "")],
        [("loadBalancerId", "lb-abcdefgh"), ("loadBalanceId", "")],
    ] {
        let admitted = call("DescribeLBHealthStatus", &one_empty).unwrap();
        assert_eq!(admitted.params.text("loadBalancerId"), Some("lb-abcdefgh"));
    }
    refused("DescribeLoadBalancers", &[("loadBalanceId", "lb-abcdefgh")]);
    for action in ACTIONS {
        let has_id = action
            .params
            .iter()
            .any(|spec| spec.name == "loadBalancerId");
        assert_eq!(has_id, !action.aliases.is_empty(), "{}", action.name);
    }
}

#[test]
fn aliases_of_arrays_and_needless_parameters_follow_the_table() {
    // Shapes that Actions to come have, put on an existing row.
    static PARAMS: &[ParamSpec] = &[ParamSpec::text("ids.n"), ParamSpec::text("info.n.source")];
    static ELEMENT: &[ParamSpec] = &[
        ParamSpec {
            presence: Presence::RequiredInElement,
            ..ParamSpec::text("filter.n.key")
        },
        ParamSpec::text("filter.n.value"),
    ];
    let mut action = *crate::ActionSpec::find("DescribeLoadBalancers").unwrap();
    action.params = PARAMS;
    action.aliases = &[
        Alias {
            name: "id",
            target: "ids.0",
        },
        Alias {
            name: "other.n.source",
            target: "info.n.source",
        },
    ];
    action.tolerated = &[
        Tolerated {
            name: "info.n.endPort",
            only: Some("0"),
        },
        Tolerated {
            name: "SSLMode",
            only: None,
        },
    ];
    let pairs = super::client::pairs;
    let params = action
        .check(pairs(&[
            ("id", "a"),
            ("ids.1", "b"),
            ("other.4.source", "c"),
            ("info.9.endPort", "0"),
            ("SSLMode", "whatever"),
        ]))
        .unwrap();
    assert_eq!(params.texts("ids"), ["a", "b"]);
    assert_eq!(params.elements("info").len(), 1);
    assert_eq!(params.elements("info")[0].text("source"), Some("c"));
    let error = action.check(pairs(&[("info.0.endPort", "9")])).unwrap_err();
    assert_eq!(error.message, "info.0.endPort=9: must be 0");
    let error = action
        .check(pairs(&[("id", "a"), ("ids.0", "b")]))
        .unwrap_err();
    assert!(
        error.message.starts_with("ids.0: means the same as id"),
        "{error}"
    );

    action.params = ELEMENT;
    assert!(action.check(Vec::new()).is_ok());
    let error = action.check(pairs(&[("filter.3.value", "x")])).unwrap_err();
    assert!(
        error.message.starts_with("filter.3.key: required"),
        "{error}"
    );
}

#[test]
fn long_values_are_cut_and_control_characters_escaped() {
    let message = refused(
        "CreateLoadBalancer",
        &[("loadBalancerType", &"9".repeat(1000))],
    );
    assert!(message.len() < 150 && message.contains('…'), "{message}");
    let message = refused("CreateLoadBalancer", &[("loadBalancerType", "2\r\nX: y")]);
    assert_eq!(message, "loadBalancerType=2\\r\\nX: y: must be one of 2, 3");
}

#[test]
fn texts_have_no_control_characters_and_at_most_255_characters() {
    let own = |name: &'static str| {
        [
            ("loadBalancerId", "lb-abcdefgh"),
            ("listenerId", "lbl-abcdefgh"),
            ("listenerName", name),
        ]
    };
    for bad in ["a\nb", "a\tb", "\u{7f}", "\u{85}", "\0"] {
        refused("ModifyLoadBalancerListener", &own(bad));
    }
    let longest: &'static str = Box::leak("é".repeat(255).into_boxed_str());
    assert!(call("ModifyLoadBalancerListener", &own(longest)).is_ok());
    let longer: &'static str = Box::leak("é".repeat(256).into_boxed_str());
    refused("ModifyLoadBalancerListener", &own(longer));
}

#[test]
fn certificates_keep_their_line_breaks_and_keys_are_never_repeated() {
    let own = |content: &'static str, key: &'static str| {
        [
            ("loadBalancerId", "lb-abcdefgh"),
            ("listenerId", "lbl-abcdefgh"),
            ("certContent", content),
            ("certKey", key),
            ("certName", "web"),
        ]
    };
    let pem = "-----BEGIN CERTIFICATE-----\r\n\tMIIB\n-----END CERTIFICATE-----\n";
    let admitted = call("ModifyLoadBalancerListener", &own(pem, "key\n")).unwrap();
    assert_eq!(admitted.params.text("certContent"), Some(pem));
    assert_eq!(admitted.params.text("certKey"), Some("key\n"));
    let message = refused("ModifyLoadBalancerListener", &own(pem, "private\0key"));
    assert!(message.starts_with("certKey: must be PEM") && !message.contains("private"));
    let too_long: &'static str = Box::leak("x".repeat(64 * 1024 + 1).into_boxed_str());
    let message = refused("ModifyLoadBalancerListener", &own(pem, too_long));
    assert!(message.starts_with("certKey: must be PEM"), "{message}");
    assert!(call("ModifyLoadBalancerListener", &own(pem, &too_long[1..])).is_ok());
}
