//! Backends bound to rules and to layer-4 listeners of application-based instances.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::backends::reweighted;
use super::check_limit;
use crate::command::{PortMove, RuleSelection, Target, TargetWeight};
use crate::env::Env;
use crate::error::ModelError;
use crate::id::BindingId;
use crate::object::{Binding, BoundTo, Change, Listener, Object, Owner, PoolKey};
use crate::state::State;
use crate::types::{Port, UnixMillis, Weight};

/// The pools that a request is about: the selected rules, or the layer-4 listener itself.
fn pools(
    state: &State,
    listener: &Listener,
    selection: &RuleSelection,
) -> Result<Vec<PoolKey>, ModelError> {
    if listener.protocol.is_layer7() {
        let rules = state.select_rules(listener.id, selection)?;
        if rules.is_empty() {
            return Err(ModelError::NoRuleSelected {
                listener: listener.id,
                selection: selection.clone(),
            });
        }
        return Ok(rules.iter().map(|rule| PoolKey::Rule(rule.id)).collect());
    }
    if selection.is_all() {
        Ok(vec![PoolKey::Listener(listener.id)])
    } else {
        Err(ModelError::WrongLayer {
            listener: listener.id,
            protocol: listener.protocol,
            reason: "it has no rules that locationIds, domain or url could select",
        })
    }
}

fn bound<'a>(state: &'a State, pool: PoolKey, target: &Target) -> Option<&'a Arc<Binding>> {
    state.binding(Owner::Pool(pool), &target.instance, Some(target.port))
}

fn required<'a>(
    state: &'a State,
    pool: PoolKey,
    target: &Target,
) -> Result<&'a Arc<Binding>, ModelError> {
    bound(state, pool, target).ok_or_else(|| ModelError::TargetNotBound {
        target: target.clone(),
        of: Some(pool),
    })
}

fn resolve(state: &State, env: &Env, target: &Target) -> Result<IpAddr, ModelError> {
    let address = match target.by_address {
        true => env.resolve_address(state, &target.instance)?,
        false => env.resolve(state, &target.instance)?,
    };
    env.check_own_socket(&target.instance, address, target.port)?;
    Ok(address)
}

pub(super) fn bind(
    state: &State,
    env: &Env,
    listener: &Listener,
    selection: &RuleSelection,
    now: UnixMillis,
    backends: &[TargetWeight],
) -> Result<Vec<Change>, ModelError> {
    let pools = pools(state, listener, selection)?;
    let mut counters = *state.counters();
    let mut changes = Vec::new();
    // Each backend is looked up once, however many rules it is bound to, and only when it is new
    // somewhere: one that has left clb.toml can still be given another weight.
    let mut addresses: Vec<Option<IpAddr>> = vec![None; backends.len()];
    for backend in backends.iter().zip(&mut addresses) {
        let (backend, address) = backend;
        let is_bound = |pool: &PoolKey| bound(state, *pool, &backend.target).is_some();
        if !pools.iter().all(is_bound) {
            *address = Some(resolve(state, env, &backend.target)?);
        }
    }
    for pool in pools {
        let mut added = 0;
        for (backend, address) in backends.iter().zip(&addresses) {
            let target = &backend.target;
            match (bound(state, pool, target), address) {
                (Some(bound), _) => changes.extend(reweighted(bound, backend.weight)),
                (None, None) => {}
                (None, Some(address)) => {
                    added += 1;
                    changes.push(Change::made(Object::Binding(Arc::new(Binding {
                        id: BindingId(counters.take(|counters| &mut counters.next_binding)),
                        load_balancer: listener.load_balancer,
                        to: Some(BoundTo {
                            pool,
                            port: target.port,
                        }),
                        instance: Arc::from(target.instance.as_str()),
                        by_address: target.by_address,
                        address: *address,
                        weight: backend.weight.unwrap_or(Weight::DEFAULT),
                        created: now,
                    }))));
                }
            }
        }
        if added > 0 {
            check_limit(
                state.bindings_of(Owner::Pool(pool)).count() + added,
                env.limits.backends_per_pool,
                "backends_per_pool",
            )?;
        }
    }
    if counters != *state.counters() {
        changes.push(Change::changed(
            Object::Counters(*state.counters()),
            Object::Counters(counters),
        ));
    }
    Ok(changes)
}

pub(super) fn reweight(
    state: &State,
    listener: &Listener,
    selection: &RuleSelection,
    backends: &[TargetWeight],
) -> Result<Vec<Change>, ModelError> {
    let pools = pools(state, listener, selection)?;
    let mut changes = Vec::new();
    for pool in pools {
        for backend in backends {
            let bound = required(state, pool, &backend.target)?;
            let weight = backend.weight.unwrap_or(Weight::DEFAULT);
            changes.extend(reweighted(bound, Some(weight)));
        }
    }
    Ok(changes)
}

/// A moved backend keeps its binding, and with it its health and its counts (semantics.md 4).
pub(super) fn move_ports(
    state: &State,
    env: &Env,
    listener: &Listener,
    selection: &RuleSelection,
    backends: &[PortMove],
) -> Result<Vec<Change>, ModelError> {
    let pools = pools(state, listener, selection)?;
    for pool in &pools {
        for backend in backends {
            let bound = required(state, *pool, &backend.target)?;
            env.check_own_socket(&bound.instance, bound.address, backend.port)?;
        }
    }
    let mut changes = Vec::new();
    for pool in pools {
        let mut new_places: HashSet<(&str, Port)> = HashSet::new();
        for backend in backends {
            let before = required(state, pool, &backend.target)?;
            let at_new_port = Target {
                port: backend.port,
                ..backend.target.clone()
            };
            let is_other = bound(state, pool, &at_new_port).is_some_and(|by| by.id != before.id);
            if is_other || !new_places.insert((&backend.target.instance, backend.port)) {
                return Err(ModelError::PortBound {
                    target: at_new_port,
                    pool,
                });
            }
            let after = Binding {
                to: Some(BoundTo {
                    pool,
                    port: backend.port,
                }),
                weight: backend.weight.unwrap_or(before.weight),
                ..Binding::clone(before)
            };
            if after != **before {
                changes.push(Change::changed(
                    Object::Binding(Arc::clone(before)),
                    Object::Binding(Arc::new(after)),
                ));
            }
        }
    }
    Ok(changes)
}

pub(super) fn unbind(
    state: &State,
    listener: &Listener,
    selection: &RuleSelection,
    backends: &[Target],
) -> Result<Vec<Change>, ModelError> {
    let pools = pools(state, listener, selection)?;
    let mut changes = Vec::new();
    for target in backends {
        let found = changes.len();
        changes.extend(
            pools
                .iter()
                .filter_map(|pool| bound(state, *pool, target))
                .map(|binding| Change::removed(Object::Binding(Arc::clone(binding)))),
        );
        if changes.len() == found {
            return Err(ModelError::TargetNotBound {
                target: target.clone(),
                of: match &*pools {
                    [only] => Some(*only),
                    _ => None,
                },
            });
        }
    }
    Ok(changes)
}
