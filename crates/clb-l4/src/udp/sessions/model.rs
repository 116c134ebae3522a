//! A world for tests: a pool with round robin, and sockets that are numbers.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::*;

pub(super) fn client(number: u16) -> SocketAddr {
    ([198, 51, 100, 1], number).into()
}

pub(super) fn backend(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

/// A share of a count.
#[derive(Debug)]
pub(super) struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn one_of(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) addr: SocketAddr,
    pub(super) is_eligible: bool,
    /// Sessions with it.
    pub(super) sessions: Rc<Cell<usize>>,
}

pub(super) struct Model {
    pub(super) backends: BTreeMap<BindingId, Backend>,
    turn: usize,
    version: u64,
    pub(super) open: BTreeSet<u32>,
    pub(super) sessions: Rc<Cell<usize>>,
    pub(super) most_sessions: usize,
    pub(super) most_sockets: usize,
    /// Sockets of which each session has its own.
    pub(super) plenty: usize,
    pub(super) stayed: usize,
}

impl Model {
    /// Backends at ports from 1 on, all eligible.
    pub(super) fn new(backends: u16) -> Self {
        let mut model = Self {
            backends: BTreeMap::new(),
            turn: 0,
            version: 0,
            open: BTreeSet::new(),
            sessions: Rc::default(),
            most_sessions: usize::MAX,
            most_sockets: usize::MAX,
            plenty: 0,
            stayed: 0,
        };
        (1..=backends).for_each(|port| model.bind(port.into(), port));
        model
    }

    pub(super) fn bind(&mut self, binding: u64, port: u16) {
        let new = Backend {
            addr: backend(port),
            is_eligible: true,
            sessions: Rc::default(),
        };
        self.backends.insert(BindingId(binding), new);
        self.version += 1;
    }

    pub(super) fn unbind(&mut self, binding: BindingId) {
        self.backends.remove(&binding);
        self.version += 1;
    }

    pub(super) fn change(&mut self, binding: BindingId, change: impl FnOnce(&mut Backend)) {
        if let Some(backend) = self.backends.get_mut(&binding) {
            change(backend);
        }
        self.version += 1;
    }

    /// The backend of a binding that is its first port.
    pub(super) fn set_eligible(&mut self, port: u16, is_eligible: bool) {
        self.change(BindingId(port.into()), |backend| {
            backend.is_eligible = is_eligible;
        });
    }

    pub(super) fn eligible(&self) -> impl Iterator<Item = (BindingId, &Backend)> {
        let backends = self.backends.iter();
        let eligible = backends.filter(|(_, backend)| backend.is_eligible);
        eligible.map(|(binding, backend)| (*binding, backend))
    }
}

impl Sockets for Model {
    fn are_plenty(&self) -> bool {
        self.open.len() < self.plenty
    }

    fn open(&mut self, number: u32, _: Kind, _: Option<SocketAddr>) -> bool {
        let has_room = self.open.len() < self.most_sockets;
        assert!(!has_room || self.open.insert(number), "{number} is in use");
        has_room
    }

    fn close(&mut self, number: u32) {
        assert!(self.open.remove(&number), "{number} is not in use");
    }
}

impl World for Model {
    type Member = Counted;
    type Place = Counted;

    fn version(&self) -> u64 {
        self.version
    }

    fn keeps(&self, binding: BindingId) -> Option<SocketAddr> {
        let backend = self.backends.get(&binding)?;
        backend.is_eligible.then_some(backend.addr)
    }

    fn pick(
        &mut self,
        _: SocketAddr,
        _: u64,
        failed: Option<(BindingId, Turn)>,
    ) -> Option<Choice<Counted>> {
        let mut candidates: Vec<_> = self.eligible().collect();
        if candidates.len() > 1 {
            candidates.retain(|(binding, _)| failed.is_none_or(|(failed, _)| failed != *binding));
        }
        let (binding, backend) = *candidates.get(self.turn % candidates.len().max(1))?;
        let choice = Choice {
            binding,
            turn: Turn::default(),
            to: backend.addr,
            member: Counted::one_of(&backend.sessions),
        };
        self.turn += 1;
        Some(choice)
    }

    fn stay(&mut self, _: SocketAddr, _: BindingId, _: u64) {
        self.stayed += 1;
    }

    fn admit(&mut self, _: SocketAddr) -> Result<Counted, Refusal> {
        let has_room = self.sessions.get() < self.most_sessions;
        has_room
            .then(|| Counted::one_of(&self.sessions))
            .ok_or(Refusal::UdpSessions)
    }
}
