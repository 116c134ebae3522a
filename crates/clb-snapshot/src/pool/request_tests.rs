//! Picks of requests: cookies, ip_hash over all nodes, and what passive health does to them.

use super::*;
use crate::{Board, Live, MAX_ATTEMPTS, MemberHealth, MemberLive, PlaneSettings};
use clb_model::{RuleId, SessionExpire, Weight};
use std::time::Duration;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

struct Fixture {
    pool: Pool,
    lives: Vec<Arc<MemberLive>>,
    scheduler: Scheduler,
    board: Board,
}

impl Fixture {
    fn new(scheduler: Scheduler, weights: &[i64]) -> Self {
        let settings = PlaneSettings {
            http: crate::HttpSettings::default(),
            udp: crate::UdpSettings::default(),
            backend_connect: Duration::from_secs(3),
            tcp_idle: Duration::from_secs(900),
            max_connections: u64::MAX,
            max_sockets: u64::MAX,
            max_memory: u64::MAX,
            max_per_source: u64::MAX,
            source_addresses: std::sync::Arc::new([]),
            tcp_keepalive: None,
            passive_health: true,
        };
        let fixture = Self {
            pool: Pool::new(
                PoolKey::Rule(RuleId::from_number(1)),
                PoolView::build(scheduler, Stickiness::Off, Vec::new()),
                1,
            ),
            lives: weights.iter().map(|_| Arc::new(Live::new(1))).collect(),
            scheduler,
            board: Board::new(1, settings, 0),
        };
        fixture.set(
            &weights
                .iter()
                .map(|&weight| (weight, MemberHealth::Off))
                .collect::<Vec<_>>(),
        );
        fixture
    }

    fn set(&self, members: &[(i64, MemberHealth)]) {
        let members = (0..)
            .zip(members)
            .zip(&self.lives)
            .map(|((number, &(weight, health)), live)| Member {
                binding: BindingId(number),
                addr: ([10, 0, 0, 1], 8000).into(),
                weight: Weight::try_from(weight).unwrap(),
                health,
                live: Arc::clone(live),
            })
            .collect();
        let expire = SessionExpire::try_from(30).unwrap();
        let view = PoolView::build(self.scheduler, Stickiness::Cookie(expire), members);
        self.pool.set_view(view);
    }

    fn request(&self, wanted: Option<u64>, now_ms: u64, tried: &TriedSet) -> Option<Pick> {
        self.pool
            .pick_request(CLIENT, wanted.map(BindingId), now_ms, tried)
    }

    fn pick_at(&self, now_ms: u64) -> Option<u64> {
        let pick = self.request(None, now_ms, &TriedSet::new())?;
        assert!(!pick.is_wanted());
        Some(pick.binding().0)
    }

    fn picks_at(&self, now_ms: u64) -> Vec<u64> {
        let mut picks: Vec<_> = (0..60).filter_map(|_| self.pick_at(now_ms)).collect();
        picks.sort_unstable();
        picks.dedup();
        picks
    }

    fn fail(&self, binding: u64, now_ms: u64) -> bool {
        self.board
            .backend_failed(&self.pool, BindingId(binding), now_ms)
    }

    fn take_out(&self, binding: u64, now_ms: u64) {
        let outs = [(); 3].map(|()| self.fail(binding, now_ms));
        assert_eq!(outs, [false, false, true]);
    }
}

#[test]
fn a_cookies_member_is_taken_while_it_may_be() {
    for scheduler in [Scheduler::Wrr, Scheduler::LeastConn, Scheduler::IpHash] {
        let fixture = Fixture::new(scheduler, &[1, 1, 1]);
        for wanted in [2, 2, 0, 1] {
            let pick = fixture.request(Some(wanted), 0, &TriedSet::new()).unwrap();
            assert!(pick.is_wanted());
            assert_eq!(pick.binding(), BindingId(wanted));
            let live = &fixture.lives[usize::try_from(wanted).unwrap()];
            assert!(Arc::ptr_eq(pick.live(), live) && live.active() == 1);
        }
        assert!(fixture.lives.iter().all(|live| live.active() == 0));

        let out = |weights: [(i64, MemberHealth); 3]| {
            fixture.set(&weights);
            let pick = fixture.request(Some(1), 0, &TriedSet::new()).unwrap();
            assert!(!pick.is_wanted() && pick.binding() != BindingId(1));
        };
        let healthy = (1, MemberHealth::Healthy);
        out([healthy, (0, MemberHealth::Healthy), healthy]);
        out([healthy, (1, MemberHealth::Unhealthy), healthy]);
        let unknown = fixture.request(Some(99), 0, &TriedSet::new()).unwrap();
        assert!(!unknown.is_wanted());
    }
}

