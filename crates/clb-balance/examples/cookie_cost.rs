//! What sealing and opening a session cookie costs.
//!
//! `cargo run --release -p clb-balance --example cookie_cost`
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use clb_balance::CookieKey;

const TIMES: u64 = 5_000;
/// The best of these counts, for other programs disturb.
const ROUNDS: usize = 40;

fn main() {
    let key = CookieKey::new(&[1; 32]);
    let pool = b"loc-abcdefgh";
    let value = key.seal(pool, 1, 1_000, [0; 7]);
    let report = |what: &str, work: &dyn Fn(u64)| println!("{what}: {:.0} ns", best(work));
    report("seal", &|member| {
        black_box(key.seal(pool, member, 1_000, [0; 7]));
    });
    report("open", &|_| {
        black_box(key.open(pool, black_box(value.as_str()).as_bytes(), 1_001, 900));
    });
    report("refuse another pool's", &|member| {
        let other = if member % 2 == 0 {
            b"loc-abcdefgi"
        } else {
            b"loc-abcdefgj"
        };
        black_box(key.open(other, black_box(value.as_str()).as_bytes(), 1_001, 900));
    });
}

fn best(work: &dyn Fn(u64)) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            (0..TIMES).for_each(work);
            #[allow(clippy::cast_precision_loss)]
            let times = TIMES as f64;
            started.elapsed().as_secs_f64() / times * 1e9
        })
        .fold(f64::INFINITY, f64::min)
}
