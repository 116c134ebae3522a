//! `clbd --check`: what can be said of the file and the stored state without changing anything.

use std::collections::HashSet;
use std::net::IpAddr;

use clb_config::Config;
use clb_model::{LoadBalancerType, Object};
use clb_store::SqliteStore;

/// Checks the stored state against the configuration.
///
/// # Errors
/// The problems, one a line.
pub fn stored_state(config: &Config) -> Result<String, String> {
    let mut lines: Vec<String> = config
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}"))
        .collect();
    let objects = match SqliteStore::check(&config.state_dir) {
        Ok(objects) => objects,
        Err(problems) => {
            let problems: Vec<String> = problems
                .iter()
                .map(|problem| format!("stored state: {problem}"))
                .collect();
            return Err(problems.join("\n"));
        }
    };
    match objects {
        None => lines.push(format!(
            "no stored state yet in {}",
            config.state_dir.display()
        )),
        Some(objects) => {
            let (mut load_balancers, mut listeners, mut rules, mut bindings) = (0, 0, 0, 0);
            let mut told = HashSet::new();
            for object in &objects {
                match object {
                    Object::LoadBalancer(lb) => {
                        load_balancers += 1;
                        let (name, pool) = match lb.network_type {
                            LoadBalancerType::Public => ("public", &config.vips.public),
                            LoadBalancerType::Private => ("private", &config.vips.private),
                        };
                        if !pool.iter().any(|network| network.contains(&lb.vip)) {
                            let vip = lb.vip;
                            lines.push(format!(
                                "warning: {} keeps its VIP {vip}, which is no longer in vips.{name}",
                                lb.id
                            ));
                        }
                    }
                    Object::Listener(_) => listeners += 1,
                    Object::Rule(_) => rules += 1,
                    Object::Binding(bound) => {
                        bindings += 1;
                        let known = config
                            .instances
                            .iter()
                            .any(|entry| entry.id == *bound.instance);
                        let is_named = bound.instance.parse::<IpAddr>().is_err();
                        // Once for each instance, however many of its rules it is bound to.
                        let place = (bound.instance.clone(), bound.load_balancer);
                        if !known && is_named && told.insert(place) {
                            lines.push(format!(
                                "warning: {} is bound to {} but no longer in [[instances]]; it keeps its address {}",
                                bound.instance, bound.load_balancer, bound.address
                            ));
                        }
                    }
                    _ => {}
                }
            }
            lines.push(format!(
                "stored state: {load_balancers} load balancers, {listeners} listeners, {rules} rules, {bindings} bound backends"
            ));
        }
    }
    lines.push(format!("{}: ok", config.path.display()));
    Ok(lines.join("\n"))
}
