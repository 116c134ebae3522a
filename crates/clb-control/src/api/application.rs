//! Application-based instances: their name, their listeners, and what the Describe Actions show.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::{Element, Params};
use clb_model::{
    ApplicationCommand, Binding, BindingId, Command, Family, LbId, Listener, ListenerChange,
    ListenerId, NewApplicationListener, Owner, PoolKey, PoolSettings, Protocol, Rule, Scheduler,
};
use clb_snapshot::{MemberHealth, Pool, Service, Snapshot};

use super::certificates::Source;
use super::forward_answers::{
    ForwardBackendRow, ForwardBackends, ForwardHealth, ForwardHealthRow, ForwardListenerRow,
    ForwardListeners, HealthListenerRow, HealthMemberRow, HealthPools, HealthRuleRow, ListedRule,
    ListenerBackends, ListenerPools, RuleBackends,
};
use super::handlers::Write;
use super::listeners::{
    DEFAULT_LIMIT, HTTPS_PARAMETERS, first_given, health_check, pool_patch, session_expire,
};
use super::view::{View, checked, page};

/// ModifyForwardLBName
pub(super) fn rename(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let name = params.text("loadBalancerName").unwrap_or_default();
    Ok(Command::Application {
        load_balancer: view.application(params)?.id,
        command: ApplicationCommand::Rename {
            name: name.to_owned(),
        },
    })
}

/// CreateForwardLBSeventhLayerListeners
pub(super) fn create_seventh_listeners(
    view: &View<'_>,
    params: &Params,
) -> Result<Command, ApiError> {
    create_listeners(view, params, seventh_listener)
}

/// CreateForwardLBFourthLayerListeners
pub(super) fn create_fourth_listeners(
    view: &View<'_>,
    params: &Params,
) -> Result<Command, ApiError> {
    create_listeners(view, params, |_, element| fourth_listener(element))
}

fn create_listeners(
    view: &View<'_>,
    params: &Params,
    listener: fn(&View<'_>, &Element<'_>) -> Result<NewApplicationListener, ApiError>,
) -> Result<Command, ApiError> {
    let load_balancer = view.application(params)?.id;
    let listeners = params
        .elements("listeners")
        .iter()
        .map(|element| listener(view, element))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Command::Application {
        load_balancer,
        command: ApplicationCommand::CreateListeners {
            now: view.now,
            listeners,
        },
    })
}

fn fourth_listener(element: &Element<'_>) -> Result<NewApplicationListener, ApiError> {
    let number = |name: &str| element.int(name).unwrap_or_default();
    let protocol = Protocol::from_number(number("protocol"))
        .filter(|protocol| !protocol.is_layer7())
        .ok_or_else(|| element.refuse("protocol", "must be 2 or 3"))?;
    let scheduler = element.text("scheduler").and_then(Scheduler::from_name);
    Ok(NewApplicationListener {
        // The engine draws the id when it executes the command.
        id: ListenerId::from_number(0),
        name: element.text("listenerName").unwrap_or_default().to_owned(),
        protocol,
        port: checked("loadBalancerPort", number("loadBalancerPort"))?,
        settings: Some(PoolSettings {
            scheduler: scheduler.unwrap_or(Scheduler::Wrr),
            session_expire: session_expire(number("sessionExpire"))?,
            health: health_check(element)?,
        }),
        tls: None,
    })
}

/// ModifyForwardLBFourthListener
pub(super) fn modify_fourth_listener(
    view: &View<'_>,
    params: &Params,
) -> Result<Command, ApiError> {
    let listener = view.application_listener(params)?;
    Ok(Command::Application {
        load_balancer: listener.load_balancer,
        command: ApplicationCommand::ModifyFourthListener {
            listener: listener.id,
            patch: Box::new(pool_patch(params)?),
        },
    })
}

fn seventh_listener(
    view: &View<'_>,
    element: &Element<'_>,
) -> Result<NewApplicationListener, ApiError> {
    let number = |name: &str| element.int(name).unwrap_or_default();
    let protocol = Protocol::from_number(number("protocol"))
        .filter(|protocol| protocol.is_layer7())
        .ok_or_else(|| element.refuse("protocol", "must be 1 or 4"))?;
    Ok(NewApplicationListener {
        // The engine draws the id when it executes the command.
        id: ListenerId::from_number(0),
        name: element.text("listenerName").unwrap_or_default().to_owned(),
        protocol,
        port: checked("loadBalancerPort", number("loadBalancerPort"))?,
        settings: None,
        tls: Source::Element(*element).new_tls(view)?,
    })
}

