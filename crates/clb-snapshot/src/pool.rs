//! A pool: what a scheduler picks from, with the state that outlives its views.

use std::net::IpAddr;
use std::ptr::null;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use clb_balance::{ClientHash, Cursor, LeastConn, Persistence};
use clb_model::{BindingId, PoolKey, Scheduler};

use crate::live::{CACHE_LINE, Counted, MemberLive};
use crate::passive::PASSIVE_OUT_MS;
use crate::pick::{Pick, TriedSet};
use crate::rule_live::RuleLive;
use crate::view::{Member, PoolView, Stickiness};

/// A pool. It belongs to its key for as long as that exists: who compiles a new
/// [`Listener`](crate::Listener) puts the same `Arc` into it. A change of members, weights or
/// health swaps the view only, and applies to the next pick on every worker.
///
/// What each request touches comes first and shares two cache lines with the `Arc`'s counts
/// (ADR 19).
#[derive(Debug)]
#[repr(C)]
pub struct Pool {
    ahead: Ahead,
    view: ArcSwap<PoolView>,
    cursor: Cursor,
    /// From this time on nobody is out for failures that traffic met.
    out_until_ms: AtomicU64,
    requests: RuleLive,
    /// Held while a member is taken out, so that no two take out the last two.
    taking_out: Mutex<()>,
    key: PoolKey,
    /// The key as text.
    name: Box<str>,
}

/// Where a request will want to look, for [`Pool::visit_choice`] only: it may have moved by then.
#[derive(Debug)]
struct Ahead {
    view: AtomicPtr<PoolView>,
    /// Of the only member that may be picked; null if they are more, or none.
    live: AtomicPtr<MemberLive>,
}

impl Ahead {
    fn of(view: &Arc<PoolView>) -> Self {
        let live = view.only().map_or(null(), |only| Arc::as_ptr(&only.live));
        Self {
            view: AtomicPtr::new(Arc::as_ptr(view).cast_mut()),
            live: AtomicPtr::new(live.cast_mut()),
        }
    }

    fn set(&self, other: Self) {
        self.view.store(other.view.into_inner(), Ordering::Relaxed);
        self.live.store(other.live.into_inner(), Ordering::Relaxed);
    }
}

impl Pool {
    /// A pool with its first view, for a plane of `workers` workers.
    #[must_use]
    pub fn new(key: PoolKey, view: PoolView, workers: usize) -> Self {
        let view = Arc::new(view);
        Self {
            ahead: Ahead::of(&view),
            view: ArcSwap::new(view),
            cursor: Cursor::new(),
            out_until_ms: AtomicU64::new(0),
            requests: RuleLive::new(workers),
            taking_out: Mutex::new(()),
            key,
            name: key.to_string().into(),
        }
    }

    /// The cache lines that the choice of a member for a request of this worker will touch beyond the
    /// pool's own, for the processor to fetch side by side: with thousands of pools none of it is in a
    /// cache, and each piece is found by way of the one before (ADR 19). The addresses are for that
    /// only; what is there may have moved.
    #[inline]
    pub fn visit_choice(&self, worker: usize, mut visit: impl FnMut(*const u8)) {
        let view = self.ahead.view.load(Ordering::Relaxed).cast_const();
        visit(view.cast());
        visit(view.cast::<u8>().wrapping_add(CACHE_LINE));
        let live = self.ahead.live.load(Ordering::Relaxed).cast_const();
        if !live.is_null() {
            MemberLive::visit_admission(live, worker, visit);
        }
    }

    /// What the pool belongs to.
    #[must_use]
    pub fn key(&self) -> PoolKey {
        self.key
    }

    /// The id of what it belongs to, as text: what a session cookie is sealed for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// HTTP: what was counted of its rule's or listener's requests.
    #[must_use]
    pub fn requests(&self) -> &RuleLive {
        &self.requests
    }

    /// The view that picks are made from now.
    #[must_use]
    pub fn view(&self) -> Guard<Arc<PoolView>> {
        self.view.load()
    }

    /// Replaces the view. Every pick that starts after this call uses the new one.
    pub fn set_view(&self, view: PoolView) {
        let view = Arc::new(view);
        self.ahead.set(Ahead::of(&view));
        self.view.store(view);
    }

    /// Chooses a member for a connection of `client` on layer 4 (semantics.md 2): the one that the
    /// client belongs to, if the pool has session persistence by address and that member is
    /// eligible; else the one that the scheduler gives. Members in `tried` are passed over. `None`
    /// when nobody is left.
    ///
    /// `now_ms` is a monotonic time in milliseconds, the same clock for all calls.
    ///
    /// A connection draws one round-robin ticket, however many members it tries: the next attempt
    /// goes on from that ticket's place, so a dead member's share falls to its followers in the
    /// cycle and no other connection's turn is used up.
    pub fn pick(
        &self,
        client: IpAddr,
        now_ms: u64,
        persistence: &Persistence<PoolKey>,
        tried: &TriedSet,
    ) -> Option<Pick> {
        let view = self.view.load();
        let may_take = |member: &Member| !tried.contains(member.binding);
        let Stickiness::Address(expire) = view.stickiness() else {
            return self.schedule(&view, client, tried, may_take);
        };
        let expire_ms = u64::from(expire.get()) * 1_000;
        let mut pick = None;
        persistence.update(self.key, client, expire_ms, now_ms, |member| {
            pick = member
                .and_then(|member| wanted_member(&view, BindingId(member), may_take))
                .or_else(|| self.schedule(&view, client, tried, may_take));
            pick.as_ref().map(|pick| pick.binding().0)
        });
        pick
    }

