//! curl, nghttp and h2load as clients.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::harness::Settings;
use super::harness::tls::NAME;
use super::raw::hello;
use super::table::Bench;

fn text(command: &mut Command) -> String {
    let output = command.output().expect("the tool is installed");
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[test]
fn curl_takes_http2() {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hello()]);
    let port = served.addr().port();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--http2", "-k", "--max-time", "20", "--noproxy", "*"])
        .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
        .args(["-w", " %{http_version} %{http_code}"])
        .args(["--data-binary", "@-"])
        .arg(format!("https://{NAME}:{port}/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut curl = curl.spawn().expect("curl is installed");
    let mut body = curl.stdin.take().unwrap();
    body.write_all(&[b'a'; 300_000]).unwrap();
    drop(body);
    let output = curl.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello 2 200");
}

#[test]
fn nghttp_sends_trailer_fields_and_takes_what_comes() {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hello()]);
    let mut nghttp = Command::new("nghttp");
    nghttp
        .args(["-v", "--no-verify-peer", "--trailer", "x-sum: 1"])
        .args(["-H", ":method: POST", "-d", "/etc/hostname"])
        .args(["-H", &format!(":authority: {NAME}")])
        .arg(format!("https://{}/", served.addr()));
    let text = text(&mut nghttp);
    assert!(text.contains(":status: 200"), "{text}");
}

#[test]
fn h2load_has_every_request_answered() {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hello()]);
    let mut h2load = Command::new("h2load");
    h2load
        .args(["-n", "2000", "-c", "4", "-m", "50"])
        .args(["-H", &format!(":authority: {NAME}")])
        .arg(format!("https://{}/", served.addr()));
    let text = text(&mut h2load);
    assert!(text.contains("2000 succeeded, 0 failed"), "{text}");
}
