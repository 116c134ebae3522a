//! Backends bound to classic instances.

use std::sync::Arc;

use super::{Applied, check_limit, classic};
use crate::command::BackendWeight;
use crate::env::Env;
use crate::error::ModelError;
use crate::id::{BindingId, LbId};
use crate::object::{Binding, Change, Object, Owner};
use crate::state::State;
use crate::types::{UnixMillis, Weight};

pub(super) fn bind(
    state: &State,
    env: &Env,
    lb: LbId,
    now: UnixMillis,
    backends: &[BackendWeight],
) -> Result<Applied, ModelError> {
    classic(state, lb)?;
    let mut counters = *state.counters();
    let mut changes = Vec::new();
    let mut added = 0;
    let owner = Owner::LoadBalancer(lb);
    for backend in backends {
        match state.binding(owner, &backend.instance, None) {
            Some(bound) => changes.extend(reweighted(bound, backend.weight)),
            None => {
                let address = env.resolve(state, &backend.instance)?;
                for port in state.listeners_of(lb).filter_map(|l| l.instance_port()) {
                    env.check_own_socket(&backend.instance, address, port)?;
                }
                added += 1;
                changes.push(Change::made(Object::Binding(Arc::new(Binding {
                    id: BindingId(counters.take(|counters| &mut counters.next_binding)),
                    load_balancer: lb,
                    to: None,
                    instance: Arc::from(backend.instance.as_str()),
                    by_address: false,
                    address,
                    weight: backend.weight.unwrap_or(Weight::DEFAULT),
                    created: now,
                }))));
            }
        }
    }
    if added > 0 {
        check_limit(
            state.bindings_of(owner).count() + added,
            env.limits.backends_per_pool,
            "backends_per_pool",
        )?;
        changes.push(Change::changed(
            Object::Counters(*state.counters()),
            Object::Counters(counters),
        ));
    }
    Ok(Applied {
        changes,
        load_balancers: vec![lb],
    })
}

/// The change of a binding's weight, if it is one.
pub(super) fn reweighted(bound: &Arc<Binding>, weight: Option<Weight>) -> Option<Change> {
    let weight = weight.filter(|weight| *weight != bound.weight)?;
    let after = Binding {
        weight,
        ..Binding::clone(bound)
    };
    Some(Change::changed(
        Object::Binding(Arc::clone(bound)),
        Object::Binding(Arc::new(after)),
    ))
}

fn find<'a>(state: &'a State, lb: LbId, instance: &str) -> Result<&'a Arc<Binding>, ModelError> {
    state
        .binding(Owner::LoadBalancer(lb), instance, None)
        .ok_or_else(|| ModelError::NotBound {
            instance: instance.to_owned(),
            load_balancer: lb,
        })
}

pub(super) fn modify(
    state: &State,
    lb: LbId,
    backends: &[BackendWeight],
) -> Result<Applied, ModelError> {
    classic(state, lb)?;
    let mut changes = Vec::new();
    for backend in backends {
        let bound = find(state, lb, &backend.instance)?;
        changes.extend(reweighted(bound, backend.weight));
    }
    Ok(Applied {
        changes,
        load_balancers: vec![lb],
    })
}

pub(super) fn unbind(state: &State, lb: LbId, instances: &[String]) -> Result<Applied, ModelError> {
    classic(state, lb)?;
    let changes = instances
        .iter()
        .map(|instance| {
            find(state, lb, instance)
                .map(|binding| Change::removed(Object::Binding(Arc::clone(binding))))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Applied {
        changes,
        load_balancers: vec![lb],
    })
}

/// Bindings whose machine has another address in clb.toml now follow it. A machine that is no
/// longer configured keeps its last address (semantics.md 1).
pub(super) fn follow_instances(state: &State, env: &Env) -> Applied {
    let mut changes = Vec::new();
    let mut load_balancers = Vec::new();
    for binding in state.bindings() {
        let Some(instance) = env.instances.get(&*binding.instance) else {
            continue;
        };
        if instance.ip != binding.address && !binding.by_address {
            let after = Binding {
                address: instance.ip,
                ..Binding::clone(binding)
            };
            changes.push(Change::changed(
                Object::Binding(Arc::clone(binding)),
                Object::Binding(Arc::new(after)),
            ));
            load_balancers.push(binding.load_balancer);
        }
    }
    load_balancers.sort_unstable();
    load_balancers.dedup();
    Applied {
        changes,
        load_balancers,
    }
}
