//! Certificates in requests: ids and uploads.

use super::client::{call, refused};

const PEM: &str = "-----BEGIN CERTIFICATE-----";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC";

#[track_caller]
fn refuses(action: &str, own: &[(&str, &str)], starts: &str) {
    let message = refused(action, own);
    assert!(message.starts_with(starts), "{message}");
    assert!(!message.contains("MIIEvQ"), "{message}");
}

#[test]
fn a_replacement_is_an_id_or_an_upload() {
    let old = ("oldCertId", "4b9fc92b");
    let (id, content) = (("newCertId", "e2b6d555"), ("newCertContent", PEM));
    let (name, key) = (("newCertName", "www"), ("newCertKey", KEY));
    for own in [
        vec![old, id],
        vec![old, content, name],
        vec![old, content, name, key],
    ] {
        call("ReplaceCert", &own).unwrap();
    }
    for (own, starts) in [
        (vec![id], "oldCertId: required"),
        (vec![old], "newCertId: required, or newCertContent"),
        (
            vec![old, id, content, name],
            "newCertId=e2b6d555: cannot be given together",
        ),
        (
            vec![old, content],
            "newCertName: required with newCertContent",
        ),
        (vec![old, id, key], "newCertKey: belongs to an uploaded"),
        (
            vec![old, id, name],
            "newCertName=www: belongs to an uploaded",
        ),
    ] {
        refuses("ReplaceCert", &own, starts);
    }
}

#[test]
fn a_listener_of_an_application_based_instance_is_changed_as_a_classic_one() {
    let action = "ModifyForwardLBSeventhListener";
    let ids = [
        ("loadBalancerId", "lb-abcdefgh"),
        ("listenerId", "lbl-abcdefgh"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&ids[..], more].concat();
    call(action, &with(&[])).unwrap();
    call(
        action,
        &with(&[("SSLMode", "mutual"), ("certCaId", "4b9fc92b")]),
    )
    .unwrap();
    let upload = [("certContent", PEM), ("certKey", KEY), ("certName", "www")];
    call(action, &with(&upload)).unwrap();
    refuses(
        action,
        &with(&upload[..2]),
        "certName: required with certContent",
    );
    refuses(
        action,
        &with(&upload[1..]),
        "certKey: belongs to an uploaded",
    );
    refuses(
        action,
        &with(&[("SSLMode", "unidirectional"), ("certCaId", "4b9fc92b")]),
        "certCaId=4b9fc92b: a CA certificate checks",
    );
    refuses(
        action,
        &with(&[("SSLMode", "both")]),
        "SSLMode=both: must be one of",
    );
}
