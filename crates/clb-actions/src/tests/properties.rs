//! Whatever is sent, the answer is an admission or an error that says something.

use proptest::prelude::*;

use super::client::{Call, NOW, form, gatekeeper, gatekeeper_with};
use crate::{Admitted, ApiError, Limits};

fn valid_calls() -> impl Strategy<Value = Call> {
    let lb = ("loadBalancerId", "lb-abcdefgh");
    let calls = vec![
        Call::new(
            "CreateLoadBalancer",
            &[("loadBalancerType", "2"), ("number", "3")],
        ),
        Call::new(
            "DescribeLoadBalancers",
            &[("loadBalancerIds.0", "lb-abcdefgh"), ("limit", "5")],
        ),
        Call::new(
            "CreateLoadBalancerListeners",
            &[
                lb,
                ("listeners.0.loadBalancerPort", "443"),
                ("listeners.0.instancePort", "443"),
                ("listeners.0.protocol", "2"),
                ("listeners.0.timeOut", "3"),
                ("listeners.0.scheduler", "wrr"),
            ],
        ),
        Call::new(
            "ModifyLoadBalancerListener",
            &[lb, ("listenerId", "lbl-abcdefgh"), ("httpCode", "3")],
        ),
        Call::new(
            "RegisterInstancesWithLoadBalancer",
            &[
                lb,
                ("backends.0.instanceId", "ins-1"),
                ("backends.0.weight", "10"),
            ],
        ),
        Call::new(
            "CreateForwardLBListenerRules",
            &[
                lb,
                ("listenerId", "lbl-abcdefgh"),
                ("rules.0.domain", "~^a"),
                ("rules.0.url", "= /x"),
                ("rules.0.httpCheckDomain", "a.com"),
            ],
        ),
        Call::new(
            "ModifyForwardSeventhBackendsPort",
            &[
                lb,
                ("listenerId", "lbl-abcdefgh"),
                ("locationIds.0", "loc-abcdefgh"),
                ("backends.0.eniIp", "10.0.0.1"),
                ("backends.0.port", "10"),
                ("backends.0.newPort", "11"),
            ],
        ),
        Call::new(
            "DescribeForwardLBHealthStatus",
            &[("loadBalancerId", "lb-abcdefgh")],
        ),
    ];
    (proptest::sample::select(calls), any::<bool>())
        .prop_map(|(call, post)| if post { call.post() } else { call })
}

/// What may happen to one parameter on its way, before it is signed.
#[derive(Debug, Clone)]
enum Change {
    Value(String),
    Name(String),
    Drop,
    Repeat,
}

fn changes() -> impl Strategy<Value = Vec<(usize, Change)>> {
    let text = prop_oneof![
        any::<String>(),
        "[-0-9.@a-z]{0,8}",
        Just(String::new()),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    let name = prop_oneof![
        any::<String>(),
        "(listeners|rules|backends|loadBalancerIds)\\.[0-9]{0,5}\\.?[a-zA-Z]{0,12}",
        Just("loadBalanceId".to_owned()),
        Just("Token".to_owned()),
    ];
    let change = prop_oneof![
        text.prop_map(Change::Value),
        name.prop_map(Change::Name),
        Just(Change::Drop),
        Just(Change::Repeat),
    ];
    proptest::collection::vec((0usize..12, change), 0..4)
}

fn apply(mut call: Call, changes: Vec<(usize, Change)>) -> Call {
    for (at, change) in changes {
        if call.params.is_empty() {
            break;
        }
        let at = at % call.params.len();
        match change {
            Change::Value(value) => call.params[at].1 = value,
            Change::Name(name) => call.params[at].0 = name,
            Change::Drop => {
                call.params.remove(at);
            }
            Change::Repeat => {
                let pair = call.params[at].clone();
                call.params.push(pair);
            }
        }
    }
    call
}

fn says_something(result: &Result<Admitted, ApiError>) -> bool {
    match result {
        Ok(admitted) => !admitted.action.name.is_empty(),
        Err(error) => {
            (4000..=6200).contains(&error.code)
                && !error.full_message().is_empty()
                && !error.message.chars().any(char::is_control)
                && error.message.len() < 2000
        }
    }
}

proptest! {
    #[test]
    fn a_valid_request_is_admitted_and_a_changed_one_is_admitted_or_refused_with_a_reason(
        call in valid_calls(),
        changes in changes(),
    ) {
        prop_assert!(call.send(&gatekeeper()).is_ok());
        let result = apply(call, changes).send(&gatekeeper());
        prop_assert!(says_something(&result), "{result:?}");
    }

    #[test]
    fn octets_changed_after_signing_never_get_through_to_another_action_or_parameter(
        call in valid_calls(),
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
    ) {
        let before = call.send(&gatekeeper()).unwrap();
        let mut text = form(&call.signed()).into_bytes();
        let at = at.index(text.len());
        text[at] = octet;
        // The client's text is UTF-8; other octets are covered by the decoders' own tests.
        if let Ok(text) = String::from_utf8(text) {
            let result = call.send_text(&gatekeeper(), &text, None, NOW * 1000);
            prop_assert!(says_something(&result), "{result:?}");
            if let Ok(after) = result {
                prop_assert_eq!(after.action.name, before.action.name);
                prop_assert_eq!(after.params, before.params);
            }
        }
    }

    #[test]
    fn any_text_is_answered(
        post in any::<bool>(),
        text in any::<String>(),
        content_type in proptest::option::of(any::<String>()),
    ) {
        let call = Call::new("DescribeLoadBalancers", &[]);
        let call = if post { call.post() } else { call };
        let result = call.send_text(&gatekeeper(), &text, content_type.as_deref(), NOW * 1000);
        prop_assert!(says_something(&result) && result.is_err());
    }

    #[test]
    fn the_memory_never_outgrows_its_limit_and_never_lets_a_request_pass_twice(
        capacity in 1usize..6,
        steps in proptest::collection::vec((0u64..5, 0u64..3, 0u64..20_000), 1..60),
    ) {
        let gatekeeper = gatekeeper_with(Limits { nonces: capacity, requests_per_second: 0 });
        let mut passed = std::collections::HashSet::new();
        for (nonce, age, later) in steps {
            let now = NOW + later;
            let timestamp = NOW + age * 3600;
            let call = Call::new("DescribeLoadBalancers", &[])
                .with("Timestamp", &timestamp.to_string())
                .with("Nonce", &nonce.to_string());
            if call.send_at(&gatekeeper, now * 1000).is_ok() {
                prop_assert!(passed.insert((timestamp, nonce)));
            }
            prop_assert!(gatekeeper.remembered() <= capacity);
        }
    }
}
