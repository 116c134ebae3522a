//! The UDP sessions of one listener on one worker, as a state machine: datagrams and the time go
//! in, decisions come out; no sockets, no clock (semantics.md 5).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use clb_model::BindingId;
use clb_snapshot::{Refusal, Turn, UdpSession};
use hashbrown::HashTable;
use slab::Slab;

use super::hops;
use super::paths::{Kind, Paths, Sockets};

/// What the sessions ask the world for.
pub(crate) trait World: Sockets {
    /// A session's share of a backend's counts, until it is dropped.
    type Member;
    /// A session's share of the listener's and the board's counts, until it is dropped.
    type Place;

    /// Another number whenever [`keeps`](Self::keeps) may answer otherwise than before.
    fn version(&self) -> u64;

    /// Where a backend is, if it may be used.
    fn keeps(&self, binding: BindingId) -> Option<SocketAddr>;

    /// Chooses a backend for a client; not one that failed, if there is another.
    fn pick(
        &mut self,
        client: SocketAddr,
        now: u64,
        failed: Option<(BindingId, Turn)>,
    ) -> Option<Choice<Self::Member>>;

    /// A client goes on with its backend.
    fn stay(&mut self, client: SocketAddr, binding: BindingId, now: u64);

    /// Room for a new session of a client.
    fn admit(&mut self, client: SocketAddr) -> Result<Self::Place, Refusal>;
}

/// A backend for a session.
#[derive(Debug)]
pub(crate) struct Choice<M> {
    pub(crate) binding: BindingId,
    pub(crate) turn: Turn,
    pub(crate) to: SocketAddr,
    pub(crate) member: M,
}

/// Why a datagram of a client goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There are as many sessions as there may be, or of this client, or there is no memory.
    NoRoom(Refusal),
    /// There are as many sockets as there may be.
    Sockets,
    /// The pool has nobody to pick.
    NoBackend,
    /// It has been through too many gateways.
    Hops,
}

/// What is known of one session.
#[derive(Debug)]
pub(crate) struct Session<M, P> {
    pub(crate) client: SocketAddr,
    /// Its backend's address.
    pub(crate) to: SocketAddr,
    /// Number of the socket towards it.
    pub(crate) socket: u32,
    pub(crate) member: M,
    pub(crate) place: P,
    binding: BindingId,
    turn: Turn,
    /// The world's version when the backend was last found to be usable.
    version: u64,
    /// The network said that its datagrams do not arrive.
    has_failed: bool,
    /// When the last datagram came, either way.
    used_at: u64,
    /// Neighbours in the order of last use.
    older: u32,
    newer: u32,
}

const NONE: u32 = u32::MAX;

/// The sessions, by client, by socket and backend, and in the order of last use.
pub(crate) struct Sessions<M, P> {
    entries: Slab<Session<M, P>>,
    by_client: HashTable<u32>,
    by_path: HashTable<u32>,
    /// Keyed anew in each process: clients choose their addresses.
    hasher: RandomState,
    oldest: u32,
    newest: u32,
    paths: Paths,
    idle_ms: u64,
}

impl<M, P> Sessions<M, P> {
    /// None yet; one ends when for `idle_ms` no datagram came either way.
    pub(crate) fn new(idle_ms: u64) -> Self {
        Self {
            entries: Slab::new(),
            by_client: HashTable::new(),
            by_path: HashTable::new(),
            hasher: RandomState::new(),
            oldest: NONE,
            newest: NONE,
            paths: Paths::default(),
            idle_ms,
        }
    }

    /// Changes the idle time, for those that are there too.
    pub(crate) fn set_idle(&mut self, idle_ms: u64) {
        self.idle_ms = idle_ms;
    }

    /// A datagram of a client came, with so many hops left: through which session it goes on.
    pub(crate) fn datagram(
        &mut self,
        now: u64,
        client: SocketAddr,
        hops: Option<u8>,
        world: &mut impl World<Member = M, Place = P>,
    ) -> Result<u32, Denied> {
        let known = self.of_client(client);
        let Some(number) = known.filter(|number| !self.end_if_idle(now, *number)) else {
            return self.begin(now, client, hops, world);
        };
        self.touch(number, now);
        let version = world.version();
        let Some(session) = self.entries.get_mut(index(number)) else {
            return Err(Denied::NoBackend);
        };
        let stays = !session.has_failed
            && (session.version == version || world.keeps(session.binding) == Some(session.to));
        if !stays {
            return self.move_on(now, number, world);
        }
        session.version = version;
        world.stay(client, session.binding, now);
        Ok(number)
    }

    /// A datagram came to a socket from a backend: the session that it belongs to.
    pub(crate) fn answer(&mut self, now: u64, socket: u32, from: SocketAddr) -> Option<u32> {
        let number = self.of_path(socket, from)?;
        if self.end_if_idle(now, number) {
            return None;
        }
        self.touch(number, now);
        Some(number)
    }

