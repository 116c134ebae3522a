use super::*;
use crate::{Live, MemberHealth, MemberLive};
use clb_model::{ListenerId, SessionExpire, Weight};
use std::collections::BTreeMap;
use std::future::pending;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

struct Fixture {
    pool: Pool,
    lives: Vec<Arc<MemberLive>>,
    persistence: Persistence<PoolKey>,
    scheduler: Scheduler,
    stickiness: Stickiness,
}

impl Fixture {
    fn new(scheduler: Scheduler, expire: Option<i64>, weights: &[i64]) -> Self {
        let fixture = Self {
            pool: Pool::new(
                PoolKey::Listener(ListenerId::from_number(1)),
                PoolView::build(scheduler, Stickiness::Off, Vec::new()),
                1,
            ),
            lives: weights.iter().map(|_| Arc::new(Live::new(1))).collect(),
            persistence: Persistence::new(100),
            scheduler,
            stickiness: expire.map_or(Stickiness::Off, |seconds| {
                Stickiness::Address(SessionExpire::try_from(seconds).unwrap())
            }),
        };
        fixture.set_weights(weights);
        fixture
    }

    fn set(&self, members: &[(i64, MemberHealth)]) {
        let members = (0..)
            .zip(members)
            .zip(&self.lives)
            .map(|((number, &(weight, health)), live)| Member {
                binding: BindingId(number),
                addr: ([10, 0, 0, 1], 8000 + u16::try_from(number).unwrap()).into(),
                weight: Weight::try_from(weight).unwrap(),
                health,
                live: Arc::clone(live),
            })
            .collect();
        self.pool
            .set_view(PoolView::build(self.scheduler, self.stickiness, members));
    }

    fn set_weights(&self, weights: &[i64]) {
        let members: Vec<_> = weights.iter().map(|&w| (w, MemberHealth::Off)).collect();
        self.set(&members);
    }

    fn pick_at(&self, now_ms: u64, tried: &TriedSet) -> Option<Pick> {
        self.pool.pick(CLIENT, now_ms, &self.persistence, tried)
    }

    fn pick(&self) -> Option<u64> {
        self.pick_at(0, &TriedSet::new())
            .map(|pick| pick.binding().0)
    }

    fn active(&self) -> Vec<u64> {
        self.lives.iter().map(|live| live.active()).collect()
    }
}

#[test]
fn a_pick_is_active_until_it_is_dropped() {
    for scheduler in [Scheduler::Wrr, Scheduler::LeastConn] {
        let fixture = Fixture::new(scheduler, None, &[1, 1]);
        let picks = [(); 2].map(|()| fixture.pick_at(0, &TriedSet::new()).unwrap());
        assert_eq!(fixture.active(), [1, 1]);
        assert_eq!(
            picks.each_ref().map(|pick| pick.addr().port()),
            [8000, 8001]
        );
        drop(picks);
        assert_eq!(fixture.active(), [0, 0]);
    }
}

#[tokio::test]
async fn an_admitted_pick_is_counted_once_and_refused_after_a_reset() {
    let fixture = Fixture::new(Scheduler::Wrr, None, &[1]);
    let task = tokio::spawn(pending::<()>());
    let pick = fixture.pick_at(0, &TriedSet::new()).unwrap();
    let admission = pick.admit(0, task.abort_handle()).unwrap();
    assert_eq!(fixture.active(), [1]);

    fixture.lives[0].reset_all();
    assert!(task.await.unwrap_err().is_cancelled());
    drop(admission);

    let late = tokio::spawn(pending::<()>());
    let pick = fixture.pick_at(0, &TriedSet::new()).unwrap();
    assert!(pick.admit(0, late.abort_handle()).is_none());
    assert_eq!(fixture.active(), [0]);
    late.abort();
}

