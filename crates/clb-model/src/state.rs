//! All objects, with the indexes that make each question cheap.
//!
//! The control plane holds several of these (the writer's, the readers', the publisher's); each is
//! moved on by the same [`Change`]s, so they share every object.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::id::{BindingId, LbId, ListenerId, TaskId};
use crate::object::{
    Binding, Change, Counters, FreedVip, Key, Listener, LoadBalancer, NetworkName, Object, Task,
    TaskState,
};
use crate::types::Port;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Ended tasks that stay in memory; older ones are in the store only (actions.md C.8 asks for
/// 100,000).
pub const ENDED_TASKS_IN_MEMORY: usize = 100_000;

/// The objects.
#[derive(Debug, Clone)]
pub struct State {
    counters: Counters,
    load_balancers: BTreeMap<LbId, Arc<LoadBalancer>>,
    vips: Map<IpAddr, LbId>,
    domains: Map<String, LbId>,
    names: Map<String, usize>,
    listeners: BTreeMap<(LbId, u64), Arc<Listener>>,
    listener_keys: Map<ListenerId, (LbId, u64)>,
    ports: Map<(LbId, Port), ListenerId>,
    bindings: BTreeMap<(LbId, BindingId), Arc<Binding>>,
    binding_owners: Map<BindingId, LbId>,
    bound: Map<(LbId, String), BindingId>,
    backend_addresses: Map<IpAddr, usize>,
    freed: BTreeMap<u64, IpAddr>,
    freed_orders: Map<IpAddr, u64>,
    networks: Map<String, u64>,
    /// What pending tasks give up is not free before they have ended well: they may be taken back.
    held_vips: Map<IpAddr, usize>,
    held_domains: Map<String, (LbId, usize)>,
    pending: BTreeMap<TaskId, Arc<Task>>,
    ended: BTreeMap<TaskId, Arc<Task>>,
}

impl State {
    /// An empty state.
    #[must_use]
    pub fn new(counters: Counters) -> Self {
        Self {
            counters,
            load_balancers: BTreeMap::new(),
            vips: Map::default(),
            domains: Map::default(),
            names: Map::default(),
            listeners: BTreeMap::new(),
            listener_keys: Map::default(),
            ports: Map::default(),
            bindings: BTreeMap::new(),
            binding_owners: Map::default(),
            bound: Map::default(),
            backend_addresses: Map::default(),
            freed: BTreeMap::new(),
            freed_orders: Map::default(),
            networks: Map::default(),
            held_vips: Map::default(),
            held_domains: Map::default(),
            pending: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// The counters.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The counters, to draw from; what was drawn becomes durable with the next change.
    pub const fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// An instance by id.
    #[must_use]
    pub fn load_balancer(&self, id: LbId) -> Option<&Arc<LoadBalancer>> {
        self.load_balancers.get(&id)
    }

    /// All instances, by id.
    pub fn load_balancers(&self) -> impl Iterator<Item = &Arc<LoadBalancer>> {
        self.load_balancers.values()
    }

    /// How many instances there are.
    #[must_use]
    pub fn load_balancer_count(&self) -> usize {
        self.load_balancers.len()
    }

    /// The instance that has this VIP.
    #[must_use]
    pub fn load_balancer_at(&self, vip: IpAddr) -> Option<LbId> {
        self.vips.get(&vip).copied()
    }

    /// The instance that has this domain prefix, or gives it up in a task that has not ended.
    #[must_use]
    pub fn domain_owner(&self, prefix: &str) -> Option<LbId> {
        let held = || self.held_domains.get(prefix).map(|(owner, _)| *owner);
        self.domains.get(prefix).copied().or_else(held)
    }

    /// Whether a task that has not ended gives this VIP up.
    #[must_use]
    pub fn is_held(&self, vip: IpAddr) -> bool {
        self.held_vips.contains_key(&vip)
    }

    /// Whether an instance has this name.
    #[must_use]
    pub fn is_name_taken(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// A listener by id.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        self.listeners.get(self.listener_keys.get(&id)?)
    }

    /// An instance's listeners in order of creation.
    pub fn listeners_of(&self, lb: LbId) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners
            .range((lb, 0)..=(lb, u64::MAX))
            .map(|(_, listener)| listener)
    }

    /// All listeners.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values()
    }

    /// The listener at a port of an instance.
    #[must_use]
    pub fn listener_at(&self, lb: LbId, port: Port) -> Option<ListenerId> {
        self.ports.get(&(lb, port)).copied()
    }

    /// An instance's bound backends in order of binding.
    pub fn bindings_of(&self, lb: LbId) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings
            .range((lb, BindingId(0))..=(lb, BindingId(u64::MAX)))
            .map(|(_, binding)| binding)
    }

    /// All bound backends.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values()
    }

    /// The binding of a machine to an instance.
    #[must_use]
    pub fn binding(&self, lb: LbId, instance: &str) -> Option<&Arc<Binding>> {
        let id = self.bound.get(&(lb, instance.to_owned()))?;
        self.bindings.get(&(lb, *id))
    }

    /// Whether a bound backend has this address.
    #[must_use]
    pub fn is_backend_address(&self, address: IpAddr) -> bool {
        self.backend_addresses.contains_key(&address)
    }

    /// Whether the address was a VIP and is free now.
    #[must_use]
    pub fn is_freed(&self, vip: IpAddr) -> bool {
        self.freed_orders.contains_key(&vip)
    }

    /// The order under which a VIP was freed.
    #[must_use]
    pub fn freed_order(&self, vip: IpAddr) -> Option<u64> {
        self.freed_orders.get(&vip).copied()
    }

    /// VIPs that were in use once, the longest free first.
    pub fn freed_vips(&self) -> impl Iterator<Item = IpAddr> {
        self.freed.values().copied()
    }

    /// The number of a network's name.
    #[must_use]
    pub fn network_number(&self, name: &str) -> Option<u64> {
        self.networks.get(name).copied()
    }

    /// A task that is pending, or ended and still in memory.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.pending.get(&id).or_else(|| self.ended.get(&id))
    }

    /// Pending tasks in order.
    pub fn pending_tasks(&self) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.pending.values()
    }

    /// The present value under a key, where the state keeps one.
    #[must_use]
    pub fn object(&self, key: &Key) -> Option<Object> {
        match key {
            Key::LoadBalancer(id) => self.load_balancer(*id).cloned().map(Object::LoadBalancer),
            Key::Listener(id) => self.listener(*id).cloned().map(Object::Listener),
            Key::Binding(id) => {
                let owner = self.binding_owners.get(id)?;
                self.bindings
                    .get(&(*owner, *id))
                    .cloned()
                    .map(Object::Binding)
            }
            Key::FreedVip(vip) => self
                .freed_order(*vip)
                .map(|order| Object::FreedVip(FreedVip { vip: *vip, order })),
            Key::Network(name) => self.network_number(name).map(|number| {
                Object::Network(NetworkName {
                    name: name.clone(),
                    number,
                })
            }),
            Key::Task(id) => self.task(*id).cloned().map(Object::Task),
            Key::Nonce(_) => None,
            Key::Counters => Some(Object::Counters(self.counters)),
        }
    }

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
                self.ports
                    .insert((listener.load_balancer, listener.port), listener.id);
                self.listeners.insert(key, Arc::clone(listener));
            }
            Object::Binding(binding) => {
                let owner = binding.load_balancer;
                self.binding_owners.insert(binding.id, owner);
                self.bound
                    .insert((owner, binding.instance.clone()), binding.id);
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
            Object::Nonce(_) => {}
            Object::Counters(counters) => self.counters = *counters,
        }
    }

    fn remove(&mut self, key: &Key) {
        match key {
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
                    self.ports.remove(&(listener.load_balancer, listener.port));
                }
            }
            Key::Binding(id) => {
                if let Some(owner) = self.binding_owners.remove(id)
                    && let Some(binding) = self.bindings.remove(&(owner, *id))
                {
                    decrement(&mut self.backend_addresses, &binding.address);
                    self.bound.remove(&(owner, binding.instance.clone()));
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
            Key::Task(id) => {
                if let Some(task) = self.pending.remove(id) {
                    self.release(&task);
                }
                self.ended.remove(id);
            }
            Key::Nonce(_) | Key::Counters => {}
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
    /// numbers of networks) stays, and so does a status that another task's end has set since.
    #[must_use]
    pub fn taken_back(&self, changes: &[Change]) -> Vec<Change> {
        changes
            .iter()
            .rev()
            .filter_map(|change| {
                let key = change.key()?;
                if matches!(
                    key,
                    Key::Counters | Key::Network(_) | Key::Task(_) | Key::Nonce(_)
                ) {
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