/// ModifyForwardLBSeventhListener
pub(super) fn modify_seventh_listener(
    view: &View<'_>,
    params: &Params,
) -> Result<Command, ApiError> {
    let listener = view.application_listener(params)?;
    let change = ListenerChange {
        name: params.text("listenerName").map(ToOwned::to_owned),
        tls: Source::Request(params).tls_patch(view, listener.protocol)?,
        https_parameter: first_given(params, HTTPS_PARAMETERS),
    };
    Ok(Command::Application {
        load_balancer: listener.load_balancer,
        command: ApplicationCommand::ModifyListener {
            listener: listener.id,
            change: Box::new(change),
        },
    })
}

/// DeleteForwardLBListener
pub(super) fn delete_listeners(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let load_balancer = view.application(params)?.id;
    let listeners = params
        .text("listenerId")
        .into_iter()
        .chain(params.texts("listenerIds"))
        .map(|text| {
            view.listener(load_balancer, text)
                .map(|listener| listener.id)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Command::Application {
        load_balancer,
        command: ApplicationCommand::DeleteListeners { listeners },
    })
}

/// The filters that DescribeForwardLBListeners and DescribeForwardLBBackends share.
struct Filter {
    ids: Option<HashSet<ListenerId>>,
    protocol: Option<i64>,
    port: Option<i64>,
}

impl Filter {
    fn new(params: &Params) -> Self {
        let texts = params.texts("listenerIds");
        let ids = texts.iter().filter_map(|text| ListenerId::parse(text).ok());
        Self {
            ids: (!texts.is_empty()).then(|| ids.collect()),
            protocol: params.int("protocol"),
            port: params.int("loadBalancerPort"),
        }
    }

    fn is_empty(&self) -> bool {
        self.ids.is_none() && self.protocol.is_none() && self.port.is_none()
    }

    fn found<'v>(&self, view: &'v View<'_>, lb: LbId) -> Vec<&'v Arc<Listener>> {
        let matches = |listener: &&Arc<Listener>| {
            let protocol = listener.protocol.number();
            self.ids
                .as_ref()
                .is_none_or(|ids| ids.contains(&listener.id))
                && self.protocol.is_none_or(|wanted| wanted == protocol)
                && self
                    .port
                    .is_none_or(|wanted| wanted == i64::from(listener.port))
        };
        view.state.listeners_of(lb).filter(matches).collect()
    }
}

/// DescribeForwardLBListeners
pub(super) fn describe_listeners(view: &View<'_>, params: &Params) -> Result<Write, ApiError> {
    let lb = view.application(params)?.id;
    let filter = Filter::new(params);
    let limit = params
        .int("limit")
        .or(filter.is_empty().then_some(DEFAULT_LIMIT));
    let found = filter.found(view, lb);
    let total_count = found.len();
    let offset = params.int("offset").unwrap_or(0);
    let listed = |rule: &Arc<Rule>| {
        let target = rule.redirect_to.and_then(|id| view.state.rule(id));
        (Arc::clone(rule), target.cloned())
    };
    let rows: Vec<(Arc<Listener>, Vec<ListedRule>)> = page(found.into_iter(), offset, limit)
        .into_iter()
        .map(|listener| {
            let rules = view.state.rules_of(listener.id).map(listed).collect();
            (Arc::clone(listener), rules)
        })
        .collect();
    let (method, zone) = (view.env.http_method, view.zone.clone());
    Ok(Box::new(move || {
        let listener_set = rows
            .iter()
            .map(|(listener, rules)| ForwardListenerRow::new(listener, rules, method, &zone))
            .collect();
        envelope::success(&ForwardListeners {
            listener_set,
            total_count,
        })
    }))
}

/// A listener's pools as they were collected: its own, or those of its rules.
enum Pools {
    Own(Vec<Arc<Binding>>),
    Rules(Vec<(Arc<Rule>, Vec<Arc<Binding>>)>),
}

fn pools(view: &View<'_>, listener: &Listener) -> Pools {
    let bindings = |pool| {
        let bindings = view.state.bindings_of(Owner::Pool(pool));
        bindings.cloned().collect::<Vec<_>>()
    };
    if !listener.protocol.is_layer7() {
        return Pools::Own(bindings(PoolKey::Listener(listener.id)));
    }
    let rules = view.state.rules_of(listener.id);
    Pools::Rules(
        rules
            .map(|rule| (Arc::clone(rule), bindings(PoolKey::Rule(rule.id))))
            .collect(),
    )
}

/// DescribeForwardLBBackends
pub(super) fn describe_backends(view: &View<'_>, params: &Params) -> Result<Write, ApiError> {
    let lb = view.application(params)?.id;
    let found: Vec<(Arc<Listener>, Pools)> = Filter::new(params)
        .found(view, lb)
        .into_iter()
        .map(|listener| (Arc::clone(listener), pools(view, listener)))
        .collect();
    let (env, zone) = (Arc::clone(view.env), view.zone.clone());
    Ok(Box::new(move || {
        let rows = |bindings: &[Arc<Binding>]| {
            bindings
                .iter()
                .map(|binding| ForwardBackendRow::new(binding, &env, &zone))
                .collect()
        };
        let of_rule = |(rule, bindings): &(Arc<Rule>, Vec<Arc<Binding>>)| RuleBackends {
            location_id: rule.id.to_string(),
            backends: rows(bindings),
            domain: rule.domain.to_string(),
            url: rule.url.to_string(),
        };
        let data = found
            .iter()
            .map(|(listener, pools)| {
                let pools = match pools {
                    Pools::Own(bindings) => ListenerPools::Backends(rows(bindings)),
                    Pools::Rules(rules) => {
                        ListenerPools::Rules(rules.iter().map(of_rule).collect())
                    }
                };
                ListenerBackends::new(listener, pools)
            })
            .collect();
        envelope::success(&ForwardBackends { data })
    }))
}

/// DescribeForwardLBHealthStatus
pub(super) fn health(view: &View<'_>, params: &Params) -> Result<Write, ApiError> {
    let texts = params
        .text("loadBalancerId")
        .into_iter()
        .chain(params.texts("loadBalancerIds"));
    let mut found = Vec::new();
    for text in texts {
        let lb = view.of_family(text, Family::Application)?;
        let listeners: Vec<(Arc<Listener>, Pools)> = view
            .state
            .listeners_of(lb.id)
            .map(|listener| (Arc::clone(listener), pools(view, listener)))
            .collect();
        found.push((Arc::clone(lb), listeners));
    }
    // Taken under the same lock, so that no change that was answered is missing in one of the two.
    let snapshot = view.board.snapshot();
    Ok(Box::new(move || {
        let data = found
            .iter()
            .map(|(lb, listeners)| ForwardHealthRow {
                load_balancer_name: lb.name.clone(),
                un_load_balancer_id: lb.id.to_string(),
                listener: listeners
                    .iter()
                    .map(|(listener, pools)| health_of(listener, pools, &snapshot))
                    .collect(),
            })
            .collect();
        envelope::success(&ForwardHealth { data })
    }))
}

fn health_of(listener: &Listener, pools: &Pools, snapshot: &Snapshot) -> HealthListenerRow {
    let service = snapshot.get(listener.id).map(|served| &served.service);
    let pools = match pools {
        Pools::Own(bindings) => {
            let pool = service.and_then(Service::pool);
            let is_checked = listener
                .settings()
                .is_some_and(|settings| settings.health.enabled);
            HealthPools::Backends(members(bindings, is_checked, pool))
        }
        Pools::Rules(rules) => {
            let served: HashMap<PoolKey, &Arc<Pool>> = served_pools(service);
            HealthPools::Rules(
                rules
                    .iter()
                    .map(|(rule, bindings)| HealthRuleRow {
                        location_id: rule.id.to_string(),
                        domain: rule.domain.to_string(),
                        url: rule.url.to_string(),
                        backends: members(
                            bindings,
                            rule.settings.health.enabled,
                            served.get(&PoolKey::Rule(rule.id)).copied(),
                        ),
                    })
                    .collect(),
            )
        }
    };
    HealthListenerRow::new(listener, pools)
}

/// The pools of a listener's rules as they are served.
fn served_pools(service: Option<&Service>) -> HashMap<PoolKey, &Arc<Pool>> {
    match service {
        Some(Service::Rules(router)) => router
            .iter()
            .map(|route| &route.value.rule().pool)
            .map(|pool| (pool.key(), pool))
            .collect(),
        Some(Service::Pool(_)) | None => HashMap::new(),
    }
}

fn members(
    bindings: &[Arc<Binding>],
    is_checked: bool,
    pool: Option<&Arc<Pool>>,
) -> Vec<HealthMemberRow> {
    let healthy: HashSet<BindingId> = pool
        .map(|pool| {
            let view = pool.view();
            let members = view.members().iter();
            members
                .filter(|member| member.health == MemberHealth::Healthy)
                .map(|member| member.binding)
                .collect()
        })
        .unwrap_or_default();
    bindings
        .iter()
        .map(|binding| HealthMemberRow {
            ip: binding.address,
            port: binding.port().map_or(0, clb_model::Port::get),
            health_status: u8::from(!is_checked || healthy.contains(&binding.id)),
        })
        .collect()
}
