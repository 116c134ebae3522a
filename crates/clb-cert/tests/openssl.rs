//! Uploads as OpenSSL makes them. The program must be there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::path::Path;
use std::process::Command;

use clb_cert::{CertificateError, Fault, KeyError, KeyType, Refused, authority, server};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `openssl` with arguments that are separated by blanks; `+` stands for a blank in one.
    fn openssl(&self, arguments: &str) {
        let arguments = arguments
            .split_whitespace()
            .map(|one| one.replace('+', " "));
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.path())
            .output()
            .expect("openssl must be installed");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// A self-signed certificate `NAME.pem` for the key `NAME.key`.
    fn self_signed(&self, name: &str) {
        self.openssl(&format!(
            "req -x509 -key {name}.key -out {name}.pem -days 30 -subj /CN={name} -addext subjectAltName=DNS:{name}.example,IP:192.0.2.1"
        ));
    }

    /// A certificate `NAME.pem` for a new P-256 key, signed by `by`.
    fn signed(&self, name: &str, by: &str, extensions: &str) {
        self.write("extensions", extensions);
        self.openssl(&format!(
            "ecparam -name prime256v1 -genkey -noout -out {name}.key"
        ));
        self.openssl(&format!(
            "req -new -key {name}.key -subj /CN={name} -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -days 30 -extfile extensions -out {name}.pem"
        ));
    }

    /// root, intermediate, leaf.
    fn chain(&self) {
        self.openssl("ecparam -name prime256v1 -genkey -noout -out root.key");
        self.openssl("req -x509 -key root.key -out root.pem -days 30 -subj /CN=root");
        self.signed("middle", "root", "basicConstraints=critical,CA:TRUE");
        self.signed("leaf", "middle", "subjectAltName=DNS:leaf.example");
    }
}

#[test]
fn every_kind_of_key_that_can_be_served() {
    let folder = Folder::new();
    folder.openssl("genrsa -out rsa2048.key 2048");
    folder.openssl("genrsa -traditional -out rsa3072.key 3072");
    folder.openssl("ecparam -name prime256v1 -genkey -out p256.key");
    folder.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key");
    folder.openssl("ecparam -name secp521r1 -genkey -noout -out p521.key");
    folder.openssl("genpkey -algorithm ED25519 -out ed25519.key");
    for (name, key_type, form) in [
        ("rsa2048", KeyType::Rsa(2048), "pkcs8"),
        ("rsa3072", KeyType::Rsa(3072), "pkcs1"),
        ("p256", KeyType::P256, "sec1"),
        ("p384", KeyType::P384, "pkcs8"),
        ("p521", KeyType::P521, "sec1"),
        ("ed25519", KeyType::Ed25519, "pkcs8"),
    ] {
        folder.self_signed(name);
        let certificate = folder.read(&format!("{name}.pem"));
        let key = folder.read(&format!("{name}.key"));
        let content = server(&certificate, &key).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let facts = &content.facts[0];
        assert_eq!(facts.key_type, Some(key_type));
        assert_eq!(facts.subject, format!("CN={name}"));
        assert_eq!(
            facts.names,
            [format!("{name}.example"), "192.0.2.1".to_owned()]
        );
        assert_eq!(content.key.as_ref().unwrap().form(), form);
        let shown = format!("{content:?}");
        let body = key.lines().find(|line| line.len() == 64);
        assert!(body.is_none_or(|body| !shown.contains(body)), "{shown}");
        assert!(shown.contains("PrivateKey([redacted])"));
    }
}

