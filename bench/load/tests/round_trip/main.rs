//! The parts against each other: what is sent through the floor to the backend is counted exactly.

mod tls;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

type Outcome = Result<(), Box<dyn Error>>;

/// A running subcommand; it ends with this value, because its stdin ends.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_clb-bench"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self {
            child,
            stdin,
            lines,
        })
    }

    fn line(&mut self) -> Result<Value, Box<dyn Error>> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn listening(&mut self) -> Result<String, Box<dyn Error>> {
        let line = self.line()?;
        let address = line.get("listening").and_then(Value::as_str);
        Ok(address.ok_or("no address")?.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let ended = self.child.wait();
        let well = ended.as_ref().is_ok_and(|status| status.success());
        assert!(well || std::thread::panicking(), "{ended:?}");
    }
}

/// A floor before a backend, and the floor's address.
fn through_the_floor(more: &[&str]) -> Result<(Running, Running, String), Box<dyn Error>> {
    let listen = ["backend", "--listen", "127.0.0.1:0"];
    let mut backend = Running::start(&[&listen, more].concat())?;
    let to = backend.listening()?;
    let mut floor = Running::start(&["floor", "--listen", "127.0.0.1:0", "--to", &to])?;
    let address = floor.listening()?;
    Ok((backend, floor, address))
}

fn load(kind: &str, to: &str, more: &[&str]) -> Result<Value, Box<dyn Error>> {
    let fixed = [
        "load",
        kind,
        "--to",
        to,
        "--seconds",
        "0.2",
        "--warm-up",
        "0.05",
    ];
    Running::start(&[&fixed, more].concat())?.line()
}

fn assert_served(found: &Value) {
    assert_eq!(found["failures"], 0, "{found}");
    assert_eq!(found["closed_idle"], 0, "{found}");
    assert!(found["requests"].as_u64() > Some(0), "{found}");
}

#[test]
fn every_kind_of_http_exchange_works_through_the_floor() -> Outcome {
    let (_backend, floor, to) = through_the_floor(&[])?;
    let pid = floor.child.id().to_string();
    let small = load("closed", &to, &["--connections", "8", "--cpu-of", &pid])?;
    assert_served(&small);
    assert!(small["cpu_seconds"].as_f64() > Some(0.0), "{small}");
    assert!(
        small["cpu_seconds"].as_f64() <= small["seconds"].as_f64(),
        "{small}"
    );
    assert_served(&load(
        "closed",
        &to,
        &["--connections", "8", "--new-connections"],
    )?);
    let down = load(
        "closed",
        &to,
        &["--connections", "4", "--answer", "1048576"],
    )?;
    assert_served(&down);
    assert!(down["bytes_in"].as_u64() > Some(1 << 20), "{down}");
    let up = load("closed", &to, &["--connections", "4", "--body", "1048576"])?;
    assert_served(&up);
    assert!(up["bytes_out"].as_u64() > Some(1 << 20), "{up}");
    Ok(())
}

#[test]
fn a_fixed_rate_sends_exactly_what_is_due() -> Outcome {
    let (_backend, _floor, to) = through_the_floor(&[])?;
    let found = load("open", &to, &["--connections", "8", "--rate", "500"])?;
    assert_served(&found);
    assert_eq!(found["unsent"], 0);
    let timed = found["timed"].as_u64().unwrap_or_default();
    assert!((99..=101).contains(&timed), "0.2 s at 500/s: {found}");
    Ok(())
}

#[test]
fn an_echo_comes_back_and_another_one_is_a_failure() -> Outcome {
    let (_backend, _floor, to) = through_the_floor(&["--echo"])?;
    assert_served(&load(
        "closed",
        &to,
        &["--connections", "8", "--echo", "64"],
    )?);
    let renewed = ["--connections", "8", "--echo", "64", "--new-connections"];
    assert_served(&load("closed", &to, &renewed)?);
    // An echo server does not answer HTTP.
    let wrong = load("closed", &to, &["--connections", "2"])?;
    assert_eq!(wrong["requests"], 0, "{wrong}");
    assert!(
        wrong["failure_causes"]["not HTTP"].as_u64() > Some(0),
        "{wrong}"
    );
    Ok(())
}

#[test]
fn nobody_there_is_a_failure_and_not_an_error() -> Outcome {
    let free = std::net::TcpListener::bind("127.0.0.1:0")?;
    let to = free.local_addr()?.to_string();
    drop(free);
    let found = load("open", &to, &["--connections", "2", "--rate", "100"])?;
    assert_eq!(found["requests"], 0, "{found}");
    assert!(
        found["failure_causes"]["refused"].as_u64() > Some(0),
        "{found}"
    );
    assert!(found["unsent"].as_u64() > Some(0), "{found}");
    Ok(())
}

#[test]
fn idle_connections_stay_open_until_stdin_ends() -> Outcome {
    let (_backend, _floor, to) = through_the_floor(&[])?;
    let mut idle = Running::start(&["idle", "--to", &to, "--connections", "20"])?;
    assert_eq!(idle.line()?["ready"], 20);
    if let Some(mut stdin) = idle.stdin.take() {
        stdin.write_all(b"\n")?;
    }
    assert_eq!(idle.line()?["open"], 20);
    Ok(())
}

#[test]
fn a_probe_ends_when_the_status_is_there() -> Outcome {
    let (_backend, _floor, to) = through_the_floor(&[])?;
    let asked = ["probe", "--to", &to, "--host", "a", "--path", "/"];
    let mut probe = Running::start(&[&asked[..], &["--settle", "3"]].concat())?;
    assert_eq!(probe.line()?["status"], 200);
    Ok(())
}
