//! Smooth weighted round robin, computed ahead for one whole cycle.

use std::collections::VecDeque;

/// One cycle of smooth weighted round robin: `sum(weights) / gcd(weights)` picks, in which each
/// member stands exactly `weight / gcd` times, interleaved as nginx's algorithm does it: at each
/// step every member's current value grows by its weight, the greatest (the lowest index among
/// equals) is picked and falls by the sum of all weights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sequence {
    picks: Box<[u32]>,
    members: usize,
}

/// The members of one weight. They are picked in turn: all start at 0 in order of index, and a
/// picked one falls below the others of its class by the sum of all weights, to the same value as
/// those that were picked before it. So only the head of the queue can be the greatest.
struct Class {
    /// Current value of the head after the last step, in the upper 32 bits; the lower ones hold
    /// `u32::MAX - index`, so that comparing keys compares values first and then prefers the
    /// lower index.
    key: i64,
    step: i64,
    /// Indexes in the order of their turns.
    queue: VecDeque<u32>,
    /// How many of the queue's front have not been picked in this round.
    left_in_round: usize,
}

const VALUE_SHIFT: u32 = 32;

fn low_key(index: u32) -> i64 {
    i64::from(u32::MAX - index)
}

impl Class {
    /// The head is picked: it goes to the queue's end, and the next one becomes head. Members
    /// that were already picked in this round stand `total` below the others.
    fn take_head(&mut self, total: i64) -> Option<u32> {
        let picked = self.queue.pop_front()?;
        self.queue.push_back(picked);
        let next = self.queue.front().copied()?;
        self.left_in_round -= 1;
        let mut value = self.key >> VALUE_SHIFT;
        if self.left_in_round == 0 {
            self.left_in_round = self.queue.len();
            value -= total;
        }
        self.key = (value << VALUE_SHIFT) + low_key(next);
        Some(picked)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Sequence {
    /// Computes the cycle for the members' weights; index `i` of the picks is `weights[i]`'s
    /// member. Members of weight 0 never appear; with none of another weight the sequence is
    /// empty. Takes time proportional to the cycle's length times the number of different
    /// weights.
    #[must_use]
    pub fn smooth(weights: &[u8]) -> Self {
        let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let unit = weights
            .iter()
            .fold(0, |unit, &weight| gcd(unit, u64::from(weight)));
        if unit == 0 {
            return Self {
                picks: Box::default(),
                members: weights.len(),
            };
        }
        let mut by_weight: [Vec<u32>; 256] = std::array::from_fn(|_| Vec::new());
        for (index, &weight) in (0u32..).zip(weights) {
            if let Some(members) = by_weight.get_mut(usize::from(weight)) {
                members.push(index);
            }
        }
        let mut classes: Vec<Class> = (0i64..)
            .zip(by_weight)
            .skip(1)
            .filter_map(|(weight, members)| {
                let head = *members.first()?;
                Some(Class {
                    key: low_key(head),
                    step: (weight / i64::try_from(unit).ok()?) << VALUE_SHIFT,
                    left_in_round: members.len(),
                    queue: members.into(),
                })
            })
            .collect();
        let total = i64::try_from(sum / unit).unwrap_or(i64::MAX);
        let picks = (0..total)
            .filter_map(|_| {
                for class in &mut classes {
                    class.key += class.step;
                }
                classes
                    .iter_mut()
                    .max_by_key(|class| class.key)?
                    .take_head(total)
            })
            .collect();
        Self {
            picks,
            members: weights.len(),
        }
    }

    /// Picks in one cycle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.picks.len()
    }

    /// True if there is nothing to pick.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.picks.is_empty()
    }

    /// Where in the cycle a ticket stands; 0 for an empty sequence.
    #[must_use]
    pub fn place(&self, ticket: u64) -> usize {
        let length = u64::try_from(self.picks.len()).unwrap_or(u64::MAX);
        ticket
            .checked_rem(length)
            .and_then(|place| usize::try_from(place).ok())
            .unwrap_or(0)
    }

    /// One cycle of member indexes from a ticket's place on.
    pub fn cycle_from(&self, ticket: u64) -> impl Iterator<Item = usize> + '_ {
        let (before, from) = self
            .picks
            .split_at_checked(self.place(ticket))
            .unwrap_or((&[], &self.picks));
        from.iter()
            .chain(before)
            .map(|&index| usize::try_from(index).unwrap_or(usize::MAX))
    }

    /// Where each member stands in the cycle.
    #[must_use]
    pub fn occurrences(&self) -> Occurrences {
        let mut places = vec![Vec::new(); self.members];
        for (place, member) in (0u32..).zip(self.cycle_from(0)) {
            if let Some(places) = places.get_mut(member) {
                places.push(place);
            }
        }
        Occurrences {
            length: u32::try_from(self.picks.len()).unwrap_or(u32::MAX),
            places: places.into_iter().map(Vec::into_boxed_slice).collect(),
        }
    }
}

/// The places of each member in a [`Sequence`], to ask for its next turn without a walk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occurrences {
    length: u32,
    places: Box<[Box<[u32]>]>,
}

