//! Which socket a session's datagrams go through.
//!
//! An answer comes to a socket from a backend's address, and by these two the session is found. So
//! a socket can carry as many sessions as there are backends, and a listener needs as many sockets
//! as its busiest backend has sessions: with one for each session, the limit of descriptors would
//! be that of sessions.
//!
//! As long as there are plenty, a session gets a socket that is connected to its backend all the
//! same: a datagram then costs the kernel no search for its route.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use slab::Slab;

/// What sockets differ by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// Of IPv6, else IPv4.
    pub(crate) is_v6: bool,
    /// The hops that its datagrams have before them.
    pub(crate) hops: u8,
}

/// The sockets themselves, named by numbers.
pub(crate) trait Sockets {
    /// Opens a socket under a number that is not in use, connected if it is said to what; false if
    /// there can not be one.
    fn open(&mut self, number: u32, kind: Kind, to: Option<SocketAddr>) -> bool;

    /// Whether there may be so many more that each session can have its own.
    fn are_plenty(&self) -> bool;

    /// Closes it.
    fn close(&mut self, number: u32);
}

/// The sockets of one listener on one worker, and what they are used for.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    sockets: Slab<Socket>,
    /// By kind: sockets at their positions, `None` where one was closed.
    positions: HashMap<Kind, Vec<Option<u32>>>,
    targets: HashMap<(Kind, SocketAddr), Target>,
}

#[derive(Debug)]
struct Socket {
    kind: Kind,
    place: Place,
    sessions: u32,
    /// When the last session left it.
    unused_since: u64,
}

/// What a socket is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is connected to a backend.
    Own(SocketAddr),
    /// It is the one at this position of its kind, for sessions with different backends.
    Shared(usize),
}

/// What a session has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Own(u32),
    Shared(usize),
}

/// A backend: which sockets it has sessions at.
#[derive(Debug, Default)]
struct Target {
    sessions: u32,
    /// Sockets that are connected to it and free.
    own: BTreeSet<u32>,
    /// It never had a session at this position and those behind it.
    next: usize,
    /// Positions that are free again. The first ones are taken first, so that few sockets are used
    /// and the others can be closed.
    free: BTreeSet<usize>,
    /// What sessions have left, with the time from when it is free: an answer to such a session that
    /// is late must not reach another client.
    cooling: VecDeque<(u64, Left)>,
}

impl Paths {
    /// A socket for a new session with a backend: no other session with it has the socket. `None`
    /// if there can not be one.
    pub(crate) fn take(
        &mut self,
        now: u64,
        kind: Kind,
        to: SocketAddr,
        io: &mut impl Sockets,
    ) -> Option<u32> {
        let target = self.targets.entry((kind, to)).or_default();
        target.cool_down(now);
        let number = match target.own.pop_first() {
            Some(number) => Some(number),
            None if io.are_plenty() => self.open(now, kind, Place::Own(to), io),
            None => None,
        };
        let number = number.or_else(|| self.take_shared(now, kind, to, io))?;
        self.targets.get_mut(&(kind, to))?.sessions += 1;
        self.sockets.get_mut(index(number))?.sessions += 1;
        Some(number)
    }

    fn open(&mut self, now: u64, kind: Kind, place: Place, io: &mut impl Sockets) -> Option<u32> {
        let entry = self.sockets.vacant_entry();
        let number = u32::try_from(entry.key()).ok()?;
        let to = match place {
            Place::Own(to) => Some(to),
            Place::Shared(_) => None,
        };
        if !io.open(number, kind, to) {
            return None;
        }
        entry.insert(Socket {
            kind,
            place,
            sessions: 0,
            unused_since: now,
        });
        Some(number)
    }

