//! The gateway's program.

mod api_service;
mod check;
mod credentials;
mod demo;
mod gateway;
mod logging;
mod memory;
mod running;
mod settings;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Costs less than the C library's where a request takes many small pieces (ADR 21).
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("CLBD_COMMIT"),
    ", TLS: rustls with aws-lc-rs and ring)"
);

/// Bad usage or bad configuration.
const EXIT_USAGE: u8 = 2;
/// Failure while running.
const EXIT_FAILURE: u8 = 1;

/// A layer-4/layer-7 load balancer that is configured through the CLB Action API.
#[derive(Parser)]
#[command(name = "clbd", version = VERSION, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only check the file and the stored state; change nothing
    #[arg(long, requires = "config")]
    check: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Try it out: three small backends and a gateway before them, nothing to prepare
    Demo {
        /// Folder for the configuration and the state
        #[arg(long, value_name = "DIR", default_value = "clb-demo")]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    // The kernel clears a huge page when it is first touched: 2 MiB, milliseconds on a virtual
    // machine, in which no request moves (ADR 21). A kernel without them has nothing to turn off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    upgrade::remember();
    let arguments = Arguments::parse();
    match (arguments.command, arguments.config) {
        (Some(Command::Demo { dir }), _) => finish(demo::run(&dir)),
        (None, Some(config)) => {
            let config = match clb_config::load(&config) {
                Ok(config) => config,
                Err(problems) => {
                    say(&problems.to_string());
                    return ExitCode::from(EXIT_USAGE);
                }
            };
            if arguments.check {
                return match check::stored_state(&config) {
                    Ok(report) => {
                        tell(&report);
                        ExitCode::SUCCESS
                    }
                    Err(problems) => {
                        say(&problems);
                        ExitCode::from(EXIT_USAGE)
                    }
                };
            }
            finish(gateway::run(config, VERSION, None))
        }
        (None, None) => {
            say("clbd: --config FILE is required, or the subcommand demo; see clbd --help");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("clbd: {error:#}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// To the person at the terminal: problems.
#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{}", text.trim_end());
}

/// To the person at the terminal: what was asked for.
#[allow(clippy::print_stdout)]
fn tell(text: &str) {
    println!("{}", text.trim_end());
}