impl Occurrences {
    /// How many picks after `place` the member's next turn comes: 0 if it is its turn. `None` if
    /// the member never comes.
    #[must_use]
    pub fn distance(&self, member: usize, place: usize) -> Option<u32> {
        let places = self.places.get(member)?;
        let place = u32::try_from(place).ok()?;
        let next = places.partition_point(|&own| own < place);
        match places.get(next) {
            Some(own) => Some(own - place),
            None => places.first().map(|own| own + self.length - place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cursor;
    use proptest::prelude::*;
    use std::time::Instant;

    /// nginx's algorithm, word for word, for one cycle.
    fn naive(weights: &[u8]) -> Vec<usize> {
        let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        let unit = weights
            .iter()
            .fold(0, |unit, &weight| gcd(unit, u64::from(weight)));
        if unit == 0 {
            return Vec::new();
        }
        let mut current = vec![0i64; weights.len()];
        (0..total / i64::try_from(unit).unwrap())
            .map(|_| {
                let mut best: Option<usize> = None;
                for (index, &weight) in weights.iter().enumerate() {
                    if weight == 0 {
                        continue;
                    }
                    current[index] += i64::from(weight);
                    if best.is_none_or(|best| current[index] > current[best]) {
                        best = Some(index);
                    }
                }
                let best = best.unwrap();
                current[best] -= total;
                best
            })
            .collect()
    }

    fn picks(weights: &[u8]) -> Vec<usize> {
        Sequence::smooth(weights).cycle_from(0).collect()
    }

    #[test]
    fn the_textbook_example_interleaves() {
        assert_eq!(picks(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(picks(&[50, 10, 10]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nothing_to_pick_is_an_empty_sequence() {
        for weights in [&[][..], &[0], &[0, 0, 0]] {
            let sequence = Sequence::smooth(weights);
            assert!(sequence.is_empty());
            assert_eq!(sequence.cycle_from(17).count(), 0);
        }
    }

    #[test]
    fn a_thousand_members_of_every_weight_are_computed_in_one_go() {
        let weights: Vec<u8> = (0..1_000u32).map(|i| (1 + i % 100) as u8).collect();
        let started = Instant::now();
        let sequence = Sequence::smooth(&weights);
        println!("{} picks in {:?}", sequence.len(), started.elapsed());
        assert_eq!(sequence.len(), 50_500);
        let mut counts = vec![0usize; weights.len()];
        sequence
            .cycle_from(3)
            .for_each(|member| counts[member] += 1);
        assert!(
            counts
                .iter()
                .zip(&weights)
                .all(|(&count, &weight)| count == usize::from(weight))
        );
    }

    #[test]
    fn tickets_drawn_by_many_threads_are_exact_in_every_cycle() {
        let weights = [7u8, 3, 0, 2];
        let (sequence, cursor) = (Sequence::smooth(&weights), Cursor::new());
        let cycles = 1_000;
        let mut picked: Vec<(u64, usize)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..cycles * sequence.len() / 4)
                            .map(|_| {
                                let ticket = cursor.draw();
                                (ticket, sequence.cycle_from(ticket).next().unwrap())
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect()
        });
        picked.sort_unstable();
        for window in picked.windows(sequence.len()) {
            for (member, &weight) in weights.iter().enumerate() {
                let count = window.iter().filter(|(_, picked)| *picked == member);
                assert_eq!(count.count(), usize::from(weight));
            }
        }
    }

    proptest! {
        #[test]
        fn one_cycle_equals_the_naive_algorithm(weights in prop::collection::vec(0u8..=100, 0..40)) {
            prop_assert_eq!(picks(&weights), naive(&weights));
        }

        #[test]
        fn few_different_weights_tie_as_in_the_naive_algorithm(
            weights in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 50, 100]), 0..60),
        ) {
            prop_assert_eq!(picks(&weights), naive(&weights));
        }

        #[test]
        fn any_window_of_one_cycle_is_exact(
            weights in prop::collection::vec(0u8..=100, 1..20),
            ticket in any::<u64>(),
        ) {
            let unit = weights.iter().fold(0, |unit, &weight| gcd(unit, u64::from(weight)));
            let mut counts = vec![0u64; weights.len()];
            Sequence::smooth(&weights).cycle_from(ticket).for_each(|member| counts[member] += 1);
            for (count, &weight) in counts.iter().zip(&weights) {
                prop_assert_eq!(count * unit, u64::from(weight));
            }
        }

        #[test]
        fn the_distance_to_a_member_is_what_a_walk_finds(
            weights in prop::collection::vec(0u8..=20, 1..8),
            ticket in any::<u64>(),
        ) {
            let sequence = Sequence::smooth(&weights);
            let occurrences = sequence.occurrences();
            for member in 0..weights.len() {
                let walked = sequence.cycle_from(ticket).position(|picked| picked == member);
                let asked = occurrences.distance(member, sequence.place(ticket));
                prop_assert_eq!(asked.map(|steps| steps as usize), walked);
            }
        }
    }
}
