//! A flood of handshakes that are never finished.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::report::print;
use crate::{stdin, tls};

/// What is opened.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// The proxy
    #[arg(long)]
    to: SocketAddr,
    #[command(flatten)]
    tls: tls::Options,
    /// How many
    #[arg(long)]
    connections: usize,
    /// How many a second
    #[arg(long)]
    rate: u32,
    /// How far they go
    #[arg(long, default_value = "hello")]
    kind: Kind,
}

/// How far a handshake goes.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Nothing is sent.
    Silent,
    /// Half of the first record.
    Half,
    /// The whole ClientHello.
    Hello,
}

/// Prints `{"prepared": N}`, opens them at the rate, prints `{"ready": N}`, waits for the end of stdin,
/// prints how many are still open.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rate > 0, "--rate 0: at least 1");
    let client = options.tls.client()?.context("--tls is needed")?;
    // It shares the load's core, and must delay neither the load generator nor the backend.
    rustix::process::nice(19)?;
    // Made before, so that the flood takes no more of the load's core than it must; each its own, for a
    // proxy might know one that it has seen before.
    let hellos: Vec<_> = (0..options.connections)
        .map(|_| client.hello())
        .collect::<Result<_, _>>()?;
    print(&json!({"prepared": hellos.len()}))?;
    let apart = Duration::from_secs_f64(1.0 / f64::from(options.rate));
    let mut due = Instant::now();
    let mut held = Vec::with_capacity(options.connections);
    for (number, hello) in hellos.iter().enumerate() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // What the machine's other work has held up does not come in a heap afterwards.
        due = due.max(Instant::now() - apart) + apart;
        let sent = match options.kind {
            Kind::Silent => &[],
            Kind::Half => hello.get(..hello.len() / 2).unwrap_or_default(),
            Kind::Hello => hello.as_slice(),
        };
        let opened = open(options.to, sent);
        held.push(opened.with_context(|| format!("connection {number}"))?);
    }
    print(&json!({"ready": held.len()}))?;
    stdin::wait()?;
    let open = held.iter_mut().filter_map(|held| still_open(held).ok());
    print(&json!({"open": open.filter(|open| *open).count()}))?;
    Ok(())
}

fn open(to: SocketAddr, octets: &[u8]) -> std::io::Result<TcpStream> {
    let mut client = TcpStream::connect(to)?;
    client.write_all(octets)?;
    client.set_nonblocking(true)?;
    Ok(client)
}

/// Whether the proxy has not ended it. What it has answered is read away.
fn still_open(held: &mut TcpStream) -> std::io::Result<bool> {
    let mut answer = [0; 16 << 10];
    loop {
        match held.read(&mut answer) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Ok(error.kind() == ErrorKind::WouldBlock),
        }
    }
}
