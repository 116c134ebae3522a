//! Members, the probes they share, and what results do to them.

use crate::check::{Check, MemberId, Millis, ProbeKey, ProbeKind};
use crate::counters::Counters;
use crate::machine::{Change, Machine, Reason, State, Status};
use crate::outcome::ProbeError;
use crate::schedule::{InFlight, Probe, Turn};
use foldhash::{HashMap, HashMapExt};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

/// Names one start of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    probe: u64,
    event: u64,
}

/// A probe to be run now; see [`probe`](crate::probe).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRun {
    /// What [`Checker::complete`] wants back with the result.
    pub ticket: Ticket,
    /// Where to.
    pub target: SocketAddr,
    /// What to do there.
    pub kind: ProbeKind,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// A member's state has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition<P> {
    /// Whose.
    pub member: MemberId<P>,
    /// The state before.
    pub from: State,
    /// The state after; a lost founding is a change too.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// All members, their states, and the schedule of the probes they share. See the crate's
/// documentation for how it is driven.
///
/// `P` names a pool. Times are milliseconds of one monotonic clock and are passed in; a time
/// before an earlier one does no harm.
#[derive(Debug)]
pub struct Checker<P> {
    members: BTreeMap<MemberId<P>, Member>,
    /// How many members of a pool are healthy; no entry for none.
    healthy: HashMap<P, usize>,
    /// By a number that is never given out twice. A probe without subscribers stays until its
    /// run is over, so that taking it up again meanwhile starts no second one.
    probes: HashMap<u64, Probe<P>>,
    by_key: HashMap<ProbeKey, u64>,
    /// Every probe at its next turn.
    turns: BTreeSet<(Millis, u64)>,
    /// How many probes have subscribers.
    subscribed_probes: usize,
    /// Numbers subscriptions and starts in the order in which they happen.
    events: u64,
    counters: Counters,
}

#[derive(Debug)]
struct Member {
    check: Check,
    machine: Machine,
    probe: u64,
    /// The event of subscribing. Runs started before it say nothing to this member: a backend
    /// that is bound as soon as it is up must not lose its founding to an older probe.
    subscribed: u64,
}

impl<P> Default for Checker<P> {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
            healthy: HashMap::new(),
            probes: HashMap::new(),
            by_key: HashMap::new(),
            turns: BTreeSet::new(),
            subscribed_probes: 0,
            events: 0,
            counters: Counters::default(),
        }
    }
}

impl<P: Copy + Eq + Hash + Ord + Debug> Checker<P> {
    /// No members, no probes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member or changes its check.
    ///
    /// A new member is detecting, and founding when no member of its pool is healthy at this
    /// moment. A known one keeps its state, and its run of equal results too unless target or
    /// kind change; new thresholds are compared with the run at the next result. Setting what is
    /// set already changes nothing.
    pub fn set(&mut self, now: Millis, id: MemberId<P>, check: Check) {
        if self.members.contains_key(&id) {
            self.change(now, id, check);
        } else {
            let founding = !self.healthy.contains_key(&id.pool);
            self.add(now, id, check, State::Detecting { founding });
        }
    }

    /// As [`set`](Self::set), but a new member starts in a state saved before a restart. Whether
    /// that is young enough is for the caller to ask ([`Check::keeps_saved_state`]).
    ///
    /// Restore all members of a pool that have such a state before setting those that have none,
    /// or the latter take themselves for founding.
    pub fn restore(&mut self, now: Millis, id: MemberId<P>, check: Check, state: State) {
        if self.members.contains_key(&id) {
            self.change(now, id, check);
        } else {
            self.add(now, id, check, state);
        }
    }

    /// Forgets a member. Its probe ends with its last subscriber.
    pub fn remove(&mut self, id: &MemberId<P>) {
        if let Some(member) = self.members.remove(id) {
            if member.machine.status().state == State::Healthy {
                self.count_healthy(id.pool, false);
            }
            self.unsubscribe(id, member.probe);
        }
    }

    /// What is known about a member.
    pub fn status(&self, id: &MemberId<P>) -> Option<&Status> {
        self.members.get(id).map(|member| member.machine.status())
    }

