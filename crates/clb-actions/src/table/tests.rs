use std::collections::HashSet;

use super::*;

#[test]
fn all_47_actions_are_there_once() {
    assert_eq!(ACTIONS.len(), 47);
    let names: HashSet<&str> = ACTIONS.iter().map(|action| action.name).collect();
    assert_eq!(names.len(), 47);
    let of = |family| {
        ACTIONS
            .iter()
            .filter(|action| action.family == family)
            .count()
    };
    assert_eq!(
        (
            of(Family::Common),
            of(Family::Classic),
            of(Family::Application)
        ),
        (9, 13, 25)
    );
}

#[test]
fn reading_actions_are_those_that_describe_or_ask() {
    for action in ACTIONS {
        let reads = ["Describe", "Inquiry", "Get"]
            .iter()
            .any(|prefix| action.name.starts_with(prefix));
        assert_eq!(action.kind == Kind::Read, reads, "{}", action.name);
    }
    let sync: Vec<&str> = ACTIONS
        .iter()
        .filter(|action| action.kind == Kind::Sync)
        .map(|action| action.name)
        .collect();
    assert_eq!(
        sync,
        [
            "ReplaceCert",
            "ModifyForwardLBName",
            "CreateForwardLBSeventhLayerListeners"
        ]
    );
}

#[test]
fn every_action_for_one_family_names_existing_actions_for_the_other() {
    for action in ACTIONS {
        if action.family == Family::Common {
            continue;
        }
        let counterpart = action.counterpart.expect(action.name);
        for name in counterpart.split(" or ") {
            let other = ActionSpec::find(name).expect(name);
            assert_ne!(other.family, action.family, "{name}");
        }
        let error = action.wrong_family("lb-abcdefgh");
        assert_eq!((error.code, error.module), (4000, Some(9003)));
        assert!(error.message.contains(counterpart) && error.message.contains("lb-abcdefgh"));
    }
}

#[test]
fn rows_of_an_action_have_different_names() {
    for action in ACTIONS {
        let mut seen = HashSet::new();
        for spec in action.params {
            assert!(seen.insert(spec.name), "{} {}", action.name, spec.name);
        }
        for alias in action.aliases {
            assert!(!seen.contains(alias.name));
        }
    }
}

#[test]
fn every_pattern_compiles_and_is_anchored() {
    for spec in ACTIONS.iter().flat_map(|action| action.params) {
        if let ParamKind::Pattern { pattern, describe } = spec.kind {
            assert!(pattern.compiled().is_some(), "{}", spec.name);
            assert!(pattern.source().starts_with('^') && pattern.source().ends_with('$'));
            assert!(!describe.is_empty());
        }
    }
}

#[test]
fn every_default_is_a_value_that_could_be_given() {
    for spec in ACTIONS.iter().flat_map(|action| action.params) {
        let fits = match spec.default {
            None => true,
            Some(DefaultValue::Int(value)) => spec.kind.takes_int(value),
            Some(DefaultValue::Text(text)) => spec.kind.takes_text(text),
        };
        assert!(fits, "{}", spec.name);
        assert!(spec.default.is_none() || spec.presence == Presence::Optional);
    }
}

#[test]
fn private_keys_and_nothing_else_are_secret() {
    for spec in ACTIONS.iter().flat_map(|action| action.params) {
        let is_key = spec.name.ends_with("certKey") || spec.name.ends_with("newCertKey");
        assert_eq!(spec.is_secret, is_key, "{}", spec.name);
    }
}

#[test]
fn a_name_tells_where_its_value_belongs() {
    let listeners = ActionSpec::find("CreateLoadBalancerListeners").unwrap();
    assert_eq!(listeners.params[0].shape(), Shape::Scalar("loadBalancerId"));
    assert_eq!(
        listeners.params[1].shape(),
        Shape::Field {
            array: "listeners",
            field: "loadBalancerPort"
        }
    );
    assert_eq!(
        listeners.params[1].name_at(7),
        "listeners.7.loadBalancerPort"
    );
    let delete = ActionSpec::find("DeleteLoadBalancers").unwrap();
    assert_eq!(delete.params[0].shape(), Shape::List("loadBalancerIds"));
    assert_eq!(delete.params[0].name_at(3), "loadBalancerIds.3");
}
