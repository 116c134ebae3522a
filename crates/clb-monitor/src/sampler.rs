//! From counters that only grow to what happened between two looks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use clb_model::{BindingId, PoolKey};
use clb_snapshot::{
    Board, Listener, ListenerLive, Member, MemberLive, Pool, Rule, RuleLive, Service,
};
use foldhash::fast::RandomState;

use crate::point::Point;
use crate::store::Identity;

/// An object, as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// By the bits of its id.
    Listener(u64),
    /// By the bits of its id.
    Rule(u64),
    /// Of a pool.
    Member(PoolKey, BindingId),
}

/// Where an object's counters are; they outlive the object as long as this is held, so that what it
/// counted last is not lost.
#[derive(Debug)]
enum Counters {
    Listener(Arc<Listener>),
    Rule(Arc<Rule>),
    Member {
        live: Arc<MemberLive>,
        is_http: bool,
    },
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    counters: Counters,
    /// What they said at the last look.
    before: Point,
    /// What has happened since the last [`take`](Sampler::take).
    since: Point,
    is_there: bool,
}

/// Follows the counters of a board.
#[derive(Debug)]
pub(crate) struct Sampler {
    board: Arc<Board>,
    known: HashMap<Object, Known, RandomState>,
}

impl Sampler {
    pub(crate) fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            known: HashMap::default(),
        }
    }

    /// Looks at all counters.
    pub(crate) fn look(&mut self) {
        self.known
            .values_mut()
            .for_each(|known| known.is_there = false);
        let snapshot = self.board.snapshot();
        for listener in snapshot.iter() {
            self.see_listener(listener);
        }
        // A rule's new connections are those of its members, also of those that have left.
        let mut opened: HashMap<u64, u64, RandomState> = HashMap::default();
        for (object, known) in &mut self.known {
            let passed = known.look();
            // Most have none: with kept connections nearly all.
            if passed.opened > 0
                && let Object::Member(PoolKey::Rule(rule), _) = object
            {
                *opened.entry(rule.to_bits()).or_default() += passed.opened;
            }
        }
        for (rule, count) in opened {
            if let Some(known) = self.known.get_mut(&Object::Rule(rule)) {
                known.since.opened += count;
            }
        }
    }

    /// What has happened to each object since this was called last. Objects that are gone are told
    /// of once more.
    pub(crate) fn take(&mut self) -> Vec<(Identity, Point)> {
        self.look();
        let mut taken = Vec::with_capacity(self.known.len());
        self.known.retain(|_, known| {
            let point = std::mem::take(&mut known.since);
            taken.push((known.identity.clone(), point));
            known.is_there
        });
        taken
    }

    fn see_listener(&mut self, listener: &Arc<Listener>) {
        let identity = Identity::listener(listener);
        let is_known = self.see(
            Object::Listener(listener.id.to_bits()),
            |known| known.identity == identity,
            || identity.clone(),
            |counters| matches!(counters, Counters::Listener(known) if Arc::ptr_eq(known, listener)),
            || Counters::Listener(Arc::clone(listener)),
        );
        match &listener.service {
            Service::Pool(pool) => self.see_members(listener, pool, is_known, &|| identity.clone()),
            Service::Rules(router) => {
                for route in router.iter() {
                    self.see_rule(listener, route.value.rule(), is_known, &identity);
                }
            }
        }
    }

    fn see_rule(
        &mut self,
        listener: &Listener,
        rule: &Arc<Rule>,
        is_listener_known: bool,
        of_listener: &Identity,
    ) {
        let is_it =
            |counters: &Counters| matches!(counters, Counters::Rule(it) if Arc::ptr_eq(it, rule));
        let identity = || of_listener.rule(rule);
        let is_known = self.see(
            Object::Rule(rule.id.to_bits()),
            |known| is_listener_known && is_it(&known.counters),
            identity,
            is_it,
            || Counters::Rule(Arc::clone(rule)),
        );
        self.see_members(listener, &rule.pool, is_known, &identity);
    }

    fn see_members(
        &mut self,
        listener: &Listener,
        pool: &Pool,
        is_known: bool,
        identity: &impl Fn() -> Identity,
    ) {
        for Member {
            binding,
            addr,
            live,
            ..
        } in pool.view().members()
        {
            let is_it = |counters: &Counters| matches!(counters, Counters::Member { live: it, .. } if Arc::ptr_eq(it, live));
            self.see(
                Object::Member(pool.key(), *binding),
                |known| is_known && known.identity.is_of(*addr),
                || identity().member(*addr),
                is_it,
                || Counters::Member {
                    live: Arc::clone(live),
                    is_http: listener.protocol.is_layer7(),
                },
            );
        }
    }

    /// Notes that an object is there, and its names and counters if they are not those that are known;
    /// tells whether the names are. With thousands of objects, making the same names for each at
    /// every look would be most of what a look costs.
    fn see(
        &mut self,
        object: Object,
        has_names: impl FnOnce(&Known) -> bool,
        names: impl FnOnce() -> Identity,
        has_counters: impl FnOnce(&Counters) -> bool,
        counters: impl FnOnce() -> Counters,
    ) -> bool {
        match self.known.entry(object) {
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.is_there = true;
                let is_known = has_names(known);
                if !is_known {
                    known.identity = names();
                }
                if !has_counters(&known.counters) {
                    known.counters = counters();
                }
                is_known
            }
            Entry::Vacant(entry) => {
                entry.insert(Known {
                    identity: names(),
                    counters: counters(),
                    before: Point::default(),
                    since: Point::default(),
                    is_there: true,
                });
                false
            }
        }
    }
}