    /// What a member is checked with.
    pub fn check(&self, id: &MemberId<P>) -> Option<&Check> {
        self.members.get(id).map(|member| &member.check)
    }

    /// All members in order.
    pub fn statuses(&self) -> impl Iterator<Item = (&MemberId<P>, &Status)> {
        self.members
            .iter()
            .map(|(id, member)| (id, member.machine.status()))
    }

    /// The members of one pool in order of binding.
    pub fn pool(&self, pool: P) -> impl Iterator<Item = (&MemberId<P>, &Status)> {
        let binding = |binding| MemberId { pool, binding };
        self.members
            .range(binding(0)..=binding(u64::MAX))
            .map(|(id, member)| (id, member.machine.status()))
    }

    /// The latest changes of a member's state, at most [`HISTORY`](crate::HISTORY), oldest first.
    pub fn history(&self, id: &MemberId<P>) -> impl Iterator<Item = &Change> {
        self.members
            .get(id)
            .into_iter()
            .flat_map(|member| member.machine.history())
    }

    /// When [`due`](Self::due) should be called next; after a call to it always later than the
    /// time passed to it.
    pub fn next_due(&self) -> Option<Millis> {
        self.turns.first().map(|&(at, _)| at)
    }

    /// Hands out every probe whose time has come. Each must come back to
    /// [`complete`](Self::complete), whatever becomes of it.
    ///
    /// A probe has at most one run at a time. Starts that were missed are not made up for; when
    /// a probe is late by a whole interval, as all are after a stall of the process, it waits
    /// for its next beat.
    pub fn due(&mut self, now: Millis) -> Vec<ProbeRun> {
        let mut turns = Vec::new();
        while let Some(&(at, number)) = self.turns.first()
            && at <= now
        {
            self.turns.pop_first();
            turns.push(number);
        }
        let mut runs = Vec::new();
        for number in turns {
            runs.extend(self.turn(now, number));
        }
        runs
    }

    /// Asks for a probe of a member out of turn, as when traffic meets failures (passive health
    /// checks). It serves all who share the probe, and counts as any other.
    ///
    /// Says when the probe will start: now, or [`ASKED_SPACING`](crate::ASKED_SPACING) after its
    /// latest start, or when it is scheduled anyway; `None` when there is no such member.
    pub fn probe_now(&mut self, now: Millis, id: &MemberId<P>) -> Option<Millis> {
        let number = self.members.get(id)?.probe;
        let probe = self.probes.get_mut(&number)?;
        let before = probe.next;
        let next = probe.ask(now);
        if next != before {
            self.turns.remove(&(before, number));
            self.turns.insert((next, number));
        }
        Some(next)
    }

    /// Takes the result of a run. It goes to every member that has subscribed to the probe since
    /// before the run started; for others, and when the ticket is not that of the probe's current
    /// run, it has no effect.
    pub fn complete(
        &mut self,
        now: Millis,
        ticket: Ticket,
        result: Result<(), ProbeError>,
    ) -> Vec<Transition<P>> {
        let mut transitions = Vec::new();
        let Some((probe, run)) = self
            .probes
            .get_mut(&ticket.probe)
            .and_then(|probe| probe.in_flight.map(|run| (probe, run)))
            .filter(|(_, run)| run.event == ticket.event)
        else {
            self.counters.stale += 1;
            return transitions;
        };
        probe.in_flight = None;
        if probe.subscribers.is_empty() {
            self.counters.stale += 1;
            self.drop_probe(ticket.probe);
            return transitions;
        }
        self.counters.record(&result);
        let took = now.saturating_sub(run.started);
        self.counters.took += Duration::from_millis(took);
        for id in &probe.subscribers {
            let Some(member) = self.members.get_mut(id) else {
                continue;
            };
            if member.subscribed > run.event {
                continue;
            }
            let result = match &result {
                Ok(()) => Ok(()),
                Err(ProbeError::Failed(failure)) => Err(failure.clone()),
                Err(ProbeError::Local(error)) => {
                    member.machine.local_error(now, error.clone());
                    continue;
                }
            };
            let thresholds = member.check.thresholds;
            if let Some(change) = member.machine.result(now, took, result, thresholds) {
                transitions.push(Transition {
                    member: *id,
                    from: change.from,
                    to: change.to,
                    reason: change.reason,
                });
            }
        }
        for transition in &transitions {
            self.counters.transitions += 1;
            let pool = transition.member.pool;
            match (transition.from, transition.to) {
                (_, State::Healthy) => self.count_healthy(pool, true),
                (State::Healthy, _) => self.count_healthy(pool, false),
                _ => {}
            }
        }
        transitions
    }