    /// A socket that sessions with other backends may have, too; if there can be no other one, one
    /// that should still wait.
    fn take_shared(
        &mut self,
        now: u64,
        kind: Kind,
        to: SocketAddr,
        io: &mut impl Sockets,
    ) -> Option<u32> {
        let target = self.targets.get_mut(&(kind, to))?;
        let position = target.free.pop_first().unwrap_or_else(|| {
            target.next += 1;
            target.next - 1
        });
        if let Some(number) = self.socket_at(kind, position) {
            return Some(number);
        }
        if let Some(number) = self.open(now, kind, Place::Shared(position), io) {
            let places = self.positions.entry(kind).or_default();
            if places.len() <= position {
                places.resize(position + 1, None);
            }
            if let Some(place) = places.get_mut(position) {
                *place = Some(number);
            }
            return Some(number);
        }
        // Of those that are open, one that is free, or else the one that will be soonest.
        let places = self.positions.get(&kind);
        let open = |position: usize| places?.get(position).copied().flatten();
        let target = self.targets.get_mut(&(kind, to))?;
        target.free.insert(position);
        if let Some(free) = target
            .free
            .iter()
            .copied()
            .find(|free| open(*free).is_some())
        {
            target.free.remove(&free);
            return open(free);
        }
        let is_open = |left: &Left| match left {
            Left::Own(_) => true,
            Left::Shared(position) => open(*position).is_some(),
        };
        let soonest = target.cooling.iter().position(|(_, left)| is_open(left))?;
        match target.cooling.remove(soonest)?.1 {
            Left::Own(number) => Some(number),
            Left::Shared(position) => open(position),
        }
    }

    fn socket_at(&self, kind: Kind, position: usize) -> Option<u32> {
        self.positions.get(&kind)?.get(position).copied().flatten()
    }

    /// A session no longer has this socket; another one with the same backend gets it not before
    /// `free_at`, unless there can be no other socket.
    pub(crate) fn release(&mut self, now: u64, number: u32, to: SocketAddr, free_at: u64) {
        let Some(socket) = self.sockets.get_mut(index(number)) else {
            return;
        };
        socket.sessions = socket.sessions.saturating_sub(1);
        socket.unused_since = now;
        if let Some(target) = self.targets.get_mut(&(socket.kind, to)) {
            target.sessions = target.sessions.saturating_sub(1);
            let left = match socket.place {
                Place::Own(_) => Left::Own(number),
                Place::Shared(position) => Left::Shared(position),
            };
            target.cooling.push_back((free_at, left));
        }
    }

    /// What kind of socket it is.
    pub(crate) fn kind(&self, number: u32) -> Option<Kind> {
        self.sockets.get(index(number)).map(|socket| socket.kind)
    }