impl Known {
    /// What has happened since the last look.
    fn look(&mut self) -> Point {
        let (now, longest_us) = self.counters.read();
        let mut passed = now.since(&self.before);
        passed.longest_us = longest_us;
        self.since.then(&passed);
        self.before = now;
        if !self.is_there {
            self.since.connections = 0;
        }
        passed
    }
}

impl Counters {
    /// All that was counted, and the longest request since the last look.
    fn read(&self) -> (Point, u64) {
        match self {
            Self::Listener(listener) => {
                let mut point = of_live(&listener.live);
                if !listener.protocol.is_layer7() {
                    return (point, 0);
                }
                let longest = add_requests(&mut point, listener.requests());
                (point, longest)
            }
            Self::Rule(rule) => {
                let pool = &rule.pool;
                let mut point = Point::default();
                let longest = add_requests(&mut point, pool.requests());
                let (bytes_in, bytes_out) = pool.requests().bytes();
                (point.bytes_in, point.bytes_out) = (bytes_in, bytes_out);
                let view = pool.view();
                let active = view.members().iter().map(|member| member.live.active());
                point.connections = active.sum();
                (point, longest)
            }
            Self::Member { live, is_http } => {
                let mut point = of_live(live);
                if !is_http {
                    return (point, 0);
                }
                let outcomes = live.outcomes();
                add_classes(&mut point, outcomes.classes);
                point.answers_404 = outcomes.not_found;
                point.answers_502 = outcomes.bad_gateway;
                point.timeouts = outcomes.timeouts;
                point.took_us = micros(outcomes.took);
                (point, micros(live.take_longest()))
            }
        }
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn of_live(live: &ListenerLive) -> Point {
    let totals = live.totals();
    Point {
        connections: live.active(),
        opened: totals.opened,
        bytes_in: totals.bytes_in,
        bytes_out: totals.bytes_out,
        packets_in: totals.datagrams_in,
        packets_out: totals.datagrams_out,
        ..Point::default()
    }
}

fn add_requests(point: &mut Point, requests: &RuleLive) -> u64 {
    let outcomes = requests.outcomes();
    add_classes(point, outcomes.classes);
    point.answers_404 = outcomes.not_found;
    point.answers_502 = outcomes.bad_gateway;
    point.timeouts = outcomes.timeouts;
    point.took_us = micros(outcomes.took);
    micros(requests.take_longest())
}

fn add_classes(point: &mut Point, classes: [u64; 6]) {
    let [_, c2, c3, c4, c5, _] = classes;
    point.requests = classes.iter().sum();
    (point.answers_2xx, point.answers_3xx) = (c2, c3);
    (point.answers_4xx, point.answers_5xx) = (c4, c5);
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
pub(crate) mod tests;