    /// How many different probes the members need.
    pub fn probes(&self) -> usize {
        self.subscribed_probes
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Counts for metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn add(&mut self, now: Millis, id: MemberId<P>, check: Check, state: State) {
        let (probe, subscribed) = self.subscribe(now, id, &check);
        let machine = Machine::new(now, state);
        let member = Member {
            check,
            machine,
            probe,
            subscribed,
        };
        self.members.insert(id, member);
        if state == State::Healthy {
            self.count_healthy(id.pool, true);
        }
    }

    fn change(&mut self, now: Millis, id: MemberId<P>, check: Check) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if !check.same_endpoint(&member.check) {
            member.machine.restart_run();
        }
        let moves = check.probe_key() != member.check.probe_key();
        let old = member.probe;
        member.check = check.clone();
        if moves {
            self.unsubscribe(&id, old);
            let (probe, subscribed) = self.subscribe(now, id, &check);
            if let Some(member) = self.members.get_mut(&id) {
                member.probe = probe;
                member.subscribed = subscribed;
            }
        }
    }

    /// Says to which probe, and the event of subscribing.
    fn subscribe(&mut self, now: Millis, id: MemberId<P>, check: &Check) -> (u64, u64) {
        let event = self.next_event();
        let key = check.probe_key();
        let number = match self.by_key.get(&key) {
            Some(&number) => number,
            None => {
                // No two events are equal, so neither are the numbers of two probes.
                let probe = Probe::new(now, key.clone());
                self.turns.insert((probe.next, event));
                self.by_key.insert(key, event);
                self.probes.insert(event, probe);
                event
            }
        };
        if let Some(probe) = self.probes.get_mut(&number) {
            if probe.subscribers.is_empty() {
                self.subscribed_probes += 1;
            }
            probe.subscribers.insert(id);
        }
        (number, event)
    }

    fn unsubscribe(&mut self, id: &MemberId<P>, number: u64) {
        if let Some(probe) = self.probes.get_mut(&number)
            && probe.subscribers.remove(id)
            && probe.subscribers.is_empty()
        {
            self.subscribed_probes -= 1;
            if probe.in_flight.is_none() {
                self.drop_probe(number);
            }
        }
    }

    fn drop_probe(&mut self, number: u64) {
        if let Some(probe) = self.probes.remove(&number) {
            self.by_key.remove(&probe.key);
            self.turns.remove(&(probe.next, number));
        }
    }

    /// A probe's turn has come and was taken from `turns`.
    fn turn(&mut self, now: Millis, number: u64) -> Option<ProbeRun> {
        let event = self.next_event();
        let probe = self.probes.get_mut(&number)?;
        let (turn, missed) = probe.turn(now);
        self.turns.insert((probe.next, number));
        if probe.subscribers.is_empty() {
            // It only waits for the end of its last run.
            if turn == Turn::StartAfterLost {
                self.counters.lost += 1;
                self.drop_probe(number);
            }
            return None;
        }
        self.counters.missed = self.counters.missed.saturating_add(missed);
        match turn {
            Turn::Busy | Turn::Late => return None,
            Turn::StartAfterLost => self.counters.lost += 1,
            Turn::Start => {}
        }
        self.counters.started += 1;
        probe.in_flight = Some(InFlight {
            event,
            started: now,
        });
        Some(ProbeRun {
            ticket: Ticket {
                probe: number,
                event,
            },
            target: probe.key.target,
            kind: probe.key.kind.clone(),
            timeout: probe.key.timeout,
        })
    }

    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn count_healthy(&mut self, pool: P, more: bool) {
        let count = self.healthy.entry(pool).or_insert(0);
        *count = if more {
            count.saturating_add(1)
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            self.healthy.remove(&pool);
        }
    }
}
