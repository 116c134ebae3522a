//! `apply(state, command) -> changes`: pure, all or nothing.

mod application;
mod backends;
mod certificates;
mod listeners;
mod load_balancers;
mod redirects;
mod rules;
mod targets;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use crate::command::Command;
use crate::env::Env;
use crate::error::ModelError;
use crate::id::{LbId, ListenerId, RuleId, TaskId};
use crate::object::{
    Change, Declared, HealthCheck, Listener, LoadBalancer, Object, Owner, PoolKey, PoolSettings,
    Rule, Status, Task, TaskState,
};
use crate::state::State;
pub use certificates::certificate_conflicts;

use crate::types::{ClientIp, Family, Protocol, Scheduler, UnixMillis};

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// In the order in which they are made.
    pub changes: Vec<Change>,
    /// The instances concerned; their tasks run in order.
    pub load_balancers: Vec<LbId>,
}

/// Executes a command against a state, which it leaves as it is.
///
/// # Errors
/// [`ModelError`]: the command is refused, nothing is to be changed.
pub fn apply(state: &State, env: &Env, command: &Command) -> Result<Applied, ModelError> {
    match command {
        Command::CreateLoadBalancers(create) => load_balancers::create(state, env, create),
        Command::ModifyLoadBalancer {
            load_balancer,
            name,
            domain_prefix,
        } => load_balancers::modify(state, *load_balancer, name.as_ref(), domain_prefix.as_ref()),
        Command::DeleteLoadBalancers { load_balancers } => {
            load_balancers::delete(state, load_balancers)
        }
        Command::CreateListeners {
            load_balancer,
            now,
            listeners,
        } => listeners::create(state, env, *load_balancer, *now, listeners),
        Command::ModifyListener {
            load_balancer,
            listener,
            patch,
        } => listeners::modify(state, env, *load_balancer, *listener, patch),
        Command::ModifyHealth {
            load_balancer,
            health,
        } => listeners::modify_health(state, *load_balancer, health),
        Command::DeleteListeners {
            load_balancer,
            listeners,
        } => listeners::delete(state, *load_balancer, listeners),
        Command::BindBackends {
            load_balancer,
            now,
            backends,
        } => backends::bind(state, env, *load_balancer, *now, backends),
        Command::ModifyBackends {
            load_balancer,
            backends,
        } => backends::modify(state, *load_balancer, backends),
        Command::UnbindBackends {
            load_balancer,
            instances,
        } => backends::unbind(state, *load_balancer, instances),
        Command::Application {
            load_balancer,
            command,
        } => application::apply(state, env, *load_balancer, command),
        Command::ReplaceCertificate { old, new } => certificates::replace(state, env, *old, new),
        Command::FollowCertificates { now } => Ok(certificates::follow(state, env, *now)),
        Command::Declare(declared) => Ok(declare(state, &declared.name, Some(declared))),
        Command::ForgetDeclared { name } => Ok(declare(state, name, None)),
        Command::FollowInstances => Ok(backends::follow_instances(state, env)),
    }
}

/// What is remembered of a declaration; it concerns no load balancer.
fn declare(state: &State, name: &str, now: Option<&Declared>) -> Applied {
    let before = state.declared(name).cloned().map(Object::Declared);
    let after = now.map(|now| Object::Declared(Arc::new(now.clone())));
    let is_changed = before != after;
    Applied {
        changes: Vec::from_iter(is_changed.then_some(Change { before, after })),
        load_balancers: Vec::new(),
    }
}

