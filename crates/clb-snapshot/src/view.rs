//! A pool's members as they may be chosen: immutable, replaced whole.

use std::net::SocketAddr;
use std::sync::Arc;

use clb_balance::{Occurrences, Sequence};
use clb_model::{BindingId, Scheduler, SessionExpire, Weight};

use crate::health::MemberHealth;
use crate::live::MemberLive;

/// One backend of a pool.
#[derive(Debug, Clone)]
pub struct Member {
    /// The binding; unique in the pool.
    pub binding: BindingId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its weight.
    pub weight: Weight,
    /// What its health check says.
    pub health: MemberHealth,
    /// Its live state, the same `Arc` in every view that holds this binding.
    pub live: Arc<MemberLive>,
}

/// What a pick is made from. A change of weight, health or members makes a new view and puts it
/// into the [`Pool`](crate::Pool).
#[derive(Debug)]
pub struct PoolView {
    scheduler: Scheduler,
    session_expire: Option<SessionExpire>,
    members: Box<[Member]>,
    /// By member: its weight if it is eligible, else 0.
    shares: Box<[u8]>,
    eligible: usize,
    sequence: Sequence,
    occurrences: Occurrences,
    /// Sorted: the place of each binding.
    by_binding: Box<[(BindingId, usize)]>,
}

impl PoolView {
    /// Compiles a view (semantics.md 2): eligible are the members of weight above 0 that
    /// [may serve](MemberHealth::may_serve); if there is none, all of weight above 0; if there is
    /// none of those either, nobody.
    ///
    /// `session_expire` is the layer-4 session persistence, `None` when it is off.
    #[must_use]
    pub fn build(
        scheduler: Scheduler,
        session_expire: Option<SessionExpire>,
        members: Vec<Member>,
    ) -> Self {
        let has_choice = members
            .iter()
            .any(|member| member.weight.get() > 0 && member.health.may_serve());
        let shares: Box<[u8]> = members
            .iter()
            .map(|member| match member.health.may_serve() || !has_choice {
                true => member.weight.get(),
                false => 0,
            })
            .collect();
        let sequence = Sequence::smooth(&shares);
        let occurrences = match scheduler {
            Scheduler::LeastConn => sequence.occurrences(),
            Scheduler::Wrr | Scheduler::IpHash => Occurrences::default(),
        };
        let mut by_binding: Box<[_]> = (0..)
            .zip(&members)
            .map(|(index, member)| (member.binding, index))
            .collect();
        by_binding.sort_unstable();
        Self {
            scheduler,
            session_expire,
            eligible: shares.iter().filter(|&&share| share > 0).count(),
            members: members.into(),
            shares,
            sequence,
            occurrences,
            by_binding,
        }
    }

    /// How members are chosen.
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        self.scheduler
    }

    /// How long a client stays with its member after its last connection.
    #[must_use]
    pub fn session_expire(&self) -> Option<SessionExpire> {
        self.session_expire
    }

    /// All members, in the order they were given.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members that may be picked, in the same order.
    pub fn eligible(&self) -> impl Iterator<Item = &Member> {
        self.eligible_shares().map(|(_, _, member)| member)
    }

    /// How many members may be picked.
    pub(crate) fn eligible_count(&self) -> usize {
        self.eligible
    }

    /// Index, weight and member of those that may be picked.
    pub(crate) fn eligible_shares(&self) -> impl Iterator<Item = (usize, u8, &Member)> + Clone {
        (0..)
            .zip(&self.shares)
            .zip(&self.members)
            .filter(|((_, share), _)| **share > 0)
            .map(|((index, &share), member)| (index, share, member))
    }

    /// The member of a binding if it may be picked.
    pub(crate) fn eligible_member(&self, binding: BindingId) -> Option<&Member> {
        let place = self
            .by_binding
            .binary_search_by_key(&binding, |&(binding, _)| binding)
            .ok()?;
        let &(_, index) = self.by_binding.get(place)?;
        self.members
            .get(index)
            .filter(|_| self.shares.get(index).is_some_and(|&share| share > 0))
    }

    pub(crate) fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    pub(crate) fn occurrences(&self) -> &Occurrences {
        &self.occurrences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberHealth::{Detecting, Healthy, Off, Unhealthy};

    const FOUNDING: MemberHealth = Detecting { founding: true };
    const NEW: MemberHealth = Detecting { founding: false };

    fn eligible(members: &[(i64, MemberHealth)]) -> Vec<u64> {
        let members = (0..)
            .zip(members)
            .map(|(number, &(weight, health))| Member {
                binding: BindingId(number),
                addr: ([127, 0, 0, 1], 9).into(),
                weight: Weight::try_from(weight).unwrap(),
                health,
                live: Arc::new(MemberLive::new(1)),
            })
            .collect();
        let view = PoolView::build(Scheduler::Wrr, None, members);
        let eligible: Vec<u64> = view.eligible().map(|member| member.binding.0).collect();
        assert_eq!(view.eligible_count(), eligible.len());
        for member in view.members() {
            let found = view.eligible_member(member.binding).is_some();
            assert_eq!(found, eligible.contains(&member.binding.0));
        }
        eligible
    }

    #[test]
    fn the_table_of_eligibility() {
        let all = [Off, Healthy, FOUNDING, NEW, Unhealthy];
        for (case, members, wanted) in [
            ("empty pool", &[][..], &[][..]),
            ("check off", &[(10, Off), (10, Off)], &[0, 1]),
            ("one of each", &all.map(|health| (10, health)), &[0, 1, 2]),
            ("one of each, weight 0", &all.map(|health| (0, health)), &[]),
            (
                "founding serves at once",
                &[(10, FOUNDING), (10, NEW)],
                &[0],
            ),
            (
                "weight 0 never serves",
                &[(0, Healthy), (10, Healthy)],
                &[1],
            ),
            (
                "all dead means all alive",
                &[(10, Unhealthy), (5, Unhealthy)],
                &[0, 1],
            ),
            (
                "detecting counts as dead",
                &[(10, Unhealthy), (5, NEW)],
                &[0, 1],
            ),
            (
                "but weight 0 stays out",
                &[(10, Unhealthy), (0, Healthy)],
                &[0],
            ),
            (
                "one alive is enough",
                &[(10, Unhealthy), (1, Healthy)],
                &[1],
            ),
        ] {
            assert_eq!(eligible(members), wanted, "{case}");
        }
    }
}
