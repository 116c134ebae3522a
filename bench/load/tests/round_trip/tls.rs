//! TLS: OpenSSL's server for handshakes, a small one on rustls for what comes after them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use super::{Outcome, Running, assert_served};

type Made<T> = Result<T, Box<dyn std::error::Error>>;

/// What the server answers, as `-HTTP` wants it: a file with a head and a body.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 256\r\nConnection: close\r\n\r\n";

/// A folder with a CA, `ca.pem`, and a certificate that it has signed, `www.pem`.
fn certificates() -> Made<TempDir> {
    let folder = tempfile::tempdir()?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for line in [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"),
        format!("req {key} -keyout www.key -out www.csr -subj /CN=www"),
        "x509 -req -in www.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out www.pem".to_owned(),
    ] {
        std::fs::write(folder.path().join("names"), "subjectAltName=DNS:www.example.com\n")?;
        let done = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(folder.path())
            .output()?;
        assert!(done.status.success(), "{line}: {done:?}");
    }
    Ok(folder)
}

/// `openssl s_server`; it ends with this value.
struct Openssl {
    child: Child,
    address: String,
}

impl Openssl {
    fn start(folder: &Path, more: &[&str]) -> Made<Self> {
        let body = "x".repeat(256);
        std::fs::write(folder.join("?size=256"), format!("{ANSWER}{body}"))?;
        let fixed = "s_server -accept 127.0.0.1:0 -cert www.pem -key www.key -HTTP";
        let mut child = Command::new("openssl")
            .args(fixed.split(' '))
            .args(more)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let mut address = None;
        for line in lines.by_ref() {
            if let Some(found) = line?.strip_prefix("ACCEPT ") {
                address = Some(found.to_owned());
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.ok_or("openssl does not listen")?;
        Ok(Self { child, address })
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A window that is long enough for a slow start of OpenSSL's.
fn over_tls(kind: &str, to: &str, folder: &Path, more: &[&str]) -> Made<Value> {
    let trusted = folder.join("ca.pem");
    let trusted = trusted.to_str().ok_or("no path")?;
    let fixed = format!("load {kind} --to {to} --seconds 1 --warm-up 0 --connections 4 --tls");
    let fixed: Vec<_> = fixed.split(' ').chain([trusted]).collect();
    Running::start(&[&fixed, more].concat())?.line()
}

#[test]
fn handshakes_are_of_the_version_the_cipher_and_the_kind_that_were_asked_for() -> Outcome {
    let folder = certificates()?;
    let folder = folder.path();
    for (version, cipher, server) in [
        (
            "1.3",
            "aes-256-gcm",
            ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        ),
        (
            "1.3",
            "aes-128-gcm",
            ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        ),
        (
            "1.2",
            "aes-256-gcm",
            ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        ),
        (
            "1.2",
            "aes-128-gcm",
            ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        ),
    ] {
        let openssl = Openssl::start(folder, &server)?;
        let asked = [
            "--new-connections",
            "--tls-version",
            version,
            "--tls-cipher",
            cipher,
        ];
        let full = over_tls("closed", &openssl.address, folder, &asked)?;
        assert_served(&full);
        assert!(full["full_handshakes"].as_u64() > Some(0), "{full}");
        assert_eq!(full["resumed_handshakes"], 0, "{full}");
        let again = [&asked[..], &["--resume"]].concat();
        let resumed = over_tls("closed", &openssl.address, folder, &again)?;
        assert_served(&resumed);
        assert!(
            resumed["resumed_handshakes"].as_u64() > Some(0),
            "{resumed}"
        );
        assert!(resumed["full_handshakes"].as_u64() <= Some(4), "{resumed}");
    }
    Ok(())
}

#[test]
fn another_cipher_or_version_is_a_failure() -> Outcome {
    let folder = certificates()?;
    let suite = ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"];
    let openssl = Openssl::start(folder.path(), &suite)?;
    for asked in [&[][..], &["--tls-version", "1.2"]] {
        let asked = [&["--new-connections"], asked].concat();
        let found = over_tls("closed", &openssl.address, folder.path(), &asked)?;
        assert_eq!(found["requests"], 0, "{found}");
        assert!(
            found["failure_causes"]["TLS alert"].as_u64() > Some(0),
            "{found}"
        );
    }
    Ok(())
}

#[test]
fn a_session_that_is_not_resumed_is_a_failure() -> Outcome {
    let folder = certificates()?;
    let openssl = Openssl::start(folder.path(), &["-num_tickets", "0"])?;
    let asked = ["--new-connections", "--resume"];
    let found = over_tls("closed", &openssl.address, folder.path(), &asked)?;
    assert!(
        found["failure_causes"]["session not resumed"].as_u64() > Some(0),
        "{found}"
    );
    assert_eq!(found["resumed_handshakes"], 0, "{found}");
    Ok(())
}

#[test]
fn a_certificate_that_is_not_trusted_is_a_failure() -> Outcome {
    let (folder, other) = (certificates()?, certificates()?);
    let openssl = Openssl::start(folder.path(), &[])?;
    let found = over_tls(
        "closed",
        &openssl.address,
        other.path(),
        &["--new-connections"],
    )?;
    assert_eq!(found["requests"], 0, "{found}");
    let causes = &found["failure_causes"];
    assert!(
        causes["certificate not trusted"].as_u64() > Some(0),
        "{found}"
    );
    Ok(())
}

/// A server that keeps connections and answers with as many octets as `?size=` asks for.
fn keeping(folder: &Path) -> Made<String> {
    let certificate = CertificateDer::from_pem_file(folder.join("www.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("www.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || answer(config, stream));
        }
    });
    Ok(address)
}

/// Until the client leaves.
fn answer(config: Arc<ServerConfig>, stream: TcpStream) -> Option<()> {
    let session = ServerConnection::new(config).ok()?;
    let mut reader = BufReader::new(StreamOwned::new(session, stream));
    loop {
        let mut size = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some((_, rest)) = line.split_once("?size=") {
                size = rest.split(' ').next()?.parse().ok()?;
            }
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        let whole = [head.into_bytes(), vec![b'x'; size]].concat();
        reader.get_mut().write_all(&whole).ok()?;
    }
}

#[test]
fn a_kept_session_serves_many_requests_and_large_answers() -> Outcome {
    let folder = certificates()?;
    let folder = folder.path();
    let to = keeping(folder)?;
    for version in ["1.2", "1.3"] {
        let small = over_tls("closed", &to, folder, &["--tls-version", version])?;
        assert_served(&small);
        assert!(small["requests"].as_u64() > Some(8), "{small}");
        let asked = ["--tls-version", version, "--answer", "1048576"];
        let large = over_tls("closed", &to, folder, &asked)?;
        assert_served(&large);
        assert!(large["bytes_in"].as_u64() > Some(1 << 20), "{large}");
    }
    let paced = over_tls("open", &to, folder, &["--rate", "200"])?;
    assert_served(&paced);
    assert_eq!(paced["unsent"], 0, "{paced}");
    Ok(())
}

#[test]
fn unfinished_handshakes_send_what_was_asked_for_and_are_counted() -> Outcome {
    let folder = certificates()?;
    let trusted = folder.path().join("ca.pem");
    let trusted = trusted.to_str().ok_or("no path")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let to = listener.local_addr()?.to_string();
    for kind in ["silent", "half", "hello"] {
        let fixed = ["stuck", "--to", &to, "--tls", trusted, "--connections", "3"];
        let mut stuck =
            Running::start(&[&fixed[..], &["--rate", "1000", "--kind", kind]].concat())?;
        assert_eq!(stuck.line()?["prepared"], 3);
        assert_eq!(stuck.line()?["ready"], 3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(listener.accept()?.0);
        }
        let (whole, got) = received(held.first().ok_or("none")?)?;
        match kind {
            "silent" => assert_eq!(got, 0),
            "half" => assert!(got > 5 && got < whole, "{got} of {whole}"),
            _ => assert_eq!(got, whole),
        }
        drop(held.pop());
        drop(stuck.stdin.take());
        assert_eq!(stuck.line()?["open"], 2);
    }
    Ok(())
}

/// The length of the record that has begun, with its head, and how many octets have come.
fn received(mut client: &TcpStream) -> Made<(usize, usize)> {
    client.set_nonblocking(true)?;
    let mut octets = [0; 4096];
    let got = match client.read(&mut octets) {
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error.into()),
    };
    Ok((
        5 + usize::from(u16::from_be_bytes([octets[3], octets[4]])),
        got,
    ))
}
