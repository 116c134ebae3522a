//! Listeners of classic instances.

use std::collections::HashSet;
use std::sync::Arc;

use super::certificates::Certificates;
use super::{Applied, check_client_ip, check_limit, check_settings, classic, listener_of};
use crate::command::{HealthTimes, ListenerPatch, NewListener};
use crate::env::Env;
use crate::error::ModelError;
use crate::id::{LbId, ListenerId};
use crate::object::{
    Change, Listener, ListenerService, LoadBalancer, Object, Owner, PoolSettings, Status,
};
use crate::state::State;
use crate::types::{LoadBalancerType, Protocol, Scheduler, UnixMillis};

pub(super) fn create(
    state: &State,
    env: &Env,
    id: LbId,
    now: UnixMillis,
    wanted: &[NewListener],
) -> Result<Applied, ModelError> {
    let lb = classic(state, id)?;
    let mut counters = *state.counters();
    let mut certificates = Certificates::new(state);
    let mut made = Vec::new();
    let mut ports = HashSet::new();
    for new in wanted {
        if lb.network_type == LoadBalancerType::Private && new.protocol.is_layer7() {
            return Err(ModelError::Contradiction(format!(
                "protocol={}: {id} is a private instance, which has TCP and UDP only",
                new.protocol.number()
            )));
        }
        check_client_ip(lb, new.protocol)?;
        let listener = Listener {
            id: new.id,
            load_balancer: id,
            order: counters.take(|counters| &mut counters.next_order),
            name: new.name.clone(),
            protocol: new.protocol,
            port: new.port,
            service: ListenerService::Instance {
                instance_port: new.instance_port,
                settings: PoolSettings {
                    scheduler: new.scheduler.unwrap_or(Scheduler::Wrr),
                    session_expire: new.session_expire,
                    health: new.health.clone(),
                },
            },
            tls: certificates.of_new(new.protocol, new.tls.as_ref())?,
            status: Status::Creating,
            created: now,
        };
        if let Some(settings) = listener.settings() {
            check(lb, settings, new.scheduler.is_some())?;
        }
        made.push(Change::made(Object::Listener(Arc::new(listener))));
    }
    for new in wanted {
        for binding in state.bindings_of(Owner::LoadBalancer(id)) {
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
    let mut changes = certificates.finish(env)?;
    changes.extend(made);
    changes.push(Change::changed(
        Object::Counters(*state.counters()),
        Object::Counters(counters),
    ));
    Ok(Applied {
        changes,
        load_balancers: vec![id],
    })
}

/// The rules that hold for a listener as it is after a creation or change.
fn check(
    lb: &LoadBalancer,
    settings: &PoolSettings,
    scheduler_given: bool,
) -> Result<(), ModelError> {
    if scheduler_given && lb.network_type == LoadBalancerType::Private {
        return Err(ModelError::Contradiction(format!(
            "scheduler={}: {} is a private instance, whose listeners have no scheduler (they balance by wrr)",
            settings.scheduler.name(),
            lb.id
        )));
    }
    check_settings(settings)
}

pub(super) fn modify(
    state: &State,
    env: &Env,
    lb_id: LbId,
    id: ListenerId,
    patch: &ListenerPatch,
) -> Result<Applied, ModelError> {
    let lb = classic(state, lb_id)?;
    let listener = listener_of(state, lb_id, id)?;
    let protocol = listener.protocol;
    let not_of_protocol = if protocol.is_layer7() {
        &patch.layer4_parameter
    } else {
        &patch.layer7_parameter
    };
    let no_https = Some(&patch.https_parameter).filter(|_| protocol != Protocol::Https);
    if let Some(parameter) = not_of_protocol
        .as_ref()
        .or(no_https.and_then(Option::as_ref))
    {
        return Err(ModelError::NotOfProtocol {
            parameter: parameter.clone(),
            protocol,
        });
    }
    let mut after = Listener::clone(listener);
    if let Some(name) = &patch.name {
        after.name.clone_from(name);
    }
    if let ListenerService::Instance { settings, .. } = &mut after.service {
        change_settings(settings, patch);
        check(lb, settings, patch.scheduler.is_some())?;
    }
    let mut certificates = Certificates::new(state);
    if let Some(tls) = listener.tls {
        after.tls = Some(certificates.changed(tls, &patch.tls)?);
    }
    let mut changes = certificates.finish(env)?;
    changes.extend(changed(listener, after));
    Ok(Applied {
        changes,
        load_balancers: vec![lb_id],
    })
}

/// The change of a listener, if there is any.
pub(super) fn changed(listener: &Arc<Listener>, after: Listener) -> Option<Change> {
    (after != **listener).then(|| {
        Change::changed(
            Object::Listener(Arc::clone(listener)),
            Object::Listener(Arc::new(after)),
        )
    })
}

pub(super) fn change_settings(settings: &mut PoolSettings, patch: &ListenerPatch) {
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
    }
}

/// ModifyLBHealth
pub(super) fn modify_health(
    state: &State,
    lb: LbId,
    health: &HealthTimes,
) -> Result<Applied, ModelError> {
    classic(state, lb)?;
    let mut changes = Vec::new();
    for listener in state.listeners_of(lb) {
        let mut after = Listener::clone(listener);
        if let ListenerService::Instance { settings, .. } = &mut after.service {
            let check = &mut settings.health;
            check.enabled = health.enabled;
            check.interval_time = health.interval_time;
            check.health_num = health.health_num;
            check.unhealth_num = health.unhealth_num;
            // It can not be set on the others, which probe with 2 s.
            if !listener.protocol.is_layer7() {
                check.time_out = health.time_out;
            }
            check_settings(settings)?;
        }
        changes.extend(changed(listener, after));
    }
    Ok(Applied {
        changes,
        load_balancers: vec![lb],
    })
}

pub(super) fn delete(state: &State, lb: LbId, ids: &[ListenerId]) -> Result<Applied, ModelError> {
    classic(state, lb)?;
    let mut seen = HashSet::new();
    let changes = ids
        .iter()
        .filter(|id| seen.insert(**id))
        .map(|id| {
            listener_of(state, lb, *id)
                .map(|listener| Change::removed(Object::Listener(Arc::clone(listener))))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Applied {
        changes,
        load_balancers: vec![lb],
    })
}
