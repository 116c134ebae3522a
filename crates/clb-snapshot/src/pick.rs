//! A chosen member, and what was tried before it.

use std::net::SocketAddr;
use std::sync::Arc;

use clb_model::BindingId;
use tokio::task::AbortHandle;

use crate::live::{Admission, Counted, MemberLive};
use crate::view::Member;

/// Members that are tried for one connection at most (semantics.md 5).
pub const MAX_ATTEMPTS: usize = 3;

/// What was tried for one connection so far.
#[derive(Debug, Default)]
pub struct TriedSet {
    pub(crate) bindings: [Option<BindingId>; MAX_ATTEMPTS],
    /// The round-robin ticket that the connection drew.
    pub(crate) ticket: Option<u64>,
}

impl TriedSet {
    /// Nothing tried yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One member that was tried before, in this turn.
    #[must_use]
    pub fn of(binding: BindingId, turn: Turn) -> Self {
        let mut tried = Self::new();
        tried.ticket = turn.0;
        if let Some(first) = tried.bindings.first_mut() {
            *first = Some(binding);
        }
        tried
    }

    /// Notes a pick that failed. Beyond [`MAX_ATTEMPTS`] nothing is noted.
    pub fn record(&mut self, pick: &Pick) {
        self.ticket = self.ticket.or(pick.ticket);
        if let Some(free) = self.bindings.iter_mut().find(|tried| tried.is_none()) {
            *free = Some(pick.binding);
        }
    }

    /// How many members were tried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bindings.iter().flatten().count()
    }

    /// True before the first attempt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, binding: BindingId) -> bool {
        self.bindings.contains(&Some(binding))
    }
}

/// A client's turn in round robin: what it goes on from when its member fails, so that a dead
/// member's share falls to its followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn(Option<u64>);

/// A chosen member. It is counted as active there until this is dropped.
#[derive(Debug)]
pub struct Pick {
    counted: Counted,
    binding: BindingId,
    addr: SocketAddr,
    ticket: Option<u64>,
    is_wanted: bool,
}

impl Pick {
    /// The binding that was chosen.
    #[must_use]
    pub fn binding(&self) -> BindingId {
        self.binding
    }

    /// The turn in which it was chosen.
    #[must_use]
    pub fn turn(&self) -> Turn {
        Turn(self.ticket)
    }

    /// Where to connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether it is the member that the client belonged to already, by its cookie or address.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// The member's live state: one for each binding in each pool, for as long as the binding
    /// exists. To keep connections by, compare the `Arc`s.
    #[must_use]
    pub fn live(&self) -> &Arc<MemberLive> {
        self.counted.live()
    }

    /// Makes the connection one that the member's [`reset_all`](MemberLive::reset_all) ends, by
    /// aborting `task`; `None`, and the pick is over, when that has happened already.
    #[must_use]
    pub fn admit(self, worker: usize, task: AbortHandle) -> Option<Admission> {
        self.counted.admit(worker, task)
    }

    /// Makes it a session of the member that no task serves, and that the member's
    /// [`reset_all`](MemberLive::reset_all) does not end.
    #[must_use]
    pub fn count(self, worker: usize) -> Admission {
        self.counted.count(worker)
    }

    /// Counts a member in.
    pub(crate) fn count_in(member: &Member, ticket: Option<u64>) -> Self {
        Self::new(member, Counted::new(Arc::clone(&member.live)), ticket)
    }

    /// A pick that `counted` already holds.
    pub(crate) fn new(member: &Member, counted: Counted, ticket: Option<u64>) -> Self {
        Self {
            counted,
            binding: member.binding,
            addr: member.addr,
            ticket,
            is_wanted: false,
        }
    }

    /// Notes that the client belonged to this member already.
    pub(crate) fn wanted(mut self) -> Self {
        self.is_wanted = true;
        self
    }
}