#[test]
fn cookies_take_no_turn_in_the_round_robin() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1, 1]);
    let order: Vec<_> = (0..6)
        .map(|_| {
            drop(fixture.request(Some(1), 0, &TriedSet::new()));
            fixture.pick_at(0).unwrap()
        })
        .collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_retry_passes_over_the_cookies_member_too() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1]);
    let mut tried = TriedSet::new();
    let first = fixture.request(Some(0), 0, &tried).unwrap();
    tried.record(&first);
    let second = fixture.request(Some(0), 0, &tried).unwrap();
    assert!(!second.is_wanted());
    assert_eq!(second.binding(), BindingId(1));
    tried.record(&second);
    assert!(fixture.request(Some(0), 0, &tried).is_none());
}

#[test]
fn ip_hash_takes_each_client_to_one_member_on_every_gateway() {
    let weights = [10, 0, 5, 20, 10];
    let (one, other) = (
        Fixture::new(Scheduler::IpHash, &weights),
        Fixture::new(Scheduler::IpHash, &weights),
    );
    let pick = |fixture: &Fixture, client: u32| {
        let client = std::net::Ipv4Addr::from_bits(client).into();
        let pick = fixture.pool.pick_request(client, None, 0, &TriedSet::new());
        pick.map(|pick| pick.binding().0)
    };
    let before: Vec<_> = (0..200).map(|client| pick(&one, client)).collect();
    for _ in 0..2 {
        let again: Vec<_> = (0..200).map(|client| pick(&other, client)).collect();
        assert_eq!(again, before);
    }
    assert!(!before.contains(&Some(1)) && !before.contains(&None));

    // A member that fails its checks loses its clients, and gets exactly them back.
    let all = |health| weights.map(|weight| (weight, health));
    let mut members = all(MemberHealth::Healthy);
    members[3].1 = MemberHealth::Unhealthy;
    one.set(&members);
    for (client, before) in (0..).zip(&before) {
        let now = pick(&one, client);
        assert_ne!(now, Some(3));
        assert!(now == *before || *before == Some(3));
    }
    one.set(&all(MemberHealth::Healthy));
    assert!(
        (0..)
            .zip(&before)
            .all(|(client, before)| pick(&one, client) == *before)
    );
}

#[test]
fn an_ip_hash_retry_goes_where_the_client_belongs_without_the_member() {
    let fixture = Fixture::new(Scheduler::IpHash, &[1, 1, 1, 1]);
    let mut tried = TriedSet::new();
    let mut order = Vec::new();
    for _ in 0..MAX_ATTEMPTS {
        let pick = fixture.request(None, 0, &tried).unwrap();
        order.push(pick.binding().0);
        tried.record(&pick);
    }
    let mut members = [(1, MemberHealth::Healthy); 4];
    for gone in 0..2 {
        members[usize::try_from(order[gone]).unwrap()].1 = MemberHealth::Unhealthy;
        fixture.set(&members);
        assert_eq!(fixture.pick_at(0), Some(order[gone + 1]));
    }
}

#[test]
fn nobody_to_pick() {
    for scheduler in [Scheduler::Wrr, Scheduler::LeastConn, Scheduler::IpHash] {
        for weights in [&[][..], &[0, 0]] {
            let fixture = Fixture::new(scheduler, weights);
            assert!(fixture.request(Some(0), 0, &TriedSet::new()).is_none());
        }
    }
}