/// The changes that end a task well: the task itself, and the objects that it made are running.
#[must_use]
pub fn succeed(state: &State, task: &Task, now: UnixMillis) -> Vec<Change> {
    let mut changes = Vec::new();
    if let TaskState::Pending { changes: made, .. } = &task.state {
        for key in made
            .iter()
            .filter(|change| change.before.is_none())
            .filter_map(Change::key)
        {
            match state.object(&key) {
                Some(Object::LoadBalancer(lb)) if lb.status == Status::Creating => {
                    let running = LoadBalancer {
                        status: Status::Running,
                        status_time: now,
                        ..LoadBalancer::clone(&lb)
                    };
                    changes.push(Change::changed(
                        Object::LoadBalancer(lb),
                        Object::LoadBalancer(Arc::new(running)),
                    ));
                }
                Some(Object::Listener(listener)) if listener.status == Status::Creating => {
                    let mut running = (*listener).clone();
                    running.status = Status::Running;
                    changes.push(Change::changed(
                        Object::Listener(listener),
                        Object::Listener(Arc::new(running)),
                    ));
                }
                _ => {}
            }
        }
    }
    changes.push(ended(task, now, TaskState::Succeeded));
    changes
}

/// Takes a failed task back, and with it every later pending task of the same instances; those are
/// executed anew on what is left, and end as failed where they no longer can be. The returned
/// changes have been applied to `state`.
pub fn fail(
    state: &mut State,
    env: &Env,
    failed: TaskId,
    reason: &str,
    now: UnixMillis,
) -> Vec<Change> {
    let mut concerned: Vec<Arc<Task>> = Vec::new();
    let mut load_balancers: Vec<LbId> = Vec::new();
    for task in state.pending_tasks() {
        let shares = task
            .load_balancers
            .iter()
            .any(|lb| load_balancers.contains(lb));
        if task.id == failed || (task.id > failed && shares) {
            load_balancers.extend(&task.load_balancers);
            concerned.push(Arc::clone(task));
        }
    }
    let mut all = Vec::new();
    let mut advance = |state: &mut State, changes: Vec<Change>| {
        changes.iter().for_each(|change| state.apply(change));
        all.extend(changes);
    };
    for task in concerned.iter().rev() {
        if let TaskState::Pending { changes, .. } = &task.state {
            let back = state.taken_back(changes);
            advance(state, back);
        }
    }
    for task in &concerned {
        let TaskState::Pending { command, .. } = &task.state else {
            continue;
        };
        if task.id == failed {
            let message = reason.to_owned();
            advance(state, vec![ended(task, now, TaskState::Failed { message })]);
            continue;
        }
        match apply(state, env, command).and_then(|applied| within(task, applied)) {
            Ok(applied) => {
                let renewed = Task {
                    state: TaskState::Pending {
                        command: command.clone(),
                        changes: applied.changes.iter().cloned().collect(),
                    },
                    ..Task::clone(task)
                };
                let mut changes = applied.changes;
                changes.push(Change::changed(
                    Object::Task(Arc::clone(task)),
                    Object::Task(Arc::new(renewed)),
                ));
                advance(state, changes);
            }
            Err(error) => {
                let message = format!(
                    "task {failed}, on which this one was built, failed and was taken back: {error}"
                );
                advance(state, vec![ended(task, now, TaskState::Failed { message })]);
            }
        }
    }
    all
}

/// What a task does anew, unless that concerns other instances than it did before: their tasks were not
/// taken back, so this one could not be, either, without what they have changed. A certificate may have
/// come to other listeners meanwhile.
fn within(task: &Task, applied: Applied) -> Result<Applied, ModelError> {
    let mut concerned = applied.load_balancers.iter();
    match concerned.find(|lb| !task.load_balancers.contains(lb)) {
        None => Ok(applied),
        Some(lb) => Err(ModelError::Contradiction(format!(
            "it would concern {lb} now, too, which it did not when it was accepted"
        ))),
    }
}

fn ended(task: &Task, now: UnixMillis, state: TaskState) -> Change {
    let after = Task {
        ended: Some(now),
        state,
        ..task.clone()
    };
    Change::changed(
        Object::Task(Arc::new(task.clone())),
        Object::Task(Arc::new(after)),
    )
}

