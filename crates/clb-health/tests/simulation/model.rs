//! What the checker should do, written as naively as possible: no queue, no shared probes with
//! subscriber lists, no running counts. Everything is looked up by scanning.

use clb_health::{
    ASKED_SPACING, Check, HttpMethod, HttpProbe, LOST_AFTER_INTERVALS, MemberId, Millis, ProbeKind,
    State, phase,
};
use clb_model::{CheckPath, HttpCodeMask};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

pub type Id = MemberId<u8>;

/// Target, interval, timeout and kind (its place in [`KINDS`]) tell probes apart.
pub type Key = (SocketAddr, Millis, Millis, usize);

/// The kinds of probes that checks have here.
pub static KINDS: LazyLock<[ProbeKind; 4]> = LazyLock::new(|| {
    let http = |path, mask| {
        ProbeKind::Http(Arc::new(HttpProbe::new(
            HttpMethod::Get,
            CheckPath::parse(path).expect("a path"),
            None,
            HttpCodeMask::try_from(mask).expect("a mask"),
        )))
    };
    [
        ProbeKind::Tcp,
        http("/", 31),
        http("/up", 31),
        http("/up", 2),
    ]
});

pub fn kind_of(kind: &ProbeKind) -> usize {
    let place = KINDS.iter().position(|known| known == kind);
    place.expect("one of the kinds")
}

pub fn key(check: &Check) -> Key {
    (
        check.target,
        check.interval.as_millis() as Millis,
        check.timeout.as_millis() as Millis,
        kind_of(&check.kind),
    )
}

pub struct Member {
    pub check: Check,
    pub state: State,
    pub since: Millis,
    /// Every result since the endpoint changed.
    results: Vec<bool>,
    /// The step at which the member came to its present probe.
    joined: u64,
}

impl Member {
    /// How many of the latest results are `ok`, up to the latest that is not.
    pub fn in_a_row(&self, ok: bool) -> usize {
        self.results.iter().rev().take_while(|&&r| r == ok).count()
    }

    fn result(&mut self, now: Millis, ok: bool) {
        self.results.push(ok);
        let new = if self.in_a_row(true) >= usize::from(self.check.thresholds.healthy) {
            State::Healthy
        } else if self.in_a_row(false) >= usize::from(self.check.thresholds.unhealthy) {
            State::Unhealthy
        } else if !ok && matches!(self.state, State::Detecting { .. }) {
            State::Detecting { founding: false }
        } else {
            self.state
        };
        if new != self.state {
            self.state = new;
            self.since = now;
        }
    }
}

struct Running {
    step: u64,
    started: Millis,
}

struct Probe {
    /// Beats before this time are over.
    from: Millis,
    asked: Option<Millis>,
    running: Option<Running>,
    latest_start: Option<Millis>,
    was_late: bool,
}

#[derive(Default)]
pub struct Model {
    pub members: BTreeMap<Id, Member>,
    probes: BTreeMap<Key, Probe>,
    pub step: u64,
}

impl Model {
    pub fn any_healthy(&self, pool: u8) -> bool {
        self.members
            .iter()
            .any(|(id, member)| id.pool == pool && member.state == State::Healthy)
    }

    pub fn set(&mut self, now: Millis, id: Id, check: Check, saved: Option<State>) {
        let founding = !self.any_healthy(id.pool);
        match self.members.get_mut(&id) {
            None => {
                let member = Member {
                    check,
                    state: saved.unwrap_or(State::Detecting { founding }),
                    since: now,
                    results: Vec::new(),
                    joined: self.step,
                };
                self.members.insert(id, member);
            }
            Some(member) => {
                if member.check.target != check.target || key(&member.check).3 != key(&check).3 {
                    member.results.clear();
                }
                if key(&member.check) != key(&check) {
                    member.joined = self.step;
                }
                member.check = check;
            }
        }
        self.tidy(now);
    }

    pub fn has_probe(&self, key: &Key) -> bool {
        self.probes.contains_key(key)
    }

