//! Redirects between rules of one instance (semantics.md 6, actions.md ManualRewrite and after).
//!
//! A rule that is redirected is nobody's target, and a target is not redirected: so there is
//! neither a chain nor a loop of rules, whatever the order in which they are asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::check_limit;
use super::rules::{changed, require_layer7, rule_of};
use crate::command::{AutoRedirect, RulePair, RuleSelection};
use crate::env::Env;
use crate::error::ModelError;
use crate::id::{ListenerId, RuleId};
use crate::object::{Change, Listener, ListenerService, Object, Owner, PoolKey, Rule, Status};
use crate::path_map::PathMap;
use crate::state::State;
use crate::types::{Port, Protocol};

/// Redirects that one command makes, on top of those that there are.
struct Redirects<'s> {
    state: &'s State,
    /// What the rules were named by.
    parameter: &'static str,
    made: HashMap<RuleId, RuleId>,
    targets: HashSet<RuleId>,
}

impl<'s> Redirects<'s> {
    fn new(state: &'s State, parameter: &'static str) -> Self {
        Self {
            state,
            parameter,
            made: HashMap::new(),
            targets: HashSet::new(),
        }
    }

    fn target_of(&self, rule: &Rule) -> Option<RuleId> {
        rule.redirect_to
            .or_else(|| self.made.get(&rule.id).copied())
    }

    fn is_target(&self, rule: RuleId) -> bool {
        self.targets.contains(&rule) || self.state.redirected_to(rule).next().is_some()
    }

    /// Notes a redirect; false when it is there already.
    fn add(&mut self, source: &Rule, target: &Rule) -> Result<bool, ModelError> {
        if let Some(known) = self.target_of(source).filter(|_| source.id != target.id) {
            return match known == target.id {
                true => Ok(false),
                false => Err(ModelError::RuleRedirected {
                    source_rule: source.id,
                    target: known,
                }),
            };
        }
        self.check(source, target).map_err(|reason| {
            ModelError::Contradiction(format!(
                "{}: {} can not be redirected to {}: {reason}",
                self.parameter, source.id, target.id
            ))
        })?;
        self.made.insert(source.id, target.id);
        self.targets.insert(target.id);
        Ok(true)
    }

    fn check(&self, source: &Rule, target: &Rule) -> Result<(), String> {
        if source.id == target.id {
            return Err("a rule to itself".to_owned());
        }
        if let Some(next) = self.target_of(target) {
            return Err(format!("the target is itself redirected, to {next}"));
        }
        if self.is_target(source.id) {
            return Err("other rules are redirected to the source".to_owned());
        }
        check_reached(source, target).map_err(str::to_owned)
    }
}

/// Within a listener a redirect must lead away from the source. The host of a request stays (ADR
/// 20), and so does its path where [`PathMap`] says so: what is the same in both comes back to the
/// rule it came from.
fn check_reached(source: &Rule, target: &Rule) -> Result<(), &'static str> {
    if source.listener != target.listener {
        return Ok(());
    }
    if source.domain.key() != target.domain.key() {
        return Err(
            "both belong to one listener and have different domains; a redirect keeps the request's host, which is the source's",
        );
    }
    match PathMap::of(&source.url, &target.url) {
        PathMap::Kept => Err(
            "both belong to one listener and requests would come back with the path that they had: a loop",
        ),
        PathMap::Whole(_) | PathMap::Prefix { .. } => Ok(()),
    }
}

/// Whether the redirects from and to a rule still lead away when it has another url.
pub(super) fn check_moved(state: &State, after: &Rule) -> Result<(), ModelError> {
    let check = |source: &Rule, target: &Rule| {
        check_reached(source, target).map_err(|reason| {
            ModelError::Contradiction(format!(
                "url={}: {} is redirected to {}: {reason}",
                after.url, source.id, target.id
            ))
        })
    };
    if let Some(target) = after.redirect_to.and_then(|id| state.rule(id)) {
        check(after, target)?;
    }
    state
        .redirected_to(after.id)
        .try_for_each(|source| check(source, after))
}

/// The end of a redirect: a rule that AutoRewrite made goes with it unless it has backends.
pub(super) fn ended(state: &State, source: &Arc<Rule>) -> Change {
    let pool = Owner::Pool(PoolKey::Rule(source.id));
    let before = Object::Rule(Arc::clone(source));
    if source.auto_created && state.bindings_of(pool).next().is_none() {
        return Change::removed(before);
    }
    let after = Rule {
        redirect_to: None,
        ..Rule::clone(source)
    };
    Change::changed(before, Object::Rule(Arc::new(after)))
}

fn redirected(source: &Arc<Rule>, target: RuleId) -> Option<Change> {
    let after = Rule {
        redirect_to: Some(target),
        ..Rule::clone(source)
    };
    changed(source, after)
}

/// ManualRewrite
pub(super) fn create(
    state: &State,
    from: &Listener,
    to: &Listener,
    pairs: &[RulePair],
) -> Result<Vec<Change>, ModelError> {
    require_layer7(from)?;
    require_layer7(to)?;
    let mut redirects = Redirects::new(state, "rewriteInfo");
    let mut changes = Vec::new();
    for pair in pairs {
        let source = rule_of(state, from, pair.source)?;
        let target = rule_of(state, to, pair.target)?;
        if redirects.add(source, target)? {
            changes.extend(redirected(source, target.id));
        }
    }
    Ok(changes)
}

