//! All objects, with the indexes that make each question cheap: no look-up and no change costs
//! more because a listener has 10,000 rules.
//!
//! The control plane holds several of these (the writer's, the readers', the publisher's); each is
//! moved on by the same [`Change`]s, so they share every object.

mod advance;
mod selection;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::id::{BindingId, CertificateId, LbId, ListenerId, RuleId, TaskId};
use crate::object::{
    Binding, Certificate, Counters, Declared, Fingerprint, FreedVip, Key, Listener, LoadBalancer,
    NetworkName, Object, Owner, PoolKey, Rule, Task,
};
use crate::pattern::{DomainPattern, UrlPattern};
use crate::types::{Port, Protocol};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Ended tasks that stay in memory; older ones are in the store only (actions.md C.8 asks for
/// 100,000).
pub const ENDED_TASKS_IN_MEMORY: usize = 10_000;

/// Sockets of TCP and UDP do not get in each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    const fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::Udp,
            Protocol::Tcp | Protocol::Http | Protocol::Https => Self::Tcp,
        }
    }
}

/// What is unique among the rules of a listener: domain and url, as far as they are told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RulePlace {
    listener: ListenerId,
    domain: String,
    url: String,
}

impl RulePlace {
    fn new(listener: ListenerId, domain: &DomainPattern, url: &UrlPattern) -> Self {
        Self {
            listener,
            domain: domain.key(),
            url: url.key(),
        }
    }
}

/// The objects.
#[derive(Debug, Clone)]
pub struct State {
    counters: Counters,
    certificates: BTreeMap<CertificateId, Arc<Certificate>>,
    /// Uploaded certificates only: a file may change under its id.
    uploads: Map<Fingerprint, CertificateId>,
    certificate_users: BTreeMap<CertificateId, BTreeSet<(LbId, u64)>>,
    load_balancers: BTreeMap<LbId, Arc<LoadBalancer>>,
    vips: Map<IpAddr, LbId>,
    domains: Map<String, LbId>,
    names: Map<String, usize>,
    listeners: BTreeMap<(LbId, u64), Arc<Listener>>,
    listener_keys: Map<ListenerId, (LbId, u64)>,
    ports: Map<(LbId, Port, Transport), ListenerId>,
    rules: BTreeMap<(ListenerId, u64), Arc<Rule>>,
    rule_keys: Map<RuleId, (ListenerId, u64)>,
    rule_counts: Map<ListenerId, usize>,
    /// By what is unique in a listener; the rules of one domain lie side by side.
    rule_places: BTreeMap<RulePlace, RuleId>,
    /// Redirects, the target first.
    redirects: BTreeSet<(RuleId, RuleId)>,
    bindings: BTreeMap<(Owner, BindingId), Arc<Binding>>,
    binding_owners: Map<BindingId, Owner>,
    bound: Map<(Owner, Arc<str>, Option<Port>), BindingId>,
    backend_addresses: Map<IpAddr, usize>,
    freed: BTreeMap<u64, IpAddr>,
    freed_orders: Map<IpAddr, u64>,
    networks: Map<String, u64>,
    /// What clb.toml declared, by name.
    declared: BTreeMap<String, Arc<Declared>>,
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
            certificates: BTreeMap::new(),
            uploads: Map::default(),
            certificate_users: BTreeMap::new(),
            load_balancers: BTreeMap::new(),
            vips: Map::default(),
            domains: Map::default(),
            names: Map::default(),
            listeners: BTreeMap::new(),
            listener_keys: Map::default(),
            ports: Map::default(),
            rules: BTreeMap::new(),
            rule_keys: Map::default(),
            rule_counts: Map::default(),
            rule_places: BTreeMap::new(),
            redirects: BTreeSet::new(),
            bindings: BTreeMap::new(),
            binding_owners: Map::default(),
            bound: Map::default(),
            backend_addresses: Map::default(),
            freed: BTreeMap::new(),
            freed_orders: Map::default(),
            networks: Map::default(),
            declared: BTreeMap::new(),
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

