//! From changes to what the workers serve: compiles only what a change touches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use clb_model::{Binding, BindingId, Change, LbId, Listener as Model, ListenerId, Object, State};
use clb_snapshot::{
    Board, ListenSockets, Listener, Live, Member, MemberLive, Pool, PoolKey, PoolView, RuleLive,
    Service, Snapshot, Stickiness,
};

use super::health::Health;

/// What the workers serve, and the state that it was compiled from.
pub(super) struct Plane {
    /// As far as it is in force: pending tasks that have not begun are not in it.
    state: State,
    board: Arc<Board>,
    snapshot: Snapshot,
    is_changed: bool,
    members: BTreeMap<(ListenerId, BindingId), Arc<MemberLive>>,
    /// Listeners of the stored state whose port could not be bound at start, with the reason.
    unbound: BTreeMap<ListenerId, String>,
}

/// The live state of what a change removed: its connections are drained.
pub(super) type Removed = Vec<Arc<Live>>;

impl Plane {
    /// Nothing served yet.
    pub(super) fn new(state: State, board: Arc<Board>) -> Self {
        Self {
            state,
            snapshot: Snapshot::clone(&board.snapshot()),
            board,
            is_changed: false,
            members: BTreeMap::new(),
            unbound: BTreeMap::new(),
        }
    }

