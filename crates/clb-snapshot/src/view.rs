//! A pool's members as they may be chosen: immutable, replaced whole.

use std::net::SocketAddr;
use std::sync::Arc;

use clb_balance::{IpHash, Occurrences, Sequence};
use clb_model::{BindingId, Protocol, Scheduler, SessionExpire, Weight};

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

/// How clients stay with their members (semantics.md 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stickiness {
    /// They do not.
    #[default]
    Off,
    /// Layer 4: by the client's address, until it has opened no connection for this long.
    Address(SessionExpire),
    /// Layer 7: by a cookie that lives this long.
    Cookie(SessionExpire),
}

impl Stickiness {
    /// What a `sessionExpire` means for a listener of this protocol.
    #[must_use]
    pub fn of(protocol: Protocol, session_expire: Option<SessionExpire>) -> Self {
        match session_expire {
            None => Self::Off,
            Some(expire) if protocol.is_layer7() => Self::Cookie(expire),
            Some(expire) => Self::Address(expire),
        }
    }
}

/// What a pick is made from. A change of weight, health or members makes a new view and puts it
/// into the [`Pool`](crate::Pool).
///
/// What is read for every request comes first and is on one line of the cache.
#[derive(Debug)]
#[repr(C)]
pub struct PoolView {
    scheduler: Scheduler,
    stickiness: Stickiness,
    /// The only one that may be picked, if it is only one: here, so that neither it nor its share
    /// is looked for.
    only: Option<Member>,
    members: Box<[Member]>,
    /// By member: its weight if it is eligible, else 0.
    shares: Box<[u8]>,
    eligible: usize,
    sequence: Sequence,
    occurrences: Occurrences,
    /// Empty unless the scheduler is ip_hash.
    ip_hash: IpHash,
    /// Sorted: the place of each binding.
    by_binding: Box<[(BindingId, usize)]>,
}

impl PoolView {
    /// Compiles a view (semantics.md 2): eligible are the members of weight above 0 that
    /// [may serve](MemberHealth::may_serve); if there is none, all of weight above 0; if there is
    /// none of those either, nobody.
    #[must_use]
    pub fn build(scheduler: Scheduler, stickiness: Stickiness, members: Vec<Member>) -> Self {
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
        let sequence = match scheduler {
            Scheduler::Wrr | Scheduler::LeastConn => Sequence::smooth(&shares),
            Scheduler::IpHash => Sequence::default(),
        };
        let occurrences = match scheduler {
            Scheduler::LeastConn => sequence.occurrences(),
            Scheduler::Wrr | Scheduler::IpHash => Occurrences::default(),
        };
        let ip_hash = match scheduler {
            Scheduler::IpHash => {
                let shares = members.iter().zip(&shares);
                let members: Vec<_> = shares
                    .map(|(member, &share)| (member.binding.0, share))
                    .collect();
                IpHash::new(&members)
            }
            Scheduler::Wrr | Scheduler::LeastConn => IpHash::default(),
        };
        let mut by_binding: Box<[_]> = (0..)
            .zip(&members)
            .map(|(index, member)| (member.binding, index))
            .collect();
        by_binding.sort_unstable();
        let mut eligible = shares.iter().zip(&members).filter(|(share, _)| **share > 0);
        let only = match (eligible.next(), eligible.next()) {
            (Some((_, member)), None) => Some(member.clone()),
            _ => None,
        };
        Self {
            scheduler,
            stickiness,
            eligible: shares.iter().filter(|&&share| share > 0).count(),
            only,
            members: members.into(),
            shares,
            sequence,
            occurrences,
            ip_hash,
            by_binding,
        }
    }

    /// How members are chosen.
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        self.scheduler
    }

    /// How clients stay with their members.
    #[must_use]
    pub fn stickiness(&self) -> Stickiness {
        self.stickiness
    }

    /// How long a session cookie lives, if clients are to be given one: not with ip_hash, where
    /// the hash is the persistence (semantics.md 3).
    #[must_use]
    pub fn cookie_expire(&self) -> Option<SessionExpire> {
        match (self.scheduler, self.stickiness) {
            (Scheduler::Wrr | Scheduler::LeastConn, Stickiness::Cookie(expire)) => Some(expire),
            _ => None,
        }
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

    /// The member that may be picked, if it is the only one.
    pub(crate) fn only(&self) -> Option<&Member> {
        self.only.as_ref()
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

    /// The member of a binding.
    pub(crate) fn member(&self, binding: BindingId) -> Option<&Member> {
        self.members.get(self.index(binding)?)
    }

    /// The member of a binding if it may be picked.
    #[must_use]
    pub fn eligible_member(&self, binding: BindingId) -> Option<&Member> {
        let index = self.index(binding)?;
        self.members
            .get(index)
            .filter(|_| self.shares.get(index).is_some_and(|&share| share > 0))
    }

    fn index(&self, binding: BindingId) -> Option<usize> {
        let place = self
            .by_binding
            .binary_search_by_key(&binding, |&(binding, _)| binding)
            .ok()?;
        self.by_binding.get(place).map(|&(_, index)| index)
    }

    pub(crate) fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    pub(crate) fn occurrences(&self) -> &Occurrences {
        &self.occurrences
    }

    pub(crate) fn ip_hash(&self) -> &IpHash {
        &self.ip_hash
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
        let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, members);
        let eligible: Vec<u64> = view.eligible().map(|member| member.binding.0).collect();
        assert_eq!(view.eligible_count(), eligible.len());
        let only = view.only().map(|member| member.binding.0);
        assert_eq!(only, (eligible.len() == 1).then(|| eligible[0]));
        for member in view.members() {
            let found = view.eligible_member(member.binding).is_some();
            assert_eq!(found, eligible.contains(&member.binding.0));
        }
        eligible
    }

    #[test]
    fn what_session_expire_means() {
        let expire = SessionExpire::try_from(900).unwrap();
        let cookie = |scheduler, protocol| {
            PoolView::build(
                scheduler,
                Stickiness::of(protocol, Some(expire)),
                Vec::new(),
            )
            .cookie_expire()
        };
        assert_eq!(Stickiness::of(Protocol::Http, None), Stickiness::Off);
        for protocol in [Protocol::Http, Protocol::Https] {
            assert_eq!(cookie(Scheduler::Wrr, protocol), Some(expire));
            assert_eq!(cookie(Scheduler::IpHash, protocol), None);
        }
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let stickiness = Stickiness::of(protocol, Some(expire));
            assert_eq!(stickiness, Stickiness::Address(expire));
            assert_eq!(cookie(Scheduler::Wrr, protocol), None);
        }
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
