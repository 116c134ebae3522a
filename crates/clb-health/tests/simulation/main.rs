//! Random lives of a checker under a simulated clock, against a naive model and against
//! invariants that need no model.
//!
//! A failing run prints its seed; `CLB_HEALTH_SEED=<seed>` replays that one alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests"
)]

mod model;
mod random;

use clb_health::{
    Check, Checker, Failure, LocalError, Millis, ProbeError, ProbeRun, State, Thresholds, Ticket,
    Transition, phase,
};
use model::{Id, Key, Model};
use random::Random;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const SEEDS: u64 = 500;
const STEPS: u64 = 2_000;

#[test]
fn random_lives_follow_the_model_and_break_no_invariant() {
    if let Ok(seed) = std::env::var("CLB_HEALTH_SEED") {
        live(seed.parse().expect("CLB_HEALTH_SEED must be a number"));
        return;
    }
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (half..SEEDS).step_by(2).for_each(live));
        }
    });
}

fn live(seed: u64) {
    let guard = PrintsSeed(seed);
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.histories_are_continuous();
    world.counters_add_up();
    drop(guard);
}

/// Names the seed when a run panics.
struct PrintsSeed(u64);

impl Drop for PrintsSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failing seed: CLB_HEALTH_SEED={}", self.0);
        }
    }
}

struct Outstanding {
    ticket: Ticket,
    key: Key,
    step: u64,
    started: Millis,
    /// The driver has lost it and will never bring it back.
    dropped: bool,
}