#[test]
fn three_failures_take_a_member_out_for_ten_seconds() {
    for scheduler in [Scheduler::Wrr, Scheduler::LeastConn] {
        let fixture = Fixture::new(scheduler, &[1, 1, 1]);
        fixture.take_out(1, 100);
        assert_eq!(fixture.picks_at(100), [0, 2]);
        assert_eq!(fixture.picks_at(10_099), [0, 2]);
        assert_eq!(fixture.picks_at(10_100), [0, 1, 2]);
        // A cookie does not bring a client to it either.
        let pick = fixture.request(Some(1), 5_000, &TriedSet::new()).unwrap();
        assert!(!pick.is_wanted());
    }
}

#[test]
fn passive_health_under_ip_hash_is_as_if_the_member_were_gone() {
    let fixture = Fixture::new(Scheduler::IpHash, &[1, 1, 1]);
    let own = fixture.pick_at(0).unwrap();
    fixture.take_out(own, 0);
    let other = fixture.pick_at(1).unwrap();
    assert_ne!(other, own);
    assert_eq!(
        (fixture.pick_at(9_999), fixture.pick_at(10_000)),
        (Some(other), Some(own))
    );
}

#[test]
fn an_answer_brings_it_back_at_once() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1]);
    fixture.take_out(0, 0);
    fixture.lives[0].passive().answered();
    assert_eq!(fixture.picks_at(1), [0, 1]);
}

#[test]
fn the_last_one_is_never_taken_out() {
    let alone = Fixture::new(Scheduler::Wrr, &[1, 0]);
    assert!((0..10).all(|_| !alone.fail(0, 0)));
    assert_eq!(alone.pick_at(0), Some(0));

    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1]);
    fixture.take_out(0, 0);
    assert!((0..10).all(|_| !fixture.fail(1, 0)));
    assert_eq!(fixture.picks_at(1), [1]);
    // When the first one's time is over, the next failure of the other counts.
    assert!(fixture.fail(1, 10_000));
    assert_eq!(fixture.picks_at(10_000), [0]);
}

#[test]
fn when_health_leaves_only_those_that_are_out_they_are_in() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1]);
    fixture.take_out(0, 0);
    fixture.set(&[(1, MemberHealth::Healthy), (1, MemberHealth::Unhealthy)]);
    assert_eq!(fixture.picks_at(1), [0]);
}

#[test]
fn a_member_that_may_not_be_picked_is_not_taken_out() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1, 0]);
    assert!((0..10).all(|_| !fixture.fail(2, 0) && !fixture.fail(99, 0)));
    assert!(!fixture.lives[2].passive().is_out(0));
}

#[test]
fn a_retry_does_not_go_to_one_that_is_out() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1]);
    fixture.take_out(0, 0);
    let mut tried = TriedSet::new();
    tried.record(&fixture.request(None, 1, &tried).unwrap());
    assert!(fixture.request(None, 1, &tried).is_none());
}

#[tokio::test]
async fn whoever_drives_the_checks_is_told() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1]);
    fixture.take_out(1, 0);
    let told = fixture.board.suspects.take().await;
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        [(fixture.pool.key(), BindingId(1))]
    );
}

#[test]
fn switched_off_it_counts_nothing() {
    let fixture = Fixture::new(Scheduler::Wrr, &[1, 1]);
    let settings = PlaneSettings {
        passive_health: false,
        ..PlaneSettings::clone(&fixture.board.settings())
    };
    fixture.board.set_settings(settings);
    assert!((0..10).all(|_| !fixture.fail(0, 0)));
    assert_eq!(fixture.lives[0].passive().streak(), 0);
}

#[test]
fn workers_that_fail_at_once_never_take_out_all() {
    const MEMBERS: u64 = 3;
    for _ in 0..50 {
        let fixture = Fixture::new(Scheduler::Wrr, &[1; 3]);
        let outs: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..MEMBERS)
                .map(|first| {
                    let fixture = &fixture;
                    scope.spawn(move || {
                        (first..first + 4 * MEMBERS)
                            .filter(|binding| fixture.fail(binding % MEMBERS, 0))
                            .count()
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .sum()
        });
        assert_eq!(outs, 2);
        assert_eq!(fixture.picks_at(1).len(), 1);
    }
}
