//! What members, pools and shared probes live through, told under a simulated clock.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use clb_health::{
    Check, Checker, Failure, HttpMethod, HttpProbe, LocalError, MemberId, Millis, ProbeError,
    ProbeKind, ProbeRun, State, Thresholds, Transition, phase,
};
use clb_model::{CheckPath, HttpCodeMask};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const FOUNDING: State = State::Detecting { founding: true };
const DETECTING: State = State::Detecting { founding: false };

fn member(pool: &'static str, binding: u64) -> MemberId<&'static str> {
    MemberId { pool, binding }
}

/// Every 5 s, at most 2 s, two successes, three failures.
fn check(target: &str) -> Check {
    Check {
        target: target.parse().expect("an address"),
        kind: ProbeKind::Tcp,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        thresholds: Thresholds {
            healthy: 2,
            unhealthy: 3,
        },
    }
}

/// A checker, a clock, and backends that are up or down.
#[derive(Default)]
struct Lab {
    now: Millis,
    checker: Checker<&'static str>,
    down: Vec<SocketAddr>,
}

impl Lab {
    fn set(&mut self, id: MemberId<&'static str>, check: Check) {
        self.checker.set(self.now, id, check);
    }

    fn state(&self, id: MemberId<&'static str>) -> State {
        self.checker.status(&id).expect("a member").state
    }

    fn takes_down(&mut self, target: &str) {
        self.down.push(target.parse().expect("an address"));
    }

    fn brings_up(&mut self, target: &str) {
        let target: SocketAddr = target.parse().expect("an address");
        self.down.retain(|down| *down != target);
    }

    /// Goes to the next time at which probes are due, and hands them out.
    fn next_runs(&mut self) -> Vec<ProbeRun> {
        self.now = self.checker.next_due().expect("something to probe");
        self.checker.due(self.now)
    }

    fn answer(&mut self, run: &ProbeRun) -> Vec<Transition<&'static str>> {
        let result = if self.down.contains(&run.target) {
            Err(Failure::Refused.into())
        } else {
            Ok(())
        };
        self.checker.complete(self.now, run.ticket, result)
    }

    /// Lets time pass and backends answer at once.
    fn passes(&mut self, seconds: u64) -> Vec<Transition<&'static str>> {
        let end = self.now + seconds * 1_000;
        let mut transitions = Vec::new();
        while self.checker.next_due().is_some_and(|due| due <= end) {
            for run in self.next_runs() {
                transitions.extend(self.answer(&run));
            }
        }
        self.now = end;
        transitions
    }
}

#[test]
fn a_fresh_load_balancer_serves_at_once_from_all_its_backends() {
    let mut lab = Lab::default();
    let (one, two) = (member("web", 1), member("web", 2));
    lab.set(one, check("192.0.2.1:80"));
    lab.set(two, check("192.0.2.2:80"));
    assert_eq!((lab.state(one), lab.state(two)), (FOUNDING, FOUNDING));
    lab.takes_down("192.0.2.2:80");
    lab.passes(5);
    assert_eq!((lab.state(one), lab.state(two)), (FOUNDING, DETECTING));
    lab.passes(10);
    assert_eq!(lab.state(one), State::Healthy);
    assert_eq!(lab.state(two), State::Unhealthy);
}

#[test]
fn a_backend_that_joins_a_pool_with_a_healthy_one_must_prove_itself() {
    let mut lab = Lab::default();
    lab.set(member("web", 1), check("192.0.2.1:80"));
    lab.passes(10);
    lab.set(member("web", 2), check("192.0.2.2:80"));
    lab.set(member("other", 3), check("192.0.2.2:80"));
    assert_eq!(lab.state(member("web", 2)), DETECTING);
    assert_eq!(lab.state(member("other", 3)), FOUNDING, "a pool of its own");
    // Without the healthy one, whoever comes next is founding again.
    lab.checker.remove(&member("web", 1));
    lab.set(member("web", 4), check("192.0.2.4:80"));
    assert_eq!(lab.state(member("web", 4)), FOUNDING);
}

