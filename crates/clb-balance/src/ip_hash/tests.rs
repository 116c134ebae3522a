use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Members by identity; gives the identity that is picked.
fn pick(members: &[(u64, u8)], client: ClientHash) -> Option<u64> {
    let index = IpHash::new(members).pick(client)?;
    Some(members[index].0)
}

fn clients(count: u32) -> impl Iterator<Item = ClientHash> {
    (0..count).map(|number| ClientHash::new(Ipv4Addr::from_bits(0x0A00_0000 + number).into()))
}

fn shares(members: &[(u64, u8)], count: u32) -> BTreeMap<u64, f64> {
    let hash = IpHash::new(members);
    let mut shares = BTreeMap::new();
    for client in clients(count) {
        let identity = members[hash.pick(client).unwrap()].0;
        *shares.entry(identity).or_insert(0.0) += 1.0;
    }
    shares
}

/// Members with different identities, as bindings have.
fn pool(sizes: std::ops::Range<usize>) -> impl Strategy<Value = Vec<(u64, u8)>> {
    prop::collection::btree_map(0u64..5_000, 0u8..=100, sizes)
        .prop_map(|members| members.into_iter().collect())
        .prop_shuffle()
}

#[test]
fn what_is_hashed_of_an_address() {
    let hash = |text: &str| ClientHash::new(text.parse().unwrap());
    assert_eq!(hash("192.0.2.7"), hash("::ffff:192.0.2.7"));
    assert_ne!(hash("192.0.2.7"), hash("192.0.2.8"));
    assert_eq!(hash("2001:db8:1:2::1"), hash("2001:db8:1:2:ffff::9"));
    assert_ne!(hash("2001:db8:1:2::1"), hash("2001:db8:1:3::1"));
    // 0.0.0.1 and the network ::/64 differ although both are small numbers.
    assert_ne!(hash("0.0.0.1"), hash("::1"));
    assert_ne!(hash("0.0.0.0"), hash("::"));
}

/// Every gateway of every version must choose alike. If this test fails, clients move.
#[test]
fn choices_are_these_for_ever() {
    let members: Vec<(u64, u8)> = (1..=10).map(|identity| (identity, 10)).collect();
    let chosen: Vec<_> = clients(12)
        .map(|client| pick(&members, client).unwrap())
        .collect();
    assert_eq!(chosen, CHOSEN_EQUAL);
    let weighted = [(1, 100), (2, 50), (7, 3), (9, 10)];
    let network = |number: u128| Ipv6Addr::from_bits((0x2001_0DB8 << 96) + (number << 64));
    let chosen: Vec<_> = (0..12)
        .map(|number| pick(&weighted, ClientHash::new(network(number).into())).unwrap())
        .collect();
    assert_eq!(chosen, CHOSEN_WEIGHTED);
}

const CHOSEN_EQUAL: [u64; 12] = [9, 3, 5, 2, 1, 5, 6, 3, 6, 3, 2, 8];
const CHOSEN_WEIGHTED: [u64; 12] = [9, 2, 1, 2, 1, 1, 1, 1, 1, 1, 2, 2];

#[test]
fn nobody_of_weight_above_zero_is_no_choice() {
    for members in [&[][..], &[(1, 0)], &[(1, 0), (2, 0)]] {
        for client in clients(3) {
            assert_eq!(pick(members, client), None);
        }
    }
}

/// Pearson's chi-square over the members, against a bound that a right sampler exceeds once in
/// some ten thousand runs; the clients are fixed, so it passes or fails for good.
fn assert_shares_by_weight(members: &[(u64, u8)]) {
    const CLIENTS: u32 = 20_000;
    let sum: f64 = members.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let shares = shares(members, CLIENTS);
    let mut chi_square = 0.0;
    let mut degrees = -1.0;
    for (identity, weight) in members.iter().filter(|(_, weight)| *weight > 0) {
        let wanted = f64::from(CLIENTS) * f64::from(*weight) / sum;
        let had = shares.get(identity).copied().unwrap_or(0.0);
        chi_square += (had - wanted).powi(2) / wanted;
        degrees += 1.0;
    }
    // Wilson and Hilferty's approximation, at 3.7 standard deviations.
    let ninth: f64 = 2.0 / (9.0 * degrees);
    let bound = degrees * (1.0 - ninth + 3.7 * ninth.sqrt()).powi(3);
    assert!(chi_square < bound, "{chi_square} of {bound}: {members:?}");
}

