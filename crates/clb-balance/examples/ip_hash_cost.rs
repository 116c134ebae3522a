//! What a pick by `ip_hash` costs, and what building costs, by size of the pool.
//!
//! `cargo run --release -p clb-balance --example ip_hash_cost`
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use clb_balance::{ClientHash, IpHash};

const PICKS: u32 = 5_000;
/// The best of these counts, for other programs disturb.
const ROUNDS: u32 = 40;

fn main() {
    println!("members  weights  build/µs  pick/ns  pick with one tried/ns");
    for members in [1u64, 2, 10, 32, 100, 320, 1_000] {
        for weights in [1u8, 5, 100] {
            let pool: Vec<(u64, u8)> = (1u8..=weights)
                .cycle()
                .zip(0..members)
                .map(|(weight, identity)| (identity, weight))
                .collect();
            let started = Instant::now();
            let mut hash = IpHash::default();
            for _ in 0..100 {
                hash = black_box(IpHash::new(black_box(&pool)));
            }
            let build = started.elapsed().as_secs_f64() / 100.0 * 1e6;
            let pick = per_pick(|client| hash.pick(client));
            let tried = per_pick(|client| hash.pick_among(client, |index| index != 0));
            println!("{members:7}  {weights:7}  {build:8.1}  {pick:7.1}  {tried:7.1}");
        }
    }
}

/// Nanoseconds for one, hashing the address included.
fn per_pick(pick: impl Fn(ClientHash) -> Option<usize>) -> f64 {
    let round = || {
        let started = Instant::now();
        for number in 0..PICKS {
            let client = ClientHash::new(IpAddr::V4(Ipv4Addr::from_bits(number)));
            black_box(pick(client));
        }
        started.elapsed().as_secs_f64() / f64::from(PICKS) * 1e9
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