#[test]
fn founding_follows_health_as_it_comes_and_goes() {
    let mut lab = Lab::default();
    lab.set(member("web", 1), check("192.0.2.1:80"));
    lab.passes(10);
    lab.takes_down("192.0.2.1:80");
    lab.passes(15);
    assert_eq!(lab.state(member("web", 1)), State::Unhealthy);
    lab.set(member("web", 2), check("192.0.2.2:80"));
    assert_eq!(lab.state(member("web", 2)), FOUNDING);
}

#[test]
fn ten_thousand_rules_on_one_backend_cost_one_probe_an_interval() {
    let mut checker = Checker::new();
    for rule in 0..10_000u64 {
        let id = MemberId {
            pool: rule,
            binding: rule,
        };
        checker.set(0, id, check("192.0.2.1:80"));
    }
    assert_eq!((checker.members(), checker.probes()), (10_000, 1));
    for round in 0..2 {
        let now = checker.next_due().expect("a probe");
        let runs = checker.due(now);
        assert_eq!(runs.len(), 1);
        let transitions = checker.complete(now + 1, runs[0].ticket, Ok(()));
        let expected = if round == 0 { 0 } else { 10_000 };
        assert_eq!(transitions.len(), expected);
    }
    assert_eq!(checker.counters().started, 2);
}

#[test]
fn members_that_share_a_probe_keep_their_own_thresholds() {
    let mut lab = Lab::default();
    let mut quick = check("192.0.2.1:80");
    quick.thresholds.healthy = 1;
    lab.set(member("quick", 1), quick);
    lab.set(member("slow", 1), check("192.0.2.1:80"));
    let run = lab.next_runs().remove(0);
    let transitions = lab.answer(&run);
    assert_eq!(transitions.len(), 1);
    assert_eq!(transitions[0].member, member("quick", 1));
    assert_eq!(lab.state(member("slow", 1)), FOUNDING);
}

#[test]
fn the_probe_ends_with_its_last_subscriber() {
    let mut lab = Lab::default();
    lab.set(member("a", 1), check("192.0.2.1:80"));
    lab.set(member("b", 1), check("192.0.2.1:80"));
    lab.checker.remove(&member("a", 1));
    assert_eq!(lab.checker.probes(), 1);
    lab.checker.remove(&member("b", 1));
    assert_eq!(lab.checker.probes(), 0);
    assert_eq!(lab.checker.next_due(), None);
    lab.checker.remove(&member("b", 1));
    assert_eq!(lab.checker.members(), 0);
}

#[test]
fn a_probe_that_began_before_a_backend_was_bound_says_nothing_about_it() {
    let mut lab = Lab::default();
    lab.takes_down("192.0.2.1:80");
    lab.set(member("old", 1), check("192.0.2.1:80"));
    let run = lab.next_runs().remove(0);
    // While the probe runs the backend is started and bound to a second pool.
    lab.set(member("new", 2), check("192.0.2.1:80"));
    let transitions = lab.answer(&run);
    assert_eq!(transitions.len(), 1);
    assert_eq!(lab.state(member("old", 1)), DETECTING);
    assert_eq!(lab.state(member("new", 2)), FOUNDING);
}

#[test]
fn a_result_for_a_member_that_has_left_changes_nothing() {
    let mut lab = Lab::default();
    lab.takes_down("192.0.2.1:80");
    lab.set(member("web", 1), check("192.0.2.1:80"));
    let run = lab.next_runs().remove(0);
    lab.checker.remove(&member("web", 1));
    lab.set(member("web", 1), check("192.0.2.1:80"));
    assert!(lab.answer(&run).is_empty());
    assert_eq!(lab.state(member("web", 1)), FOUNDING);
    assert_eq!(lab.checker.counters().refused, 1, "its probe lives on");

    let run = lab.next_runs().remove(0);
    lab.checker.remove(&member("web", 1));
    assert!(lab.answer(&run).is_empty());
    assert_eq!(lab.checker.counters().stale, 1);
    assert_eq!(lab.checker.next_due(), None);
}

