//! What a load run finds, and how it is printed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Counts of one measured window.
pub(crate) struct Findings {
    /// Answers within the window.
    pub(crate) requests: u64,
    /// Requests without an answer, by cause.
    pub(crate) failures: BTreeMap<&'static str, u64>,
    /// Kept connections that the other side closed while no request was on its way.
    pub(crate) closed_idle: u64,
    /// TLS handshakes that ended within the window, by what they were.
    pub(crate) full_handshakes: u64,
    /// See `full_handshakes`.
    pub(crate) resumed_handshakes: u64,
    /// Octets of bodies received and sent.
    pub(crate) bytes_in: u64,
    /// See `bytes_in`.
    pub(crate) bytes_out: u64,
    /// Nanoseconds from the (intended) start to the end of the answer.
    latency: Histogram<u64>,
}

/// Latencies beyond this are recorded as this.
const LONGEST: Duration = Duration::from_secs(60);

impl Findings {
    /// Nothing found yet.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let longest = u64::try_from(LONGEST.as_nanos())?;
        Ok(Self {
            requests: 0,
            failures: BTreeMap::new(),
            closed_idle: 0,
            full_handshakes: 0,
            resumed_handshakes: 0,
            bytes_in: 0,
            bytes_out: 0,
            latency: Histogram::new_with_max(longest, 3)?,
        })
    }

    /// Notes how long one request took.
    pub(crate) fn took(&mut self, time: Duration) {
        self.latency
            .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes a request that failed.
    pub(crate) fn failed(&mut self, cause: &'static str) {
        *self.failures.entry(cause).or_default() += 1;
    }

    /// One JSON object: `seconds` is the length of the window, `cpu` what the measured processes used in
    /// it, `own_cpu` what this program used, `unsent` how many requests were due and never sent.
    pub(crate) fn json(
        &self,
        seconds: Duration,
        cpu: Duration,
        own_cpu: Duration,
        unsent: u64,
    ) -> Value {
        let micros = |share: f64| self.latency.value_at_quantile(share) as f64 / 1000.0;
        json!({
            "requests": self.requests,
            "timed": self.latency.len(),
            "failures": self.failures.values().sum::<u64>(),
            "failure_causes": self.failures,
            "closed_idle": self.closed_idle,
            "full_handshakes": self.full_handshakes,
            "resumed_handshakes": self.resumed_handshakes,
            "unsent": unsent,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "seconds": seconds.as_secs_f64(),
            "cpu_seconds": cpu.as_secs_f64(),
            "own_cpu_seconds": own_cpu.as_secs_f64(),
            "p50_us": micros(0.5),
            "p99_us": micros(0.99),
            "p999_us": micros(0.999),
            "max_us": micros(1.0),
        })
    }
}

/// Prints one line and sends it off at once.
pub(crate) fn print(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_micros_of_what_was_recorded() {
        let mut found = Findings::new().unwrap();
        for micros in 1..=1000 {
            found.took(Duration::from_micros(micros));
        }
        found.failed("reset");
        let json = found.json(Duration::from_secs(1), Duration::ZERO, Duration::ZERO, 3);
        let about = |name: &str, value: f64| {
            let got = json[name].as_f64().unwrap();
            assert!((got / value - 1.0).abs() < 0.002, "{name}: {got}");
        };
        about("p50_us", 500.0);
        about("p99_us", 990.0);
        about("p999_us", 999.0);
        about("max_us", 1000.0);
        assert_eq!(json["failures"], 1);
        assert_eq!(json["unsent"], 3);
    }

    #[test]
    fn a_latency_beyond_the_range_is_not_lost() {
        let mut found = Findings::new().unwrap();
        found.took(LONGEST * 10);
        let json = found.json(Duration::from_secs(1), Duration::ZERO, Duration::ZERO, 0);
        assert!(json["max_us"].as_f64().unwrap() > 5.9e7);
    }
}