#[test]
fn what_cannot_be_served_is_named() {
    let folder = Folder::new();
    folder.openssl("genrsa -out rsa1024.key 1024");
    folder.openssl("ecparam -name secp256k1 -genkey -noout -out koblitz.key");
    for (name, wanted) in [
        ("rsa1024", "RSA of 1024 bits"),
        ("koblitz", "ECDSA on the curve 1.3.132.0.10"),
    ] {
        folder.self_signed(name);
        let certificate = folder.read(&format!("{name}.pem"));
        let refused = server(&certificate, &folder.read(&format!("{name}.key")));
        let Err(Refused::Certificate(CertificateError::Certificate { fault, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(fault, Fault::KeyType(wanted.to_owned()));
    }
}

#[test]
fn a_chain_is_leaf_first() {
    let folder = Folder::new();
    folder.chain();
    let [root, middle, leaf] = ["root.pem", "middle.pem", "leaf.pem"].map(|name| folder.read(name));
    let key = folder.read("leaf.key");
    let content = server(&format!("{leaf}\n{middle}{root}"), &key).unwrap();
    assert_eq!(content.certificates.len(), 3);
    assert_eq!(content.facts[2].subject, "CN=root");
    let wrong = server(&format!("{leaf}{root}{middle}"), &key).unwrap_err();
    let Refused::Certificate(CertificateError::OutOfOrder {
        number,
        issuer,
        subject,
        ..
    }) = wrong
    else {
        panic!("{wrong:?}");
    };
    assert_eq!((number, &*issuer, &*subject), (2, "CN=middle", "CN=root"));
    let mismatch = server(&format!("{middle}{root}"), &key);
    let subject = "CN=middle".to_owned();
    assert_eq!(mismatch, Err(Refused::Key(KeyError::Mismatch { subject })));
}

#[test]
fn the_same_key_in_another_form_is_the_same_upload() {
    let folder = Folder::new();
    folder.openssl("genrsa -out rsa.key 2048");
    folder.self_signed("rsa");
    folder.openssl("rsa -in rsa.key -traditional -out other.key");
    let certificate = folder.read("rsa.pem");
    let first = server(&certificate, &folder.read("rsa.key")).unwrap();
    let indented = certificate.replace('\n', "\n    ");
    let second = server(&indented, &folder.read("other.key")).unwrap();
    assert_eq!(first.fingerprint, second.fingerprint);
    // The same certificate as a client CA is something else.
    let as_authority = authority(&certificate).unwrap();
    assert_ne!(first.fingerprint, as_authority.fingerprint);
}

#[test]
fn encrypted_keys_are_refused_as_such() {
    let folder = Folder::new();
    folder.openssl("ecparam -name prime256v1 -genkey -noout -out plain.key");
    folder.self_signed("plain");
    folder.openssl("pkcs8 -topk8 -in plain.key -passout pass:secret -out pkcs8.key");
    folder.openssl("ec -in plain.key -aes128 -passout pass:secret -out sec1.key");
    let certificate = folder.read("plain.pem");
    for name in ["pkcs8.key", "sec1.key"] {
        let refused = server(&certificate, &folder.read(name));
        assert_eq!(refused, Err(Refused::Key(KeyError::Encrypted(1))), "{name}");
    }
}

#[test]
fn what_belongs_elsewhere_is_refused() {
    let folder = Folder::new();
    folder.chain();
    let (leaf, key) = (folder.read("leaf.pem"), folder.read("leaf.key"));
    let two = format!("{leaf}{key}");
    let text = |refused| match refused {
        Err(Refused::Certificate(error)) => error.to_string(),
        Err(Refused::Key(error)) => error.to_string(),
        Ok(_) => panic!("taken"),
    };
    let lines = leaf.lines().count();
    assert_eq!(
        text(server(&two, &key)),
        format!(
            "line {} (block 2): a block of type \"EC PRIVATE KEY\"; only CERTIFICATE belongs here",
            lines + 1
        )
    );
    assert!(text(server(&leaf, &leaf)).contains("\"CERTIFICATE\"; a private key is"));
    assert!(text(server(&leaf, &format!("{key}{key}"))).starts_with("more than one private key"));
    assert!(text(server("", &key)).starts_with("no certificate"));
    assert!(text(server(&leaf, "\n")).starts_with("no private key"));
    // A damaged key: not one character of it is told.
    let damaged = key.replace("MHcC", "MHcD");
    assert!(text(server(&leaf, &damaged)).starts_with("line 1: is no private key"));
}

#[test]
fn authorities_say_that_they_are() {
    let folder = Folder::new();
    folder.chain();
    let both = format!("{}{}", folder.read("middle.pem"), folder.read("root.pem"));
    assert_eq!(authority(&both).unwrap().certificates.len(), 2);
    let refused = authority(&format!("{both}{}", folder.read("leaf.pem"))).unwrap_err();
    let CertificateError::Certificate { number, fault, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*number, 3);
    assert_eq!(*fault, Fault::NoAuthority("it has no basic constraints"));
    // OpenSSL 3.0 makes version 1 when there is nothing to extend.
    folder.openssl("req -new -key leaf.key -subj /CN=old -out old.csr");
    folder.openssl("x509 -req -in old.csr -signkey leaf.key -days 30 -out old.pem");
    let old = folder.read("old.pem");
    assert!(
        authority(&old)
            .unwrap_err()
            .to_string()
            .contains("version 1")
    );
}

#[test]
fn an_expired_certificate_is_taken_with_a_warning() {
    let mut params = rcgen::CertificateParams::new(vec!["old.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 9, 9);
    params.not_after = rcgen::date_time_ymd(2001, 9, 10);
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    let content = server(&certificate.pem(), &pair.serialize_pem()).unwrap();
    let end = content.not_after();
    assert_eq!(end, 1_000_080_000);
    assert!(content.warnings(end).is_empty());
    assert_eq!(
        content.warnings(end + 1),
        ["certificate 1 (CN=rcgen self signed cert) has expired"]
    );
    assert!(content.warnings(0)[0].ends_with("is not yet valid"));
}
