//! Application-based instances: dispatch, and their listeners.

use std::collections::HashSet;
use std::sync::Arc;

use super::certificates::Certificates;
use super::{
    Applied, check_client_ip, check_limit, check_settings, existing, listener_of, listeners,
    load_balancers, of_family, redirects, remove_listeners, rules, targets,
};
use crate::command::{ApplicationCommand, ListenerChange, ListenerPatch, NewApplicationListener};
use crate::env::Env;
use crate::error::ModelError;
use crate::id::{LbId, ListenerId};
use crate::object::{Change, Listener, ListenerService, Object, Status};
use crate::state::State;
use crate::types::{Family, Protocol, UnixMillis};

pub(super) fn apply(
    state: &State,
    env: &Env,
    lb: LbId,
    command: &ApplicationCommand,
) -> Result<Applied, ModelError> {
    of_family(state, lb, Family::Application)?;
    let changes = match command {
        ApplicationCommand::Rename { name } => return load_balancers::rename(state, lb, name),
        ApplicationCommand::CreateListeners { now, listeners } => {
            create(state, env, lb, *now, listeners)?
        }
        ApplicationCommand::ModifyListener { listener, change } => {
            let listener = listener_of(state, lb, *listener)?;
            modify(state, env, listener, change)?
        }
        ApplicationCommand::ModifyFourthListener { listener, patch } => {
            let listener = listener_of(state, lb, *listener)?;
            modify_fourth(listener, patch)?
        }
        ApplicationCommand::DeleteListeners { listeners } => delete(state, lb, listeners)?,
        ApplicationCommand::CreateRules { listener, rules } => {
            let listener = listener_of(state, lb, *listener)?;
            rules::create(state, env, listener, rules)?
        }
        ApplicationCommand::RenameDomain {
            listener,
            domain,
            new_domain,
        } => {
            let listener = listener_of(state, lb, *listener)?;
            rules::rename_domain(state, listener, domain, new_domain)?
        }
        ApplicationCommand::ModifyRule {
            listener,
            rule,
            patch,
        } => {
            let listener = listener_of(state, lb, *listener)?;
            rules::modify(state, listener, *rule, patch)?
        }
        ApplicationCommand::DeleteRules { listener, rules } => {
            let listener = listener_of(state, lb, *listener)?;
            rules::delete(state, listener, rules)?
        }
        ApplicationCommand::Redirect { from, to, rules } => {
            let from = listener_of(state, lb, *from)?;
            let to = listener_of(state, lb, *to)?;
            redirects::create(state, from, to, rules)?
        }
        ApplicationCommand::AutoRedirect(wanted) => {
            let listener = listener_of(state, lb, wanted.listener)?;
            redirects::create_automatically(state, env, listener, wanted)?
        }
        ApplicationCommand::DeleteRedirects { from, to, rules } => {
            let from = listener_of(state, lb, *from)?;
            let to = listener_of(state, lb, *to)?;
            redirects::delete(state, from, to, rules)?
        }
        ApplicationCommand::Bind {
            now,
            listener,
            rules,
            backends,
        } => {
            let listener = listener_of(state, lb, *listener)?;
            targets::bind(state, env, listener, rules, *now, backends)?
        }
        ApplicationCommand::Reweight {
            listener,
            rules,
            backends,
        } => {
            let listener = listener_of(state, lb, *listener)?;
            targets::reweight(state, listener, rules, backends)?
        }
        ApplicationCommand::MovePorts {
            listener,
            rules,
            backends,
        } => {
            let listener = listener_of(state, lb, *listener)?;
            targets::move_ports(state, env, listener, rules, backends)?
        }
        ApplicationCommand::Unbind {
            listener,
            rules,
            backends,
        } => {
            let listener = listener_of(state, lb, *listener)?;
            targets::unbind(state, listener, rules, backends)?
        }
    };
    Ok(Applied {
        changes,
        load_balancers: vec![lb],
    })
}

