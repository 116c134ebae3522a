//! A pool: what a scheduler picks from, with the state that outlives its views.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use clb_balance::{Cursor, LeastConn, Persistence};
use clb_model::{BindingId, PoolKey, Scheduler};
use tokio::task::AbortHandle;

use crate::live::{Admission, MemberLive};
use crate::view::{Member, PoolView};

/// Members that are tried for one connection at most (semantics.md 5).
pub const MAX_ATTEMPTS: usize = 3;

/// A pool. It belongs to its key for as long as that exists: who compiles a new
/// [`Listener`](crate::Listener) puts the same `Arc` into it. A change of members, weights or
/// health swaps the view only, and applies to the next pick on every worker.
#[derive(Debug)]
pub struct Pool {
    key: PoolKey,
    cursor: Cursor,
    view: ArcSwap<PoolView>,
}

/// What was tried for one connection so far.
#[derive(Debug, Default)]
pub struct TriedSet {
    bindings: [Option<BindingId>; MAX_ATTEMPTS],
    /// The round-robin ticket that the connection drew.
    ticket: Option<u64>,
}

impl TriedSet {
    /// Nothing tried yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a pick that failed. Beyond [`MAX_ATTEMPTS`] nothing is noted.
    pub fn record(&mut self, pick: &Pick) {
        self.ticket = self.ticket.or(pick.ticket);
        if let Some(free) = self.bindings.iter_mut().find(|tried| tried.is_none()) {
            *free = Some(pick.binding);
        }
    }

    /// How many members were tried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bindings.iter().flatten().count()
    }

    /// True before the first attempt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn contains(&self, binding: BindingId) -> bool {
        self.bindings.contains(&Some(binding))
    }
}

/// A chosen member. It is counted as active there until this is dropped.
#[derive(Debug)]
pub struct Pick {
    counted: Counted,
    binding: BindingId,
    addr: SocketAddr,
    ticket: Option<u64>,
}

/// One active connection's share of the count.
#[derive(Debug)]
struct Counted(Option<Arc<MemberLive>>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(live) = &self.0 {
            live.release();
        }
    }
}

impl Pick {
    /// The binding that was chosen.
    #[must_use]
    pub fn binding(&self) -> BindingId {
        self.binding
    }

    /// Where to connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Makes the connection one that the member's [`reset_all`](MemberLive::reset_all) ends, by
    /// aborting `task`; `None`, and the pick is over, when that has happened already.
    #[must_use]
    pub fn admit(mut self, worker: usize, task: AbortHandle) -> Option<Admission> {
        let live = self.counted.0.take()?;
        let admission = live.admit_counted(worker, task);
        if admission.is_none() {
            live.release();
        }
        admission
    }
}

impl Pool {
    /// A pool with its first view.
    #[must_use]
    pub fn new(key: PoolKey, view: PoolView) -> Self {
        Self {
            key,
            cursor: Cursor::new(),
            view: ArcSwap::from_pointee(view),
        }
    }

    /// What the pool belongs to.
    #[must_use]
    pub fn key(&self) -> PoolKey {
        self.key
    }

    /// The view that picks are made from now.
    #[must_use]
    pub fn view(&self) -> Guard<Arc<PoolView>> {
        self.view.load()
    }

    /// Replaces the view. Every pick that starts after this call uses the new one.
    pub fn set_view(&self, view: PoolView) {
        self.view.store(Arc::new(view));
    }

    /// Chooses a member for a connection of `client` (semantics.md 2): the one that the client
    /// belongs to, if the pool has session persistence and that member is eligible; else the one
    /// that the scheduler gives. Members in `tried` are passed over. `None` when nobody is left.
    ///
    /// `now_ms` is a monotonic time in milliseconds, the same clock for all calls.
    ///
    /// A connection draws one round-robin ticket, however many members it tries: the next attempt
    /// goes on from that ticket's place, so a dead member's share falls to its followers in the
    /// cycle and no other connection's turn is used up.
    ///
    /// `ip_hash` exists on layer 7 only (actions.md refuses it for TCP and UDP); wrr would stand in
    /// for it here.
    pub fn pick(
        &self,
        client: IpAddr,
        now_ms: u64,
        persistence: &Persistence<PoolKey>,
        tried: &TriedSet,
    ) -> Option<Pick> {
        let view = self.view.load();
        let Some(expire) = view.session_expire() else {
            return self.schedule(&view, tried);
        };
        let expire_ms = u64::from(expire.get()) * 1_000;
        let mut pick = None;
        persistence.update(self.key, client, expire_ms, now_ms, |member| {
            pick = member
                .map(BindingId)
                .filter(|binding| !tried.contains(*binding))
                .and_then(|binding| view.eligible_member(binding))
                .map(|member| {
                    member.live.count_in();
                    counted_pick(member, None)
                })
                .or_else(|| self.schedule(&view, tried));
            pick.as_ref().map(|pick| pick.binding.0)
        });
        pick
    }

    fn schedule(&self, view: &PoolView, tried: &TriedSet) -> Option<Pick> {
        let tried_eligible = tried
            .bindings
            .iter()
            .flatten()
            .filter(|binding| view.eligible_member(**binding).is_some())
            .count();
        if view.eligible_count() <= tried_eligible {
            return None;
        }
        match view.scheduler() {
            Scheduler::Wrr | Scheduler::IpHash => {
                let ticket = tried.ticket.unwrap_or_else(|| self.cursor.draw());
                let member = view
                    .sequence()
                    .cycle_from(ticket)
                    .filter_map(|index| view.members().get(index))
                    .find(|member| !tried.contains(member.binding))?;
                member.live.count_in();
                Some(counted_pick(member, Some(ticket)))
            }
            Scheduler::LeastConn => {
                let candidates = view
                    .eligible_shares()
                    .filter(|(_, _, member)| !tried.contains(member.binding))
                    .map(|(index, weight, member)| clb_balance::Member {
                        index,
                        weight,
                        active: member.live.active_counter(),
                    });
                let least_conn = LeastConn {
                    sequence: view.sequence(),
                    occurrences: view.occurrences(),
                    cursor: &self.cursor,
                };
                let member = view.members().get(least_conn.pick(candidates)?)?;
                Some(counted_pick(member, None))
            }
        }
    }
}

/// A pick of a member whose active count already holds it.
fn counted_pick(member: &Member, ticket: Option<u64>) -> Pick {
    Pick {
        counted: Counted(Some(Arc::clone(&member.live))),
        binding: member.binding,
        addr: member.addr,
        ticket,
    }
}

#[cfg(test)]
mod tests;
