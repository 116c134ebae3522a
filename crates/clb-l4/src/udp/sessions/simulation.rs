//! Random steps with faults, and what must hold after each of them.
//!
//! A failing run prints its seed; `CLB_UDP_SEED=<seed>` replays that one alone.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::model::{Counted, Model, backend, client};
use super::*;

const SEEDS: u64 = 256;
const STEPS: usize = 3_000;

/// One listener, its clients, backends and network.
struct Life {
    random: SmallRng,
    sessions: Sessions<Counted, Counted>,
    world: Model,
    now: u64,
    idle: u64,
    next_binding: u64,
    /// Who had a socket towards a backend last, and until when nobody else should get it.
    owners: BTreeMap<(u32, SocketAddr), (SocketAddr, u64)>,
    /// Whether a socket that was still to wait had to be taken.
    was_short: bool,
}

/// What was known of a client's session before a step.
struct Before {
    binding: BindingId,
    to: SocketAddr,
    has_failed: bool,
    is_usable: bool,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let backends = random.random_range(0..6);
        let idle = random.random_range(1..200);
        let mut world = Model::new(backends);
        if random.random_bool(0.5) {
            world.most_sessions = random.random_range(1..20);
        }
        if random.random_bool(0.3) {
            world.most_sockets = random.random_range(1..8);
        }
        if random.random_bool(0.5) {
            world.plenty = random.random_range(1..20);
        }
        Self {
            random,
            sessions: Sessions::new(idle),
            world,
            now: 0,
            idle,
            next_binding: 100,
            owners: BTreeMap::new(),
            was_short: false,
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..45 => self.datagram(),
            45..65 => self.answer(),
            65..72 => self.stray(),
            72..78 => self.failure(),
            78..90 => self.time(),
            90..92 => self.sessions.sweep(self.now, &mut self.world),
            92..99 => self.change(),
            _ => self.rarely(),
        }
    }

    fn of(&self, client: SocketAddr) -> Option<u32> {
        self.sessions.of_client(client)
    }

    fn datagram(&mut self) {
        let client = client(self.random.random_range(1..30));
        let hops = self.random.random_bool(0.3).then_some(64);
        let hops = if self.random.random_bool(0.02) {
            Some(5)
        } else {
            hops
        };
        let before = self.of(client).and_then(|number| {
            let session = self.sessions.get(number)?;
            (self.now < session.used_at + self.idle).then(|| Before {
                binding: session.binding,
                to: session.to,
                has_failed: session.has_failed,
                is_usable: !session.has_failed
                    && self.world.keeps(session.binding) == Some(session.to),
            })
        });
        // One whose time is over makes room.
        let is_over = self.of(client).is_some() && before.is_none();
        let had_room = is_over || self.world.sessions.get() < self.world.most_sessions;
        let sockets = self.world.open.len();
        let decided = self
            .sessions
            .datagram(self.now, client, hops, &mut self.world);
        let has_backend = self.world.eligible().next().is_some();
        match (decided, before) {
            (Ok(number), Some(before)) if before.is_usable => {
                let session = self.sessions.get(number).unwrap();
                assert_eq!((session.to, session.binding), (before.to, before.binding));
            }
            (Ok(number), Some(before)) if before.has_failed => {
                let session = self.sessions.get(number).unwrap();
                let others = self.world.eligible();
                let others = others.filter(|(binding, _)| *binding != before.binding);
                assert!(session.binding != before.binding || others.count() == 0);
            }
            (Ok(_), Some(_)) => {}
            (Ok(_), None) => assert!(had_room && hops != Some(5)),
            (Err(Denied::Hops), before) => assert!(before.is_none() && hops == Some(5)),
            (Err(Denied::NoRoom(reason)), before) => {
                assert_eq!(reason, Refusal::UdpSessions);
                assert!(before.is_none());
                assert_eq!(self.world.sessions.get(), self.world.most_sessions);
            }
            (Err(Denied::NoBackend), before) => {
                assert!(!has_backend && before.is_none_or(|before| !before.is_usable));
            }
            (Err(Denied::Sockets), _) => assert_eq!(sockets, self.world.most_sockets),
        }
        let Ok(number) = decided else {
            return;
        };
        let session = self.sessions.get(number).unwrap();
        assert_eq!(session.client, client);
        assert_eq!(self.world.keeps(session.binding), Some(session.to));
        let path = (session.socket, session.to);
        if let Some((owner, until)) = self.owners.get(&path)
            && *owner != client
            && self.now < *until
        {
            assert!(self.world.open.len() == self.world.most_sockets, "{path:?}");
            self.was_short = true;
        }
    }

    /// An answer of a backend that a session has.
    fn answer(&mut self) {
        let Some(number) = self.any() else {
            return;
        };
        let session = self.sessions.get(number).unwrap();
        let (client, path) = (session.client, (session.socket, session.to));
        let is_over = self.now >= session.used_at + self.idle;
        match self.sessions.answer(self.now, path.0, path.1) {
            Some(answered) => {
                assert!(!is_over && answered == number);
                assert_eq!(self.sessions.get(number).unwrap().client, client);
            }
            None => assert!(is_over && self.of(client).is_none()),
        }
    }

    /// An answer that belongs to no session, for it never did or no longer does: it may reach
    /// nobody, and nobody but who had the path last, unless there was no other socket.
    fn stray(&mut self) {
        let socket = self.random.random_range(0..12);
        let from = backend(self.random.random_range(1..8));
        let owner = self.owners.get(&(socket, from)).copied();
        if let Some(number) = self.sessions.answer(self.now, socket, from) {
            let session = self.sessions.get(number).unwrap();
            assert_eq!((session.socket, session.to), (socket, from));
            let (owner, _) = owner.unwrap();
            assert_eq!(session.client, owner);
        }
    }

    fn failure(&mut self) {
        let path = match (self.random.random_bool(0.7), self.any()) {
            (true, Some(number)) => {
                let session = self.sessions.get(number).unwrap();
                (session.socket, session.to)
            }
            _ => (
                self.random.random_range(0..12),
                backend(self.random.random_range(1..8)),
            ),
        };
        let failed = self.sessions.failed(path.0, path.1);
        if let Some(failed) = failed {
            assert_eq!((failed.socket, failed.to), path);
        }
    }

    fn time(&mut self) {
        let most = if self.random.random_bool(0.1) {
            3 * self.idle
        } else {
            self.idle / 4 + 1
        };
        self.now += self.random.random_range(0..=most);
    }

    /// The pool changes.
    fn change(&mut self) {
        let bindings: Vec<_> = self.world.backends.keys().copied().collect();
        let Some(&binding) = bindings.get(self.random.random_range(0..6)) else {
            let port = self.random.random_range(1..8);
            // No two at one address: the model does not refuse it, the API does.
            let is_taken = |other: &super::model::Backend| other.addr == backend(port);
            if !self.world.backends.values().any(is_taken) {
                self.next_binding += 1;
                self.world.bind(self.next_binding, port);
            }
            return;
        };
        match self.random.random_range(0..10) {
            0..6 => self.world.change(binding, |backend| {
                backend.is_eligible = !backend.is_eligible
            }),
            6..8 => self.world.unbind(binding),
            _ => {
                let port = self.random.random_range(8..16);
                let is_taken = |other: &super::model::Backend| other.addr == backend(port);
                if !self.world.backends.values().any(is_taken) {
                    self.world
                        .change(binding, |changed| changed.addr = backend(port));
                }
            }
        }
    }

    fn rarely(&mut self) {
        if self.random.random_bool(0.5) {
            self.idle = self.random.random_range(1..200);
            self.sessions.set_idle(self.idle);
            // What was promised by the old time is not held to the new one.
            self.owners.values_mut().for_each(|(_, until)| *until = 0);
        } else {
            self.sessions.clear(&mut self.world);
            self.owners.clear();
            assert!(self.world.open.is_empty());
        }
    }

    /// Any session.
    fn any(&mut self) -> Option<u32> {
        let numbers: Vec<_> = self
            .sessions
            .entries
            .iter()
            .map(|(number, _)| number)
            .collect();
        let at = self.random.random_range(0..numbers.len().max(1));
        numbers.get(at).map(|number| *number as u32)
    }

    fn check(&mut self) {
        let sessions = &self.sessions;
        let count = sessions.len();
        assert_eq!(self.world.sessions.get(), count);
        assert!(count <= self.world.most_sessions);
        assert_eq!(
            (sessions.by_client.len(), sessions.by_path.len()),
            (count, count)
        );
        assert_eq!(sessions.sockets(), self.world.open.len());
        assert!(self.world.open.len() <= self.world.most_sockets);
        let (mut clients, mut paths) = (BTreeSet::new(), BTreeSet::new());
        let mut with: BTreeMap<BindingId, usize> = BTreeMap::new();
        for (number, session) in &sessions.entries {
            let number = number as u32;
            assert!(clients.insert(session.client), "two of {}", session.client);
            let path = (session.socket, session.to);
            assert!(paths.insert(path), "two through {path:?}");
            assert_eq!(sessions.of_client(session.client), Some(number));
            assert_eq!(sessions.of_path(path.0, path.1), Some(number));
            assert!(self.world.open.contains(&session.socket));
            assert!(session.used_at <= self.now);
            *with.entry(session.binding).or_default() += 1;
        }
        for (binding, backend) in &self.world.backends {
            let count = with.get(binding).copied().unwrap_or(0);
            assert_eq!(backend.sessions.get(), count);
        }
        // In the order of last use, each once.
        let mut at = sessions.oldest;
        let (mut seen, mut last) = (0, 0);
        while let Some(session) = sessions.get(at) {
            assert!(session.used_at >= last);
            (seen, last, at) = (seen + 1, session.used_at, session.newer);
        }
        assert_eq!((seen, at), (count, NONE));
        for (_, session) in &sessions.entries {
            let until = session.used_at + self.idle;
            let path = (session.socket, session.to);
            self.owners.insert(path, (session.client, until));
        }
    }
}

/// Whether sockets ran short in it.
fn live(seed: u64) -> bool {
    struct OnPanic(u64);
    impl Drop for OnPanic {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("CLB_UDP_SEED={}", self.0);
            }
        }
    }
    let _tell = OnPanic(seed);
    let mut life = Life::new(seed);
    for _ in 0..STEPS {
        life.step();
        life.check();
    }
    life.was_short
}

#[test]
fn whatever_happens_sessions_stay_apart_and_counted() {
    if let Ok(seed) = std::env::var("CLB_UDP_SEED") {
        live(seed.parse().unwrap());
        return;
    }
    let short = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let seeds = (half..SEEDS).step_by(2);
            scope.spawn(move || seeds.filter(|seed| live(*seed)).count())
        });
        halves.map(|half| half.join().unwrap())
    });
    // The simulation is worth something only if it goes where it hurts.
    assert!(short.iter().all(|short| *short > 0));
}
