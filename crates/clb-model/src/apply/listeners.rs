//! Listeners of classic instances.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Applied, check_limit, classic};
use crate::command::{ListenerPatch, NewListener};
use crate::env::Env;
use crate::error::ModelError;
use crate::id::{LbId, ListenerId};
use crate::object::{Change, HealthCheck, Listener, LoadBalancer, Object, Status};
use crate::state::State;
use crate::types::{LoadBalancerType, Protocol, Scheduler};

pub(super) fn create(
    state: &State,
    env: &Env,
    id: LbId,
    wanted: &[NewListener],
) -> Result<Applied, ModelError> {
    let lb = classic(state, id)?;
    let mut counters = *state.counters();
    let mut changes = Vec::new();
    let mut ports = HashSet::new();
    for new in wanted {
        if lb.network_type == LoadBalancerType::Private && new.protocol.is_layer7() {
            return Err(ModelError::Contradiction(format!(
                "protocol={}: {id} is a private instance, which has TCP and UDP only",
                new.protocol.number()
            )));
        }
        check_available(new.protocol)?;
        let listener = Listener {
            id: new.id,
            load_balancer: id,
            order: counters.take(|counters| &mut counters.next_order),
            name: new.name.clone(),
            protocol: new.protocol,
            port: new.port,
            instance_port: new.instance_port,
            scheduler: new.scheduler.unwrap_or(Scheduler::Wrr),
            session_expire: new.session_expire,
            health: new.health,
            status: Status::Creating,
        };
        check(lb, &listener, new.scheduler.is_some())?;
        changes.push(Change::made(Object::Listener(Arc::new(listener))));
    }
    for new in wanted {
        for binding in state.bindings_of(id) {
            env.check_own_socket(&binding.instance, binding.address, new.instance_port)?;
        }
    }
    for new in wanted {
        let by = state.listener_at(id, new.port);
        if by.is_some() || !ports.insert(new.port) {
            return Err(ModelError::PortTaken {
                load_balancer: id,
                port: new.port,
                by,
            });
        }
    }
    check_limit(
        state.listeners_of(id).count() + wanted.len(),
        env.limits.listeners_per_load_balancer,
        "listeners_per_load_balancer",
    )?;
    changes.push(Change::changed(
        Object::Counters(*state.counters()),
        Object::Counters(counters),
    ));
    Ok(Applied {
        changes,
        load_balancers: vec![id],
    })
}

fn check_available(protocol: Protocol) -> Result<(), ModelError> {
    match protocol {
        Protocol::Tcp => Ok(()),
        other => Err(ModelError::NotAvailable(format!(
            "protocol={} ({other}): not available yet, this version has TCP (2) listeners",
            other.number()
        ))),
    }
}

/// The rules that hold for a listener as it is after a creation or change.
fn check(lb: &LoadBalancer, listener: &Listener, scheduler_given: bool) -> Result<(), ModelError> {
    let HealthCheck {
        time_out,
        interval_time,
        ..
    } = listener.health;
    if u16::from(time_out.get()) >= interval_time.get() {
        return Err(ModelError::Contradiction(format!(
            "timeOut={time_out}: must be smaller than intervalTime={interval_time}"
        )));
    }
    if scheduler_given && lb.network_type == LoadBalancerType::Private {
        return Err(ModelError::Contradiction(format!(
            "scheduler={}: {} is a private instance, whose listeners have no scheduler (they balance by wrr)",
            listener.scheduler.name(),
            lb.id
        )));
    }
    if let (Some(expire), Scheduler::LeastConn) = (listener.session_expire, listener.scheduler) {
        return Err(ModelError::Contradiction(format!(
            "sessionExpire={expire}: session persistence goes with wrr only, this listener's scheduler is least_conn"
        )));
    }
    Ok(())
}

fn find(state: &State, lb: LbId, id: ListenerId) -> Result<&Arc<Listener>, ModelError> {
    state
        .listener(id)
        .filter(|listener| listener.load_balancer == lb)
        .ok_or_else(|| ModelError::ListenerNotFound {
            listener: id.to_string(),
            load_balancer: lb,
        })
}

pub(super) fn modify(
    state: &State,
    lb_id: LbId,
    id: ListenerId,
    patch: &ListenerPatch,
) -> Result<Applied, ModelError> {
    let lb = classic(state, lb_id)?;
    let listener = find(state, lb_id, id)?;
    if let (Some(parameter), false) = (&patch.layer7_parameter, listener.protocol.is_layer7()) {
        return Err(ModelError::NotOfProtocol {
            parameter: parameter.clone(),
            protocol: listener.protocol,
        });
    }
    let health = listener.health;
    let after = Listener {
        name: patch.name.clone().unwrap_or_else(|| listener.name.clone()),
        scheduler: patch.scheduler.unwrap_or(listener.scheduler),
        session_expire: patch.session_expire.unwrap_or(listener.session_expire),
        health: HealthCheck {
            enabled: patch.health_enabled.unwrap_or(health.enabled),
            time_out: patch.time_out.unwrap_or(health.time_out),
            interval_time: patch.interval_time.unwrap_or(health.interval_time),
            health_num: patch.health_num.unwrap_or(health.health_num),
            unhealth_num: patch.unhealth_num.unwrap_or(health.unhealth_num),
        },
        ..Listener::clone(listener)
    };
    check(lb, &after, patch.scheduler.is_some())?;
    let changes = if after == **listener {
        Vec::new()
    } else {
        vec![Change::changed(
            Object::Listener(Arc::clone(listener)),
            Object::Listener(Arc::new(after)),
        )]
    };
    Ok(Applied {
        changes,
        load_balancers: vec![lb_id],
    })
}

pub(super) fn delete(state: &State, lb: LbId, ids: &[ListenerId]) -> Result<Applied, ModelError> {
    classic(state, lb)?;
    let mut seen = HashSet::new();
    let changes = ids
        .iter()
        .filter(|id| seen.insert(**id))
        .map(|id| {
            find(state, lb, *id)
                .map(|listener| Change::removed(Object::Listener(Arc::clone(listener))))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Applied {
        changes,
        load_balancers: vec![lb],
    })
}
