//! From counters that only grow to what happened between two looks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use clb_model::{BindingId, PoolKey};
use clb_snapshot::{Board, Listener, ListenerLive, MemberLive, Pool, RuleLive, Service};

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
    Rule(Arc<Pool>),
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
    known: HashMap<Object, Known>,
}

impl Sampler {
    pub(crate) fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            known: HashMap::new(),
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
        let mut opened: HashMap<u64, u64> = HashMap::new();
        for (object, known) in &mut self.known {
            let passed = known.look();
            if let Object::Member(PoolKey::Rule(rule), _) = object {
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
        let counters = Counters::Listener(Arc::clone(listener));
        self.see(Object::Listener(listener.id.to_bits()), &identity, counters);
        match &listener.service {
            Service::Pool(pool) => self.see_members(listener, pool, &identity),
            Service::Rules(router) => {
                for route in router.iter() {
                    let rule = route.value.rule();
                    let identity = identity.rule(rule);
                    let counters = Counters::Rule(Arc::clone(&rule.pool));
                    self.see(Object::Rule(rule.id.to_bits()), &identity, counters);
                    self.see_members(listener, &rule.pool, &identity);
                }
            }
        }
    }

    fn see_members(&mut self, listener: &Listener, pool: &Pool, identity: &Identity) {
        for member in pool.view().members() {
            let object = Object::Member(pool.key(), member.binding);
            let counters = Counters::Member {
                live: Arc::clone(&member.live),
                is_http: listener.protocol.is_layer7(),
            };
            let addr: SocketAddr = member.addr;
            self.see(object, &identity.member(addr), counters);
        }
    }

    fn see(&mut self, object: Object, identity: &Identity, counters: Counters) {
        match self.known.get_mut(&object) {
            Some(known) => {
                known.is_there = true;
                known.counters = counters;
                if known.identity != *identity {
                    known.identity = identity.clone();
                }
            }
            None => {
                let known = Known {
                    identity: identity.clone(),
                    counters,
                    before: Point::default(),
                    since: Point::default(),
                    is_there: true,
                };
                self.known.insert(object, known);
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
            Self::Rule(pool) => {
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