    /// The network says that what goes to this address through this socket does not arrive: the
    /// session's next datagram goes to another backend. Gives the session.
    pub(crate) fn failed(&mut self, socket: u32, to: SocketAddr) -> Option<&Session<M, P>> {
        let number = self.of_path(socket, to)?;
        let session = self.entries.get_mut(index(number))?;
        session.has_failed = true;
        Some(session)
    }

    /// A session.
    pub(crate) fn get(&self, number: u32) -> Option<&Session<M, P>> {
        self.entries.get(index(number))
    }

    /// Whether the network said that the session's datagrams do not arrive.
    pub(crate) fn has_failed(&self, number: u32) -> bool {
        self.get(number).is_some_and(|session| session.has_failed)
    }

    /// Ends what is idle, and closes sockets that are no longer used.
    pub(crate) fn sweep(&mut self, now: u64, io: &mut impl Sockets) {
        while self.oldest != NONE && self.end_if_idle(now, self.oldest) {}
        self.paths.sweep(now, self.idle_ms, io);
        // As much memory as for twice what is there, after a flood.
        if self.entries.capacity() > 1024 && self.entries.len() < self.entries.capacity() / 4 {
            self.shrink();
        }
    }

    /// Ends all and closes all.
    pub(crate) fn clear(&mut self, io: &mut impl Sockets) {
        self.paths.clear(io);
        self.entries.clear();
        self.by_client.clear();
        self.by_path.clear();
        (self.oldest, self.newest) = (NONE, NONE);
    }

    /// The sockets that sessions have, with their kind and what they are connected to.
    pub(crate) fn used_sockets(&self) -> impl Iterator<Item = (u32, Kind, Option<SocketAddr>)> {
        self.paths.used()
    }

    /// All that are not over, those first that have been silent longest, with the number of their
    /// socket in place of its place.
    pub(crate) fn tell(&self, now: u64) -> impl Iterator<Item = (u32, UdpSession)> {
        let mut next = self.oldest;
        let all = std::iter::from_fn(move || {
            let session = self.entries.get(index(next))?;
            next = session.newer;
            let told = UdpSession {
                client: session.client,
                to: session.to,
                binding: session.binding,
                socket: 0,
                silent_ms: now.saturating_sub(session.used_at),
            };
            Some((session.socket, told))
        });
        all.filter(|(_, session)| session.silent_ms < self.idle_ms)
    }

    /// A number for a socket that another process had.
    pub(crate) fn adopt_socket(&mut self, kind: Kind, to: Option<SocketAddr>) -> Option<u32> {
        self.paths.adopt(kind, to)
    }

    /// Forgets an adopted socket that no session has.
    pub(crate) fn abandon_socket(&mut self, number: u32) {
        self.paths.abandon(number);
    }

