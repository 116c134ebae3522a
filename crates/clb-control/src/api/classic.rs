//! Classic instances: attributes, backends, health.

use std::net::IpAddr;
use std::sync::Arc;

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::Params;
use clb_model::{
    BackendWeight, Binding, Command, Family, HealthTimes, LoadBalancer, Owner, Weight,
};
use clb_snapshot::MemberHealth;

use super::answers::{BackendRow, BackendSet, HealthRow, HealthRows};
use super::instance_answers::{
    ByInstance, ByInstanceRow, HealthTimesOf, HealthTimesOfOne, HealthTimesRow,
};
use super::listeners::DEFAULT_LIMIT;
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
    // The Go client sends 0 for what its user has not set.
    let limit = params.int("limit").filter(|limit| *limit != 0);
    let backend_set = page(rows, params.int("offset").unwrap_or(0), limit);
    let total_count = view.state.bindings_of(Owner::LoadBalancer(lb.id)).count();
    Ok(envelope::success(&BackendSet {
        total_count,
        backend_set,
    }))
}

/// DescribeLoadBalancersByInstances
pub(super) fn describe_by_instances(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    // An address that is none selects nothing (actions.md C.5).
    let addresses = params.texts("backendIps");
    let addresses: Option<Vec<Option<IpAddr>>> =
        (!addresses.is_empty()).then(|| addresses.iter().map(|text| text.parse().ok()).collect());
    let name = params.text("backendInstanceName");
    let project = params.int("projectId");
    let name_of = |binding: &Binding| {
        let entry = view.env.instances.get(&*binding.instance);
        entry.map(|entry| entry.name.as_str())
    };
    let is_wanted = |binding: &&Arc<Binding>| {
        addresses
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&Some(binding.address)))
            && name.is_none_or(|name| name_of(binding) == Some(name))
    };
    let mut instances: Vec<&Arc<LoadBalancer>> = view
        .state
        .load_balancers()
        .filter(|lb| lb.family == Family::Classic)
        .filter(|lb| project.is_none_or(|project| project == lb.project_id))
        .collect();
    instances.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
    let pairs: Vec<_> = instances
        .into_iter()
        .flat_map(|lb| {
            let bindings = view.state.bindings_of(Owner::LoadBalancer(lb.id));
            bindings.filter(is_wanted).map(move |binding| (lb, binding))
        })
        .collect();
    let total_count = pairs.len();
    let rows = pairs
        .into_iter()
        .map(|(lb, binding)| ByInstanceRow::new(lb, binding, view.env, view.zone));
    let offset = params.int("offset").unwrap_or(0);
    let limit = params.int("limit").unwrap_or(DEFAULT_LIMIT);
    Ok(envelope::success(&ByInstance {
        total_count,
        load_balancer_set: page(rows, offset, Some(limit)),
    }))
}

/// DescribeLBHealth: of the listener created first (actions.md).
pub(super) fn describe_health(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    let lb = view.classic(params)?;
    let first = view.state.listeners_of(lb.id).next();
    let settings = first.and_then(|listener| listener.settings());
    let health = match settings {
        Some(settings) => HealthTimesRow::new(&settings.health),
        None => HealthTimesRow::of_creation(),
    };
    Ok(envelope::success(&HealthTimesOf {
        data: [HealthTimesOfOne {
            project_id: lb.project_id,
            lb_name: lb.name.clone(),
            health,
        }],
    }))
}

/// ModifyLBHealth
pub(super) fn modify_health(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let number = |name| params.int(name).unwrap_or_default();
    Ok(Command::ModifyHealth {
        load_balancer: view.classic(params)?.id,
        health: HealthTimes {
            enabled: number("switch") == 1,
            time_out: checked("timeOut", number("timeOut"))?,
            interval_time: checked("intervalTime", number("intervalTime"))?,
            health_num: checked("healthNum", number("healthNum"))?,
            unhealth_num: checked("unhealthNum", number("unhealthNum"))?,
        },
    })
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