    /// Closes sockets that had no session for `unused_ms`, and forgets backends without sessions.
    pub(crate) fn sweep(&mut self, now: u64, unused_ms: u64, io: &mut impl Sockets) {
        let (positions, targets) = (&mut self.positions, &mut self.targets);
        self.sockets.retain(|number, socket| {
            if socket.sessions > 0 || now < socket.unused_since.saturating_add(unused_ms) {
                return true;
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            match socket.place {
                Place::Own(to) => {
                    if let Some(target) = targets.get_mut(&(socket.kind, to)) {
                        target.own.remove(&number);
                        target
                            .cooling
                            .retain(|(_, left)| *left != Left::Own(number));
                    }
                }
                Place::Shared(position) => {
                    let places = positions.entry(socket.kind).or_default();
                    if let Some(place) = places.get_mut(position) {
                        *place = None;
                    }
                }
            }
            io.close(number);
            false
        });
        targets.retain(|_, target| {
            target.cool_down(now);
            target.sessions > 0 || !target.cooling.is_empty() || !target.own.is_empty()
        });
        if targets.is_empty() {
            // Nobody names a position any more.
            positions.retain(|_, places| places.iter().any(Option::is_some));
        }
    }

    /// The sockets that sessions have, with their kind and what they are connected to.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, Kind, Option<SocketAddr>)> {
        let used = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.sessions > 0);
        used.filter_map(|(number, socket)| {
            let to = match socket.place {
                Place::Own(to) => Some(to),
                Place::Shared(_) => None,
            };
            Some((u32::try_from(number).ok()?, socket.kind, to))
        })
    }

    /// A number for a socket that is open already; it is closed by the next sweep unless a session
    /// [has](Self::occupy) it.
    pub(crate) fn adopt(&mut self, kind: Kind, connected: Option<SocketAddr>) -> Option<u32> {
        let entry = self.sockets.vacant_entry();
        let number = u32::try_from(entry.key()).ok()?;
        let place = match connected {
            Some(to) => Place::Own(to),
            None => {
                let places = self.positions.entry(kind).or_default();
                places.push(Some(number));
                Place::Shared(places.len() - 1)
            }
        };
        entry.insert(Socket {
            kind,
            place,
            sessions: 0,
            unused_since: 0,
        });
        Some(number)
    }

    /// Forgets an [adopted](Self::adopt) socket that no session has.
    pub(crate) fn abandon(&mut self, number: u32) {
        let Some(socket) = self.sockets.try_remove(index(number)) else {
            return;
        };
        if let Place::Shared(position) = socket.place
            && let Some(places) = self.positions.get_mut(&socket.kind)
            && let Some(place) = places.get_mut(position)
        {
            *place = None;
        }
    }

    /// A session with a backend has an [adopted](Self::adopt) socket.
    pub(crate) fn occupy(&mut self, number: u32, to: SocketAddr) {
        let Some(socket) = self.sockets.get_mut(index(number)) else {
            return;
        };
        socket.sessions += 1;
        let target = self.targets.entry((socket.kind, to)).or_default();
        target.sessions += 1;
        if let Place::Shared(position) = socket.place {
            target.free.extend(target.next..position);
            target.free.remove(&position);
            target.next = target.next.max(position + 1);
        }
    }

    /// Closes all.
    pub(crate) fn clear(&mut self, io: &mut impl Sockets) {
        for (number, _) in &self.sockets {
            if let Ok(number) = u32::try_from(number) {
                io.close(number);
            }
        }
        *self = Self::default();
    }

    /// Sockets that are open.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }
}

