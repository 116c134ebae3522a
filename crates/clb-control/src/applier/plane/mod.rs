//! From changes to what the workers serve: compiles only what a change touches.

mod pools;
mod rules;
mod tls;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use clb_model::{
    BindingId, Change, ClientIp, Listener as Model, ListenerId, ListenerService, Object, PoolKey,
    Protocol, RuleId, State,
};
use clb_routing::Router;
use clb_snapshot::{
    Board, ListenSockets, Listener, Live, MemberLive, Pool, Rule, RuleLive, ServerTls, Service,
    Snapshot,
};

use super::ProbeSettings;
use super::handover::Promised;
use super::health::Health;

pub(super) use pools::CheckedMember;

/// What the workers serve, and the state that it was compiled from.
pub(super) struct Plane {
    /// As far as it is in force: pending tasks that have not begun are not in it.
    state: State,
    board: Arc<Board>,
    snapshot: Snapshot,
    is_changed: bool,
    members: BTreeMap<(PoolKey, BindingId), Arc<MemberLive>>,
    /// The rules of the listeners that are served.
    rules: HashMap<RuleId, Arc<Rule>>,
    /// Listeners of the stored state whose port could not be bound at start, with the reason.
    unbound: BTreeMap<ListenerId, String>,
    probes: ProbeSettings,
    /// Listeners that another process hands over, at the start.
    promised: HashMap<ListenerId, Promised>,
}

/// The live state of what a change removed: its connections are drained.
pub(super) type Removed = Vec<Arc<Live>>;

/// What a listener has from the start: its address, the sockets that are bound to it, and what
/// handshakes are done with.
struct Bound {
    addr: SocketAddr,
    client_ip: ClientIp,
    sockets: Arc<ListenSockets>,
    tls: Option<Arc<ServerTls>>,
}

impl Plane {
    /// Nothing served yet.
    pub(super) fn new(state: State, board: Arc<Board>, probes: ProbeSettings) -> Self {
        Self {
            state,
            snapshot: Snapshot::clone(&board.snapshot()),
            board,
            is_changed: false,
            members: BTreeMap::new(),
            rules: HashMap::new(),
            unbound: BTreeMap::new(),
            probes,
            promised: HashMap::new(),
        }
    }

    /// Brings everything in the state up. A port that can not be bound is reported and left out.
    /// Listeners that another process hands over are not bound; those that it serves and this one
    /// can not are given.
    pub(super) fn start(
        &mut self,
        health: &mut Health,
        wall_ms: i64,
        promised: HashMap<ListenerId, Promised>,
    ) -> Vec<ListenerId> {
        self.promised = promised;
        let pools = self.all_pools();
        let members = pools.iter().flat_map(|pool| self.checked_members(*pool));
        health.restore(members.collect(), wall_ms);
        for pool in pools {
            // Also those of listeners that are not served: they may be in a moment.
            health.set(self.checked_members(pool), pool);
        }
        let listeners: Vec<Arc<Model>> = self.state.listeners().cloned().collect();
        for listener in listeners {
            if let Err(reason) = self.serve(&listener, health) {
                tracing::error!(listener = %listener.id, %reason, "the listener is not served");
                self.unbound.insert(listener.id, reason);
            }
        }
        std::mem::take(&mut self.promised).into_keys().collect()
    }

    /// What the workers serve, or are about to.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Tries the ports again that could not be bound at start.
    pub(super) fn retry_unbound(&mut self, health: &mut Health) {
        for id in self.unbound.keys().copied().collect::<Vec<_>>() {
            let Some(listener) = self.state.listener(id).cloned() else {
                self.unbound.remove(&id);
                continue;
            };
            match self.serve(&listener, health) {
                Ok(()) => {
                    tracing::info!(listener = %id, "the listener is served now");
                    self.unbound.remove(&id);
                }
                Err(reason) => drop(self.unbound.insert(id, reason)),
            }
        }
    }

    /// How many listeners of the state are not served.
    pub(super) fn unbound(&self) -> usize {
        self.unbound.len()
    }

    /// Applies a task's changes; on an error everything is as before.
    pub(super) fn apply(
        &mut self,
        changes: &[Change],
        health: &mut Health,
    ) -> Result<Removed, String> {
        changes.iter().for_each(|change| self.state.apply(change));
        let made = self.bind_made(changes);
        let compiled = made.and_then(|bound| {
            let handshakes = self.compile_handshakes(changes)?;
            Ok((bound, handshakes, self.compile_rules(changes)?))
        });
        let (bound, handshakes, routes) = match compiled {
            Ok(compiled) => compiled,
            Err(reason) => {
                for change in self.state.taken_back(changes) {
                    self.state.apply(&change);
                }
                return Err(reason);
            }
        };
        for (listener, bound) in bound {
            self.insert(&listener, bound);
        }
        let removed = self.remove(changes, health);
        self.handshake(handshakes);
        self.route(routes);
        for pool in self.touched(changes) {
            self.refresh(pool, health);
        }
        Ok(removed)
    }

    /// Takes a task's changes back that were applied already.
    pub(super) fn take_back(&mut self, changes: &[Change], health: &mut Health) -> Removed {
        let back = self.state.taken_back(changes);
        self.apply(&back, health).unwrap_or_else(|reason| {
            // Only a removed listener would have to be bound again, and a removal is never late.
            tracing::error!(%reason, "a change could not be taken back whole");
            Vec::new()
        })
    }

    /// Publishes what was changed since the last call; the generation to wait for.
    pub(super) fn publish(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        Some(self.board.publish(self.snapshot.clone()))
    }