fn create(
    state: &State,
    env: &Env,
    lb: LbId,
    now: UnixMillis,
    wanted: &[NewApplicationListener],
) -> Result<Vec<Change>, ModelError> {
    let mut counters = *state.counters();
    let mut certificates = Certificates::new(state);
    let mut made = Vec::new();
    let owner = existing(state, lb)?;
    for new in wanted {
        check_client_ip(owner, new.protocol)?;
        let service = match &new.settings {
            None => ListenerService::RULES,
            Some(settings) => {
                check_settings(settings)?;
                ListenerService::own(settings.clone())
            }
        };
        made.push(Change::made(Object::Listener(Arc::new(Listener {
            id: new.id,
            load_balancer: lb,
            order: counters.take(|counters| &mut counters.next_order),
            name: new.name.clone(),
            protocol: new.protocol,
            port: new.port,
            service,
            tls: certificates.of_new(new.protocol, new.tls.as_ref())?,
            status: Status::Creating,
            created: now,
        }))));
    }
    let mut ports = HashSet::new();
    for new in wanted {
        let by = state.listener_beside(lb, new.port, new.protocol);
        if by.is_some() || !ports.insert((new.port, new.protocol == Protocol::Udp)) {
            return Err(ModelError::PortTaken {
                load_balancer: lb,
                port: new.port,
                by,
            });
        }
    }
    check_limit(
        state.listeners_of(lb).count() + wanted.len(),
        env.limits.listeners_per_load_balancer,
        "listeners_per_load_balancer",
    )?;
    let mut changes = certificates.finish(env)?;
    changes.extend(made);
    changes.push(Change::changed(
        Object::Counters(*state.counters()),
        Object::Counters(counters),
    ));
    Ok(changes)
}

/// ModifyForwardLBSeventhListener
fn modify(
    state: &State,
    env: &Env,
    listener: &Arc<Listener>,
    change: &ListenerChange,
) -> Result<Vec<Change>, ModelError> {
    let protocol = listener.protocol;
    if !protocol.is_layer7() {
        return Err(ModelError::WrongLayer {
            listener: listener.id,
            protocol,
            reason: "use ModifyForwardLBFourthListener for it",
        });
    }
    let mut after = Listener::clone(listener);
    if let Some(name) = &change.name {
        after.name.clone_from(name);
    }
    let mut certificates = Certificates::new(state);
    match (listener.tls, &change.https_parameter) {
        (Some(tls), _) => after.tls = Some(certificates.changed(tls, &change.tls)?),
        (None, Some(parameter)) => {
            let parameter = parameter.clone();
            return Err(ModelError::NotOfProtocol {
                parameter,
                protocol,
            });
        }
        (None, None) => {}
    }
    let mut changes = certificates.finish(env)?;
    changes.extend(listeners::changed(listener, after));
    Ok(changes)
}

/// ModifyForwardLBFourthListener
fn modify_fourth(
    listener: &Arc<Listener>,
    patch: &ListenerPatch,
) -> Result<Vec<Change>, ModelError> {
    let mut after = Listener::clone(listener);
    if let Some(name) = &patch.name {
        after.name.clone_from(name);
    }
    let ListenerService::Own { settings, .. } = &mut after.service else {
        return Err(ModelError::WrongLayer {
            listener: listener.id,
            protocol: listener.protocol,
            reason: "use ModifyForwardLBSeventhListener for it",
        });
    };
    listeners::change_settings(settings, patch);
    check_settings(settings)?;
    Ok(listeners::changed(listener, after).into_iter().collect())
}

fn delete(state: &State, lb: LbId, ids: &[ListenerId]) -> Result<Vec<Change>, ModelError> {
    let mut changes = Vec::new();
    let mut seen = HashSet::new();
    let once = ids.iter().filter(|id| seen.insert(**id));
    let listeners = once
        .map(|id| listener_of(state, lb, *id))
        .collect::<Result<Vec<_>, _>>()?;
    remove_listeners(state, &listeners, &mut changes);
    Ok(changes)
}