fn existing(state: &State, id: LbId) -> Result<&Arc<LoadBalancer>, ModelError> {
    state
        .load_balancer(id)
        .ok_or_else(|| ModelError::LoadBalancerNotFound(id.to_string()))
}

/// What an instance's backends see of clients must be possible with a listener's protocol.
fn check_client_ip(lb: &LoadBalancer, protocol: Protocol) -> Result<(), ModelError> {
    if lb.client_ip == ClientIp::Transparent && protocol.is_udp() {
        return Err(ModelError::Contradiction(format!(
            "protocol={}: {} has clientIp=transparent, which UDP listeners can not have",
            protocol.number(),
            lb.id
        )));
    }
    Ok(())
}

fn classic(state: &State, id: LbId) -> Result<&Arc<LoadBalancer>, ModelError> {
    of_family(state, id, Family::Classic)
}

fn of_family(state: &State, id: LbId, wanted: Family) -> Result<&Arc<LoadBalancer>, ModelError> {
    let lb = existing(state, id)?;
    if lb.family == wanted {
        Ok(lb)
    } else {
        Err(ModelError::WrongFamily {
            load_balancer: id,
            family: lb.family,
        })
    }
}

/// A listener of an instance.
fn listener_of(state: &State, lb: LbId, id: ListenerId) -> Result<&Arc<Listener>, ModelError> {
    state
        .listener(id)
        .filter(|listener| listener.load_balancer == lb)
        .ok_or_else(|| ModelError::ListenerNotFound {
            listener: id.to_string(),
            load_balancer: lb,
        })
}

/// What goes with listeners (actions.md C.4): their rules with all that goes with those, and what
/// is bound to the listeners. Not what is bound to a classic instance.
fn remove_listeners(state: &State, listeners: &[&Arc<Listener>], changes: &mut Vec<Change>) {
    let rules = listeners
        .iter()
        .flat_map(|listener| state.rules_of(listener.id));
    remove_rules(state, &rules.collect::<Vec<_>>(), changes);
    for listener in listeners {
        remove_bindings(state, PoolKey::Listener(listener.id), changes);
        changes.push(Change::removed(Object::Listener(Arc::clone(listener))));
    }
}

/// What goes with rules: what is bound to them, and the redirects from and to them.
fn remove_rules(state: &State, rules: &[&Arc<Rule>], changes: &mut Vec<Change>) {
    let gone: HashSet<RuleId> = rules.iter().map(|rule| rule.id).collect();
    for rule in rules {
        for source in state.redirected_to(rule.id) {
            if !gone.contains(&source.id) {
                changes.push(redirects::ended(state, source));
            }
        }
    }
    for rule in rules {
        remove_bindings(state, PoolKey::Rule(rule.id), changes);
        changes.push(Change::removed(Object::Rule(Arc::clone(rule))));
    }
}

fn remove_bindings(state: &State, pool: PoolKey, changes: &mut Vec<Change>) {
    changes.extend(
        state
            .bindings_of(Owner::Pool(pool))
            .map(|binding| Change::removed(Object::Binding(Arc::clone(binding)))),
    );
}

/// The rules that hold for the settings of any pool as they are after a change.
fn check_settings(settings: &PoolSettings) -> Result<(), ModelError> {
    let HealthCheck {
        time_out,
        interval_time,
        ..
    } = settings.health;
    if u16::from(time_out.get()) >= interval_time.get() {
        return Err(ModelError::Contradiction(format!(
            "timeOut={time_out}: must be smaller than intervalTime={interval_time}"
        )));
    }
    if let (Some(expire), Scheduler::LeastConn) = (settings.session_expire, settings.scheduler) {
        return Err(ModelError::Contradiction(format!(
            "sessionExpire={expire}: session persistence does not go with the scheduler least_conn"
        )));
    }
    Ok(())
}

fn check_limit(count: usize, max: usize, name: &'static str) -> Result<(), ModelError> {
    if max != 0 && count > max {
        Err(ModelError::Limit { name, max })
    } else {
        Ok(())
    }
}
