//! Fewest active connections by weight.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Cursor, Occurrences, Sequence};

/// How often a pick is tried anew when other workers keep changing the count of the member that
/// was to be taken; after that the last choice stands.
const ATTEMPTS: usize = 16;

/// What least_conn must know of one member.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its index in the pool, as in the sequence.
    pub index: usize,
    /// Its weight, above 0.
    pub weight: u8,
    /// Its active connections, over all workers.
    pub active: &'a AtomicU64,
}

/// The choice of the member with the smallest `active / weight`; among equals, the one whose turn
/// in weighted round robin comes first.
#[derive(Debug, Clone, Copy)]
pub struct LeastConn<'a> {
    /// Weighted round robin over the same members.
    pub sequence: &'a Sequence,
    /// The sequence's places by member.
    pub occurrences: &'a Occurrences,
    /// The pool's cursor; a tie moves it to just behind the picked place.
    pub cursor: &'a Cursor,
}

/// Orders by `active / weight` without dividing; 128 bits, so that no count overflows.
fn ratio_is_less((active, weight): (u64, u8), (other_active, other_weight): (u64, u8)) -> bool {
    u128::from(active) * u128::from(other_weight) < u128::from(other_active) * u128::from(weight)
}

impl LeastConn<'_> {
    /// Picks among `members` (those that may be picked now; the iterator is walked once or more
    /// often) and adds 1 to the picked one's active connections; gives its index.
    ///
    /// The addition succeeds only if the count is still the one that was compared, so two workers
    /// never take the same last slot; when 16 attempts in a row were overtaken, the last choice is
    /// taken all the same.
    pub fn pick<'m>(&self, members: impl Iterator<Item = Member<'m>> + Clone) -> Option<usize> {
        for _ in 0..ATTEMPTS {
            let choice = self.choose(members.clone())?;
            let taken = choice.member.active.compare_exchange(
                choice.seen,
                choice.seen.wrapping_add(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                choice.move_cursor(self.cursor);
                return Some(choice.member.index);
            }
        }
        let choice = self.choose(members)?;
        choice.member.active.fetch_add(1, Ordering::Relaxed);
        choice.move_cursor(self.cursor);
        Some(choice.member.index)
    }

    fn choose<'m>(&self, members: impl Iterator<Item = Member<'m>>) -> Option<Choice<'m>> {
        let ticket = self.cursor.peek();
        let place = self.sequence.place(ticket);
        let mut best: Option<Choice<'m>> = None;
        // The distance is asked for only where there is a tie: a search for each member of a
        // large pool would cost more than the comparison.
        for member in members {
            let seen = member.active.load(Ordering::Relaxed);
            let Some(leader) = &mut best else {
                best = Some(Choice::alone(member, seen));
                continue;
            };
            let (own, least) = ((seen, member.weight), (leader.seen, leader.member.weight));
            if ratio_is_less(own, least) {
                *leader = Choice::alone(member, seen);
            } else if !ratio_is_less(least, own) {
                let distance = |member: &Member<'_>| {
                    self.occurrences
                        .distance(member.index, place)
                        .unwrap_or(u32::MAX)
                };
                let led = leader
                    .turn
                    .map_or_else(|| distance(&leader.member), |(_, steps)| steps);
                let own = distance(&member);
                if own < led {
                    *leader = Choice::alone(member, seen);
                    leader.turn = Some((ticket, own));
                } else {
                    leader.turn = Some((ticket, led));
                }
            }
        }
        best
    }
}

struct Choice<'m> {
    member: Member<'m>,
    /// The count that was compared.
    seen: u64,
    /// Set when there was a tie: the cursor's ticket and the distance of the member's turn.
    turn: Option<(u64, u32)>,
}

impl<'m> Choice<'m> {
    fn alone(member: Member<'m>, seen: u64) -> Self {
        Self {
            member,
            seen,
            turn: None,
        }
    }

