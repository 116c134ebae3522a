//! Actions of both families.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::Params;
use clb_model::{
    ClientIp, Command, CreateLoadBalancers, Family, LoadBalancer, LoadBalancerType, NetworkChoice,
    TaskId,
};

use super::answers::{LoadBalancerRow, LoadBalancerSet, Price, TaskResult, domain};
use super::view::{View, page};
use crate::engine::EngineHandle;

const DEFAULT_LIMIT: i64 = 20;

fn network_type(params: &Params) -> Option<LoadBalancerType> {
    params
        .int("loadBalancerType")
        .and_then(LoadBalancerType::from_number)
}

fn required_type(params: &Params) -> Result<LoadBalancerType, ApiError> {
    network_type(params)
        .ok_or_else(|| ApiError::parameter("loadBalancerType: is required".to_owned()))
}

/// InquiryLBPrice
pub(super) fn price(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    let price = match required_type(params)? {
        LoadBalancerType::Public => view.prices.public,
        LoadBalancerType::Private => view.prices.private,
    };
    Ok(envelope::success(&Price { price }))
}

/// A network or subnet: a number, or a name.
fn network(params: &Params, name: &str) -> NetworkChoice {
    match params.text(name) {
        None => NetworkChoice::Number(0),
        Some(text) => match text.parse() {
            Ok(number) => NetworkChoice::Number(number),
            Err(_) => NetworkChoice::Name(text.to_owned()),
        },
    }
}

/// CreateLoadBalancer
pub(super) fn create(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let number = params.int("number").unwrap_or(1);
    let vip = params.text("vip").map(|vip| {
        let parsed = vip.parse::<IpAddr>();
        parsed.map_err(|_| params.refuse("vip", "must be an IP address"))
    });
    Ok(Command::CreateLoadBalancers(CreateLoadBalancers {
        ids: Vec::new(),
        number: usize::try_from(number).unwrap_or(1),
        now: view.now,
        order_number: rand::random(),
        network_type: required_type(params)?,
        family: params
            .int("forward")
            .and_then(Family::from_number)
            .unwrap_or(Family::Classic),
        name: params.text("loadBalancerName").map(ToOwned::to_owned),
        domain_prefix: params.text("domainPrefix").map(ToOwned::to_owned),
        vip: vip.transpose()?,
        client_ip: params
            .text("clientIp")
            .and_then(ClientIp::parse)
            .unwrap_or_default(),
        vpc: network(params, "vpcId"),
        subnet: network(params, "subnetId"),
        project_id: params.int("projectId").unwrap_or(0),
        special: params.text("special").map(ToOwned::to_owned),
    }))
}

/// DeleteLoadBalancers
pub(super) fn delete(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let load_balancers = params
        .texts("loadBalancerIds")
        .into_iter()
        .map(|text| view.load_balancer(text).map(|lb| lb.id))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Command::DeleteLoadBalancers { load_balancers })
}

