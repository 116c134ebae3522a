//! The program's log: standard error, text or JSON.

use anyhow::anyhow;
use clb_config::{LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Changes the level while the program runs.
pub type LevelHandle = reload::Handle<LevelFilter, tracing_subscriber::Registry>;

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Begins to log.
///
/// # Errors
/// When the process logs already.
pub fn start(level: LogLevel, format: LogFormat) -> anyhow::Result<LevelHandle> {
    let (level, handle) = reload::Layer::new(filter(level));
    let to_stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(level);
    match format {
        LogFormat::Text => registry
            .with(to_stderr.with_ansi(false).with_target(false))
            .try_init(),
        LogFormat::Json => registry
            .with(to_stderr.json().flatten_event(true))
            .try_init(),
    }
    .map_err(|error| anyhow!("the log can not be set up: {error}"))?;
    Ok(handle)
}

/// Takes a new level over.
pub fn set_level(handle: &LevelHandle, level: LogLevel) {
    // Fails only when the subscriber is gone, and then there is no log.
    let _ = handle.reload(filter(level));
}