    /// A tie used up the member's turn. Losing the race for the cursor is harmless: another worker
    /// has moved it on.
    fn move_cursor(&self, cursor: &Cursor) {
        if let Some((ticket, steps)) = self.turn {
            cursor.advance(
                ticket,
                ticket.wrapping_add(u64::from(steps)).wrapping_add(1),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Pool {
        weights: Vec<u8>,
        active: Vec<AtomicU64>,
        sequence: Sequence,
        occurrences: Occurrences,
        cursor: Cursor,
    }

    impl Pool {
        fn new(weights: &[u8], active: &[u64]) -> Self {
            let sequence = Sequence::smooth(weights);
            Self {
                weights: weights.to_vec(),
                active: active.iter().map(|&count| AtomicU64::new(count)).collect(),
                occurrences: sequence.occurrences(),
                sequence,
                cursor: Cursor::new(),
            }
        }

        fn pick(&self) -> Option<usize> {
            let members = self
                .weights
                .iter()
                .zip(&self.active)
                .enumerate()
                .filter(|(_, (weight, _))| **weight > 0)
                .map(|(index, (&weight, active))| Member {
                    index,
                    weight,
                    active,
                });
            LeastConn {
                sequence: &self.sequence,
                occurrences: &self.occurrences,
                cursor: &self.cursor,
            }
            .pick(members)
        }

        fn counts(&self) -> Vec<u64> {
            self.active
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .collect()
        }
    }

    #[test]
    fn the_least_loaded_by_weight_is_taken() {
        // 8/10 is less than 1/1 and 5/5.
        let pool = Pool::new(&[1, 5, 10], &[1, 5, 8]);
        assert_eq!(pool.pick(), Some(2));
        assert_eq!(pool.counts(), [1, 5, 9]);
    }

    #[test]
    fn idle_members_are_taken_in_round_robin_order_whatever_is_released() {
        let pool = Pool::new(&[5, 1, 1], &[0, 0, 0]);
        let picked: Vec<_> = (0..7)
            .filter_map(|_| {
                let picked = pool.pick()?;
                pool.active[picked].fetch_sub(1, Ordering::Relaxed);
                Some(picked)
            })
            .collect();
        assert_eq!(picked, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn none_of_weight_above_zero_is_no_pick() {
        assert_eq!(Pool::new(&[0, 0], &[0, 0]).pick(), None);
    }

    #[test]
    fn counts_near_the_end_of_their_range_are_compared_rightly() {
        let pool = Pool::new(&[100, 99], &[u64::MAX - 1, u64::MAX - 2]);
        assert_eq!(pool.pick(), Some(0));
    }

    #[test]
    fn picks_by_many_threads_fill_up_exactly_by_weight() {
        let weights = [1u8, 2, 5, 10];
        let rounds = 500u64;
        let pool = Pool::new(&weights, &[0; 4]);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..rounds * 6 {
                        assert!(pool.pick().is_some());
                    }
                });
            }
        });
        let counts = pool.counts();
        assert_eq!(counts.iter().sum::<u64>(), rounds * 18);
        // Counts only grow here, so only a pick that was overtaken 16 times can be off.
        for (count, &weight) in counts.iter().zip(&weights) {
            assert!(
                count.abs_diff(rounds * u64::from(weight)) <= 3,
                "{counts:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_other_member_had_a_smaller_ratio(
            members in prop::collection::vec((0u8..=100, 0u64..1_000), 1..20),
            picks in 1usize..50,
        ) {
            let (weights, active): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            let pool = Pool::new(&weights, &active);
            for _ in 0..picks {
                let before = pool.counts();
                let Some(picked) = pool.pick() else {
                    prop_assert!(weights.iter().all(|&weight| weight == 0));
                    return Ok(());
                };
                let own = (before[picked], weights[picked]);
                prop_assert!(own.1 > 0);
                for (&count, &weight) in before.iter().zip(&weights) {
                    prop_assert!(weight == 0 || !ratio_is_less((count, weight), own));
                }
                let mut after = before;
                after[picked] += 1;
                prop_assert_eq!(pool.counts(), after);
            }
        }

        #[test]
        fn started_empty_and_never_released_it_is_exact_after_each_sum_of_weights(
            weights in prop::collection::vec(1u8..=20, 1..8),
        ) {
            let pool = Pool::new(&weights, &vec![0; weights.len()]);
            let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            for _ in 0..sum {
                pool.pick();
            }
            let wanted: Vec<u64> = weights.iter().map(|&weight| u64::from(weight)).collect();
            prop_assert_eq!(pool.counts(), wanted);
        }
    }
}
