//! What the control plane, the health checks and the access log count.

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::{ControlFigures, Writer, count, plain};

pub(super) fn write(writer: &mut Writer<'_>, figures: &ControlFigures) -> fmt::Result {
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
    writer.family(
        "clb_health_probe_seconds_total",
        "Time that probes took from their start to their result.",
        MetricType::Counter,
        [(Vec::new(), figures.probe_time.as_secs_f64())],
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