    /// Brings everything in the state up. A port that can not be bound is reported and left out.
    pub(super) fn start(&mut self, health: &mut Health, wall_ms: i64) {
        let listeners: Vec<Arc<Model>> = self.state.listeners().cloned().collect();
        let pools = listeners
            .iter()
            .flat_map(|listener| self.checked_members(listener))
            .collect();
        health.restore(pools, wall_ms);
        for listener in listeners {
            if let Err(reason) = self.serve(&listener, health) {
                tracing::error!(listener = %listener.id, %reason, "the listener is not served");
                self.unbound.insert(listener.id, reason);
            }
        }
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
        let mut bound = Vec::new();
        for listener in changes.iter().filter_map(made_listener) {
            match bind(&self.state, listener, self.board.workers().len()) {
                Ok(sockets) => bound.push((Arc::clone(listener), sockets)),
                Err(reason) => {
                    for change in self.state.taken_back(changes) {
                        self.state.apply(&change);
                    }
                    return Err(reason);
                }
            }
        }
        for (listener, (addr, sockets)) in bound {
            self.insert(&listener, addr, sockets, health);
        }
        let removed = self.remove(changes, health);
        for id in self.touched(changes) {
            self.refresh(id, health);
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

    /// Chooses anew among a pool's members, for their health or weight has changed.
    pub(super) fn refresh(&mut self, id: ListenerId, health: &mut Health) {
        let Some(listener) = self.state.listener(id).cloned() else {
            return;
        };
        health.set(self.checked_members(&listener), &listener);
        let view = self.view(&listener, health);
        if let Some(pool) = self
            .snapshot
            .get(id)
            .and_then(|served| served.service.pool())
        {
            pool.set_view(view);
        }
    }

    /// A member's live state.
    pub(super) fn member_live(&self, key: (ListenerId, BindingId)) -> Option<&Arc<MemberLive>> {
        self.members.get(&key)
    }

    /// Where a member's machine is, for the log.
    pub(super) fn member_address(&self, id: ListenerId, binding: BindingId) -> Option<SocketAddr> {
        let listener = self.state.listener(id)?;
        self.state
            .bindings_of(listener.load_balancer)
            .find(|bound| bound.id == binding)
            .map(|bound| address(listener, bound))
    }

    fn serve(&mut self, listener: &Arc<Model>, health: &mut Health) -> Result<(), String> {
        let (addr, sockets) = bind(&self.state, listener, self.board.workers().len())?;
        self.insert(listener, addr, sockets, health);
        Ok(())
    }

    fn insert(
        &mut self,
        listener: &Arc<Model>,
        addr: SocketAddr,
        sockets: ListenSockets,
        health: &mut Health,
    ) {
        health.set(self.checked_members(listener), listener);
        let view = self.view(listener, health);
        self.snapshot = self.snapshot.insert(Arc::new(Listener {
            id: listener.id,
            lb: listener.load_balancer,
            addr,
            protocol: listener.protocol,
            service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(listener.id), view))),
            live: Arc::new(Live::new(self.board.workers().len())),
            requests: Arc::new(RuleLive::new(self.board.workers().len())),
            sockets: Arc::new(sockets),
        }));
        self.is_changed = true;
    }

    fn view(&mut self, listener: &Model, health: &Health) -> PoolView {
        let workers = self.board.workers().len();
        let members = self
            .state
            .bindings_of(listener.load_balancer)
            .map(|bound| Member {
                binding: bound.id,
                addr: address(listener, bound),
                weight: bound.weight,
                health: health.of(listener, bound.id),
                live: Arc::clone(
                    self.members
                        .entry((listener.id, bound.id))
                        .or_insert_with(|| Arc::new(Live::new(workers))),
                ),
            })
            .collect();
        let stickiness = Stickiness::of(listener.protocol, listener.session_expire);
        PoolView::build(listener.scheduler, stickiness, members)
    }

    fn checked_members(&self, listener: &Model) -> Vec<CheckedMember> {
        if !listener.health.enabled {
            return Vec::new();
        }
        self.state
            .bindings_of(listener.load_balancer)
            .map(|bound| CheckedMember {
                listener: listener.id,
                binding: bound.id,
                target: address(listener, bound),
                check: listener.health,
            })
            .collect()
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
                    let of_listener =
                        (listener.id, BindingId(0))..=(listener.id, BindingId(u64::MAX));
                    let members: Vec<_> = self
                        .members
                        .range(of_listener)
                        .map(|(key, _)| *key)
                        .collect();
                    for key in members {
                        self.members.remove(&key);
                        health.remove(key);
                    }
                }
                Some(Object::Binding(binding)) => {
                    let listeners: Vec<ListenerId> = self
                        .state
                        .listeners_of(binding.load_balancer)
                        .map(|listener| listener.id)
                        .collect();
                    for id in listeners {
                        removed.extend(self.members.remove(&(id, binding.id)));
                        health.remove((id, binding.id));
                    }
                }
                _ => {}
            }
        }
        removed
    }

    /// Listeners whose pool or settings a change concerns and that were there before.
    fn touched(&self, changes: &[Change]) -> BTreeSet<ListenerId> {
        let mut instances: BTreeSet<LbId> = BTreeSet::new();
        let mut listeners: BTreeSet<ListenerId> = BTreeSet::new();
        for change in changes {
            match change.after.as_ref().or(change.before.as_ref()) {
                Some(Object::Binding(binding)) => drop(instances.insert(binding.load_balancer)),
                Some(Object::Listener(listener)) => drop(listeners.insert(listener.id)),
                _ => {}
            }
        }
        for lb in instances {
            listeners.extend(self.state.listeners_of(lb).map(|listener| listener.id));
        }
        listeners
    }
}

/// A member whose listener's health check is on.
pub(super) struct CheckedMember {
    pub listener: ListenerId,
    pub binding: BindingId,
    pub target: SocketAddr,
    pub check: clb_model::HealthCheck,
}

fn made_listener(change: &Change) -> Option<&Arc<Model>> {
    match (&change.before, &change.after) {
        (None, Some(Object::Listener(listener))) => Some(listener),
        _ => None,
    }
}

fn address(listener: &Model, bound: &Binding) -> SocketAddr {
    SocketAddr::new(bound.address, listener.instance_port.get())
}

fn bind(
    state: &State,
    listener: &Model,
    workers: usize,
) -> Result<(SocketAddr, ListenSockets), String> {
    let lb = state
        .load_balancer(listener.load_balancer)
        .ok_or_else(|| format!("{} does not exist", listener.load_balancer))?;
    let addr = SocketAddr::new(lb.vip, listener.port.get());
    let sockets = clb_net::bind_listeners(addr, workers)
        .map_err(|error| format!("{addr} can not be bound: {error}"))?;
    Ok((addr, ListenSockets::tcp(sockets)))
}
