//! Classic instances: attributes, backends, health.

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::Params;
use clb_model::{BackendWeight, Command, Owner, Weight};
use clb_snapshot::MemberHealth;

use super::answers::{BackendRow, BackendSet, HealthRow, HealthRows};
use super::view::{View, checked, page};

/// ModifyLoadBalancerAttributes
pub(super) fn modify(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    Ok(Command::ModifyLoadBalancer {
        load_balancer: view.classic(params)?.id,
        name: params.text("loadBalancerName").map(ToOwned::to_owned),
        domain_prefix: params.text("domainPrefix").map(ToOwned::to_owned),
    })
}

fn backends(params: &Params) -> Result<Vec<BackendWeight>, ApiError> {
    params
        .elements("backends")
        .into_iter()
        .map(|backend| {
            let weight = backend
                .int("weight")
                .map(|weight| checked::<Weight>("weight", weight))
                .transpose()?;
            let instance = backend.text("instanceId").unwrap_or_default().to_owned();
            Ok(BackendWeight { instance, weight })
        })
        .collect()
}

/// RegisterInstancesWithLoadBalancer
pub(super) fn bind(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let load_balancer = view.classic(params)?.id;
    Ok(Command::BindBackends {
        load_balancer,
        now: view.now,
        backends: backends(params)?,
    })
}

/// ModifyLoadBalancerBackends
pub(super) fn modify_backends(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let load_balancer = view.classic(params)?.id;
    Ok(Command::ModifyBackends {
        load_balancer,
        backends: backends(params)?,
    })
}

/// DeregisterInstancesFromLoadBalancer
pub(super) fn unbind(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let load_balancer = view.classic(params)?.id;
    let instances = backends(params)?
        .into_iter()
        .map(|backend| backend.instance)
        .collect();
    Ok(Command::UnbindBackends {
        load_balancer,
        instances,
    })
}

/// DescribeLoadBalancerBackends
pub(super) fn describe_backends(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    let lb = view.classic(params)?;
    let rows = view
        .state
        .bindings_of(Owner::LoadBalancer(lb.id))
        .map(|binding| BackendRow::new(binding, view.env));
    let backend_set = page(rows, params.int("offset").unwrap_or(0), params.int("limit"));
    let total_count = view.state.bindings_of(Owner::LoadBalancer(lb.id)).count();
    Ok(envelope::success(&BackendSet {
        total_count,
        backend_set,
    }))
}

/// DescribeLBHealthStatus
pub(super) fn health(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    let lb = view.classic(params)?;
    let only = params
        .text("listenerId")
        .map(|text| view.listener(lb.id, text).map(|listener| listener.id))
        .transpose()?;
    let snapshot = view.board.snapshot();
    let mut data = Vec::new();
    for listener in view.state.listeners_of(lb.id) {
        if only.is_some_and(|only| only != listener.id) {
            continue;
        }
        let pool = snapshot
            .get(listener.id)
            .and_then(|live| live.service.pool())
            .map(|pool| pool.view());
        for binding in view.state.bindings_of(Owner::LoadBalancer(lb.id)) {
            let is_checked = listener
                .settings()
                .is_some_and(|settings| settings.health.enabled);
            let healthy = !is_checked
                || pool.as_ref().is_some_and(|pool| {
                    pool.members().iter().any(|member| {
                        member.binding == binding.id && member.health == MemberHealth::Healthy
                    })
                });
            data.push(HealthRow::new(listener, binding, healthy));
        }
    }
    Ok(envelope::success(&HealthRows { data }))
}
