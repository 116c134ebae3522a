//! Drives the health checker: which members are checked, what became of it, what is kept over a
//! restart.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use clb_health::{Checker, Counters, MemberId, ProbeRun, State, Ticket, Transition};
use clb_model::{BindingId, PoolKey, UnixMillis};
use clb_snapshot::MemberHealth;
use clb_store::{LiveStore, SavedHealth};

use super::plane::CheckedMember;
use super::report::MemberReport;

/// A probe's ticket and what came of it.
pub(super) type ProbeResult = (Ticket, Result<(), clb_health::ProbeError>);

type Key = (PoolKey, BindingId);

/// The members under check.
pub(super) struct Health {
    checker: Checker<PoolKey>,
    started: Instant,
    store: LiveStore,
    /// Members whose saved state is no longer true.
    unsaved: HashSet<Key>,
    /// Members that traffic has taken out, and when that was told.
    suspects: BTreeMap<Key, u64>,
    store_failed: bool,
}

impl Health {
    pub(super) fn new(store: LiveStore) -> Self {
        Self {
            checker: Checker::new(),
            started: Instant::now(),
            store,
            unsaved: HashSet::new(),
            suspects: BTreeMap::new(),
            store_failed: false,
        }
    }

    /// What is known of the members of a pool; `wall`: the time of day.
    pub(super) fn report(&self, pool: PoolKey, wall: UnixMillis) -> Vec<MemberReport> {
        let now = self.now();
        let at = |time: u64| {
            let ago = i64::try_from(now.saturating_sub(time)).unwrap_or(i64::MAX);
            UnixMillis(wall.0.saturating_sub(ago))
        };
        let members = self.checker.pool(pool);
        let reports = members.map(|(id, status)| MemberReport {
            binding: BindingId(id.binding),
            since: at(status.since),
            last: status.last.as_ref().map(|last| {
                let found = match &last.result {
                    Ok(()) => format!("success in {} ms", last.took),
                    Err(failure) => failure.to_string(),
                };
                (at(last.at), found)
            }),
            results: (status.successes, status.failures),
            changes: {
                let mut changes: Vec<_> = self
                    .checker
                    .history(id)
                    .map(|change| {
                        let (from, to) = (word(change.from), word(change.to));
                        (at(change.at), from, to, change.reason.to_string())
                    })
                    .collect();
                changes.reverse();
                changes
            },
        });
        reports.collect()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes up the states that were saved before a restart and are young enough.
    pub(super) fn restore(&mut self, members: Vec<CheckedMember>, wall_ms: i64) {
        let (saved_at, rows) = match self.store.load() {
            Ok(saved) => saved,
            Err(error) => {
                tracing::warn!(%error, "saved health can not be read, it is detected anew");
                return;
            }
        };
        let age = u64::try_from(wall_ms.saturating_sub(saved_at)).unwrap_or(u64::MAX);
        let age = Duration::from_millis(age);
        let mut saved: BTreeMap<(String, u64), String> = rows
            .into_iter()
            .map(|(pool, binding, state)| ((pool, binding), state))
            .collect();
        let now = self.now();
        for member in members {
            let key = (member.pool, member.binding);
            let row = saved.remove(&(member.pool.to_string(), member.binding.0));
            if let Some(state) = row.as_deref().and_then(state_of)
                && member.check.keeps_saved_state(age)
            {
                self.checker.restore(now, id(key), member.check, state);
            } else {
                self.unsaved.insert(key);
            }
        }
        // What is left belongs to members that are gone.
        for (pool, binding) in saved.into_keys() {
            if let Ok(pool) = PoolKey::parse(&pool) {
                self.unsaved.insert((pool, BindingId(binding)));
            }
        }
    }

    /// Checks these members of a pool; with none of them, none.
    pub(super) fn set(&mut self, members: Vec<CheckedMember>, pool: PoolKey) {
        let now = self.now();
        if members.is_empty() {
            let checked: Vec<Key> = self
                .checker
                .pool(pool)
                .map(|(member, _)| (member.pool, BindingId(member.binding)))
                .collect();
            checked.into_iter().for_each(|key| self.remove(key));
        }
        for member in members {
            let key = (member.pool, member.binding);
            if self.checker.status(&id(key)).is_none() {
                self.unsaved.insert(key);
            }
            self.checker.set(now, id(key), member.check);
        }
    }

    /// Checks a member no longer.
    pub(super) fn remove(&mut self, key: Key) {
        self.checker.remove(&id(key));
        self.suspects.remove(&key);
        self.unsaved.insert(key);
    }

    /// A member's health as far as choosing is concerned.
    pub(super) fn of(&self, key: Key, is_checked: bool) -> MemberHealth {
        match self.checker.status(&id(key)) {
            _ if !is_checked => MemberHealth::Off,
            None => MemberHealth::Detecting { founding: false },
            Some(status) => match status.state {
                State::Detecting { founding } => MemberHealth::Detecting { founding },
                State::Healthy => MemberHealth::Healthy,
                State::Unhealthy => MemberHealth::Unhealthy,
            },
        }
    }

    /// When the next probe is to be started.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.checker
            .next_due()
            .map(|due| self.started + Duration::from_millis(due))
    }