    pub fn remove(&mut self, now: Millis, id: &Id) {
        self.members.remove(id);
        self.tidy(now);
    }

    pub fn wanted(&self, key_wanted: &Key) -> bool {
        self.members
            .values()
            .any(|member| key(&member.check) == *key_wanted)
    }

    /// Every wanted key has a probe; an unwanted one has one only while it runs.
    fn tidy(&mut self, now: Millis) {
        let keys: Vec<Key> = self.members.values().map(|m| key(&m.check)).collect();
        for key in &keys {
            self.probes.entry(*key).or_insert(Probe {
                from: now,
                asked: None,
                running: None,
                latest_start: None,
                was_late: false,
            });
        }
        self.probes
            .retain(|key, probe| keys.contains(key) || probe.running.is_some());
    }

    pub fn ask(&mut self, now: Millis, id: &Id) -> Option<Millis> {
        let key = key(&self.members.get(id)?.check);
        let probe = self.probes.get_mut(&key)?;
        let soonest = match probe.latest_start {
            Some(start) if start + ASKED_SPACING > now => start + ASKED_SPACING,
            _ => now,
        };
        let planned = next_turn(&key, probe);
        if soonest < planned {
            probe.asked = Some(soonest);
        }
        Some(soonest.min(planned))
    }

    /// The keys of the probes that start.
    pub fn due(&mut self, now: Millis) -> Vec<Key> {
        let wanted: Vec<Key> = self.members.values().map(|m| key(&m.check)).collect();
        let mut starts = Vec::new();
        let mut given_up = Vec::new();
        for (key, probe) in &mut self.probes {
            let (_, interval, timeout, _) = *key;
            let turn = next_turn(key, probe);
            if turn > now {
                continue;
            }
            let asked = probe.asked.take().is_some();
            let patience = timeout + LOST_AFTER_INTERVALS * interval;
            let busy = probe
                .running
                .as_ref()
                .is_some_and(|running| now - running.started <= patience);
            let late = now - turn >= interval
                && beat(key, now) != now
                && !asked
                && !probe.was_late
                && probe.running.is_none();
            probe.from = now + 1;
            probe.was_late = late;
            if busy || late {
                continue;
            }
            if !wanted.contains(key) {
                given_up.push(*key);
                continue;
            }
            probe.latest_start = Some(now);
            probe.running = Some(Running {
                step: self.step,
                started: now,
            });
            starts.push(*key);
        }
        for key in given_up {
            self.probes.remove(&key);
        }
        starts
    }

    pub fn next_due(&self) -> Option<Millis> {
        self.probes
            .iter()
            .map(|(key, probe)| next_turn(key, probe))
            .min()
    }

    /// `result` is `None` for an error of our own. `step` is that of the start.
    pub fn complete(&mut self, now: Millis, key_done: &Key, step: u64, result: Option<bool>) {
        let Some(probe) = self.probes.get_mut(key_done) else {
            return;
        };
        if probe.running.as_ref().is_none_or(|run| run.step != step) {
            return;
        }
        probe.running = None;
        for member in self.members.values_mut() {
            if key(&member.check) == *key_done
                && member.joined < step
                && let Some(ok) = result
            {
                member.result(now, ok);
            }
        }
        self.tidy(now);
    }
}

/// The first beat from `from` on.
fn beat(key: &Key, from: Millis) -> Millis {
    let (target, interval, _, kind) = *key;
    let kind = &KINDS[kind];
    let mut beat = phase(target, kind, std::time::Duration::from_millis(interval));
    // Close enough to walk the rest, whatever the size of the clock.
    beat += from.saturating_sub(3 * interval) / interval * interval;
    while beat < from {
        beat += interval;
    }
    beat
}

fn next_turn(key: &Key, probe: &Probe) -> Millis {
    let beat = beat(key, probe.from);
    probe.asked.map_or(beat, |asked| asked.min(beat))
}
