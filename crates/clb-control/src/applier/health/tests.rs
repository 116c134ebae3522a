use super::*;
use clb_health::Failure;
use clb_model::{
    CheckCount, HealthCheck, IntervalTime, LbId, Port, Protocol, Scheduler, Status, TimeOut,
};

fn key() -> Key {
    (ListenerId::from_number(1), BindingId(7))
}

/// One member under check.
fn health() -> (Health, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut health = Health::new(LiveStore::open(folder.path()).unwrap());
    let check = HealthCheck {
        enabled: true,
        time_out: TimeOut::MIN,
        interval_time: IntervalTime::MAX,
        health_num: CheckCount::MIN,
        unhealth_num: CheckCount::MIN,
    };
    let listener = Listener {
        id: key().0,
        load_balancer: LbId::from_number(1),
        order: 0,
        name: String::new(),
        protocol: Protocol::Http,
        port: Port::MIN,
        instance_port: Port::MIN,
        scheduler: Scheduler::Wrr,
        session_expire: None,
        health: check,
        status: Status::Running,
    };
    let member = CheckedMember {
        listener: key().0,
        binding: key().1,
        target: ([192, 0, 2, 1], 80).into(),
        check,
    };
    health.set(vec![member], &listener);
    (health, folder)
}

fn probe_ends(health: &mut Health, result: Result<(), clb_health::ProbeError>) {
    let run = health.due().pop().unwrap();
    health.complete((run.ticket, result));
}

#[test]
fn a_suspect_is_probed_at_once_and_cleared_by_success() {
    let (mut health, _folder) = health();
    health.suspect(key());
    assert_eq!(health.cleared(), []);
    probe_ends(&mut health, Ok(()));
    assert_eq!(health.cleared(), [key()]);
    assert_eq!(health.cleared(), [], "told once");
}

#[test]
fn a_suspect_that_fails_its_probe_is_not_cleared() {
    let (mut health, _folder) = health();
    health.suspect(key());
    probe_ends(&mut health, Err(Failure::Refused.into()));
    assert_eq!(health.cleared(), []);
    assert!(health.suspects.is_empty());
}

#[test]
fn who_is_not_checked_or_gone_is_not_waited_for() {
    let (mut health, _folder) = health();
    health.suspect((key().0, BindingId(8)));
    health.suspect(key());
    health.remove(key());
    assert!(health.suspects.is_empty());
    assert_eq!(health.cleared(), []);
}