    /// The probes to start now.
    pub(super) fn due(&mut self) -> Vec<ProbeRun> {
        let now = self.now();
        self.checker.due(now)
    }

    /// Takes a probe's result; the states that it changed.
    pub(super) fn complete(&mut self, (ticket, result): ProbeResult) -> Vec<Transition<PoolKey>> {
        let now = self.now();
        let transitions = self.checker.complete(now, ticket, result);
        for transition in &transitions {
            let member = transition.member;
            self.unsaved
                .insert((member.pool, BindingId(member.binding)));
        }
        transitions
    }

    /// Traffic has taken a member out: it is probed at once, if it is checked at all.
    pub(super) fn suspect(&mut self, key: Key) {
        let now = self.now();
        if self.checker.probe_now(now, &id(key)).is_some() {
            self.suspects.insert(key, now);
        }
    }

    /// Those among the suspects that answered a probe that was started since; each is told once.
    /// One that failed such a probe is no longer waited for: its time out goes on.
    pub(super) fn cleared(&mut self) -> Vec<Key> {
        let mut cleared = Vec::new();
        self.suspects.retain(|key, since| {
            let Some(last) = self
                .checker
                .status(&id(*key))
                .and_then(|status| status.last.as_ref())
                .filter(|last| last.at.saturating_sub(last.took) >= *since)
            else {
                return true;
            };
            if last.result.is_ok() {
                cleared.push(*key);
            }
            false
        });
        cleared
    }

    /// Probes and members, and what was counted.
    pub(super) fn figures(&self) -> (usize, usize, Counters) {
        (
            self.checker.probes(),
            self.checker.members(),
            self.checker.counters().clone(),
        )
    }

    /// Saves what changed, and that the rest is still true.
    pub(super) fn save(&mut self, wall_ms: i64) {
        if self.unsaved.is_empty() && self.checker.members() == 0 {
            return;
        }
        let rows: Vec<SavedHealth> = self
            .unsaved
            .iter()
            .map(|key| SavedHealth {
                pool: key.0.to_string(),
                binding: key.1.0,
                state: self
                    .checker
                    .status(&id(*key))
                    .map(|status| word(status.state)),
            })
            .collect();
        match self.store.save(&rows, wall_ms) {
            Ok(()) => {
                self.unsaved.clear();
                self.store_failed = false;
            }
            Err(error) => {
                // Told once; it is tried again with the next save.
                if !std::mem::replace(&mut self.store_failed, true) {
                    tracing::warn!(%error, "health can not be saved");
                }
            }
        }
    }
}

fn id((pool, binding): Key) -> MemberId<PoolKey> {
    MemberId {
        pool,
        binding: binding.0,
    }
}

const WORDS: [(&str, State); 4] = [
    ("detecting", State::Detecting { founding: false }),
    ("founding", State::Detecting { founding: true }),
    ("healthy", State::Healthy),
    ("unhealthy", State::Unhealthy),
];

fn word(state: State) -> &'static str {
    WORDS
        .iter()
        .find(|(_, known)| *known == state)
        .map_or("detecting", |(word, _)| word)
}

fn state_of(word: &str) -> Option<State> {
    WORDS
        .iter()
        .find(|(known, _)| *known == word)
        .map(|(_, state)| *state)
}

#[cfg(test)]
mod tests;
