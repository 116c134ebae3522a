//! The parts of a measurement that are not the proxy: a load generator, a backend, and the floor,
//! a relay that only receives and sends. Each runs in one thread on bare epoll, so that it costs less
//! than any proxy it measures. What they find they print as one line of JSON on stdout.

mod backend;
mod connection;
mod cpu;
mod exchange;
mod floor;
mod hold;
mod idle;
mod load;
mod pace;
mod probe;
mod report;
mod stdin;
mod stuck;
mod tls;
mod udp;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Load generator, backend and floor of the measurements in bench/.
#[derive(Parser)]
#[command(name = "clb-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers HTTP/1.1 requests, or echoes; ends when stdin ends
    Backend {
        #[command(flatten)]
        listen: Listen,
        /// Send back what comes in instead of answering HTTP
        #[arg(long)]
        echo: bool,
        /// Send back datagrams
        #[arg(long, conflicts_with = "echo")]
        udp: bool,
    },
    /// Relays each connection to a backend without looking into it; ends when stdin ends
    Floor {
        #[command(flatten)]
        listen: Listen,
        /// The backend
        #[arg(long)]
        to: SocketAddr,
    },
    /// Sends requests for a while and prints what was measured
    #[command(subcommand)]
    Load(Load),
    /// Opens connections, uses each once, says so, and holds them until stdin ends
    Idle {
        #[command(flatten)]
        exchange: exchange::Options,
        /// How many
        #[arg(long)]
        connections: usize,
    },
    /// Opens TLS connections that never finish their handshake, and holds them until stdin ends
    Stuck(stuck::Options),
    /// Accepts connections, reads what they send and holds them until it is ended
    Hold(hold::Options),
    /// Begins UDP sessions, says so, and ends when stdin ends
    UdpSessions(udp::Sessions),
    /// Asks on new connections until the answer has the expected status, and prints every change of it
    Probe(probe::Options),
}

#[derive(Args)]
struct Listen {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
}

/// What is measured of a load, and when.
#[derive(Args)]
struct Measured {
    /// How long to measure
    #[arg(long, value_parser = seconds, default_value = "0.7")]
    seconds: Duration,
    /// How long to run before
    #[arg(long, value_parser = seconds, default_value = "0.2")]
    warm_up: Duration,
    /// Processes whose CPU time is measured
    #[arg(long, value_delimiter = ',')]
    cpu_of: Vec<u32>,
}

#[derive(Subcommand)]
enum Load {
    /// As fast as it goes: each connection sends its next request when it has the answer
    Closed {
        #[command(flatten)]
        options: load::Options,
        /// Use each connection for one request only
        #[arg(long)]
        new_connections: bool,
    },
    /// At a fixed rate; latency counts from the moment at which a request was due
    Open {
        #[command(flatten)]
        options: load::Options,
        /// Requests a second
        #[arg(long)]
        rate: u32,
    },
    /// Datagrams, as many on their way as the window says
    Udp(udp::Options),
}

/// Parses a number of seconds such as "0.7".
fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(value).map_err(|error| format!("{error}"))
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Backend { listen, udp, .. } if udp => udp::backend(listen.listen),
        Command::Backend { listen, echo, .. } => backend::run(listen.listen, echo),
        Command::Floor { listen, to } => floor::run(listen.listen, to),
        Command::Load(Load::Closed {
            options,
            new_connections,
        }) => load::run(&options, None, new_connections),
        Command::Load(Load::Open { options, rate }) => load::run(&options, Some(rate), false),
        Command::Load(Load::Udp(options)) => udp::run(&options),
        Command::UdpSessions(options) => udp::sessions(&options),
        Command::Idle {
            exchange,
            connections,
        } => idle::run(&exchange, connections),
        Command::Stuck(options) => stuck::run(&options),
        Command::Hold(options) => hold::run(&options),
        Command::Probe(options) => probe::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