    /// A certificate by id.
    #[must_use]
    pub fn certificate(&self, id: CertificateId) -> Option<&Arc<Certificate>> {
        self.certificates.get(&id)
    }

    /// All certificates, by id.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.certificates.values()
    }

    /// How many certificates there are.
    #[must_use]
    pub fn certificate_count(&self) -> usize {
        self.certificates.len()
    }

    /// The uploaded certificate with this content.
    #[must_use]
    pub fn uploaded(&self, fingerprint: Fingerprint) -> Option<CertificateId> {
        self.uploads.get(&fingerprint).copied()
    }

    /// The listeners that use a certificate, for themselves or for their clients: by instance, then
    /// in order of creation.
    pub fn users_of(&self, id: CertificateId) -> impl Iterator<Item = &Arc<Listener>> {
        let users = self.certificate_users.get(&id).into_iter().flatten();
        users.filter_map(|key| self.listeners.get(key))
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

    /// The listener of a classic instance at a port, whatever it speaks.
    #[must_use]
    pub fn listener_at(&self, lb: LbId, port: Port) -> Option<ListenerId> {
        [Transport::Tcp, Transport::Udp]
            .iter()
            .find_map(|transport| self.ports.get(&(lb, port, *transport)).copied())
    }

    /// The listener of an application-based instance that a new one of `protocol` at `port` would
    /// get in the way of: TCP, HTTP and HTTPS exclude each other, UDP has its own ports.
    #[must_use]
    pub fn listener_beside(&self, lb: LbId, port: Port, protocol: Protocol) -> Option<ListenerId> {
        self.ports
            .get(&(lb, port, Transport::of(protocol)))
            .copied()
    }

    /// A rule by id.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Arc<Rule>> {
        self.rules.get(self.rule_keys.get(&id)?)
    }

    /// A listener's rules in order of creation.
    pub fn rules_of(&self, listener: ListenerId) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules
            .range((listener, 0)..=(listener, u64::MAX))
            .map(|(_, rule)| rule)
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }

    /// How many rules a listener has.
    #[must_use]
    pub fn rule_count(&self, listener: ListenerId) -> usize {
        self.rule_counts.get(&listener).copied().unwrap_or(0)
    }

    /// The rule of a listener that has this domain and url.
    #[must_use]
    pub fn rule_at(
        &self,
        listener: ListenerId,
        domain: &DomainPattern,
        url: &UrlPattern,
    ) -> Option<RuleId> {
        self.rule_places
            .get(&RulePlace::new(listener, domain, url))
            .copied()
    }

    /// The rules that are redirected, by target.
    pub fn redirects(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let sources = self.redirects.iter();
        sources.filter_map(|(_, source)| self.rule(*source))
    }

    /// The rules that are redirected to a rule, by id.
    pub fn redirected_to(&self, target: RuleId) -> impl Iterator<Item = &Arc<Rule>> {
        self.redirects
            .range((target, RuleId::FIRST)..=(target, RuleId::LAST))
            .filter_map(|(_, source)| self.rule(*source))
    }

    /// The backends that are bound to a classic instance, a listener or a rule, in order of
    /// binding.
    pub fn bindings_of(&self, owner: Owner) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings
            .range((owner, BindingId(0))..=(owner, BindingId(u64::MAX)))
            .map(|(_, binding)| binding)
    }

    /// All bound backends.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.bindings.values()
    }

    /// All backends of an instance, whatever of it they are bound to.
    pub fn bindings_under(&self, lb: LbId) -> impl Iterator<Item = &Arc<Binding>> {
        let of_listener = |listener: &Arc<Listener>| Owner::Pool(PoolKey::Listener(listener.id));
        let of_rule = |rule: &Arc<Rule>| Owner::Pool(PoolKey::Rule(rule.id));
        self.bindings_of(Owner::LoadBalancer(lb))
            .chain(self.listeners_of(lb).flat_map(move |listener| {
                self.bindings_of(of_listener(listener)).chain(
                    self.rules_of(listener.id)
                        .flat_map(move |rule| self.bindings_of(of_rule(rule))),
                )
            }))
    }

    /// The binding of a backend to a classic instance (`port` none), or of a backend and port to a
    /// listener or rule.
    #[must_use]
    pub fn binding(
        &self,
        owner: Owner,
        instance: &str,
        port: Option<Port>,
    ) -> Option<&Arc<Binding>> {
        let id = self.bound.get(&(owner, Arc::from(instance), port))?;
        self.bindings.get(&(owner, *id))
    }

    /// A binding by id.
    #[must_use]
    pub fn binding_by_id(&self, id: BindingId) -> Option<&Arc<Binding>> {
        let owner = self.binding_owners.get(&id)?;
        self.bindings.get(&(*owner, id))
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

    /// What was remembered of a declaration in clb.toml.
    #[must_use]
    pub fn declared(&self, name: &str) -> Option<&Arc<Declared>> {
        self.declared.get(name)
    }

    /// What was remembered of all declarations, by name.
    pub fn all_declared(&self) -> impl Iterator<Item = &Arc<Declared>> {
        self.declared.values()
    }

    /// A task that is pending, or ended and still in memory.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.pending.get(&id).or_else(|| self.ended.get(&id))
    }

    /// Tasks, the latest first: those that are pending, and those that have ended and are still in
    /// memory.
    pub fn latest_tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.pending.values().rev().chain(self.ended.values().rev())
    }

    /// Pending tasks in order.
    pub fn pending_tasks(&self) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.pending.values()
    }

    /// The present value under a key, where the state keeps one.
    #[must_use]
    pub fn object(&self, key: &Key) -> Option<Object> {
        match key {
            Key::Certificate(id) => self.certificate(*id).cloned().map(Object::Certificate),
            Key::LoadBalancer(id) => self.load_balancer(*id).cloned().map(Object::LoadBalancer),
            Key::Listener(id) => self.listener(*id).cloned().map(Object::Listener),
            Key::Rule(id) => self.rule(*id).cloned().map(Object::Rule),
            Key::Binding(id) => self.binding_by_id(*id).cloned().map(Object::Binding),
            Key::FreedVip(vip) => self
                .freed_order(*vip)
                .map(|order| Object::FreedVip(FreedVip { vip: *vip, order })),
            Key::Declared(name) => self.declared(name).cloned().map(Object::Declared),
            Key::Network(name) => self.network_number(name).map(|number| {
                Object::Network(NetworkName {
                    name: name.clone(),
                    number,
                })
            }),
            Key::Task(id) => self.task(*id).cloned().map(Object::Task),
            Key::Nonce(_) | Key::SessionKey => None,
            Key::Counters => Some(Object::Counters(self.counters)),
        }
    }

    /// Every index with what it should be as long as; for tests.
    #[cfg(test)]
    pub(crate) fn lengths(&self) -> Vec<(&'static str, usize, usize)> {
        let (listeners, rules) = (self.listeners.len(), self.rules.len());
        let (bindings, lbs) = (self.bindings.len(), self.load_balancers.len());
        let counted: usize = self.rule_counts.values().sum();
        let redirected = self.rules().filter(|rule| rule.redirect_to.is_some());
        let redirected = redirected.count();
        let users = self.certificate_users.values().map(BTreeSet::len).sum();
        let used: usize = self
            .listeners()
            .filter_map(|listener| listener.tls)
            .map(|tls| 1 + usize::from(tls.authority.is_some()))
            .sum();
        vec![
            ("certificate_users", users, used),
            ("vips", self.vips.len(), lbs),
            ("listener_keys", self.listener_keys.len(), listeners),
            ("ports", self.ports.len(), listeners),
            ("rule_keys", self.rule_keys.len(), rules),
            ("rule_places", self.rule_places.len(), rules),
            ("rule_counts", counted, rules),
            ("redirects", self.redirects.len(), redirected),
            ("binding_owners", self.binding_owners.len(), bindings),
            ("bound", self.bound.len(), bindings),
        ]
    }
}