#[test]
fn the_worked_example_of_weights() {
    let fixture = Fixture::new(Scheduler::Wrr, None, &[10, 6, 0]);
    let mut counts = BTreeMap::new();
    for _ in 0..1_600 {
        *counts.entry(fixture.pick().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([(0, 1_000), (1, 600)]));
}

#[test]
fn a_retry_uses_up_nobody_elses_turn() {
    let fixture = Fixture::new(Scheduler::Wrr, None, &[1, 1, 1]);
    let mut tried = TriedSet::new();
    let mut order = Vec::new();
    while let Some(pick) = fixture.pick_at(0, &tried) {
        order.push(pick.binding().0);
        tried.record(&pick);
    }
    assert_eq!(order, [0, 1, 2]);
    assert_eq!((tried.len(), fixture.active()), (3, vec![0, 0, 0]));
    // The next connection comes right after the first one's first pick.
    assert_eq!(fixture.pick(), Some(1));
}

#[test]
fn a_retry_under_least_conn_goes_to_the_next_least_loaded() {
    let fixture = Fixture::new(Scheduler::LeastConn, None, &[1, 1, 1]);
    let held = [(); 2].map(|()| fixture.pick_at(0, &TriedSet::new()).unwrap());
    let mut tried = TriedSet::new();
    let first = fixture.pick_at(0, &tried).unwrap();
    assert_eq!(first.binding(), BindingId(2));
    tried.record(&first);
    assert!(!tried.is_empty());
    drop(first);
    assert_ne!(fixture.pick_at(0, &tried).unwrap().binding(), BindingId(2));
    drop(held);
}

#[test]
fn a_retry_follows_a_view_that_was_swapped_meanwhile() {
    let fixture = Fixture::new(Scheduler::Wrr, None, &[1, 1]);
    let mut tried = TriedSet::new();
    tried.record(&fixture.pick_at(0, &tried).unwrap());
    fixture.set_weights(&[1, 0]);
    assert!(fixture.pick_at(0, &tried).is_none());
}

#[test]
fn nobody_to_pick() {
    for weights in [&[][..], &[0, 0]] {
        assert_eq!(Fixture::new(Scheduler::Wrr, None, weights).pick(), None);
        assert_eq!(
            Fixture::new(Scheduler::LeastConn, None, weights).pick(),
            None
        );
        assert_eq!(Fixture::new(Scheduler::Wrr, Some(30), weights).pick(), None);
    }
}

#[test]
fn a_client_stays_with_its_member_until_its_time_is_over() {
    let fixture = Fixture::new(Scheduler::Wrr, Some(30), &[1, 1]);
    let at = |now_ms| {
        fixture
            .pick_at(now_ms, &TriedSet::new())
            .unwrap()
            .binding()
            .0
    };
    assert_eq!([at(0), at(29_999), at(59_998)], [0, 0, 0]);
    assert_eq!(at(89_998), 1);
}

#[test]
fn a_member_that_is_not_eligible_loses_its_clients_for_good() {
    let healthy = (1, MemberHealth::Healthy);
    let fixture = Fixture::new(Scheduler::Wrr, Some(30), &[1, 1]);
    assert_eq!(fixture.pick(), Some(0));
    fixture.set(&[(1, MemberHealth::Unhealthy), healthy]);
    assert_eq!(fixture.pick(), Some(1));
    fixture.set(&[healthy, healthy]);
    assert_eq!(fixture.pick(), Some(1));

    fixture.set_weights(&[1, 0]);
    assert_eq!(fixture.pick(), Some(0));
    fixture.set_weights(&[0, 0]);
    assert_eq!(fixture.pick(), None);
    assert!(fixture.persistence.is_empty());
}

#[test]
fn all_dead_keeps_sessions_where_they_were() {
    let dead = (1, MemberHealth::Unhealthy);
    let fixture = Fixture::new(Scheduler::Wrr, Some(30), &[1, 1]);
    assert_eq!(fixture.pick(), Some(0));
    fixture.set(&[dead, dead]);
    assert_eq!([fixture.pick(), fixture.pick()], [Some(0), Some(0)]);
}

#[test]
fn a_client_whose_member_does_not_answer_moves_to_the_one_that_does() {
    let fixture = Fixture::new(Scheduler::Wrr, Some(30), &[1, 1]);
    assert_eq!(fixture.pick(), Some(0));
    let mut tried = TriedSet::new();
    tried.record(&fixture.pick_at(1, &tried).unwrap());
    assert_eq!(fixture.pick_at(1, &tried).unwrap().binding(), BindingId(1));
    assert_eq!(fixture.pick(), Some(1));
}

#[test]
fn a_choice_tells_what_it_will_touch() {
    let fixture = Fixture::new(Scheduler::Wrr, None, &[10]);
    let told = |worker| {
        let mut told = Vec::new();
        fixture.pool.visit_choice(worker, |line| told.push(line));
        told
    };
    let view = || Arc::as_ptr(&fixture.pool.view()).cast::<u8>();
    let live = Arc::as_ptr(&fixture.lives[0]).cast::<u8>();
    let first = view();
    assert!(told(0).contains(&first) && told(0).contains(&live));
    // The first workers' parts are within the live state, those of others are not looked for.
    let within = live..live.wrapping_add(size_of::<MemberLive>());
    let parts = |worker| {
        told(worker)
            .iter()
            .filter(|line| within.contains(line))
            .count()
    };
    assert_eq!((parts(0), parts(1), parts(2)), (2, 2, 1));

    // Both hold, so that the new one lies elsewhere.
    let kept = Arc::clone(&fixture.pool.view());
    fixture.set_weights(&[20]);
    assert!(told(0).contains(&view()) && !told(0).contains(&first));
    drop(kept);
}

#[test]
fn with_a_choice_of_members_none_is_told() {
    let fixture = Fixture::new(Scheduler::Wrr, None, &[10, 10]);
    let mut told = Vec::new();
    fixture.pool.visit_choice(0, |line| told.push(line));
    let view = Arc::as_ptr(&fixture.pool.view()).cast::<u8>();
    assert_eq!(told, [view, view.wrapping_add(CACHE_LINE)]);
}

#[test]
fn what_a_request_touches_is_on_two_lines() {
    let counts = 16;
    assert!(counts + std::mem::offset_of!(Pool, requests) < CACHE_LINE);
    assert!(counts + std::mem::offset_of!(Pool, taking_out) <= 2 * CACHE_LINE);
}
