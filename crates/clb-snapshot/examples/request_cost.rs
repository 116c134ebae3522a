//! What choosing a backend for a request and counting it cost, on one worker.
//!
//! `cargo run --release -p clb-snapshot --example request_cost`
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clb_model::{BindingId, RuleId, Scheduler, Weight};
use clb_snapshot::{
    FinishedRequest, Live, Member, MemberHealth, Pool, PoolKey, PoolView, RuleLive, Stickiness,
    TriedSet,
};

const TIMES: u32 = 5_000;
/// The best of these counts, for other programs disturb.
const ROUNDS: usize = 40;

fn main() {
    for members in [3u64, 30, 300] {
        for scheduler in [Scheduler::Wrr, Scheduler::LeastConn, Scheduler::IpHash] {
            let members_of: Vec<Member> = (0..members)
                .map(|number| Member {
                    binding: BindingId(number),
                    addr: ([10, 0, 0, 1], 80).into(),
                    weight: Weight::DEFAULT,
                    health: MemberHealth::Healthy,
                    live: Arc::new(Live::new(1)),
                })
                .collect();
            let view = PoolView::build(scheduler, Stickiness::Off, members_of);
            let pool = Pool::new(PoolKey::Rule(RuleId::from_number(1)), view, 1);
            let pick = |number: u32, wanted| {
                let client = IpAddr::V4(Ipv4Addr::from_bits(number));
                black_box(pool.pick_request(client, wanted, 1, &TriedSet::new()));
            };
            let by_scheduler = best(|number| pick(number, None));
            let by_cookie = best(|number| pick(number, Some(BindingId(1))));
            let name = scheduler.name();
            println!(
                "{members:4} members, {name:10}: {by_scheduler:5.0} ns; by cookie {by_cookie:3.0} ns"
            );
        }
    }
    let live = RuleLive::new(1);
    let recorded = best(|number| {
        let request = FinishedRequest {
            status: Some(200),
            is_gateways: false,
            took: Duration::from_micros(u64::from(number)),
        };
        live.record(0, black_box(&request));
        live.count_bytes(0, 100, 1_000);
    });
    println!("counting a request: {recorded:.0} ns");
}

/// Nanoseconds for one.
fn best(work: impl Fn(u32)) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            (0..TIMES).for_each(&work);
            started.elapsed().as_secs_f64() / f64::from(TIMES) * 1e9
        })
        .fold(f64::INFINITY, f64::min)
}
