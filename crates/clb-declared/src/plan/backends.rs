//! Backends of a load balancer, a listener or a rule.

use std::collections::{BTreeSet, HashMap};

use clb_actions::form::Pair;

use super::{Call, Plan, pairs};
use crate::shape::Backend;

impl Plan<'_> {
    /// Without a pool nothing is there yet that they could be bound to.
    pub(super) fn backends(
        &mut self,
        name: &str,
        old: &[Backend],
        new: &[Backend],
        pool: Option<Pool<'_>>,
    ) {
        let there: HashMap<_, _> = old.iter().map(|backend| (backend.key(), backend)).collect();
        for backend in new {
            let before = there.get(&backend.key()).map(|backend| backend.weight);
            if before == Some(backend.weight) {
                continue;
            }
            // Binding what is bound sets its weight.
            let call = self.lb.zip(pool).map(|(lb, pool)| {
                let mut element = element(backend);
                element.push(("weight".to_owned(), backend.weight.to_string()));
                pool.call(lb, true).with("backends", element)
            });
            let what = format!("{name}: {}", backend_words(backend));
            match before {
                None => self.step(
                    '+',
                    backend.place,
                    format!("{what}, weight {}", backend.weight),
                    call,
                ),
                Some(before) => {
                    let what = format!("{what}: weight {before} -> {}", backend.weight);
                    self.step('~', backend.place, what, call);
                }
            }
        }
        let wanted: BTreeSet<_> = new.iter().map(Backend::key).collect();
        for backend in old
            .iter()
            .filter(|backend| !wanted.contains(&backend.key()))
        {
            let call = self
                .lb
                .zip(pool)
                .map(|(lb, pool)| pool.call(lb, false).with("backends", element(backend)));
            self.step_last(format!("{name}: {}", backend_words(backend)), call);
        }
    }
}

/// What backends are bound to.
#[derive(Clone, Copy)]
pub(super) enum Pool<'a> {
    Classic,
    Listener(&'a str),
    Rule(&'a str, &'a str),
}

impl Pool<'_> {
    fn call(self, lb: &str, bind: bool) -> Call {
        match (self, bind) {
            (Self::Classic, true) => Call::new(
                "RegisterInstancesWithLoadBalancer",
                &[("loadBalancerId", lb)],
            ),
            (Self::Classic, false) => Call::new(
                "DeregisterInstancesFromLoadBalancer",
                &[("loadBalancerId", lb)],
            ),
            (Self::Listener(listener), bind) => {
                let action = match bind {
                    true => "RegisterInstancesWithForwardLBFourthListener",
                    false => "DeregisterInstancesFromForwardLBFourthListener",
                };
                Call::new(action, &[("loadBalancerId", lb), ("listenerId", listener)])
            }
            (Self::Rule(listener, rule), bind) => {
                let action = match bind {
                    true => "RegisterInstancesWithForwardLBSeventhListener",
                    false => "DeregisterInstancesFromForwardLB",
                };
                let fixed = [
                    ("loadBalancerId", lb),
                    ("listenerId", listener),
                    ("locationIds.0", rule),
                ];
                Call::new(action, &fixed)
            }
        }
    }
}

fn element(backend: &Backend) -> Vec<Pair> {
    let name = match backend.by_address {
        true => "eniIp",
        false => "instanceId",
    };
    let mut element = pairs(&[(name, &backend.instance)]);
    let port = backend
        .port
        .map(|port| ("port".to_owned(), port.to_string()));
    element.extend(port);
    element
}

fn backend_words(backend: &Backend) -> String {
    let port = backend
        .port
        .map(|port| format!(" port {port}"))
        .unwrap_or_default();
    format!("backend {}{port}", backend.instance)
}
