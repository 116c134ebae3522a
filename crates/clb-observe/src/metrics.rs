//! `/metrics` in Prometheus text form (interfaces.md, "Metrics").

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clb_snapshot::{Board, Listener, Refusal, UdpDrop};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// What the control plane tells of itself.
#[derive(Debug, Clone, Default)]
pub struct ControlFigures {
    /// Newest revision of the store that was taken in.
    pub revision: u64,
    /// Tasks that ended well, and those that failed.
    pub tasks: (u64, u64),
    /// Tasks that have not ended.
    pub tasks_pending: usize,
    /// Tasks that were compiled, and the time that took.
    pub applies: (u64, Duration),
    /// Listeners of the stored state that are not served.
    pub listeners_unbound: usize,
    /// Bound machines that are no longer in `[[instances]]`.
    pub backends_unconfigured: usize,
    /// Members under check.
    pub health_members: usize,
    /// Distinct probes.
    pub health_probes: usize,
    /// How long the probes took together.
    pub probe_time: Duration,
    /// Probes by result.
    pub probe_results: Vec<(&'static str, u64)>,
    /// Changes of health.
    pub health_transitions: u64,
    /// API answers: code 0, and the others.
    pub api_answers: (u64, u64),
    /// API requests that are remembered so that they can not come twice.
    pub api_nonces: usize,
    /// Rows that the access log has taken, and those that it lost, by reason.
    pub access_log: (u64, [(&'static str, u64); 3]),
    /// Bytes of its segments, and the rows that can be asked for.
    pub access_log_kept: (u64, u64),
    /// Stored certificates by id, with their last valid second, Unix time.
    pub certificate_ends: Vec<(String, i64)>,
}

/// `[metrics]`: how many series there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Rules that have series of their own, those that were asked for first; the others are in
    /// their listener's.
    pub max_rules: usize,
    /// Backends of a listener, by address, that have series of their own, all listeners together.
    pub max_backends: usize,
    /// Whether rules have histograms of their own, some forty series each; if not, their requests
    /// are in their listener's.
    pub rule_histograms: bool,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            max_rules: 20_000,
            max_backends: 10_000,
            rule_histograms: false,
        }
    }
}

/// The metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    settings: Arc<ArcSwap<MetricsSettings>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics of a board; `control` is asked at each scrape.
    pub fn new(
        version: &'static str,
        board: Arc<Board>,
        control: impl Fn() -> ControlFigures + Send + Sync + 'static,
    ) -> Self {
        let mut registry = Registry::default();
        let settings = Arc::new(ArcSwap::from_pointee(MetricsSettings::default()));
        registry.register_collector(Box::new(Source {
            version,
            board,
            control: Box::new(control),
            settings: Arc::clone(&settings),
        }));
        Self { registry, settings }
    }

    /// Takes settings over, from the next scrape on.
    pub fn set_settings(&self, settings: MetricsSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// The text of one scrape.
    ///
    /// # Errors
    /// [`fmt::Error`], which writing to a string does not give.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

struct Source {
    version: &'static str,
    board: Arc<Board>,
    control: Box<dyn Fn() -> ControlFigures + Send + Sync>,
    settings: Arc<ArcSwap<MetricsSettings>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

mod backends;
mod control;
mod listeners;
mod requests;
mod tls;

type Labels = Vec<(&'static str, String)>;

/// Writes metrics one after the other.
struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        // The encoder ends the names of counters with `_total` itself.
        let stem = match kind {
            MetricType::Counter => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let mut metric = self.encoder.encode_descriptor(stem, help, None, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                sample(&mut metric, kind, value)?;
            } else {
                sample(&mut metric.encode_family(&labels)?, kind, value)?;
            }
        }
        Ok(())
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let samples = samples
            .into_iter()
            .map(|(labels, value)| (labels, float(value)));
        self.family(name, help, MetricType::Counter, samples)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let samples = samples
            .into_iter()
            .map(|(labels, value)| (labels, float(value)));
        self.family(name, help, MetricType::Gauge, samples)
    }
}

fn sample(metric: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

/// Prometheus knows floating-point numbers only; exact below 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn plain(value: u64) -> [(Labels, u64); 1] {
    [(Vec::new(), value)]
}

fn listener_labels(listener: &Listener) -> Labels {
    vec![
        ("lb", listener.lb.to_string()),
        ("listener", listener.id.to_string()),
    ]
}

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer { encoder };
        let snapshot = self.board.snapshot();
        let listeners: Vec<&Arc<Listener>> = snapshot.iter().collect();
        writer.gauge(
            "clb_build_info",
            "Version of this clbd.",
            [(vec![("version", self.version.to_owned())], 1)],
        )?;
        self.plane(&mut writer)?;
        listeners::write(&mut writer, &listeners)?;
        let settings = *self.settings.load_full();
        let backends = backends::write(&mut writer, &listeners, settings)?;
        let rules = requests::write(&mut writer, &listeners, settings)?;
        writer.gauge(
            "clb_metrics_left_out",
            "Rules and backends without series of their own, because metrics.max_rules or metrics.max_backends is reached.",
            [("backends", backends), ("rules", rules)].map(|(what, count)| {
                (vec![("what", what.to_owned())], count)
            }),
        )?;
        tls::write(&mut writer, &listeners)?;
        control::write(&mut writer, &(self.control)())
    }
}

