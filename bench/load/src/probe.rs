//! Watches from outside when a change is in force.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::report::print;
use crate::seconds;

/// What is asked.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// The proxy
    #[arg(long)]
    to: SocketAddr,
    /// The Host field
    #[arg(long)]
    host: String,
    /// The target
    #[arg(long)]
    path: String,
    /// The status that says that the change is in force
    #[arg(long, default_value_t = 200)]
    until: u16,
    /// How many answers in a row must have it
    #[arg(long, default_value_t = 20)]
    settle: u32,
    /// Pause between two questions
    #[arg(long, value_parser = seconds, default_value = "0.0005")]
    pause: Duration,
    /// When to give up
    #[arg(long, value_parser = seconds, default_value = "20")]
    timeout: Duration,
}

/// Prints a line `{"status": S, "ns": T}` whenever the status is another than the one before, T being
/// CLOCK_MONOTONIC when the answer was there; 0 is a connection that failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut last = None;
    let mut settled = 0;
    while settled < options.settle {
        anyhow::ensure!(
            start.elapsed() < options.timeout,
            "the status is {last:?} after {:?}, not {}",
            options.timeout,
            options.until
        );
        let status = ask(options).unwrap_or(0);
        if last != Some(status) {
            let now = clock_gettime(ClockId::Monotonic);
            print(&json!({"status": status, "ns": now.tv_sec * 1_000_000_000 + now.tv_nsec}))?;
            last = Some(status);
        }
        settled = if status == options.until {
            settled + 1
        } else {
            0
        };
        thread::sleep(options.pause);
    }
    Ok(())
}

fn ask(options: &Options) -> io::Result<u16> {
    let mut connection = TcpStream::connect(options.to)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let Options { host, path, .. } = options;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(64 << 10).read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(answer.get(..12).unwrap_or_default()).into_owned();
    line.strip_prefix("HTTP/1.1 ")
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, line))
}