    /// Serves nothing any more.
    pub(super) fn clear(&mut self) -> Removed {
        let all = self
            .snapshot
            .iter()
            .map(|listener| Arc::clone(&listener.live))
            .collect();
        self.snapshot = Snapshot::new();
        self.is_changed = true;
        all
    }

    fn bind_made(&mut self, changes: &[Change]) -> Result<Vec<(Arc<Model>, Bound)>, String> {
        let made = changes.iter().filter_map(made_listener);
        made.map(|listener| Ok((Arc::clone(listener), self.bind(listener)?)))
            .collect()
    }

    fn bind(&mut self, listener: &Model) -> Result<Bound, String> {
        let lb = self
            .state
            .load_balancer(listener.load_balancer)
            .ok_or_else(|| format!("{} does not exist", listener.load_balancer))?;
        // First, for a port must not be taken in vain.
        let tls = self.handshakes(listener)?;
        let addr = SocketAddr::new(lb.vip, listener.port.get());
        let workers = self.board.workers().len();
        let is_udp = listener.protocol.is_udp();
        let promised = self.promised.remove(&listener.id);
        let sockets = match promised.filter(|one| (one.addr, one.is_udp) == (addr, is_udp)) {
            Some(promised) => {
                // It is the same listener with the same client CA: the state has not changed since.
                if let Some(tls) = &tls {
                    tls.tickets().take_over(promised.tickets);
                }
                Ok(promised.sockets)
            }
            None => match is_udp {
                true => clb_net::udp::bind_group(addr, workers).map(ListenSockets::udp),
                false => clb_net::bind_listeners(addr, workers).map(ListenSockets::tcp),
            }
            .map(Arc::new),
        };
        if lb.client_ip == ClientIp::Transparent && listener.protocol == Protocol::Tcp {
            clb_net::may_be_transparent(addr.is_ipv6()).map_err(|error| {
                format!("clientIp=transparent: sockets with others' addresses are not allowed here, which takes CAP_NET_ADMIN: {error}")
            })?;
        }
        Ok(Bound {
            addr,
            client_ip: lb.client_ip,
            sockets: sockets.map_err(|error| format!("{addr} can not be bound: {error}"))?,
            tls,
        })
    }

    /// Binds and serves a listener of the stored state, with all that hangs on it.
    fn serve(&mut self, listener: &Arc<Model>, health: &mut Health) -> Result<(), String> {
        let bound = self.bind(listener)?;
        self.insert(listener, bound);
        if listener.settings().is_some() {
            self.refresh(PoolKey::Listener(listener.id), health);
        }
        self.serve_rules(listener.id, health);
        Ok(())
    }

    /// Adds a listener. Its pool is empty until it is refreshed, its rules until they are routed.
    fn insert(&mut self, listener: &Model, bound: Bound) {
        let workers = self.board.workers().len();
        let service = match &listener.service {
            ListenerService::Rules { .. } => Service::Rules(Router::new()),
            ListenerService::Own { .. } | ListenerService::Instance { .. } => {
                let key = PoolKey::Listener(listener.id);
                Service::Pool(Arc::new(Pool::new(key, pools::empty_view(), workers)))
            }
        };
        self.snapshot = self.snapshot.insert(Arc::new(Listener {
            id: listener.id,
            lb: listener.load_balancer,
            addr: bound.addr,
            protocol: listener.protocol,
            client_ip: bound.client_ip,
            service,
            live: Arc::new(Live::new(workers)),
            unruled: Arc::new(RuleLive::new(workers)),
            tls: bound.tls,
            sockets: bound.sockets,
        }));
        self.is_changed = true;
    }

    /// Forgets removed listeners and bindings, and returns what is to be drained.
    fn remove(&mut self, changes: &[Change], health: &mut Health) -> Removed {
        let mut removed = Vec::new();
        for change in changes.iter().filter(|change| change.after.is_none()) {
            match &change.before {
                Some(Object::Listener(listener)) => {
                    if let Some(served) = self.snapshot.get(listener.id) {
                        removed.push(Arc::clone(&served.live));
                        self.snapshot = self.snapshot.remove(listener.id);
                        self.is_changed = true;
                    }
                    self.unbound.remove(&listener.id);
                    self.forget_pool(PoolKey::Listener(listener.id), health);
                }
                Some(Object::Binding(binding)) => match binding.to {
                    Some(to) => {
                        removed.extend(self.members.remove(&(to.pool, binding.id)));
                        health.remove((to.pool, binding.id));
                    }
                    None => {
                        let listeners: Vec<ListenerId> = self
                            .state
                            .listeners_of(binding.load_balancer)
                            .map(|listener| listener.id)
                            .collect();
                        for id in listeners {
                            let key = (PoolKey::Listener(id), binding.id);
                            removed.extend(self.members.remove(&key));
                            health.remove(key);
                        }
                    }
                },
                _ => {}
            }
        }
        removed
    }

    /// Forgets the members of a pool that is gone.
    fn forget_pool(&mut self, pool: PoolKey, health: &mut Health) {
        let of_pool = (pool, BindingId(0))..=(pool, BindingId(u64::MAX));
        let members: Vec<_> = self.members.range(of_pool).map(|(key, _)| *key).collect();
        for key in members {
            self.members.remove(&key);
            health.remove(key);
        }
    }
}

fn made_listener(change: &Change) -> Option<&Arc<Model>> {
    match (&change.before, &change.after) {
        (None, Some(Object::Listener(listener))) => Some(listener),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