impl Source {
    fn plane(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let board = &self.board;
        writer.gauge(
            "clb_connections_open",
            "Client connections open now, all listeners together.",
            plain(board.connections()),
        )?;
        writer.counter(
            "clb_refused_total",
            "Clients that were turned away, by reason.",
            Refusal::ALL.map(|reason| {
                (
                    vec![("reason", reason.name().to_owned())],
                    board.refused.total(reason),
                )
            }),
        )?;
        writer.counter(
            "clb_panics_total",
            "Faults of the program that ended a connection, a worker or another part.",
            plain(board.panics()),
        )?;
        writer.counter(
            "clb_worker_restarts_total",
            "Times that a worker was started anew because it had panicked.",
            board
                .workers()
                .iter()
                .enumerate()
                .map(|(index, slot)| (vec![("worker", index.to_string())], slot.restarts())),
        )?;
        writer.gauge(
            "clb_memory_bytes",
            "Memory of the process's own, as limits.memory counts it.",
            plain(board.memory()),
        )?;
        writer.gauge(
            "clb_memory_limit_bytes",
            "Memory beyond which nothing new is taken (limits.memory).",
            plain(board.settings().max_memory),
        )?;
        writer.gauge(
            "clb_persistence_entries",
            "Clients that layer-4 session persistence remembers.",
            plain(count(board.persistence.len())),
        )?;
        writer.counter(
            "clb_persistence_evicted_total",
            "Clients that were forgotten because limits.persistence_entries was reached.",
            plain(board.persistence.evicted()),
        )?;
        writer.counter(
            "clb_backends_taken_out_total",
            "Backends that were taken out for a while because requests failed there.",
            plain(board.suspects.total()),
        )?;
        writer.gauge(
            "clb_udp_sessions",
            "UDP sessions, all listeners together.",
            plain(board.udp.sessions()),
        )?;
        writer.gauge(
            "clb_udp_sockets",
            "Sockets towards UDP backends.",
            plain(board.udp.sockets()),
        )?;
        writer.counter(
            "clb_udp_dropped_total",
            "Datagrams that were not passed on, by reason.",
            UdpDrop::ALL.map(|reason| {
                (
                    vec![("reason", reason.name().to_owned())],
                    board.udp.dropped(reason),
                )
            }),
        )?;
        let workers = || board.workers().iter().enumerate();
        let label = |index: usize| vec![("worker", index.to_string())];
        writer.gauge(
            "clb_config_generation",
            "Generation of the snapshot that each worker serves.",
            workers().map(|(index, worker)| (label(index), worker.acked())),
        )?;
        writer.counter(
            "clb_listener_start_failures_total",
            "Listeners that a worker could not start although their sockets were bound.",
            workers().map(|(index, worker)| (label(index), worker.start_failures())),
        )
    }
}