struct World {
    random: Random,
    now: Millis,
    checker: Checker<u8>,
    model: Model,
    outstanding: Vec<Outstanding>,
    /// Tickets that have come back once already.
    used: Vec<Outstanding>,
    /// The states as told by additions and transitions alone.
    told: BTreeMap<Id, State>,
    /// When each probe was started last, on its beat or when asked for.
    starts: BTreeMap<Key, Millis>,
    /// Members' probes that were asked for since their last start.
    asked: Vec<Key>,
    transitions: u64,
    results: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            now: random.below(1_000_000),
            random,
            checker: Checker::new(),
            model: Model::default(),
            outstanding: Vec::new(),
            used: Vec::new(),
            told: BTreeMap::new(),
            starts: BTreeMap::new(),
            asked: Vec::new(),
            transitions: 0,
            results: 0,
        }
    }

    fn step(&mut self) {
        self.model.step += 1;
        match self.random.below(100) {
            0..=9 => self.set(),
            10..=12 => self.restore(),
            13..=17 => self.remove(),
            18..=21 => self.ask(),
            22..=23 => self.use_a_ticket_twice(),
            24 => self.lose_a_result(),
            25..=59 => self.complete(),
            60..=61 => self.let_pass(50_000),
            62..=80 => self.let_pass(200),
            _ => self.let_pass_until_due(),
        }
        // A probe that ends in the very millisecond in which it started, and is taken up again in
        // it, starts again on the same beat.
        let (now, model) = (self.now, &self.model);
        self.starts
            .retain(|key, started| *started != now || model.has_probe(key));
        self.agrees_with_the_model();
    }

    fn an_id(&mut self) -> Id {
        Id {
            pool: self.random.below(3) as u8,
            binding: self.random.below(4),
        }
    }

    fn a_check(&mut self) -> Check {
        let host = *self.random.pick(&[1, 2, 3]);
        // No two intervals share a timeout, so that a run tells which probe it is.
        let (interval, timeout) =
            *self
                .random
                .pick(&[(50, 20), (50, 45), (300, 21), (300, 250), (4_000, 46)]);
        // Mostly equal ones, so that many members share a probe.
        let kind = *self.random.pick(&[0, 0, 0, 0, 0, 1, 1, 1, 2, 3]);
        Check {
            target: SocketAddr::from(([192, 0, 2, host], 80)),
            kind: model::KINDS[kind].clone(),
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(timeout),
            thresholds: Thresholds {
                healthy: 1 + self.random.below(3) as u8,
                unhealthy: 1 + self.random.below(3) as u8,
            },
        }
    }

    fn set(&mut self) {
        let (id, check) = (self.an_id(), self.a_check());
        // The founding rule: nothing healthy in the pool at this very moment.
        let founding = !self
            .told
            .iter()
            .any(|(other, state)| other.pool == id.pool && *state == State::Healthy);
        self.checker.set(self.now, id, check.clone());
        self.model.set(self.now, id, check, None);
        self.told.entry(id).or_insert(State::Detecting { founding });
    }

    fn restore(&mut self) {
        let (id, check) = (self.an_id(), self.a_check());
        let state = *self.random.pick(&[
            State::Healthy,
            State::Unhealthy,
            State::Detecting { founding: true },
            State::Detecting { founding: false },
        ]);
        self.checker.restore(self.now, id, check.clone(), state);
        self.model.set(self.now, id, check, Some(state));
        self.told.entry(id).or_insert(state);
    }

    fn remove(&mut self) {
        let id = self.an_id();
        self.checker.remove(&id);
        self.model.remove(self.now, &id);
        self.told.remove(&id);
    }

    fn ask(&mut self) {
        let id = self.an_id();
        if let Some(member) = self.model.members.get(&id) {
            self.asked.push(model::key(&member.check));
        }
        let at = self.checker.probe_now(self.now, &id);
        assert_eq!(at, self.model.ask(self.now, &id));
    }

    fn let_pass(&mut self, at_most: Millis) {
        self.now += self.random.below(at_most);
        self.due();
    }

    fn let_pass_until_due(&mut self) {
        self.now = self.checker.next_due().unwrap_or(self.now).max(self.now);
        self.due();
    }

    fn due(&mut self) {
        let runs = self.checker.due(self.now);
        let mut expected = self.model.due(self.now);
        for run in &runs {
            let key = self.key_of(run, &mut expected);
            self.start_is_allowed(&key);
            self.outstanding.push(Outstanding {
                ticket: run.ticket,
                key,
                step: self.model.step,
                started: self.now,
                dropped: false,
            });
        }
        assert!(expected.is_empty(), "not started: {expected:?}");
        if let Some(next) = self.checker.next_due() {
            assert!(next > self.now, "due again at once");
        }
    }

    /// The key that a run belongs to, which must be one of those expected to start.
    fn key_of(&self, run: &ProbeRun, expected: &mut Vec<Key>) -> Key {
        let at = expected.iter().position(|key| {
            key.0 == run.target
                && Duration::from_millis(key.2) == run.timeout
                && key.3 == model::kind_of(&run.kind)
        });
        expected.swap_remove(at.unwrap_or_else(|| panic!("started unexpectedly: {run:?}")))
    }

    fn start_is_allowed(&mut self, key: &Key) {
        let (target, interval, timeout, kind) = *key;
        assert!(self.model.wanted(key), "nobody wants {key:?}");
        // Never two runs of one probe, but for one that was lost.
        for run in self.outstanding.iter().filter(|run| run.key == *key) {
            let age = self.now - run.started;
            assert!(age > timeout + 10 * interval, "two runs of {key:?}");
        }
        let asked = self.asked.contains(key);
        self.asked.retain(|other| other != key);
        if let Some(previous) = self.starts.insert(*key, self.now)
            && !asked
        {
            // From beat to beat there is at least one interval; two starts share no beat.
            let kind = &model::KINDS[kind];
            let phase = phase(target, kind, Duration::from_millis(interval));
            let beat = |time: Millis| (time + interval - phase) / interval;
            assert!(beat(self.now) > beat(previous), "too soon: {key:?}");
        }
    }

    fn complete(&mut self) {
        let waiting: Vec<usize> = (0..self.outstanding.len())
            .filter(|&at| !self.outstanding[at].dropped)
            .collect();
        if waiting.is_empty() {
            return;
        }
        let run = self.outstanding.swap_remove(*self.random.pick(&waiting));
        self.now += self.random.below(5);
        self.hand_in(&run);
        self.used.push(run);
    }

    fn use_a_ticket_twice(&mut self) {
        if !self.used.is_empty() {
            let at = self.random.below(self.used.len() as u64) as usize;
            let run = self.used.swap_remove(at);
            let told = self.told.clone();
            self.hand_in(&run);
            assert_eq!(self.told, told, "a used ticket changed something");
        }
    }

    fn lose_a_result(&mut self) {
        if let Some(run) = self.outstanding.first_mut() {
            run.dropped = true;
        }
    }

    fn hand_in(&mut self, run: &Outstanding) {
        // Each target is up for a while, then down for a while, and flaps now and then.
        let SocketAddr::V4(target) = run.key.0 else {
            panic!("IPv4 only here");
        };
        let up = (self.now / 3_000 + u64::from(target.ip().octets()[3])).is_multiple_of(2);
        let ok = up != self.random.percent(15);
        let (outcome, result) = if self.random.percent(5) {
            (None, Err(ProbeError::Local(no_more_files())))
        } else if ok {
            (Some(true), Ok(()))
        } else {
            let failure = match run.key.3 {
                0 => Failure::Refused,
                _ => Failure::Status(503),
            };
            (Some(false), Err(failure.into()))
        };
        let transitions = self.checker.complete(self.now, run.ticket, result);
        self.model.complete(self.now, &run.key, run.step, outcome);
        self.results += 1;
        for transition in transitions {
            assert_ne!(outcome, None, "an error of our own changed a state");
            self.follow(&transition, outcome == Some(true));
        }
    }

    /// What every transition must be, whatever the model says.
    fn follow(&mut self, transition: &Transition<u8>, ok: bool) {
        self.transitions += 1;
        let Transition {
            member, from, to, ..
        } = transition;
        let told = self.told.insert(*member, *to);
        assert_eq!(told, Some(*from), "the chain is broken");
        assert_ne!(from, to);
        match to {
            State::Healthy => assert!(ok),
            State::Unhealthy => assert!(!ok),
            State::Detecting { founding } => {
                assert!(!ok && !founding);
                assert_eq!(*from, State::Detecting { founding: true });
            }
        }
        let newest = self.checker.history(member).last();
        let newest = newest.expect("a transition is kept");
        assert_eq!(
            (newest.at, newest.from, newest.to, &newest.reason),
            (self.now, *from, *to, &transition.reason)
        );
    }

    fn agrees_with_the_model(&self) {
        assert_eq!(self.checker.members(), self.model.members.len());
        let statuses = self.checker.statuses();
        for ((id, status), (model_id, member)) in statuses.zip(&self.model.members) {
            assert_eq!(id, model_id);
            assert_eq!(status.state, member.state, "{id:?}");
            assert_eq!(status.since, member.since, "{id:?}");
            let run = (status.run.successes as usize, status.run.failures as usize);
            assert_eq!(run, (member.in_a_row(true), member.in_a_row(false)));
            assert_eq!(self.told.get(id), Some(&status.state), "{id:?}");
            assert_eq!(self.checker.check(id), Some(&member.check));
        }
        // One probe for each different target and parameters.
        let members = self.model.members.values();
        let mut keys: Vec<Key> = members.map(|member| model::key(&member.check)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(self.checker.probes(), keys.len());
        assert_eq!(self.checker.next_due(), self.model.next_due());
    }

    fn histories_are_continuous(&self) {
        for (id, status) in self.checker.statuses() {
            let history: Vec<_> = self.checker.history(id).collect();
            assert!(history.len() <= clb_health::HISTORY);
            for pair in history.windows(2) {
                assert_eq!(pair[0].to, pair[1].from);
                assert!(pair[0].at <= pair[1].at);
            }
            if let Some(newest) = history.last() {
                assert_eq!((newest.to, newest.at), (status.state, status.since));
            }
        }
    }

    fn counters_add_up(&self) {
        let counters = self.checker.counters();
        let failed: u64 = counters.failed().iter().map(|(_, count)| count).sum();
        let results = counters.succeeded + failed + counters.local + counters.stale;
        assert_eq!(results, self.results);
        assert_eq!(counters.transitions, self.transitions);
        assert!(counters.transitions > 0, "nothing ever happened");
    }
}

fn no_more_files() -> LocalError {
    LocalError {
        doing: "opening a socket",
        kind: std::io::ErrorKind::Other,
        errno: Some(24),
    }
}