impl Target {
    fn cool_down(&mut self, now: u64) {
        while let Some(&(free_at, left)) = self.cooling.front()
            && free_at <= now
        {
            self.cooling.pop_front();
            match left {
                Left::Own(number) => self.own.insert(number),
                Left::Shared(position) => self.free.insert(position),
            };
        }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sockets that open as long as there is room.
    struct Room {
        open: BTreeSet<u32>,
        limit: usize,
        plenty: usize,
    }

    impl Sockets for Room {
        fn are_plenty(&self) -> bool {
            self.open.len() < self.plenty
        }

        fn open(&mut self, number: u32, _: Kind, _: Option<SocketAddr>) -> bool {
            let has_room = self.open.len() < self.limit;
            assert!(!has_room || self.open.insert(number), "{number} is in use");
            has_room
        }

        fn close(&mut self, number: u32) {
            assert!(self.open.remove(&number), "{number} is not in use");
        }
    }

    const KIND: Kind = Kind {
        is_v6: false,
        hops: 56,
    };

    fn room(limit: usize) -> Room {
        let (open, plenty) = (BTreeSet::new(), 0);
        Room {
            open,
            limit,
            plenty,
        }
    }

    fn backend(number: u16) -> SocketAddr {
        ([192, 0, 2, 1], number).into()
    }

    #[test]
    fn sessions_with_different_backends_share_sockets() {
        let (mut paths, mut room) = (Paths::default(), room(100));
        for count in 0..10 {
            for number in 1..=7 {
                let socket = paths.take(0, KIND, backend(number), &mut room);
                assert_eq!(socket, Some(count));
            }
        }
        assert_eq!(room.open.len(), 10);
        // Another kind has sockets of its own.
        let kind = Kind { hops: 48, ..KIND };
        assert_eq!(paths.take(0, kind, backend(1), &mut room), Some(10));
        assert_eq!(paths.kind(10), Some(kind));
    }

    #[test]
    fn a_socket_is_given_to_the_same_backend_again_after_its_time_only() {
        let (mut paths, mut room) = (Paths::default(), room(100));
        let to = backend(1);
        assert_eq!(paths.take(0, KIND, to, &mut room), Some(0));
        paths.release(5, 0, to, 15);
        assert_eq!(paths.take(14, KIND, to, &mut room), Some(1));
        assert_eq!(paths.take(14, KIND, backend(2), &mut room), Some(0));
        assert_eq!(paths.take(15, KIND, to, &mut room), Some(0));
        assert_eq!(paths.take(15, KIND, to, &mut room), Some(2));
    }

    #[test]
    fn without_another_socket_the_one_that_was_left_first_is_taken() {
        let (mut paths, mut room) = (Paths::default(), room(2));
        let to = backend(1);
        let numbers = [(); 3].map(|()| paths.take(0, KIND, to, &mut room));
        assert_eq!(numbers, [Some(0), Some(1), None]);
        paths.release(1, 1, to, 100);
        paths.release(2, 0, to, 100);
        let numbers = [(); 3].map(|()| paths.take(3, KIND, to, &mut room));
        assert_eq!(numbers, [Some(1), Some(0), None]);
        assert_eq!(paths.take(3, KIND, backend(2), &mut room), Some(0));
    }

    #[test]
    fn unused_sockets_are_closed_and_their_places_serve_again() {
        let (mut paths, mut room) = (Paths::default(), room(100));
        let to = backend(1);
        for _ in 0..5 {
            paths.take(0, KIND, to, &mut room);
        }
        for number in [0, 1, 3] {
            paths.release(10, number, to, 20);
        }
        paths.sweep(19, 10, &mut room);
        assert_eq!(room.open.len(), 5);
        paths.sweep(20, 10, &mut room);
        assert_eq!((room.open.len(), paths.sockets()), (2, 2));
        // A new one at the first position, whatever its number.
        let number = paths.take(20, KIND, to, &mut room).unwrap();
        assert!(room.open.contains(&number) && room.open.len() == 3);
        paths.clear(&mut room);
        assert!(room.open.is_empty());
        assert_eq!(paths.take(20, KIND, to, &mut room), Some(0));
    }

    #[test]
    fn backends_without_sessions_are_forgotten() {
        let (mut paths, mut room) = (Paths::default(), room(1));
        for number in 1..=50 {
            let socket = paths.take(0, KIND, backend(number), &mut room);
            paths.release(0, socket.unwrap(), backend(number), 10);
        }
        paths.sweep(9, 10, &mut room);
        assert_eq!(paths.targets.len(), 50);
        paths.sweep(10, 10, &mut room);
        assert_eq!((paths.targets.len(), paths.positions.len()), (0, 0));
    }

    #[test]
    fn while_there_are_plenty_each_session_has_its_own() {
        let (mut paths, mut room) = (Paths::default(), room(5));
        room.plenty = 3;
        let to = [backend(1), backend(2)];
        let numbers = [0, 1, 0].map(|at| paths.take(0, KIND, to[at], &mut room));
        assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
        // No longer: the next ones share.
        let numbers = [0, 1, 0].map(|at| paths.take(0, KIND, to[at], &mut room));
        assert_eq!(numbers, [Some(3), Some(3), Some(4)]);
        assert_eq!(paths.take(0, KIND, to[0], &mut room), None);
        // One's own is for the same backend only, after its time.
        paths.release(0, 0, to[0], 10);
        assert_eq!(paths.take(9, KIND, to[1], &mut room), Some(4));
        assert_eq!(paths.take(9, KIND, to[1], &mut room), None);
        assert_eq!(paths.take(10, KIND, to[0], &mut room), Some(0));
        // Before its time only for want of another.
        paths.release(10, 2, to[0], 20);
        assert_eq!(paths.take(11, KIND, to[0], &mut room), Some(2));
        // Unused ones are closed and forgotten.
        paths.release(11, 2, to[0], 30);
        paths.release(11, 1, to[1], 15);
        paths.sweep(21, 10, &mut room);
        assert_eq!(room.open.len(), 3);
        assert!(paths.take(40, KIND, to[0], &mut room).is_some());
    }
}
