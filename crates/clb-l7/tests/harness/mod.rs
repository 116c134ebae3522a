//! Rows of rules, each with its RFC section, that run against a gateway between a raw client and a
//! raw backend.
//!
//! The gateway is this crate's, started in process, or any other that the environment names:
//! `CLB_HTTP_UNDER_TEST=host:port` is its address and `CLB_HTTP_BACKEND_PORT` the loopback port of
//! its only backend. Rows that need more than that (settings, other backends) are left out there.
//! `CLB_HTTP_ROW` runs only the rows whose area or name contains it.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

mod kinds;
pub mod lane;
mod message;
pub mod plane;
mod steps;
pub mod tls;
mod wire;

pub use clb_model::Protocol;
pub use clb_snapshot::HttpSettings as Settings;
pub use kinds::{
    OK, Then, answered, bad_answer, cut_answer, either, is_refused, passed, passed_once, refused,
    refused_body, refused_by,
};
pub use lane::Lane;
pub use message::{Answer, Framing, Request, latin1};
pub use wire::{Wire, patience};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lane::Source;
use wire::Log;

/// One backend of a row's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Accepts.
    Alive,
    /// Refuses to connect.
    Dead,
}

/// A rule of a row's listener.
#[derive(Debug, Clone, Copy)]
pub struct RuleOf {
    pub domain: &'static str,
    pub url: &'static str,
    /// What the target's listener speaks, its port, and the target's url; else its requests go to
    /// the row's backends.
    pub redirect: Option<(Protocol, u16, &'static str)>,
}

type Script = Box<dyn Fn(&Lane<'_>) -> anyhow::Result<()> + Send + Sync>;

/// One rule.
pub struct Row {
    pub name: String,
    /// Where the rule stands.
    pub section: &'static str,
    /// The rule in a few words.
    pub why: &'static str,
    pool: Vec<Place>,
    /// None: every request goes to the pool.
    rules: Vec<RuleOf>,
    /// Whether it needs the gateway of this crate (settings, several backends, its own fields).
    own: bool,
    /// Whether it names the scheme, or what only a client without a wrapper sees.
    plain: bool,
    script: Script,
}

/// A row as a script.
pub fn row(
    name: impl Into<String>,
    section: &'static str,
    why: &'static str,
    script: impl Fn(&Lane<'_>) -> anyhow::Result<()> + Send + Sync + 'static,
) -> Row {
    Row {
        name: name.into(),
        section,
        why,
        pool: vec![Place::Alive],
        rules: Vec::new(),
        own: false,
        plain: false,
        script: Box::new(script),
    }
}

impl Row {
    /// Only for the gateway of this crate.
    pub fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// Not over TLS: it names the scheme, or the gateway's own address.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// With these rules.
    pub fn rules(mut self, rules: &[RuleOf]) -> Self {
        self.rules = rules.to_vec();
        self.own()
    }

    /// With these backends.
    pub fn pool(mut self, pool: &[Place]) -> Self {
        self.pool = pool.to_vec();
        self.own()
    }
}

/// Runs rows of an area with the default settings; panics with a report of all that failed.
pub fn run(area: &str, rows: Vec<Row>) {
    run_with(area, Settings::default(), rows);
}

/// Runs rows at the same time, as far as the gateway can be had more than once.
pub fn run_with(area: &str, settings: Settings, rows: Vec<Row>) {
    let source = Source::start(&settings);
    let wanted = std::env::var("CLB_HTTP_ROW").unwrap_or_default();
    let all = rows.len();
    let rows: Vec<Row> = rows
        .into_iter()
        .filter(|row| row.name.contains(&wanted) || area.contains(&wanted))
        .filter(|row| source.is_own() || !row.own)
        .filter(|row| !crate::OVER_TLS || !row.plain)
        .collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..source.lanes() {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(report) = run_row(&source, row) {
                        failures.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    println!(
        "{area}: {all} rows, {} run, {} failed",
        rows.len(),
        failures.len()
    );
    assert!(
        failures.is_empty(),
        "{area}: {} of {} rows failed\n{}",
        failures.len(),
        rows.len(),
        failures.join("\n")
    );
}

fn run_row(source: &Source, row: &Row) -> Result<(), String> {
    let log = Log::default();
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let lane = source.lane(&row.pool, &row.rules, log.clone())?;
        (row.script)(&lane)
    }));
    let error = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "panicked".to_string()),
    };
    Err(format!(
        "\nROW {} [{}]\n  rule: {}\n  failed after {:?}: {error}\n{}",
        row.name,
        row.section,
        row.why,
        started.elapsed(),
        log.text()
    ))
}