#[test]
fn a_backend_that_is_removed_and_bound_again_is_not_probed_twice_at_once() {
    let mut lab = Lab::default();
    lab.set(member("web", 1), check("192.0.2.1:80"));
    let beat = lab.checker.next_due().expect("a probe");
    lab.now = beat + 4_500; // a late driver
    let run = lab.checker.due(lab.now).remove(0);
    lab.checker.remove(&member("web", 1));
    lab.set(member("web", 1), check("192.0.2.1:80"));
    lab.now = beat + 5_000;
    assert!(lab.checker.due(lab.now).is_empty(), "the first still runs");
    lab.now = beat + 6_500;
    assert!(lab.answer(&run).is_empty());
    lab.now = beat + 10_000;
    assert_eq!(lab.checker.due(lab.now).len(), 1);
}

#[test]
fn changing_interval_or_thresholds_keeps_state_and_run() {
    let mut lab = Lab::default();
    let web = member("web", 1);
    lab.set(web, check("192.0.2.1:80"));
    lab.passes(10);
    lab.takes_down("192.0.2.1:80");
    lab.passes(10);
    let before = lab.checker.status(&web).expect("a member").clone();
    assert_eq!((before.state, before.run.failures), (State::Healthy, 2));

    let mut changed = check("192.0.2.1:80");
    changed.interval = Duration::from_secs(30);
    changed.timeout = Duration::from_secs(10);
    changed.thresholds.unhealthy = 2;
    lab.set(web, changed);
    assert_eq!(lab.checker.status(&web), Some(&before));
    // The run is compared with the new threshold at the next result.
    let transitions = lab.passes(30);
    assert_eq!(transitions.len(), 1);
    assert_eq!(
        transitions[0].reason.to_string(),
        "refused (3 failures in a row)"
    );
}

#[test]
fn changing_the_port_restarts_the_run_and_keeps_the_state() {
    let mut lab = Lab::default();
    let web = member("web", 1);
    lab.set(web, check("192.0.2.1:80"));
    lab.passes(10);
    lab.takes_down("192.0.2.1:80");
    lab.takes_down("192.0.2.1:81");
    lab.passes(10);
    lab.set(web, check("192.0.2.1:81"));
    let status = lab.checker.status(&web).expect("a member");
    assert_eq!((status.state, status.run.failures), (State::Healthy, 0));
    assert!(lab.passes(10).is_empty(), "two failures of three");
    assert_eq!(lab.passes(5).len(), 1);
}

/// As [`check`], by HTTP.
fn http_check(target: &str, path: &str, mask: i64) -> Check {
    let probe = HttpProbe::new(
        HttpMethod::Get,
        CheckPath::parse(path).expect("a path"),
        None,
        HttpCodeMask::try_from(mask).expect("a mask"),
    );
    Check {
        kind: ProbeKind::Http(Arc::new(probe)),
        ..check(target)
    }
}

#[test]
fn changing_path_or_mask_restarts_the_run_and_keeps_the_state() {
    let target = "192.0.2.1:80";
    for changed in [
        http_check(target, "/other", 31),
        http_check(target, "/up", 2),
        check(target),
    ] {
        let mut lab = Lab::default();
        let web = member("web", 1);
        lab.set(web, http_check(target, "/up", 31));
        lab.passes(10);
        lab.takes_down(target);
        lab.passes(10);
        // The same again is no change.
        lab.set(web, http_check(target, "/up", 31));
        let status = lab.checker.status(&web).expect("a member");
        assert_eq!((status.state, status.run.failures), (State::Healthy, 2));
        lab.set(web, changed);
        let status = lab.checker.status(&web).expect("a member");
        assert_eq!((status.state, status.run.failures), (State::Healthy, 0));
        assert!(lab.passes(10).is_empty(), "two failures of three");
        assert_eq!(lab.passes(5).len(), 1);
    }
}

