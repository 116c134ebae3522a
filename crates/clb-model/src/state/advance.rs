//! Moving a state on by changes, and taking changes back.

use std::net::IpAddr;
use std::sync::Arc;

use super::{ENDED_TASKS_IN_MEMORY, Map, RulePlace, State, Transport};
use crate::id::{CertificateId, LbId};
use crate::object::{
    Binding, Change, Key, Listener, LoadBalancer, Object, Origin, Owner, Rule, Task, TaskState,
};
use crate::types::Port;

impl State {
    /// Moves the state on by one change.
    pub fn apply(&mut self, change: &Change) {
        if let Some(key) = change.key() {
            self.remove(&key);
        }
        if let Some(after) = &change.after {
            self.insert(after);
        }
    }

    /// Puts an object in, as when a state is loaded.
    pub fn insert(&mut self, object: &Object) {
        match object {
            Object::Certificate(certificate) => {
                if certificate.origin == Origin::Uploaded {
                    self.uploads
                        .insert(certificate.content.fingerprint, certificate.id);
                }
                self.certificates
                    .insert(certificate.id, Arc::clone(certificate));
            }
            Object::LoadBalancer(lb) => {
                self.vips.insert(lb.vip, lb.id);
                if let Some(prefix) = &lb.domain_prefix {
                    self.domains.insert(prefix.clone(), lb.id);
                }
                *self.names.entry(lb.name.clone()).or_default() += 1;
                self.load_balancers.insert(lb.id, Arc::clone(lb));
            }
            Object::Listener(listener) => {
                let key = (listener.load_balancer, listener.order);
                self.listener_keys.insert(listener.id, key);
                self.ports.insert(port_of(listener), listener.id);
                for id in uses_of(listener) {
                    self.certificate_users.entry(id).or_default().insert(key);
                }
                self.listeners.insert(key, Arc::clone(listener));
            }
            Object::Rule(rule) => {
                let key = (rule.listener, rule.order);
                self.rule_keys.insert(rule.id, key);
                self.rule_places.insert(place_of(rule), rule.id);
                *self.rule_counts.entry(rule.listener).or_default() += 1;
                if let Some(target) = rule.redirect_to {
                    self.redirects.insert((target, rule.id));
                }
                self.rules.insert(key, Arc::clone(rule));
            }
            Object::Binding(binding) => {
                let owner = binding.owner();
                self.binding_owners.insert(binding.id, owner);
                self.bound.insert(bound_of(binding), binding.id);
                *self.backend_addresses.entry(binding.address).or_default() += 1;
                self.bindings
                    .insert((owner, binding.id), Arc::clone(binding));
            }
            Object::FreedVip(freed) => {
                self.freed.insert(freed.order, freed.vip);
                self.freed_orders.insert(freed.vip, freed.order);
            }
            Object::Network(network) => {
                self.networks.insert(network.name.clone(), network.number);
            }
            Object::Declared(declared) => {
                self.declared
                    .insert(declared.name.clone(), Arc::clone(declared));
            }
            Object::Task(task) => {
                if matches!(task.state, TaskState::Pending { .. }) {
                    self.hold(task);
                    self.pending.insert(task.id, Arc::clone(task));
                } else {
                    self.ended.insert(task.id, Arc::clone(task));
                    if self.ended.len() > ENDED_TASKS_IN_MEMORY {
                        self.ended.pop_first();
                    }
                }
            }
            Object::Nonce(_) | Object::SessionKey(_) => {}
            Object::Counters(counters) => self.counters = *counters,
        }
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Certificate(id) => {
                if let Some(certificate) = self.certificates.remove(id)
                    && certificate.origin == Origin::Uploaded
                {
                    self.uploads.remove(&certificate.content.fingerprint);
                }
            }
            Key::LoadBalancer(id) => {
                if let Some(lb) = self.load_balancers.remove(id) {
                    self.vips.remove(&lb.vip);
                    if let Some(prefix) = &lb.domain_prefix {
                        self.domains.remove(prefix);
                    }
                    decrement(&mut self.names, &lb.name);
                }
            }
            Key::Listener(id) => {
                if let Some(key) = self.listener_keys.remove(id)
                    && let Some(listener) = self.listeners.remove(&key)
                {
                    self.ports.remove(&port_of(&listener));
                    for id in uses_of(&listener) {
                        self.forget_use(id, key);
                    }
                }
            }
            Key::Rule(id) => {
                if let Some(key) = self.rule_keys.remove(id)
                    && let Some(rule) = self.rules.remove(&key)
                {
                    decrement(&mut self.rule_counts, &rule.listener);
                    if let Some(target) = rule.redirect_to {
                        self.redirects.remove(&(target, rule.id));
                    }
                    let place = place_of(&rule);
                    // Where rules change places within one task, another one may have it by now.
                    if self.rule_places.get(&place) == Some(id) {
                        self.rule_places.remove(&place);
                    }
                }
            }
            Key::Binding(id) => {
                if let Some(owner) = self.binding_owners.remove(id)
                    && let Some(binding) = self.bindings.remove(&(owner, *id))
                {
                    decrement(&mut self.backend_addresses, &binding.address);
                    let bound = bound_of(&binding);
                    if self.bound.get(&bound) == Some(id) {
                        self.bound.remove(&bound);
                    }
                }
            }
            Key::FreedVip(vip) => {
                if let Some(order) = self.freed_orders.remove(vip) {
                    self.freed.remove(&order);
                }
            }
            Key::Network(name) => {
                self.networks.remove(name);
            }
            Key::Declared(name) => {
                self.declared.remove(name);
            }
            Key::Task(id) => {
                if let Some(task) = self.pending.remove(id) {
                    self.release(&task);
                }
                self.ended.remove(id);
            }
            Key::Nonce(_) | Key::SessionKey | Key::Counters => {}
        }
    }

    fn forget_use(&mut self, id: CertificateId, listener: (LbId, u64)) {
        if let Some(users) = self.certificate_users.get_mut(&id) {
            users.remove(&listener);
            if users.is_empty() {
                self.certificate_users.remove(&id);
            }
        }
    }

    fn hold(&mut self, task: &Task) {
        for given_up in given_up(task) {
            if let Some(vip) = given_up.vip {
                *self.held_vips.entry(vip).or_default() += 1;
            }
            if let Some(prefix) = given_up.domain_prefix {
                let held = self
                    .held_domains
                    .entry(prefix)
                    .or_insert((given_up.owner, 0));
                held.1 += 1;
            }
        }
    }

    fn release(&mut self, task: &Task) {
        for given_up in given_up(task) {
            if let Some(vip) = given_up.vip {
                decrement(&mut self.held_vips, &vip);
            }
            if let Some(prefix) = given_up.domain_prefix
                && let Some(held) = self.held_domains.get_mut(&prefix)
            {
                held.1 -= 1;
                if held.1 == 0 {
                    self.held_domains.remove(&prefix);
                }
            }
        }
    }

    /// The changes that take back what a task changed, newest first. What only rises (counters,
    /// numbers of networks) stays, and so does a status that another task's end has set since. An
    /// upload stays too: tasks of other instances may use it by now.
    #[must_use]
    pub fn taken_back(&self, changes: &[Change]) -> Vec<Change> {
        changes
            .iter()
            .rev()
            .filter_map(|change| {
                let key = change.key()?;
                if matches!(
                    key,
                    Key::Counters
                        | Key::SessionKey
                        | Key::Network(_)
                        | Key::Task(_)
                        | Key::Nonce(_)
                ) {
                    return None;
                }
                if matches!(key, Key::Certificate(_)) && change.before.is_none() {
                    return None;
                }
                let now = self.object(&key);
                let after = match (&change.before, &now) {
                    (Some(Object::Listener(old)), Some(Object::Listener(now))) => {
                        Some(Object::Listener(Arc::new(Listener {
                            status: now.status,
                            ..Listener::clone(old)
                        })))
                    }
                    (Some(Object::LoadBalancer(old)), Some(Object::LoadBalancer(now))) => {
                        Some(Object::LoadBalancer(Arc::new(LoadBalancer {
                            status: now.status,
                            status_time: now.status_time,
                            ..LoadBalancer::clone(old)
                        })))
                    }
                    (before, _) => before.clone(),
                };
                (now.is_some() || after.is_some()).then_some(Change { before: now, after })
            })
            .collect()
    }
}

