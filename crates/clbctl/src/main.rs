//! `clbctl`, the command-line client.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clbctl::cli::{Failure, command, run};

/// Refused by the API, or not answered.
const EXIT_REFUSED: u8 = 1;
/// A wrong command line or wrong settings.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(EXIT_REFUSED, &error.to_string()),
    };
    let environment = |name: &str| env::var(name).ok();
    match runtime.block_on(run(&matches, environment)) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            // Whoever has closed the pipe has seen enough.
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => failed(EXIT_REFUSED, &error.to_string()),
        },
        Err(error @ Failure::Call(_)) => failed(EXIT_REFUSED, &error.to_string()),
        Err(error @ Failure::Usage(_)) => failed(EXIT_USAGE, &error.to_string()),
    }
}

fn failed(code: u8, message: &str) -> ExitCode {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "clbctl: {message}");
    ExitCode::from(code)
}
