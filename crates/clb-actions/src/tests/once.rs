//! Window, replay and rate (actions.md A.7, A.11 step 3).

use super::client::{Call, NOW, gatekeeper, gatekeeper_with};
use crate::{ApiError, Limits, Triple};

fn describe() -> Call {
    Call::new("DescribeLoadBalancers", &[])
}

fn refusal(call: &Call) -> ApiError {
    call.send(&gatekeeper()).unwrap_err()
}

#[test]
fn a_request_is_admitted_within_two_hours_of_its_timestamp() {
    for offset in [0u64, 1, 7200] {
        for timestamp in [NOW - offset, NOW + offset] {
            let call = describe().with("Timestamp", &timestamp.to_string());
            assert!(call.send(&gatekeeper()).is_ok(), "{timestamp}");
        }
    }
    for timestamp in [0, NOW - 7201, NOW + 7201, u64::MAX] {
        let error = refusal(&describe().with("Timestamp", &timestamp.to_string()));
        assert_eq!(error.code, 4500, "{timestamp}");
    }
}

#[test]
fn the_same_request_passes_once() {
    let gatekeeper = gatekeeper();
    assert!(describe().send(&gatekeeper).is_ok());
    assert_eq!(describe().send(&gatekeeper).unwrap_err().code, 4500);
    // Another body, host form or method under the same three values is the same to the memory.
    assert_eq!(
        describe()
            .post()
            .with("limit", "3")
            .send(&gatekeeper)
            .unwrap_err()
            .code,
        4500
    );
    // Another key, second or nonce is another request.
    assert!(describe().by_reader().send(&gatekeeper).is_ok());
    assert!(describe().with("Nonce", "46365").send(&gatekeeper).is_ok());
    assert!(
        describe()
            .with("Timestamp", &(NOW - 1).to_string())
            .send(&gatekeeper)
            .is_ok()
    );
    assert_eq!(gatekeeper.remembered(), 4);
}

#[test]
fn a_request_that_failed_later_is_remembered_as_well() {
    let gatekeeper = gatekeeper();
    let bad = describe().with("limit", "101");
    assert_eq!(bad.send(&gatekeeper).unwrap_err().code, 4000);
    assert_eq!(bad.send(&gatekeeper).unwrap_err().code, 4500);
}

#[test]
fn forged_requests_fill_nothing() {
    let gatekeeper = gatekeeper();
    let forged = Call {
        secret_key: "guess".to_owned(),
        ..describe()
    };
    for nonce in 0..50 {
        let _ = forged
            .clone()
            .with("Nonce", &nonce.to_string())
            .send(&gatekeeper);
        let _ = forged
            .clone()
            .with("SecretId", &nonce.to_string())
            .send(&gatekeeper);
    }
    assert_eq!(gatekeeper.remembered(), 0);
}

#[test]
fn requests_are_forgotten_when_their_timestamp_leaves_the_window_and_stay_refused() {
    let gatekeeper = gatekeeper();
    let first = describe();
    assert!(first.send(&gatekeeper).is_ok());
    let at_the_edge = (NOW + 7200) * 1000 + 999;
    assert_eq!(
        first.send_at(&gatekeeper, at_the_edge).unwrap_err().code,
        4500
    );
    assert_eq!(gatekeeper.remembered(), 1);
    let later = describe().with("Timestamp", &(NOW + 7201).to_string());
    assert!(later.send_at(&gatekeeper, (NOW + 7201) * 1000).is_ok());
    assert_eq!(gatekeeper.remembered(), 1);
    assert_eq!(
        first
            .send_at(&gatekeeper, (NOW + 7201) * 1000)
            .unwrap_err()
            .code,
        4500
    );
    // The clock is set back: the first request is in the window again, but nobody knows it.
    let error = first.send(&gatekeeper).unwrap_err();
    assert_eq!(error.code, 4500);
    assert!(error.message.contains("set back"), "{error}");
}

#[test]
fn a_full_memory_turns_requests_away_until_old_ones_leave_it() {
    let gatekeeper = gatekeeper_with(Limits {
        nonces: 3,
        requests_per_second: 0,
    });
    let nonce = |n: u64| describe().with("Nonce", &n.to_string());
    for n in 0..3 {
        assert!(nonce(n).send(&gatekeeper).is_ok());
    }
    assert_eq!(nonce(3).send(&gatekeeper).unwrap_err().code, 4400);
    assert_eq!(nonce(0).send(&gatekeeper).unwrap_err().code, 4500);
    assert_eq!(gatekeeper.remembered(), 3);
    let later = nonce(3).with("Timestamp", &(NOW + 7201).to_string());
    assert!(later.send_at(&gatekeeper, (NOW + 7201) * 1000).is_ok());
}

#[test]
fn what_was_seen_before_a_restart_is_refused_after_it() {
    let gatekeeper = gatekeeper_with(Limits {
        nonces: 1,
        requests_per_second: 0,
    });
    let before = describe()
        .send(&super::client::gatekeeper())
        .unwrap()
        .triple;
    gatekeeper.remember(before.clone());
    gatekeeper.remember(Triple { nonce: 1, ..before });
    assert_eq!(gatekeeper.remembered(), 2);
    assert_eq!(describe().send(&gatekeeper).unwrap_err().code, 4500);
    assert_eq!(
        describe()
            .with("Nonce", "2")
            .send(&gatekeeper)
            .unwrap_err()
            .code,
        4400
    );
}

#[test]
fn each_key_has_its_rate_and_what_it_refuses_is_not_remembered() {
    let gatekeeper = gatekeeper_with(Limits {
        nonces: 0,
        requests_per_second: 2,
    });
    let nonce = |n: u64| describe().with("Nonce", &n.to_string());
    assert!(nonce(0).send(&gatekeeper).is_ok());
    assert!(nonce(1).send(&gatekeeper).is_ok());
    let error = nonce(2).send(&gatekeeper).unwrap_err();
    assert_eq!(
        (error.code, error.code_desc),
        (4400, "RequestLimitExceeded")
    );
    assert_eq!(gatekeeper.remembered(), 2);
    assert!(nonce(2).by_reader().send(&gatekeeper).is_ok());
    assert!(nonce(2).send_at(&gatekeeper, NOW * 1000 + 500).is_ok());
    // A forged request takes nothing from the key's share.
    let forged = Call {
        secret_key: "guess".to_owned(),
        ..nonce(9)
    };
    assert_eq!(
        forged
            .send_at(&gatekeeper, NOW * 1000 + 1000)
            .unwrap_err()
            .code,
        4100
    );
    assert!(nonce(3).send_at(&gatekeeper, NOW * 1000 + 1000).is_ok());
}
