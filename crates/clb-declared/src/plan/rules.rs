//! Rules: made, changed, deleted, and made anew where the order of creation or the API wants it.

use std::collections::{BTreeSet, HashMap};

use super::backends::Pool;
use super::{Call, Plan, differences, given, pairs};
use crate::fields::{Absent, RULE};
use crate::order;
use crate::shape::{Listener, Rule, RuleKey};

impl<'a> Plan<'a> {
    pub(super) fn rules(&mut self, name: &str, old: &'a Listener, new: &Listener) {
        let there: HashMap<RuleKey, &Rule> =
            old.rules.iter().map(|rule| (rule.key(), rule)).collect();
        let unset: BTreeSet<RuleKey> = new
            .rules
            .iter()
            .filter(|rule| {
                there
                    .get(&rule.key())
                    .is_some_and(|old| is_unset(old, rule))
            })
            .map(Rule::key)
            .collect();
        let kept: Vec<Rule> = old
            .rules
            .iter()
            .filter(|rule| !unset.contains(&rule.key()))
            .cloned()
            .collect();
        let late = order::made_anew(&kept, &new.rules);
        let anew = |key: &RuleKey| unset.contains(key) || late.contains(key);
        let wanted: BTreeSet<RuleKey> = new.rules.iter().map(Rule::key).collect();
        for rule in &old.rules {
            let key = rule.key();
            let call = self.delete_rule(&old.id, rule);
            if anew(&key) && wanted.contains(&key) {
                let why = match unset.contains(&key) {
                    true => "no Action takes its http_check_domain back",
                    false => "its place in the order",
                };
                let what = format!("{name}: {} ({why})", rule_words(rule));
                self.step('-', new.place, what, call);
                self.anew.insert(&rule.id);
            } else if !wanted.contains(&key) {
                self.step_last(format!("{name}: {}", rule_words(rule)), call);
            }
        }
        for rule in &new.rules {
            match there.get(&rule.key()) {
                Some(old_rule) if !anew(&rule.key()) => {
                    self.change_rule(name, &old.id, old_rule, rule);
                }
                _ => self.create_rule(name, Some(&old.id), rule),
            }
        }
    }

    fn delete_rule(&self, listener: &str, rule: &Rule) -> Option<Call> {
        let fixed = [("loadBalancerId", self.lb?), ("listenerId", listener)];
        let call = Call::new("DeleteForwardLBListenerRules", &fixed);
        Some(call.with("locationIds", pairs(&[("", &rule.id)])))
    }

    pub(super) fn create_rule(&mut self, name: &str, listener: Option<&str>, rule: &Rule) {
        let mut element = pairs(&[("domain", rule.domain.as_str()), ("url", rule.url.as_str())]);
        element.extend(given(RULE, &rule.settings));
        let call = self.lb.zip(listener).map(|(lb, listener)| {
            let fixed = [("loadBalancerId", lb), ("listenerId", listener)];
            Call::new("CreateForwardLBListenerRules", &fixed).with("rules", element)
        });
        let what = format!("{name}: {}", rule_words(rule));
        self.step('+', rule.place, what.clone(), call);
        self.backends(&what, &[], &rule.backends, None);
    }

    fn change_rule(&mut self, name: &str, listener: &str, old: &Rule, new: &Rule) {
        let what = format!("{name}: {}", rule_words(new));
        let (sent, changed) = differences(RULE, None, &old.settings, &new.settings);
        if !sent.is_empty() {
            let call = self.lb.map(|lb| {
                let fixed = [
                    ("loadBalancerId", lb),
                    ("listenerId", listener),
                    ("locationId", old.id.as_str()),
                ];
                let mut call = Call::new("ModifyLoadBalancerRulesProbe", &fixed);
                call.fixed.extend(sent);
                call
            });
            self.step('~', new.place, format!("{what}: {changed}"), call);
        }
        let pool = Pool::Rule(listener, &old.id);
        self.backends(&what, &old.backends, &new.backends, Some(pool));
    }
}

/// Whether something is set that is not to be, and that no Action takes back. The domain of a probe
/// that is the rule's own is as good as none.
fn is_unset(old: &Rule, new: &Rule) -> bool {
    RULE.iter().any(|field| {
        field.absent == Absent::Unset
            && !new.settings.contains_key(field.api)
            && old
                .settings
                .get(field.api)
                .is_some_and(|value| *value != new.domain.key())
    })
}

fn rule_words(rule: &Rule) -> String {
    format!("rule {} {}", rule.domain.as_str(), rule.url.as_str())
}