/// The filters of DescribeLoadBalancers: alternatives within one, all of them must match.
struct Filter<'a> {
    ids: HashSet<&'a str>,
    family: Option<Family>,
    network_type: Option<LoadBalancerType>,
    name: Option<&'a str>,
    domain: Option<&'a str>,
    vips: Vec<&'a str>,
    wan_ips: Vec<&'a str>,
    lan_ips: Vec<&'a str>,
    search: Option<String>,
    project_id: Option<i64>,
    with_backends: Option<bool>,
    special: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn new(params: &'a Params) -> Self {
        let ids: HashSet<&str> = params.texts("loadBalancerIds").into_iter().collect();
        // Looked up by id, an instance is found whatever its family.
        let default_forward = if ids.is_empty() { 0 } else { -1 };
        Self {
            family: Family::from_number(params.int("forward").unwrap_or(default_forward)),
            ids,
            network_type: network_type(params),
            name: params.text("loadBalancerName"),
            domain: params.text("domain"),
            vips: params.texts("loadBalancerVips"),
            wan_ips: params.texts("backendWanIps"),
            lan_ips: params.texts("backendLanIps"),
            search: params.text("searchKey").map(str::to_lowercase),
            project_id: params.int("projectId"),
            with_backends: match params.int("withRs") {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            special: params.text("special"),
        }
    }

    fn matches(&self, view: &View<'_>, lb: &LoadBalancer) -> bool {
        let own_domain = domain(lb, view.env);
        let vip = lb.vip.to_string();
        (self.ids.is_empty() || self.ids.contains(lb.id.to_string().as_str()))
            && self.family.is_none_or(|family| family == lb.family)
            && self
                .network_type
                .is_none_or(|network_type| network_type == lb.network_type)
            && self.name.is_none_or(|name| name == lb.name)
            && self.domain.is_none_or(|domain| domain == own_domain)
            && (self.vips.is_empty() || self.vips.iter().any(|text| is_address(text, lb.vip)))
            && self
                .project_id
                .is_none_or(|project| project == lb.project_id)
            && self
                .special
                .is_none_or(|special| lb.special.as_deref() == Some(special))
            && self.search.as_ref().is_none_or(|search| {
                lb.name.to_lowercase().contains(search)
                    || own_domain.to_lowercase().contains(search)
                    || vip.contains(search)
            })
            && self.matches_backends(view, lb)
    }

    fn matches_backends(&self, view: &View<'_>, lb: &LoadBalancer) -> bool {
        let mut backends = view.state.bindings_under(lb.id).peekable();
        if self
            .with_backends
            .is_some_and(|wanted| wanted != backends.peek().is_some())
        {
            return false;
        }
        if self.lan_ips.is_empty() && self.wan_ips.is_empty() {
            return true;
        }
        let backends: Vec<_> = backends.collect();
        let lan = self.lan_ips.is_empty()
            || backends.iter().any(|backend| {
                self.lan_ips
                    .iter()
                    .any(|text| is_address(text, backend.address))
            });
        let wan = self.wan_ips.is_empty()
            || backends
                .iter()
                .filter(|backend| !backend.by_address)
                .filter_map(|backend| view.env.instances.get(&*backend.instance))
                .flat_map(|instance| &instance.wan_ips)
                .any(|ip| self.wan_ips.iter().any(|text| is_address(text, *ip)));
        lan && wan
    }
}

fn is_address(text: &str, address: IpAddr) -> bool {
    text.parse() == Ok(address)
}

/// DescribeLoadBalancers
pub(super) fn describe(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    let filter = Filter::new(params);
    let mut found: Vec<&Arc<LoadBalancer>> = view
        .state
        .load_balancers()
        .filter(|lb| filter.matches(view, lb))
        .collect();
    let order: fn(&View<'_>, &LoadBalancer, &LoadBalancer) -> Ordering = match params
        .text("orderBy")
    {
        Some("loadBalancerName") => |_, a, b| a.name.cmp(&b.name),
        Some("domain") => |view, a, b| domain(a, view.env).cmp(&domain(b, view.env)),
        Some("loadBalancerType") => |_, a, b| a.network_type.number().cmp(&b.network_type.number()),
        _ => |_, a, b| a.created.cmp(&b.created),
    };
    let ascending = params.int("orderType") == Some(0);
    found.sort_by(|a, b| {
        let by_key = order(view, a, b);
        let by_key = if ascending { by_key } else { by_key.reverse() };
        by_key.then_with(|| a.id.cmp(&b.id))
    });
    let total_count = found.len();
    let offset = params.int("offset").unwrap_or(0);
    let limit = params.int("limit").unwrap_or(DEFAULT_LIMIT);
    let rows = found
        .into_iter()
        .map(|lb| LoadBalancerRow::new(lb, view.env, view.zone));
    let load_balancer_set = page(rows, offset, Some(limit));
    Ok(envelope::success(&LoadBalancerSet {
        load_balancer_set,
        total_count,
    }))
}

/// DescribeLoadBalancersTaskResult
pub(super) async fn task_result(
    engine: &EngineHandle,
    params: &Params,
) -> Result<String, ApiError> {
    let number = params.int("requestId").unwrap_or_default();
    let id = TaskId(u64::try_from(number).unwrap_or(0));
    let in_memory = engine.shared.read(|state| state.task(id).cloned());
    let task = match in_memory {
        Some(task) => Some(task),
        None => engine
            .stored_task(id)
            .await
            .map_err(ApiError::unavailable)?,
    };
    match task {
        Some(task) => Ok(envelope::success(&TaskResult::from(&task.state))),
        None => Err(ApiError::task_not_found(number)),
    }
}
