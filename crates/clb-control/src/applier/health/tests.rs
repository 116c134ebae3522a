use std::time::Duration;

use clb_health::{Check, Failure, ProbeKind, Thresholds};
use clb_model::RuleId;

use super::*;

fn key() -> Key {
    (PoolKey::Rule(RuleId::from_number(1)), BindingId(7))
}

/// One member under check.
fn health() -> (Health, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut health = Health::new(LiveStore::open(folder.path()).unwrap());
    let member = CheckedMember {
        pool: key().0,
        binding: key().1,
        check: Check {
            target: ([192, 0, 2, 1], 80).into(),
            kind: ProbeKind::Tcp,
            interval: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
            thresholds: Thresholds {
                healthy: 2,
                unhealthy: 2,
            },
        },
    };
    health.set(vec![member], key().0);
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
