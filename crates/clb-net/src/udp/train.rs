//! Datagrams of one size to one address, which the kernel takes as one (UDP_SEGMENT, udp(7)).

use std::net::SocketAddr;

/// Longest datagram that goes by train: more would not pass an Ethernet whole, and the kernel takes
/// no train of datagrams that it would have to fragment.
const LONGEST: usize = 1_452;

/// Octets of a train at most: those of the longest datagram.
const MOST_OCTETS: usize = 65_000;

/// One datagram on its way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) length: usize,
    pub(super) to: Option<SocketAddr>,
}

/// How many of the first items go together: all of one size but the last, which may be shorter. At
/// least one if there is one.
pub(super) fn first(items: &[Item]) -> usize {
    let Some(head) = items.first() else {
        return 0;
    };
    if head.length == 0 || head.length > LONGEST {
        return 1;
    }
    let mut octets = 0;
    let mut count = 0;
    for item in items {
        let fits = item.to == head.to
            && (1..=head.length).contains(&item.length)
            && octets + item.length <= MOST_OCTETS;
        if !fits {
            break;
        }
        octets += item.length;
        count += 1;
        if item.length < head.length {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trains(items: &[(usize, u16)]) -> Vec<usize> {
        let items: Vec<_> = items
            .iter()
            .map(|&(length, port)| Item {
                length,
                to: Some(([192, 0, 2, 1], port).into()),
            })
            .collect();
        let mut rest = &items[..];
        std::iter::from_fn(|| {
            let count = first(rest);
            rest = &rest[count..];
            (count > 0).then_some(count)
        })
        .collect()
    }

    #[test]
    fn equal_ones_to_one_address_go_together() {
        assert_eq!(trains(&[]), []);
        assert_eq!(trains(&[(100, 1); 5]), [5]);
        assert_eq!(trains(&[(100, 1), (100, 1), (100, 2), (100, 1)]), [2, 1, 1]);
        assert_eq!(
            trains(&[(100, 1), (100, 1), (60, 1), (60, 1), (61, 1)]),
            [3, 1, 1]
        );
        assert_eq!(trains(&[(0, 1), (0, 1), (1, 1), (0, 1)]), [1, 1, 1, 1]);
        assert_eq!(
            trains(&[(1_453, 1), (1_453, 1), (1_452, 1), (1_452, 1)]),
            [1, 1, 2]
        );
        assert_eq!(trains(&[(1_452, 1); 50]), [44, 6]);
    }

    proptest! {
        #[test]
        fn a_train_is_what_the_kernel_takes_apart_again(
            items in prop::collection::vec((0..2_000_usize, 0..3_u16), 0..40),
        ) {
            let trains = trains(&items);
            prop_assert_eq!(trains.iter().sum::<usize>(), items.len());
            let mut at = 0;
            for count in trains {
                let train = &items[at..at + count];
                let (last, others) = train.split_last().unwrap();
                let octets: usize = train.iter().map(|(length, _)| length).sum();
                if let Some(size) = others.first() {
                    prop_assert!(others.iter().all(|other| other == size));
                    prop_assert!(last.0 > 0 && last.0 <= size.0 && last.1 == size.1);
                    prop_assert!(octets <= 65_507);
                    // What the kernel makes of it.
                    prop_assert_eq!(octets.div_ceil(size.0), count);
                }
                at += count;
            }
        }
    }
}