    /// The client is still there, with the member that it belongs to: if the pool has session
    /// persistence by address, its time starts anew. What the arguments are, see
    /// [`pick`](Self::pick).
    pub fn stay(
        &self,
        client: IpAddr,
        binding: BindingId,
        now_ms: u64,
        persistence: &Persistence<PoolKey>,
    ) {
        if let Stickiness::Address(expire) = self.view.load().stickiness() {
            let expire_ms = u64::from(expire.get()) * 1_000;
            persistence.update(self.key, client, expire_ms, now_ms, |_| Some(binding.0));
        }
    }

    /// Chooses a member for a request of `client` on layer 7 (semantics.md 2 and 3): `wanted`,
    /// which a valid cookie named, if it is eligible; else the one that the scheduler gives.
    /// Members in `tried` are passed over, and so are those that failures have
    /// taken out, unless all that are eligible are out. `None` when nobody is left.
    ///
    /// `now_ms` is of [`Board::millis_at`](crate::Board::millis_at). A request draws one ticket,
    /// as with [`pick`](Self::pick).
    pub fn pick_request(
        &self,
        client: IpAddr,
        wanted: Option<BindingId>,
        now_ms: u64,
        tried: &TriedSet,
    ) -> Option<Pick> {
        let view = self.view.load();
        let is_heeded = now_ms < self.out_until_ms.load(Ordering::Relaxed)
            && view.eligible().any(|member| is_in(member, now_ms));
        let may_take = |member: &Member| {
            !tried.contains(member.binding) && (!is_heeded || is_in(member, now_ms))
        };
        wanted
            .and_then(|binding| wanted_member(&view, binding, may_take))
            .or_else(|| self.schedule(&view, client, tried, may_take))
    }

    /// A member failed a request; see [`Board::backend_failed`](crate::Board::backend_failed).
    /// True if that took it out. The last eligible member that is in stays in.
    pub(crate) fn failed(&self, binding: BindingId, now_ms: u64) -> bool {
        let is_due = self
            .view
            .load()
            .member(binding)
            .is_some_and(|member| member.live.passive().failed(now_ms));
        if !is_due {
            return false;
        }
        let _taking_out = self
            .taking_out
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let view = self.view.load();
        let Some(member) = view.eligible_member(binding) else {
            return false;
        };
        let is_last = !view
            .eligible()
            .any(|other| other.binding != binding && is_in(other, now_ms));
        if is_last {
            return false;
        }
        let until_ms = now_ms.saturating_add(PASSIVE_OUT_MS);
        // Before the member's own time, so that nobody overlooks that.
        self.out_until_ms.fetch_max(until_ms, Ordering::Relaxed);
        member.live.passive().take_out(now_ms, until_ms)
    }

    /// The scheduler's choice among the eligible members that `may_take` says yes to, which is no
    /// more than those that are not in `tried`.
    fn schedule(
        &self,
        view: &PoolView,
        client: IpAddr,
        tried: &TriedSet,
        may_take: impl Fn(&Member) -> bool,
    ) -> Option<Pick> {
        if let Some(member) = view.only() {
            // Whatever the scheduler, and without its tables.
            return may_take(member).then(|| Pick::count_in(member, None));
        }
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
            Scheduler::Wrr => {
                let ticket = tried.ticket.unwrap_or_else(|| self.cursor.draw());
                let member = view
                    .sequence()
                    .cycle_from(ticket)
                    .filter_map(|index| view.members().get(index))
                    .find(|member| may_take(member))?;
                Some(Pick::count_in(member, Some(ticket)))
            }
            Scheduler::LeastConn => {
                let candidates = view
                    .eligible_shares()
                    .filter(|(_, _, member)| may_take(member))
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
                // The choice has counted it.
                let counted = Counted::already(Arc::clone(&member.live));
                Some(Pick::new(member, counted, None))
            }
            Scheduler::IpHash => {
                let client = ClientHash::new(client);
                let hash = view.ip_hash();
                // Mostly the client's own member may be taken, so the others need not be asked.
                let first = view.members().get(hash.pick(client)?)?;
                if may_take(first) {
                    return Some(Pick::count_in(first, None));
                }
                let index = hash.pick_among(client, |index| {
                    view.members().get(index).is_some_and(&may_take)
                })?;
                Some(Pick::count_in(view.members().get(index)?, None))
            }
        }
    }
}

fn is_in(member: &Member, now_ms: u64) -> bool {
    !member.live.passive().is_out(now_ms)
}

fn wanted_member(
    view: &PoolView,
    binding: BindingId,
    may_take: impl Fn(&Member) -> bool,
) -> Option<Pick> {
    let member = view
        .eligible_member(binding)
        .filter(|member| may_take(member))?;
    Some(Pick::count_in(member, None).wanted())
}

#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;
