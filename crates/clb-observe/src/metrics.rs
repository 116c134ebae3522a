//! `/metrics` in Prometheus text form (interfaces.md, "Metrics").

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clb_snapshot::{Board, Listener, Member, MemberHealth, Refusal, UdpDrop};
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

/// The metrics of one gateway.
pub struct Metrics {
    registry: Registry,
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
        registry.register_collector(Box::new(Source {
            version,
            board,
            control: Box::new(control),
        }));
        Self { registry }
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
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

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

fn member_labels(listener: &Listener, member: &Member) -> Labels {
    let mut labels = listener_labels(listener);
    labels.push(("backend", member.addr.to_string()));
    labels
}

fn health_word(health: MemberHealth) -> &'static str {
    match health {
        MemberHealth::Off => "unchecked",
        MemberHealth::Detecting { founding: true } => "founding",
        MemberHealth::Detecting { founding: false } => "detecting",
        MemberHealth::Healthy => "healthy",
        MemberHealth::Unhealthy => "unhealthy",
    }
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
        per_listener(&mut writer, &listeners)?;
        per_backend(&mut writer, &listeners)?;
        requests::write(&mut writer, &listeners)?;
        tls::write(&mut writer, &listeners)?;
        control(&mut writer, &(self.control)())
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

fn per_listener(writer: &mut Writer<'_>, listeners: &[&Arc<Listener>]) -> fmt::Result {
    let each = |value: fn(&Listener) -> u64| {
        listeners
            .iter()
            .map(move |listener| (listener_labels(listener), value(listener)))
    };
    writer.gauge(
        "clb_connections_active",
        "Client connections open now, or UDP sessions.",
        each(|listener| listener.live.active()),
    )?;
    writer.counter(
        "clb_connections_accepted_total",
        "Client connections accepted, or UDP sessions begun.",
        each(|listener| listener.live.totals().opened),
    )?;
    writer.counter(
        "clb_connections_failed_total",
        "Client connections for which no backend was found.",
        each(|listener| listener.live.totals().failed),
    )?;
    writer.counter(
        "clb_received_bytes_total",
        "Bytes passed on from clients to backends.",
        each(|listener| listener.live.totals().bytes_in),
    )?;
    writer.counter(
        "clb_sent_bytes_total",
        "Bytes passed on from backends to clients.",
        each(|listener| listener.live.totals().bytes_out),
    )?;
    let udp = |value: fn(&Listener) -> u64| {
        let listeners = listeners.iter();
        let udp = listeners.filter(|listener| listener.protocol.is_udp());
        udp.map(move |listener| (listener_labels(listener), value(listener)))
    };
    writer.counter(
        "clb_udp_received_datagrams_total",
        "Datagrams passed on from clients to backends.",
        udp(|listener| listener.live.totals().datagrams_in),
    )?;
    writer.counter(
        "clb_udp_sent_datagrams_total",
        "Datagrams passed on from backends to clients.",
        udp(|listener| listener.live.totals().datagrams_out),
    )
}

fn per_backend(writer: &mut Writer<'_>, listeners: &[&Arc<Listener>]) -> fmt::Result {
    let views: Vec<_> = listeners
        .iter()
        .filter_map(|listener| Some((listener, listener.service.pool()?.view())))
        .collect();
    let each = |value: fn(&Member) -> u64| {
        views
            .iter()
            .flat_map(|(listener, view)| {
                view.members().iter().map(move |member| (listener, member))
            })
            .map(move |(listener, member)| (member_labels(listener, member), value(member)))
    };
    writer.gauge(
        "clb_backend_weight",
        "Weight of the backend.",
        each(|member| member.weight.get().into()),
    )?;
    writer.gauge(
        "clb_backend_health",
        "1 for the state of health that the backend has.",
        views.iter().flat_map(|(listener, view)| {
            view.members().iter().map(move |member| {
                let mut labels = member_labels(listener, member);
                labels.push(("state", health_word(member.health).to_owned()));
                (labels, 1)
            })
        }),
    )?;
    writer.gauge(
        "clb_backend_connections_active",
        "Connections to the backend, open or being opened.",
        each(|member| member.live.active()),
    )?;
    writer.counter(
        "clb_backend_connections_total",
        "Connections to the backend that were established.",
        each(|member| member.live.totals().opened),
    )?;
    writer.counter(
        "clb_backend_connect_failures_total",
        "Attempts to connect to the backend that failed.",
        each(|member| member.live.totals().failed),
    )?;
    writer.counter(
        "clb_backend_received_bytes_total",
        "Bytes passed on to the backend.",
        each(|member| member.live.totals().bytes_in),
    )?;
    writer.counter(
        "clb_backend_sent_bytes_total",
        "Bytes passed on from the backend.",
        each(|member| member.live.totals().bytes_out),
    )
}

fn control(writer: &mut Writer<'_>, figures: &ControlFigures) -> fmt::Result {
    let by_result = |(well, badly): (u64, u64)| {
        [("succeeded", well), ("failed", badly)]
            .map(|(result, value)| (vec![("result", result.to_owned())], value))
    };
    let (applies, apply_time) = figures.applies;
    writer.gauge(
        "clb_config_revision",
        "Newest revision of the stored configuration.",
        plain(figures.revision),
    )?;
    writer.counter(
        "clb_config_applies_total",
        "Changes that were compiled.",
        plain(applies),
    )?;
    writer.family(
        "clb_config_apply_seconds_total",
        "Time spent compiling changes and binding their ports.",
        MetricType::Counter,
        [(Vec::new(), apply_time.as_secs_f64())],
    )?;
    writer.counter(
        "clb_tasks_total",
        "Tasks that ended, by result.",
        by_result(figures.tasks),
    )?;
    writer.gauge(
        "clb_tasks_pending",
        "Tasks that have not ended.",
        plain(count(figures.tasks_pending)),
    )?;
    writer.gauge(
        "clb_listeners_unbound",
        "Listeners that are not served because their port could not be bound.",
        plain(count(figures.listeners_unbound)),
    )?;
    writer.gauge(
        "clb_backends_unconfigured",
        "Bound backends that are no longer in [[instances]].",
        plain(count(figures.backends_unconfigured)),
    )?;
    writer.gauge(
        "clb_health_members",
        "Backends under health check, counted once for each pool.",
        plain(count(figures.health_members)),
    )?;
    writer.gauge(
        "clb_health_targets",
        "Distinct targets that are probed; equal checks share one.",
        plain(count(figures.health_probes)),
    )?;
    writer.counter(
        "clb_health_probes_total",
        "Probes that ended, by result.",
        figures
            .probe_results
            .iter()
            .map(|(result, value)| (vec![("result", (*result).to_owned())], *value)),
    )?;
    writer.counter(
        "clb_health_transitions_total",
        "Changes of a backend's health.",
        plain(figures.health_transitions),
    )?;
    writer.counter(
        "clb_api_answers_total",
        "Answers of the Action API, by result.",
        by_result(figures.api_answers),
    )?;
    writer.gauge(
        "clb_api_nonces",
        "API requests that are remembered so that they can not come twice.",
        plain(count(figures.api_nonces)),
    )?;
    let (rows, dropped) = figures.access_log;
    writer.counter(
        "clb_access_log_rows_total",
        "Requests that the access log has taken.",
        plain(rows),
    )?;
    writer.counter(
        "clb_access_log_dropped_total",
        "Requests that are missing in the access log: their worker's ring was full, or they could not be written to disk, or to an extra target.",
        dropped.map(|(reason, count)| (vec![("reason", reason.to_owned())], count)),
    )?;
    let (bytes, rows) = figures.access_log_kept;
    writer.gauge(
        "clb_access_log_bytes",
        "Bytes of the access log on disk.",
        plain(bytes),
    )?;
    writer.gauge(
        "clb_access_log_rows",
        "Requests that the access log can be asked for.",
        plain(rows),
    )?;
    writer.family(
        "clb_certificate_expiry_timestamp_seconds",
        "When a stored certificate, or one of its chain, ends; Unix time.",
        MetricType::Gauge,
        figures.certificate_ends.iter().map(|(id, end)| {
            let labels = vec![("certificate", id.clone())];
            (labels, signed(*end))
        }),
    )
}

/// Times of certificates are far below the 2^53 up to which this is exact.
#[allow(clippy::cast_precision_loss, reason = "see above")]
fn signed(value: i64) -> f64 {
    value as f64
}
