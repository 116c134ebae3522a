//! `clbd --check`: what can be said of the file and the stored state without changing anything.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use clb_config::{Config, StoreKey};
use clb_control::clock::{Clock as _, SystemClock};
use clb_control::rehearsal::rehearse;
use clb_model::{Certificate, LoadBalancerType, Object, Origin};
use clb_snapshot::Board;
use clb_store::SqliteStore;

use crate::settings;

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
    lines.extend(certificate_warnings(config));
    let key = config.store.key.as_ref().map(StoreKey::expose);
    let objects = match SqliteStore::check(&config.state_dir, key) {
        Ok(objects) => objects,
        Err(problems) => {
            let problems: Vec<String> = problems
                .iter()
                .map(|problem| format!("stored state: {problem}"))
                .collect();
            return Err(problems.join("\n"));
        }
    };
    let declared = declared(config, objects.clone().unwrap_or_default())?;
    match objects {
        None => lines.push(format!(
            "no stored state yet in {}",
            config.state_dir.display()
        )),
        Some(objects) => {
            let (mut load_balancers, mut listeners, mut rules, mut bindings) = (0, 0, 0, 0);
            let mut certificates = 0;
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
                    Object::Certificate(stored) => {
                        certificates += 1;
                        lines.extend(certificate_problem(config, stored));
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
                "stored state: {load_balancers} load balancers, {listeners} listeners, {rules} rules, {bindings} bound backends, {certificates} certificates"
            ));
        }
    }
    lines.extend(declared);
    lines.push(format!("{}: ok", config.path.display()));
    Ok(lines.join("\n"))
}

/// What would be done with the declared load balancers.
fn declared(config: &Config, objects: Vec<Object>) -> Result<Vec<String>, String> {
    let own_sockets = clb_control::own_sockets(&config.api.listen, config.admin.listen);
    let settings = settings::without_keys(config, own_sockets);
    let plane = settings::plane_settings(config, 0);
    let board = Arc::new(Board::new(1, plane, 0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let rehearsed = runtime
        .block_on(rehearse(objects, settings, board, &config.load_balancers))
        .map_err(|error| error.to_string())?;
    let path = config.path.display();
    if rehearsed.problems.is_empty() {
        return Ok(match rehearsed.steps.len() {
            0 => Vec::new(),
            steps => std::iter::once(format!("[[load_balancers]]: {steps} steps would be done:"))
                .chain(rehearsed.steps)
                .collect(),
        });
    }
    let problems: Vec<String> = rehearsed
        .problems
        .iter()
        .map(|(place, problem)| format!("{path}:{}:{}: {problem}", place.line, place.column))
        .collect();
    Err(problems.join("\n"))
}

/// Certificates of the file that are out of their time.
fn certificate_warnings(config: &Config) -> Vec<String> {
    let now = SystemClock.unix().0.div_euclid(1000);
    let warnings = clb_config::certificate_warnings(&config.certificates, now);
    let marked = warnings.iter().map(|warning| format!("warning: {warning}"));
    marked.collect()
}

/// What the file says of a stored certificate and will not come to pass, or is worth knowing.
fn certificate_problem(config: &Config, stored: &Certificate) -> Option<String> {
    let id = stored.id.to_string();
    let is_in_file = config.certificates.iter().any(|entry| entry.id == id);
    match (stored.origin, is_in_file) {
        (Origin::Uploaded, true) => Some(format!(
            "warning: certificates.id = \"{id}\": an uploaded certificate has this id, the file's is not used"
        )),
        (Origin::File | Origin::Withdrawn, false) => Some(format!(
            "warning: certificate {id} is no longer in [[certificates]]; listeners that use it keep it"
        )),
        _ => None,
    }
}