#[test]
fn clients_are_shared_out_by_weight() {
    assert_shares_by_weight(&[(1, 1), (2, 1)]);
    assert_shares_by_weight(&[(1, 10), (2, 20), (3, 70)]);
    assert_shares_by_weight(&[(5, 1), (6, 100)]);
    assert_shares_by_weight(&[(1, 10), (2, 10), (3, 10), (4, 0), (5, 5), (6, 5)]);
    let every_weight: Vec<(u64, u8)> = (0..=100).map(|weight| (weight.into(), weight)).collect();
    assert_shares_by_weight(&every_weight);
    let many: Vec<(u64, u8)> = (0..1_000).map(|identity| (identity, 10)).collect();
    assert_shares_by_weight(&many);
}

#[test]
fn one_of_n_that_comes_or_goes_moves_one_nth() {
    const CLIENTS: u32 = 20_000;
    for n in [2u32, 5, 20, 200] {
        let all: Vec<(u64, u8)> = (0..n).map(|identity| (identity.into(), 10)).collect();
        let (before, after) = (IpHash::new(&all), IpHash::new(&all[1..]));
        let moved = clients(CLIENTS)
            .filter(|client| before.pick(*client) != after.pick(*client).map(|index| index + 1))
            .count();
        let wanted = f64::from(CLIENTS) / f64::from(n);
        let off = (moved as f64 - wanted).abs();
        assert!(off < 4.0 * wanted.sqrt(), "{moved} of {wanted} for {n}");
    }
}

proptest! {
    #[test]
    fn who_goes_moves_only_its_own_clients_and_gets_them_back(
        members in pool(1..40),
        gone in any::<prop::sample::Index>(),
    ) {
        let gone = gone.index(members.len());
        let mut left = members.clone();
        let (identity, _) = left.remove(gone);
        for client in clients(50) {
            let before = pick(&members, client);
            let after = pick(&left, client);
            if before != Some(identity) {
                prop_assert_eq!(after, before);
            } else {
                // The next choice in the client's order, as if the member were passed over.
                let next = IpHash::new(&members).pick_among(client, |index| index != gone);
                prop_assert_eq!(after, next.map(|index| members[index].0));
            }
        }
    }

    #[test]
    fn a_change_of_weight_moves_clients_to_or_from_that_member_only(
        members in pool(1..40),
        changed in any::<prop::sample::Index>(),
        weight in 0u8..=100,
    ) {
        let changed = changed.index(members.len());
        let mut other = members.clone();
        let grows = weight > other[changed].1;
        other[changed].1 = weight;
        let identity = other[changed].0;
        for client in clients(50) {
            let (before, after) = (pick(&members, client), pick(&other, client));
            if before != after {
                prop_assert_eq!(if grows { after } else { before }, Some(identity));
            }
        }
    }

    #[test]
    fn the_order_of_the_members_does_not_matter(
        (members, shuffled) in pool(1..40)
            .prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
    ) {
        for client in clients(20) {
            prop_assert_eq!(pick(&members, client), pick(&shuffled, client));
        }
    }

    #[test]
    fn the_clients_order_holds_each_member_once_and_none_of_weight_zero(members in pool(1..20)) {
        let hash = IpHash::new(&members);
        for client in clients(5) {
            let mut tried = Vec::new();
            while let Some(index) = hash.pick_among(client, |index| !tried.contains(&index)) {
                prop_assert!(members[index].1 > 0);
                tried.push(index);
            }
            let usable = members.iter().filter(|(_, weight)| *weight > 0).count();
            prop_assert_eq!(tried.len(), usable);
        }
    }

    #[test]
    fn the_bound_is_below_the_draw(hash in any::<u64>(), near_one in 0u32..64, weight in 1u8..=100) {
        for hash in [hash, !(hash >> near_one), hash >> near_one] {
            let weight = f64::from(weight);
            prop_assert!(below_draw(hash, weight) < draw(hash, weight));
        }
    }

    #[test]
    fn it_is_the_smallest_draw(members in pool(1..40)) {
        let hash = IpHash::new(&members);
        for client in clients(20) {
            let naive = members
                .iter()
                .enumerate()
                .filter(|(_, (_, weight))| *weight > 0)
                .map(|(index, &(identity, weight))| {
                    (draw(mix(client.0 ^ mix(!identity)), weight.into()), index)
                })
                .min_by(|(first, _), (second, _)| first.total_cmp(second))
                .map(|(_, index)| index);
            prop_assert_eq!(hash.pick(client), naive);
        }
    }
}
