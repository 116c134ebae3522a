//! Instances.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Applied, classic, existing, of_family, remove_listeners};
use crate::command::{CreateLoadBalancers, NetworkChoice};
use crate::env::Env;
use crate::error::ModelError;
use crate::id::LbId;
use crate::object::{
    Change, Counters, FreedVip, LoadBalancer, NetworkName, NetworkRef, Object, Owner, Status,
};
use crate::state::State;
use crate::types::{Family, LoadBalancerType};

pub(super) fn create(
    state: &State,
    env: &Env,
    create: &CreateLoadBalancers,
) -> Result<Applied, ModelError> {
    let max = env.limits.load_balancers;
    if max != 0 && state.load_balancer_count() + create.ids.len() > max {
        return Err(ModelError::NoVip(format!(
            "limits.load_balancers = {max} would be passed"
        )));
    }
    let mut counters = *state.counters();
    let mut changes = Vec::new();
    let vpc = network(state, &mut counters, &mut changes, &create.vpc);
    let subnet = network(state, &mut counters, &mut changes, &create.subnet);
    let with_domain =
        create.family == Family::Classic && create.network_type == LoadBalancerType::Public;
    let base = free_order_number(state, create);
    let mut vips: Vec<IpAddr> = Vec::new();
    for (index, id) in create.ids.iter().enumerate() {
        let vip = match create.vip {
            Some(vip) => match env.unfit_vip(state, create.network_type, vip) {
                None => vip,
                Some(reason) => return Err(ModelError::NoVip(format!("vip={vip}: {reason}"))),
            },
            None => env
                .next_vip(state, create.network_type, &vips)
                .ok_or_else(|| {
                    ModelError::NoVip(format!(
                        "no VIP is free in [vips] {}",
                        match create.network_type {
                            LoadBalancerType::Public => "public",
                            LoadBalancerType::Private => "private",
                        }
                    ))
                })?,
        };
        vips.push(vip);
        if let Some(order) = state.freed_order(vip) {
            changes.push(Change::removed(Object::FreedVip(FreedVip { vip, order })));
        }
        let name = match &create.name {
            Some(name) if index == 0 && !state.is_name_taken(name) => name.clone(),
            _ => generated_name(base, index),
        };
        let domain_prefix = with_domain.then(|| match &create.domain_prefix {
            Some(prefix) if index == 0 && state.domain_owner(prefix).is_none() => prefix.clone(),
            _ => generated_prefix(base, index),
        });
        changes.push(Change::made(Object::LoadBalancer(Arc::new(LoadBalancer {
            id: *id,
            name,
            network_type: create.network_type,
            family: create.family,
            domain_prefix,
            vip,
            vpc: vpc.clone(),
            subnet: subnet.clone(),
            project_id: create.project_id,
            special: create.special.clone(),
            client_ip: create.client_ip,
            created: create.now,
            status: Status::Creating,
            status_time: create.now,
        }))));
    }
    changes.push(Change::changed(
        Object::Counters(*state.counters()),
        Object::Counters(counters),
    ));
    Ok(Applied {
        changes,
        load_balancers: create.ids.clone(),
    })
}

/// Eight hexadecimal digits and the index within the order, as `59b25ffb-0` in the document.
fn generated_name(order_number: u32, index: usize) -> String {
    format!("{order_number:08x}-{index}")
}

/// The first six of the name's digits and the index.
fn generated_prefix(order_number: u32, index: usize) -> String {
    format!("{:06x}-{index}", order_number >> 8)
}

/// The first number from the drawn one on whose names and prefixes are all free.
fn free_order_number(state: &State, create: &CreateLoadBalancers) -> u32 {
    let is_free = |base: u32| {
        (0..create.ids.len()).all(|index| {
            !state.is_name_taken(&generated_name(base, index))
                && state.domain_owner(&generated_prefix(base, index)).is_none()
                && create.domain_prefix.as_deref() != Some(&generated_prefix(base, index))
        })
    };
    let mut base = create.order_number;
    // Stepping by 0x101 changes name and prefix alike. The space is far larger than the limit on
    // instances, so this ends soon.
    while !is_free(base) {
        base = base.wrapping_add(0x101);
    }
    base
}

fn network(
    state: &State,
    counters: &mut Counters,
    changes: &mut Vec<Change>,
    choice: &NetworkChoice,
) -> NetworkRef {
    match choice {
        NetworkChoice::Number(number) => NetworkRef {
            number: *number,
            name: String::new(),
        },
        NetworkChoice::Name(name) => {
            let number = state.network_number(name).unwrap_or_else(|| {
                let number = counters.take(|counters| &mut counters.next_network);
                changes.push(Change::made(Object::Network(NetworkName {
                    name: name.clone(),
                    number,
                })));
                number
            });
            NetworkRef {
                number,
                name: name.clone(),
            }
        }
    }
}

pub(super) fn modify(
    state: &State,
    id: LbId,
    name: Option<&String>,
    domain_prefix: Option<&String>,
) -> Result<Applied, ModelError> {
    let lb = classic(state, id)?;
    if let Some(prefix) = domain_prefix {
        if lb.network_type == LoadBalancerType::Private {
            return Err(ModelError::Contradiction(format!(
                "domainPrefix={prefix}: {id} is a private instance, which has no domain"
            )));
        }
        if let Some(owner) = state.domain_owner(prefix).filter(|owner| *owner != id) {
            return Err(ModelError::DomainTaken {
                prefix: prefix.clone(),
                owner,
            });
        }
    }
    let mut after = LoadBalancer::clone(lb);
    if let Some(name) = name {
        after.name.clone_from(name);
    }
    if let Some(prefix) = domain_prefix {
        after.domain_prefix = Some(prefix.clone());
    }
    Ok(changed(lb, after))
}

/// ModifyForwardLBName
pub(super) fn rename(state: &State, id: LbId, name: &str) -> Result<Applied, ModelError> {
    let lb = of_family(state, id, Family::Application)?;
    let after = LoadBalancer {
        name: name.to_owned(),
        ..LoadBalancer::clone(lb)
    };
    Ok(changed(lb, after))
}

fn changed(lb: &Arc<LoadBalancer>, after: LoadBalancer) -> Applied {
    let changes = if after == **lb {
        Vec::new()
    } else {
        vec![Change::changed(
            Object::LoadBalancer(Arc::clone(lb)),
            Object::LoadBalancer(Arc::new(after)),
        )]
    };
    Applied {
        changes,
        load_balancers: vec![lb.id],
    }
}

pub(super) fn delete(state: &State, ids: &[LbId]) -> Result<Applied, ModelError> {
    let mut counters = *state.counters();
    let mut changes = Vec::new();
    let mut seen = HashSet::new();
    for id in ids.iter().filter(|id| seen.insert(**id)) {
        let lb = existing(state, *id)?;
        let listeners: Vec<_> = state.listeners_of(*id).collect();
        remove_listeners(state, &listeners, &mut changes);
        changes.extend(
            state
                .bindings_of(Owner::LoadBalancer(*id))
                .map(|binding| Change::removed(Object::Binding(Arc::clone(binding)))),
        );
        changes.push(Change::removed(Object::LoadBalancer(Arc::clone(lb))));
        let order = counters.take(|counters| &mut counters.next_order);
        changes.push(Change::made(Object::FreedVip(FreedVip {
            vip: lb.vip,
            order,
        })));
    }
    changes.push(Change::changed(
        Object::Counters(*state.counters()),
        Object::Counters(counters),
    ));
    Ok(Applied {
        changes,
        load_balancers: ids.to_vec(),
    })
}