fn port_of(listener: &Listener) -> (LbId, Port, Transport) {
    (
        listener.load_balancer,
        listener.port,
        Transport::of(listener.protocol),
    )
}

fn uses_of(listener: &Listener) -> impl Iterator<Item = CertificateId> {
    let tls = listener.tls.into_iter();
    tls.flat_map(|tls| std::iter::once(tls.certificate).chain(tls.authority))
}

fn place_of(rule: &Rule) -> RulePlace {
    RulePlace::new(rule.listener, &rule.domain, &rule.url)
}

fn bound_of(binding: &Binding) -> (Owner, Arc<str>, Option<Port>) {
    (
        binding.owner(),
        Arc::clone(&binding.instance),
        binding.port(),
    )
}

struct GivenUp {
    owner: LbId,
    vip: Option<IpAddr>,
    domain_prefix: Option<String>,
}

/// What a pending task takes from an instance and would have to give back.
fn given_up(task: &Task) -> Vec<GivenUp> {
    let TaskState::Pending { changes, .. } = &task.state else {
        return Vec::new();
    };
    let of_change = |change: &Change| {
        let Some(Object::LoadBalancer(before)) = &change.before else {
            return None;
        };
        let after = match &change.after {
            Some(Object::LoadBalancer(after)) => Some(after),
            _ => None,
        };
        let keeps_prefix = after.is_some_and(|after| after.domain_prefix == before.domain_prefix);
        Some(GivenUp {
            owner: before.id,
            vip: after.is_none().then_some(before.vip),
            domain_prefix: before.domain_prefix.clone().filter(|_| !keeps_prefix),
        })
    };
    changes.iter().filter_map(of_change).collect()
}

fn decrement<K: std::hash::Hash + Eq>(counts: &mut Map<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
