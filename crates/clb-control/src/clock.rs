//! The wall clock, passed in so that tests can set it.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use clb_model::UnixMillis;

/// Tells the time of day.
pub trait Clock: Debug + Send + Sync {
    /// Now.
    fn unix(&self) -> UnixMillis;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix(&self) -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