/// DeleteRewrite
pub(super) fn delete(
    state: &State,
    from: &Listener,
    to: &Listener,
    pairs: &[RulePair],
) -> Result<Vec<Change>, ModelError> {
    require_layer7(from)?;
    require_layer7(to)?;
    let mut changes = Vec::new();
    let mut seen = HashSet::new();
    for pair in pairs.iter().filter(|pair| seen.insert(**pair)) {
        let source = rule_of(state, from, pair.source)?;
        let target = rule_of(state, to, pair.target)?;
        if source.redirect_to != Some(target.id) {
            return Err(ModelError::RedirectNotFound(*pair));
        }
        changes.push(ended(state, source));
    }
    Ok(changes)
}

/// AutoRewrite. A rule at port 80 that is redirected already is left as it is.
pub(super) fn create_automatically(
    state: &State,
    env: &Env,
    https: &Listener,
    wanted: &AutoRedirect,
) -> Result<Vec<Change>, ModelError> {
    check_https(https)?;
    let targets = targets(state, https, &wanted.domains)?;
    let mut counters = *state.counters();
    let mut changes = Vec::new();
    let http = match state.listener_beside(https.load_balancer, Port::HTTP, Protocol::Http) {
        Some(id) => http_listener(state, https, id)?,
        None => {
            let order = counters.take(|counters| &mut counters.next_order);
            let made = new_listener(state, env, https, wanted, order)?;
            changes.push(Change::made(Object::Listener(Arc::clone(&made))));
            made
        }
    };
    let new_ids: HashMap<RuleId, RuleId> = wanted
        .new_rules
        .iter()
        .map(|pair| (pair.target, pair.source))
        .collect();
    let mut redirects = Redirects::new(state, parameter(wanted));
    let mut made = 0;
    for target in targets {
        let known = state.rule_at(http.id, &target.domain, &target.url);
        if let Some(source) = known.and_then(|id| state.rule(id)) {
            if source.redirect_to.is_none() && redirects.add(source, target)? {
                changes.extend(redirected(source, target.id));
            }
            continue;
        }
        // A rule that came after the request was read has no id set aside.
        let drawn = || RuleId::from_number(counters.draw_id());
        let id = new_ids.get(&target.id).copied().unwrap_or_else(drawn);
        let order = counters.take(|counters| &mut counters.next_order);
        let source = new_rule(&http, target, wanted, id, order);
        redirects.add(&source, target)?;
        made += 1;
        let source = Rule {
            redirect_to: Some(target.id),
            ..source
        };
        changes.push(Change::made(Object::Rule(Arc::new(source))));
    }
    if made > 0 {
        check_limit(
            state.rule_count(http.id) + made,
            env.limits.rules_per_listener,
            "rules_per_listener",
        )?;
    }
    if counters != *state.counters() {
        changes.push(Change::changed(
            Object::Counters(*state.counters()),
            Object::Counters(counters),
        ));
    }
    Ok(changes)
}

fn check_https(listener: &Listener) -> Result<(), ModelError> {
    if listener.protocol == Protocol::Https && listener.port == Port::HTTPS {
        return Ok(());
    }
    Err(ModelError::Contradiction(format!(
        "listenerId={}: it is {} at port {}; AutoRewrite needs an HTTPS listener at port {}",
        listener.id,
        listener.protocol,
        listener.port,
        Port::HTTPS
    )))
}

/// What the HTTPS listener's rules were named by.
fn parameter(wanted: &AutoRedirect) -> &'static str {
    match wanted.domains.is_empty() {
        true => "listenerId",
        false => "domains",
    }
}

/// The rules of the named domains, in the order of the names; of all when none is named.
fn targets<'s>(
    state: &'s State,
    https: &Listener,
    domains: &[String],
) -> Result<Vec<&'s Arc<Rule>>, ModelError> {
    if domains.is_empty() {
        return Ok(state.rules_of(https.id).collect());
    }
    let mut seen = HashSet::new();
    let mut targets = Vec::new();
    for domain in domains {
        let rules = state.rules_with_domain(https.id, domain);
        if rules.is_empty() {
            return Err(ModelError::NoRuleSelected {
                listener: https.id,
                selection: RuleSelection {
                    domain: Some(domain.clone()),
                    ..RuleSelection::default()
                },
            });
        }
        targets.extend(rules.into_iter().filter(|rule| seen.insert(rule.id)));
    }
    Ok(targets)
}

/// The listener at port 80, which must speak HTTP.
fn http_listener(
    state: &State,
    https: &Listener,
    id: ListenerId,
) -> Result<Arc<Listener>, ModelError> {
    state
        .listener(id)
        .filter(|listener| listener.protocol == Protocol::Http)
        .cloned()
        .ok_or(ModelError::PortTaken {
            load_balancer: https.load_balancer,
            port: Port::HTTP,
            by: Some(id),
        })
}

fn new_listener(
    state: &State,
    env: &Env,
    https: &Listener,
    wanted: &AutoRedirect,
    order: u64,
) -> Result<Arc<Listener>, ModelError> {
    check_limit(
        state.listeners_of(https.load_balancer).count() + 1,
        env.limits.listeners_per_load_balancer,
        "listeners_per_load_balancer",
    )?;
    Ok(Arc::new(Listener {
        id: wanted.new_listener,
        load_balancer: https.load_balancer,
        order,
        name: String::new(),
        protocol: Protocol::Http,
        port: Port::HTTP,
        service: ListenerService::RULES,
        tls: None,
        status: Status::Creating,
        created: wanted.now,
    }))
}

/// A rule with the target's domain and url, not redirected yet.
fn new_rule(http: &Listener, target: &Rule, wanted: &AutoRedirect, id: RuleId, order: u64) -> Rule {
    Rule {
        id,
        load_balancer: http.load_balancer,
        listener: http.id,
        order,
        domain: target.domain.clone(),
        url: target.url.clone(),
        settings: wanted.settings.clone(),
        redirect_to: None,
        auto_created: true,
    }
}
