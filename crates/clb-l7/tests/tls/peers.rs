//! curl and openssl as clients.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::Bench;
use super::harness::Settings;
use super::harness::tls::{Authority, NAME};

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn curl(addr: SocketAddr, ca: &Path) -> Command {
    let mut command = Command::new("curl");
    let port = addr.port();
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .arg("--cacert")
        .arg(ca)
        .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
        .arg(format!("https://{NAME}:{port}/"));
    command
}

fn s_client(addr: SocketAddr, ca: &Path) -> Command {
    let mut command = Command::new("openssl");
    command
        .args([
            "s_client",
            "-connect",
            &addr.to_string(),
            "-servername",
            NAME,
        ])
        .args([
            "-verify_return_error",
            "-verify_hostname",
            NAME,
            "-ign_eof",
            "-CAfile",
        ])
        .arg(ca);
    command
}

const GET: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";

#[test]
fn curl_is_served_over_both_versions() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let dir = tempfile::tempdir().unwrap();
    let ca = write(dir.path(), "ca.pem", &bench.authority.pem());
    for version in [
        ["--tlsv1.2", "--tls-max", "1.2"],
        ["--tlsv1.3", "--tls-max", "1.3"],
    ] {
        let output = run(curl(listener.addr(), &ca).args(version), "");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{version:?}: {output:?}");
        assert!(text.contains("X-Forwarded-Proto: https"), "{text}");
    }
}

#[test]
fn curl_with_a_certificate_is_let_in_and_without_one_not() {
    let bench = Bench::start(&Settings::default());
    let clients = Authority::new("clients");
    let listener = bench.listen(Some(&clients));
    let dir = tempfile::tempdir().unwrap();
    let ca = write(dir.path(), "ca.pem", &bench.authority.pem());
    let alice = clients.client("alice", false);
    let certificate = write(dir.path(), "alice.pem", &alice.pem);
    let key = write(dir.path(), "alice.key", &alice.key_pem());
    let mut command = curl(listener.addr(), &ca);
    command.arg("--cert").arg(certificate).arg("--key").arg(key);
    let output = run(&mut command, "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("X-SSL-Client-S-DN: CN=alice"), "{text}");
    assert!(!run(&mut curl(listener.addr(), &ca), "").status.success());
}

#[test]
fn s_client_resumes_by_its_ticket_and_older_versions_are_refused() {
    let bench = Bench::start(&Settings::default());
    let listener = bench.listen(None);
    let dir = tempfile::tempdir().unwrap();
    let ca = write(dir.path(), "ca.pem", &bench.authority.pem());
    for version in ["-tls1_2", "-tls1_3"] {
        let session = dir.path().join(version);
        for (option, says) in [("-sess_out", "New, TLSv1"), ("-sess_in", "Reused, TLSv1")] {
            let mut command = s_client(listener.addr(), &ca);
            command.arg(version).arg(option).arg(&session);
            let output = run(&mut command, GET);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains(says), "{version} {option}: {output:?}");
            assert!(text.contains("HTTP/1.1 200 OK"), "{version}: {text}");
            assert!(text.contains("X-Client-Proto: https"), "{version}: {text}");
        }
    }
    let mut command = s_client(listener.addr(), &ca);
    command.args(["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let output = run(&mut command, GET);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("HTTP/1.1"), "{text}");
}
