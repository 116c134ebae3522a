//! Rules of application-based layer-7 listeners.

use std::collections::HashSet;
use std::sync::Arc;

use super::{check_limit, check_settings, redirects, remove_rules};
use crate::command::{NewRule, RulePatch, RuleSelection};
use crate::env::Env;
use crate::error::ModelError;
use crate::id::RuleId;
use crate::object::{Change, Listener, Object, PoolSettings, Rule};
use crate::pattern::{DomainPattern, UrlPattern};
use crate::state::State;

pub(super) fn require_layer7(listener: &Listener) -> Result<(), ModelError> {
    if listener.protocol.is_layer7() {
        Ok(())
    } else {
        Err(ModelError::WrongLayer {
            listener: listener.id,
            protocol: listener.protocol,
            reason: "only HTTP and HTTPS listeners have rules",
        })
    }
}

/// A rule of a listener.
pub(super) fn rule_of<'s>(
    state: &'s State,
    listener: &Listener,
    id: RuleId,
) -> Result<&'s Arc<Rule>, ModelError> {
    state
        .rule(id)
        .filter(|rule| rule.listener == listener.id)
        .ok_or_else(|| ModelError::RuleNotFound {
            rule: id.to_string(),
            listener: listener.id,
        })
}

pub(super) fn create(
    state: &State,
    env: &Env,
    listener: &Listener,
    wanted: &[NewRule],
) -> Result<Vec<Change>, ModelError> {
    require_layer7(listener)?;
    let mut counters = *state.counters();
    let mut changes = Vec::with_capacity(wanted.len() + 1);
    let mut named = HashSet::new();
    for new in wanted {
        check_settings(&new.settings)?;
    }
    for new in wanted {
        let by = state.rule_at(listener.id, &new.domain, &new.url);
        if by.is_some() || !named.insert((new.domain.key(), new.url.key())) {
            return Err(taken(&new.domain, &new.url, by));
        }
        changes.push(Change::made(Object::Rule(Arc::new(Rule {
            id: new.id,
            load_balancer: listener.load_balancer,
            listener: listener.id,
            order: counters.take(|counters| &mut counters.next_order),
            domain: new.domain.clone(),
            url: new.url.clone(),
            settings: new.settings.clone(),
            redirect_to: None,
            auto_created: false,
        }))));
    }
    check_limit(
        state.rule_count(listener.id) + wanted.len(),
        env.limits.rules_per_listener,
        "rules_per_listener",
    )?;
    changes.push(Change::changed(
        Object::Counters(*state.counters()),
        Object::Counters(counters),
    ));
    Ok(changes)
}

fn taken(domain: &DomainPattern, url: &UrlPattern, by: Option<RuleId>) -> ModelError {
    ModelError::RuleTaken {
        domain: domain.to_string(),
        url: url.to_string(),
        by,
    }
}

pub(super) fn changed(before: &Arc<Rule>, after: Rule) -> Option<Change> {
    (after != **before).then(|| {
        Change::changed(
            Object::Rule(Arc::clone(before)),
            Object::Rule(Arc::new(after)),
        )
    })
}

pub(super) fn rename_domain(
    state: &State,
    listener: &Listener,
    domain: &str,
    new_domain: &DomainPattern,
) -> Result<Vec<Change>, ModelError> {
    require_layer7(listener)?;
    let rules = state.rules_with_domain(listener.id, domain);
    if rules.is_empty() {
        return Err(ModelError::NoRuleSelected {
            listener: listener.id,
            selection: RuleSelection {
                domain: Some(domain.to_owned()),
                ..RuleSelection::default()
            },
        });
    }
    let mut changes = Vec::with_capacity(rules.len());
    for rule in rules {
        // The rule itself has the place when only the spelling changes.
        if let Some(by) = state
            .rule_at(listener.id, new_domain, &rule.url)
            .filter(|by| *by != rule.id)
        {
            return Err(taken(new_domain, &rule.url, Some(by)));
        }
        let after = Rule {
            domain: new_domain.clone(),
            ..Rule::clone(rule)
        };
        changes.extend(changed(rule, after));
    }
    Ok(changes)
}

pub(super) fn modify(
    state: &State,
    listener: &Listener,
    id: RuleId,
    patch: &RulePatch,
) -> Result<Vec<Change>, ModelError> {
    require_layer7(listener)?;
    let rule = rule_of(state, listener, id)?;
    let mut after = Rule::clone(rule);
    change_settings(&mut after.settings, patch);
    check_settings(&after.settings)?;
    if let Some(url) = &patch.url {
        if let Some(by) = state
            .rule_at(listener.id, &rule.domain, url)
            .filter(|by| *by != id)
        {
            return Err(taken(&rule.domain, url, Some(by)));
        }
        after.url = url.clone();
        redirects::check_moved(state, &after)?;
    }
    Ok(changed(rule, after).into_iter().collect())
}

fn change_settings(settings: &mut PoolSettings, patch: &RulePatch) {
    fn set<T: Clone>(place: &mut T, wanted: &Option<T>) {
        if let Some(wanted) = wanted {
            place.clone_from(wanted);
        }
    }
    set(&mut settings.scheduler, &patch.scheduler);
    set(&mut settings.session_expire, &patch.session_expire);
    let health = &mut settings.health;
    set(&mut health.enabled, &patch.health_enabled);
    set(&mut health.time_out, &patch.time_out);
    set(&mut health.interval_time, &patch.interval_time);
    set(&mut health.health_num, &patch.health_num);
    set(&mut health.unhealth_num, &patch.unhealth_num);
    if let Some(http) = &mut health.http {
        set(&mut http.code, &patch.http_code);
        set(&mut http.path, &patch.check_path);
        if patch.check_domain.is_some() {
            http.domain.clone_from(&patch.check_domain);
        }
        http.method = patch.check_method.or(http.method);
    }
}

pub(super) fn delete(
    state: &State,
    listener: &Listener,
    selection: &RuleSelection,
) -> Result<Vec<Change>, ModelError> {
    require_layer7(listener)?;
    let mut changes = Vec::new();
    let rules = state.select_rules(listener.id, selection)?;
    remove_rules(state, &rules, &mut changes);
    Ok(changes)
}
