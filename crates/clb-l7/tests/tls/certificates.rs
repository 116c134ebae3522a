//! Mutual TLS.

use clb_snapshot::HandshakeFailure;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::harness::Settings;
use super::harness::tls::{Authority, client_config};
use super::{Bench, Client, eventually};

#[test]
fn a_client_of_the_ca_is_let_in_and_its_backend_told() {
    let bench = Bench::start(&Settings::default());
    let clients = Authority::new("clients");
    let listener = bench.listen(Some(&clients));
    for version in [&TLS12, &TLS13] {
        let identity = clients.client("alice", false);
        let config = client_config(&bench.authority, Some(&identity), version);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = Client::new(listener.addr(), &config);
            client
                .send("GET / HTTP/1.1\r\nHost: a\r\nX-SSL-Client-Verify: FAILED\r\nX-SSL-Client-S-DN: CN=mallory\r\n\r\n")
                .unwrap();
            let seen = client.answer().unwrap();
            assert_eq!(client.session().handshake_kind(), Some(kind));
            let fields: Vec<_> = seen
                .lines()
                .filter(|line| line.starts_with("X-SSL-Client-"))
                .collect();
            assert_eq!(fields.len(), 3, "{seen}");
            assert_eq!(fields[0], "X-SSL-Client-Verify: SUCCESS");
            assert!(
                fields[1].starts_with("X-SSL-Client-S-DN: CN=alice"),
                "{seen}"
            );
            let serial = fields[2].strip_prefix("X-SSL-Client-Serial: ").unwrap();
            assert!(serial.bytes().all(|octet| octet.is_ascii_hexdigit()));
        }
    }
}

#[test]
fn others_are_kept_out_and_told_why() {
    let bench = Bench::start(&Settings::default());
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let listener = bench.listen(Some(&clients));
    let foreign = others.client("alice", false);
    let expired = clients.client("alice", true);
    let (missing, bad) = (
        HandshakeFailure::NoClientCertificate,
        HandshakeFailure::BadClientCertificate,
    );
    for (identity, version, alert, why) in [
        (None, &TLS13, "CertificateRequired", missing),
        (None, &TLS12, "CertificateRequired", missing),
        (Some(&foreign), &TLS13, "UnknownCA", bad),
        (Some(&foreign), &TLS12, "UnknownCA", bad),
        (Some(&expired), &TLS13, "CertificateExpired", bad),
        (Some(&expired), &TLS12, "CertificateExpired", bad),
    ] {
        let before = listener.tls().live.failed(why);
        let config = client_config(&bench.authority, identity, version);
        let error = Client::new(listener.addr(), &config).get().unwrap_err();
        assert!(error.to_string().contains(alert), "{alert}: {error}");
        let count = || listener.tls().live.failed(why);
        eventually(|| count() == before + 1);
    }
    assert_eq!(listener.tls().live.full(), 0);
}