#[test]
fn equal_http_checks_share_a_probe_and_others_do_not() {
    let mut lab = Lab::default();
    for pool in ["a", "b", "c"] {
        lab.set(member(pool, 1), http_check("192.0.2.1:80", "/up", 31));
    }
    assert_eq!(lab.checker.probes(), 1);
    lab.set(member("d", 1), http_check("192.0.2.1:80", "/up", 15));
    lab.set(member("e", 1), http_check("192.0.2.1:80", "/", 31));
    lab.set(member("f", 1), check("192.0.2.1:80"));
    assert_eq!(lab.checker.probes(), 4);
}

#[test]
fn setting_what_is_set_does_not_disturb_a_running_probe() {
    let mut lab = Lab::default();
    let web = member("web", 1);
    lab.set(web, check("192.0.2.1:80"));
    let run = lab.next_runs().remove(0);
    lab.set(web, check("192.0.2.1:80"));
    lab.answer(&run);
    assert_eq!(lab.checker.status(&web).expect("a member").run.successes, 1);
}

#[test]
fn state_survives_a_restart_while_it_is_young() {
    let check = check("192.0.2.1:80");
    assert!(check.keeps_saved_state(Duration::from_millis(14_999)));
    assert!(!check.keeps_saved_state(Duration::from_secs(15)));

    let mut lab = Lab::default();
    lab.checker
        .restore(0, member("web", 1), check.clone(), State::Healthy);
    lab.set(member("web", 2), check);
    assert_eq!(lab.state(member("web", 1)), State::Healthy);
    assert_eq!(lab.state(member("web", 2)), DETECTING, "one is healthy");
    assert_eq!(lab.checker.history(&member("web", 1)).count(), 0);
}

#[test]
fn restoring_a_member_that_is_known_already_does_not_overrule_what_was_seen() {
    let mut lab = Lab::default();
    let web = member("web", 1);
    lab.set(web, check("192.0.2.1:80"));
    lab.passes(10);
    lab.checker
        .restore(lab.now, web, check("192.0.2.1:80"), State::Unhealthy);
    assert_eq!(lab.state(web), State::Healthy);
}

#[test]
fn an_error_of_our_own_changes_no_state_and_breaks_no_run() {
    let mut lab = Lab::default();
    let web = member("web", 1);
    lab.set(web, check("192.0.2.1:80"));
    lab.passes(5);
    let run = lab.next_runs().remove(0);
    let error = LocalError {
        doing: "opening a socket",
        kind: std::io::ErrorKind::Other,
        errno: Some(24),
    };
    let result = Err(ProbeError::Local(error.clone()));
    let at = lab.now;
    assert!(lab.checker.complete(at, run.ticket, result).is_empty());
    assert_eq!(lab.checker.counters().local, 1);
    let status = lab.checker.status(&web).expect("a member");
    assert_eq!((status.state, status.run.successes), (FOUNDING, 1));
    assert_eq!(status.local_error, Some((at, error)));
    assert_eq!(lab.passes(5).len(), 1, "the second success in a row");
}

#[test]
fn traffic_that_fails_gets_a_probe_at_once() {
    let mut lab = Lab::default();
    let web = member("web", 1);
    let mut slow = check("192.0.2.1:80");
    slow.interval = Duration::from_secs(300);
    lab.set(web, slow);
    lab.passes(600);
    assert_eq!(lab.state(web), State::Healthy);
    let beat = lab.checker.next_due();

    lab.takes_down("192.0.2.1:80");
    lab.now += 20_000;
    assert_eq!(lab.checker.probe_now(lab.now, &web), Some(lab.now));
    let run = lab.next_runs().remove(0);
    lab.answer(&run);
    assert_eq!(lab.checker.status(&web).expect("a member").run.failures, 1);
    assert_eq!(lab.checker.next_due(), beat, "the beat goes on");
    // However often traffic fails, one probe a second is enough.
    let again = lab.checker.probe_now(lab.now + 1, &web);
    assert_eq!(again, Some(lab.now + 1_000));
    assert_eq!(lab.checker.probe_now(lab.now, &member("web", 9)), None);
}