    /// Goes on with a session that another process had, through a socket that was
    /// [adopted](Self::adopt_socket). Those that have been silent longest come first.
    pub(crate) fn adopt(
        &mut self,
        now: u64,
        socket: u32,
        session: &UdpSession,
        (member, place): (M, P),
        version: u64,
    ) {
        let twin = self.of_client(session.client);
        if twin.is_some() || self.of_path(socket, session.to).is_some() {
            return;
        }
        self.paths.occupy(socket, session.to);
        self.insert(Session {
            client: session.client,
            to: session.to,
            socket,
            member,
            place,
            binding: session.binding,
            turn: Turn::default(),
            version,
            has_failed: false,
            used_at: now.saturating_sub(session.silent_ms),
            older: NONE,
            newer: NONE,
        });
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sockets that are open.
    pub(crate) fn sockets(&self) -> usize {
        self.paths.sockets()
    }

    fn begin(
        &mut self,
        now: u64,
        client: SocketAddr,
        hops: Option<u8>,
        world: &mut impl World<Member = M, Place = P>,
    ) -> Result<u32, Denied> {
        let hops = hops::onward(hops).ok_or(Denied::Hops)?;
        let place = world.admit(client).map_err(Denied::NoRoom)?;
        let choice = world.pick(client, now, None).ok_or(Denied::NoBackend)?;
        let is_v6 = choice.to.is_ipv6();
        let kind = Kind { is_v6, hops };
        let socket = self.paths.take(now, kind, choice.to, world);
        let socket = socket.ok_or(Denied::Sockets)?;
        Ok(self.insert(Session {
            client,
            to: choice.to,
            socket,
            member: choice.member,
            place,
            binding: choice.binding,
            turn: choice.turn,
            version: world.version(),
            has_failed: false,
            used_at: now,
            older: NONE,
            newer: NONE,
        }))
    }

    /// Puts a new session everywhere it is looked for.
    fn insert(&mut self, session: Session<M, P>) -> u32 {
        let (client, path) = (session.client, (session.socket, session.to));
        let entry = self.entries.vacant_entry();
        let number = u32::try_from(entry.key()).unwrap_or(NONE);
        entry.insert(session);
        self.link(number);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_client
            .insert_unique(hasher.hash_one(client), number, |number| {
                hash_client(entries, hasher, *number)
            });
        self.by_path
            .insert_unique(hasher.hash_one(path), number, |number| {
                hash_path(entries, hasher, *number)
            });
        number
    }

    /// The session's backend may no longer be used: it gets another one.
    fn move_on(
        &mut self,
        now: u64,
        number: u32,
        world: &mut impl World<Member = M, Place = P>,
    ) -> Result<u32, Denied> {
        let session = self.entries.get(index(number)).ok_or(Denied::NoBackend)?;
        let (client, old) = (session.client, (session.socket, session.to));
        let failed = session
            .has_failed
            .then_some((session.binding, session.turn));
        let kind = self.paths.kind(old.0).ok_or(Denied::NoBackend)?;
        let choice = world.pick(client, now, failed).ok_or(Denied::NoBackend)?;
        let mut new = old;
        if choice.to != old.1 {
            let is_v6 = choice.to.is_ipv6();
            let kind = Kind { is_v6, ..kind };
            let socket = self.paths.take(now, kind, choice.to, world);
            new = (socket.ok_or(Denied::Sockets)?, choice.to);
            self.forget_path(number, old);
            let free_at = now.saturating_add(self.idle_ms);
            self.paths.release(now, old.0, old.1, free_at);
        }
        let session = self
            .entries
            .get_mut(index(number))
            .ok_or(Denied::NoBackend)?;
        (session.socket, session.to) = new;
        (session.binding, session.turn) = (choice.binding, choice.turn);
        session.member = choice.member;
        session.version = world.version();
        session.has_failed = false;
        if new != old {
            let (entries, hasher) = (&self.entries, &self.hasher);
            self.by_path
                .insert_unique(hasher.hash_one(new), number, |number| {
                    hash_path(entries, hasher, *number)
                });
        }
        Ok(number)
    }

    /// Ends the session if its time is over; says whether.
    fn end_if_idle(&mut self, now: u64, number: u32) -> bool {
        let Some(session) = self.entries.get(index(number)) else {
            return true;
        };
        if now < session.used_at.saturating_add(self.idle_ms) {
            return false;
        }
        let (client, path) = (session.client, (session.socket, session.to));
        let hash = self.hasher.hash_one(client);
        if let Ok(entry) = self.by_client.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        self.forget_path(number, path);
        self.unlink(number);
        self.entries.try_remove(index(number));
        let free_at = now.saturating_add(self.idle_ms);
        self.paths.release(now, path.0, path.1, free_at);
        true
    }

    fn forget_path(&mut self, number: u32, path: (u32, SocketAddr)) {
        let hash = self.hasher.hash_one(path);
        if let Ok(entry) = self.by_path.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
    }

    fn of_client(&self, client: SocketAddr) -> Option<u32> {
        let is_his = |number: &u32| {
            let session = self.entries.get(index(*number));
            session.is_some_and(|session| session.client == client)
        };
        let hash = self.hasher.hash_one(client);
        self.by_client.find(hash, is_his).copied()
    }

    fn of_path(&self, socket: u32, to: SocketAddr) -> Option<u32> {
        let is_its = |number: &u32| {
            let session = self.entries.get(index(*number));
            session.is_some_and(|session| session.socket == socket && session.to == to)
        };
        let hash = self.hasher.hash_one((socket, to));
        self.by_path.find(hash, is_its).copied()
    }

    fn touch(&mut self, number: u32, now: u64) {
        if self.newest != number {
            self.unlink(number);
            self.link(number);
        }
        if let Some(session) = self.entries.get_mut(index(number)) {
            session.used_at = session.used_at.max(now);
        }
    }

    /// Puts a session behind the newest one.
    fn link(&mut self, number: u32) {
        let before = std::mem::replace(&mut self.newest, number);
        match self.entries.get_mut(index(before)) {
            Some(before) => before.newer = number,
            None => self.oldest = number,
        }
        if let Some(session) = self.entries.get_mut(index(number)) {
            (session.older, session.newer) = (before, NONE);
        }
    }

    fn unlink(&mut self, number: u32) {
        let Some(session) = self.entries.get(index(number)) else {
            return;
        };
        let (older, newer) = (session.older, session.newer);
        match self.entries.get_mut(index(older)) {
            Some(session) => session.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(index(newer)) {
            Some(session) => session.older = older,
            None => self.newest = older,
        }
    }

    /// Gives memory back as far as the numbers of the sessions allow.
    fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_client.shrink_to(entries.len() * 2, |number| {
            hash_client(entries, hasher, *number)
        });
        self.by_path.shrink_to(entries.len() * 2, |number| {
            hash_path(entries, hasher, *number)
        });
    }
}

fn hash_client<M, P>(entries: &Slab<Session<M, P>>, hasher: &RandomState, number: u32) -> u64 {
    let session = entries.get(index(number));
    session.map_or(0, |session| hasher.hash_one(session.client))
}

fn hash_path<M, P>(entries: &Slab<Session<M, P>>, hasher: &RandomState, number: u32) -> u64 {
    let session = entries.get(index(number));
    session.map_or(0, |session| hasher.hash_one((session.socket, session.to)))
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
