//! Backends of rules and of application-based layer-4 listeners.

use std::net::IpAddr;
use std::sync::Arc;

use clb_actions::ApiError;
use clb_actions::params::{Element, Params};
use clb_model::{
    ApplicationCommand, Command, Listener, PortMove, RuleSelection, Target, TargetWeight, Weight,
};

use super::rules::selection;
use super::view::{View, checked};

/// A listener, and which of its rules.
type Place<'v> = (&'v Arc<Listener>, RuleSelection);

/// The listener, and which of its rules. On a layer-4 listener an id of a rule is no more than a
/// condition that such a listener can not have: the model refuses it.
fn place<'v>(view: &'v View<'_>, params: &Params) -> Result<Place<'v>, ApiError> {
    let listener = view.application_listener(params)?;
    if !listener.protocol.is_layer7()
        && let Some(name) = ["locationIds", "domain", "url"]
            .iter()
            .find(|name| params.is_given(name))
    {
        return Err(ApiError::parameter(format!(
            "{name}: {} is a {} listener (layer 4), which has no rules",
            listener.id, listener.protocol
        )));
    }
    let rules = selection(view, listener.id, params)?;
    Ok((listener, rules))
}

/// As [`place`], for Actions that are for layer 7 alone.
fn seventh_place<'v>(
    view: &'v View<'_>,
    params: &Params,
    instead: &str,
) -> Result<Place<'v>, ApiError> {
    let listener = view.application_listener(params)?;
    if listener.protocol.is_layer7() {
        return place(view, params);
    }
    Err(ApiError::parameter(format!(
        "listenerId={}: it is a {} listener (layer 4): use {instead} for it",
        listener.id, listener.protocol
    )))
}

fn target(backend: &Element<'_>) -> Result<Target, ApiError> {
    let address = backend
        .text("eniIp")
        .map(|text| match text.parse::<IpAddr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err(backend.refuse("eniIp", "must be an IP address")),
        });
    let by_address = address.is_some();
    let instance = match address {
        Some(address) => address?,
        None => backend.text("instanceId").unwrap_or_default().to_owned(),
    };
    Ok(Target {
        instance,
        by_address,
        port: checked("port", backend.int("port").unwrap_or_default())?,
    })
}

fn weight(backend: &Element<'_>) -> Result<Option<Weight>, ApiError> {
    let weight = backend.int("weight");
    weight.map(|weight| checked("weight", weight)).transpose()
}

fn weights(params: &Params) -> Result<Vec<TargetWeight>, ApiError> {
    params
        .elements("backends")
        .iter()
        .map(|backend| {
            Ok(TargetWeight {
                target: target(backend)?,
                weight: weight(backend)?,
            })
        })
        .collect()
}

fn change(listener: &Listener, command: ApplicationCommand) -> Command {
    Command::Application {
        load_balancer: listener.load_balancer,
        command,
    }
}

/// As [`place`], for Actions that are for layer 4 alone.
fn fourth_place<'v>(
    view: &'v View<'_>,
    params: &Params,
    instead: &str,
) -> Result<Place<'v>, ApiError> {
    let listener = view.application_listener(params)?;
    if !listener.protocol.is_layer7() {
        return Ok((listener, RuleSelection::default()));
    }
    Err(ApiError::parameter(format!(
        "listenerId={}: it is an {} listener (layer 7): use {instead} for it",
        listener.id, listener.protocol
    )))
}

fn bound(
    view: &View<'_>,
    (listener, rules): Place<'_>,
    params: &Params,
) -> Result<Command, ApiError> {
    let command = ApplicationCommand::Bind {
        now: view.now,
        listener: listener.id,
        rules,
        backends: weights(params)?,
    };
    Ok(change(listener, command))
}

fn unbound((listener, rules): Place<'_>, params: &Params) -> Result<Command, ApiError> {
    let backends = params.elements("backends");
    let backends = backends.iter().map(target).collect::<Result<Vec<_>, _>>()?;
    let command = ApplicationCommand::Unbind {
        listener: listener.id,
        rules,
        backends,
    };
    Ok(change(listener, command))
}

fn reweighted((listener, rules): Place<'_>, params: &Params) -> Result<Command, ApiError> {
    let command = ApplicationCommand::Reweight {
        listener: listener.id,
        rules,
        backends: weights(params)?,
    };
    Ok(change(listener, command))
}

fn moved((listener, rules): Place<'_>, params: &Params) -> Result<Command, ApiError> {
    let backends = params
        .elements("backends")
        .iter()
        .map(|backend| {
            Ok(PortMove {
                target: target(backend)?,
                port: checked("newPort", backend.int("newPort").unwrap_or_default())?,
                weight: weight(backend)?,
            })
        })
        .collect::<Result<Vec<_>, ApiError>>()?;
    let command = ApplicationCommand::MovePorts {
        listener: listener.id,
        rules,
        backends,
    };
    Ok(change(listener, command))
}

/// RegisterInstancesWithForwardLBSeventhListener
pub(super) fn bind(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    bound(view, place(view, params)?, params)
}

/// RegisterInstancesWithForwardLBFourthListener
pub(super) fn bind_fourth(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let instead = "RegisterInstancesWithForwardLBSeventhListener";
    bound(view, fourth_place(view, params, instead)?, params)
}

/// DeregisterInstancesFromForwardLB
pub(super) fn unbind(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    unbound(place(view, params)?, params)
}

/// DeregisterInstancesFromForwardLBFourthListener
pub(super) fn unbind_fourth(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let instead = "DeregisterInstancesFromForwardLB";
    unbound(fourth_place(view, params, instead)?, params)
}

/// ModifyForwardSeventhBackends
pub(super) fn reweight(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let instead = "ModifyForwardFourthBackendsWeight";
    reweighted(seventh_place(view, params, instead)?, params)
}

/// ModifyForwardFourthBackendsWeight
pub(super) fn reweight_fourth(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let instead = "ModifyForwardSeventhBackends";
    reweighted(fourth_place(view, params, instead)?, params)
}

/// ModifyForwardSeventhBackendsPort
pub(super) fn move_ports(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let instead = "ModifyForwardFourthBackendsPort";
    moved(seventh_place(view, params, instead)?, params)
}

/// ModifyForwardFourthBackendsPort
pub(super) fn move_ports_fourth(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let instead = "ModifyForwardSeventhBackendsPort";
    moved(fourth_place(view, params, instead)?, params)
}