#[test]
fn history_and_status_tell_what_happened_and_why() {
    let mut lab = Lab::default();
    let web = member("web", 1);
    lab.set(web, check("192.0.2.1:80"));
    lab.passes(10);
    lab.takes_down("192.0.2.1:80");
    lab.passes(20);
    lab.brings_up("192.0.2.1:80");
    lab.passes(10);
    let told: Vec<String> = lab
        .checker
        .history(&web)
        .map(|change| format!("{} > {}: {}", change.from, change.to, change.reason))
        .collect();
    assert_eq!(
        told,
        [
            "detecting (founding) > healthy: 2 successes in a row",
            "healthy > unhealthy: refused (3 failures in a row)",
            "unhealthy > healthy: 2 successes in a row",
        ]
    );
    let status = lab.checker.status(&web).expect("a member");
    assert_eq!((status.successes, status.failures), (4, 4));
    assert_eq!(status.last.as_ref().map(|last| &last.result), Some(&Ok(())));
    assert_eq!(lab.checker.counters().transitions, 3);
    assert_eq!(lab.checker.counters().succeeded, 4);
    assert_eq!(lab.checker.counters().refused, 4);
}

#[test]
fn the_members_of_a_pool_come_in_order_of_binding() {
    let mut lab = Lab::default();
    for (pool, binding) in [("b", 2), ("a", 9), ("b", u64::MAX), ("b", 0), ("c", 1)] {
        lab.set(member(pool, binding), check("192.0.2.1:80"));
    }
    let pool = lab.checker.pool("b").map(|(id, _)| id.binding);
    assert_eq!(pool.collect::<Vec<_>>(), [0, 2, u64::MAX]);
    assert_eq!(lab.checker.statuses().count(), 5);
}

fn many_targets(count: u64) -> impl Iterator<Item = SocketAddr> {
    (0..count).map(|n| SocketAddr::from(([10, 0, (n / 250) as u8, (n % 250) as u8], 8_080)))
}

#[test]
fn ten_thousand_checks_are_spread_evenly_over_the_interval() {
    let interval = Duration::from_secs(5);
    let ipv6 = |n: u64| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n as u16], 80));
    let by_port = |n: u64| SocketAddr::from(([192, 0, 2, 1], n as u16 + 1));
    let sets: [Vec<SocketAddr>; 3] = [
        many_targets(10_000).collect(),
        (0..10_000).map(ipv6).collect(),
        (0..10_000).map(by_port).collect(),
    ];
    for targets in sets {
        let mut slots = [0u32; 50];
        for target in targets {
            slots[(phase(target, &ProbeKind::Tcp, interval) / 100) as usize] += 1;
        }
        // A fair share is 200; 280 is beyond five standard deviations.
        assert!(slots.iter().all(|&n| (120..280).contains(&n)), "{slots:?}");
    }
}

#[test]
fn a_stall_of_the_whole_process_ends_without_a_burst() {
    let mut checker = Checker::new();
    for (binding, target) in (0..).zip(many_targets(1_000)) {
        let id = MemberId {
            pool: "web",
            binding,
        };
        checker.set(0, id, check(&target.to_string()));
    }
    let drive = |checker: &mut Checker<&str>, until: Millis| {
        let mut most_at_once = 0;
        while let Some(now) = checker.next_due().filter(|&due| due <= until) {
            let runs = checker.due(now);
            most_at_once = most_at_once.max(runs.len());
            for run in runs {
                checker.complete(now, run.ticket, Ok(()));
            }
        }
        most_at_once
    };
    drive(&mut checker, 19_999);
    let before = checker.counters().started;
    assert_eq!(before, 4_000);
    // The machine sleeps for a minute.
    let runs = checker.due(80_000);
    assert!(runs.len() < 10, "{} at once", runs.len());
    for run in &runs {
        checker.complete(80_000, run.ticket, Ok(()));
    }
    assert!(drive(&mut checker, 84_999) < 10);
    // In the next interval each is probed once, and nothing is made up for.
    assert_eq!(checker.counters().started - before, 1_000);
    assert_eq!(checker.counters().missed, 12_000);
}
