//! The API's names as a command line has them, and what their values may be.

use clb_actions::table::{DefaultValue, ParamSpec, Presence};

/// `CreateForwardLBSeventhLayerListeners` as `create-forward-lb-seventh-layer-listeners`: a hyphen
/// where a word begins, abbreviations being one word.
#[must_use]
pub fn kebab(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 8);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        let begins = letter.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase() || before.is_ascii_digit())
                || before.is_some_and(|before| before.is_uppercase())
                    && after.is_some_and(|after| after.is_lowercase()));
        if begins {
            out.push('-');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// What a parameter takes, for a help text.
#[must_use]
pub fn allowed(spec: &ParamSpec) -> String {
    let mut text = spec.kind.allowed();
    match spec.default {
        Some(DefaultValue::Int(value)) => text.push_str(&format!(" [default: {value}]")),
        Some(DefaultValue::Text(value)) if !value.is_empty() => {
            text.push_str(&format!(" [default: {value}]"));
        }
        _ => {}
    }
    if spec.presence != Presence::Optional {
        text.push_str(" (required)");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clb_actions::ACTIONS;

    use super::*;

    #[test]
    fn words_are_told_apart() {
        for (name, expected) in [
            ("InquiryLBPrice", "inquiry-lb-price"),
            (
                "CreateForwardLBSeventhLayerListeners",
                "create-forward-lb-seventh-layer-listeners",
            ),
            ("DescribeLBHealthStatus", "describe-lb-health-status"),
            (
                "DeregisterInstancesFromForwardLB",
                "deregister-instances-from-forward-lb",
            ),
            ("loadBalancerIds", "load-balancer-ids"),
            ("SSLMode", "ssl-mode"),
            ("certCaId", "cert-ca-id"),
            ("sourceuListenerId", "sourceu-listener-id"),
            ("limit", "limit"),
        ] {
            assert_eq!(kebab(name), expected);
        }
    }

    #[test]
    fn no_two_actions_and_no_two_parameters_get_one_name() {
        let names: HashSet<String> = ACTIONS.iter().map(|action| kebab(action.name)).collect();
        assert_eq!(names.len(), ACTIONS.len());
        for action in ACTIONS {
            let params: HashSet<String> = action.params.iter().map(|p| kebab(p.name)).collect();
            assert_eq!(params.len(), action.params.len(), "{}", action.name);
        }
    }
}
