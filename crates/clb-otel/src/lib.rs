//! Sends spans of requests to an OpenTelemetry collector, OTLP over HTTP in JSON.
//!
//! A span is a row of the access log that [has a trace](clb_access_log::Text::Trace): so it is made
//! where rows are written, off the hot path, and has what the row has. It is a feature of the
//! program that is off by default: the libraries behind it change often.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clb_access_log::{Number, Row, Text, escape};
use clb_model::{LbId, ListenerId, RuleId};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;

/// Spans that wait to be sent; more are lost and counted.
const WAITING: usize = 8_192;
/// Spans that are sent at once, and how long the first of them waits.
const BATCH: usize = 512;
const PAUSE: Duration = Duration::from_secs(1);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a failure is logged.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Why spans can not be sent.
#[derive(Debug, thiserror::Error)]
#[error("tracing.otlp: {0}")]
pub struct OtelError(#[from] ExporterBuildError);

/// The way to a collector.
#[derive(Debug, Clone)]
pub struct Spans {
    waiting: mpsc::Sender<SpanData>,
    lost: Arc<AtomicU64>,
}

impl Spans {
    /// Sends spans to the collector at this address, as tasks of the runtime that this is called in.
    ///
    /// # Errors
    /// [`OtelError`]
    pub fn start(collector: SocketAddr, version: &'static str) -> Result<Self, OtelError> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("http://{collector}/v1/traces"))
            .with_protocol(Protocol::HttpJson)
            .with_timeout(PATIENCE)
            .build()?;
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", "clbd"))
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        exporter.set_resource(&resource);
        let (waiting, spans) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(send(exporter, spans, Arc::clone(&lost)));
        Ok(Self { waiting, lost })
    }

    /// Takes a row of the access log. Never waits.
    pub fn take(&self, row: &Row<'_>) {
        if let Some(span) = span(row)
            && self.waiting.try_send(span).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that were lost, because too many waited or the collector did not take them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn send(exporter: SpanExporter, mut spans: mpsc::Receiver<SpanData>, lost: Arc<AtomicU64>) {
    let mut complained: Option<Instant> = None;
    let mut batch = Vec::new();
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH {
            tokio::time::sleep(PAUSE).await;
            while batch.len() < BATCH
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
        }
        let count = batch.len() as u64;
        if let Err(error) = exporter.export(std::mem::take(&mut batch)).await {
            lost.fetch_add(count, Ordering::Relaxed);
            if complained.is_none_or(|last| last.elapsed() >= COMPLAINTS) {
                complained = Some(Instant::now());
                tracing::warn!(%error, spans = count, "tracing.otlp does not take spans, they are lost");
            }
        }
    }
}

/// The span of a row; none for one that has no trace.
fn span(row: &Row<'_>) -> Option<SpanData> {
    let (trace, rest) = row.text(Text::Trace).split_first_chunk::<16>()?;
    let (own, rest) = rest.split_first_chunk::<8>()?;
    let parent = SpanId::from_bytes(*rest.first_chunk::<8>()?);
    let end = UNIX_EPOCH + Duration::from_micros(row.number(Number::Time));
    let start: SystemTime = end - Duration::from_micros(row.number(Number::Took));
    let status = row.number(Number::Status);
    let line = escape(row.text(Text::Line), false);
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    Some(SpanData {
        span_context: SpanContext::new(
            TraceId::from_bytes(*trace),
            SpanId::from_bytes(*own),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: parent,
        parent_span_is_remote: parent != SpanId::INVALID,
        span_kind: SpanKind::Server,
        name: method.clone().into(),
        start_time: start,
        end_time: end,
        attributes: attributes(row, &line, method),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: match status {
            500.. => Status::error(row.reason().word()),
            _ => Status::Unset,
        },
        instrumentation_scope: InstrumentationScope::builder("clbd").build(),
    })
}

/// Names of OpenTelemetry's semantic conventions where it has any, and ours after `clb.`.
fn attributes(row: &Row<'_>, line: &str, method: String) -> Vec<KeyValue> {
    let number = |number| i64::try_from(row.number(number)).unwrap_or(i64::MAX);
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut all = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.path", path.to_owned()),
        KeyValue::new("http.response.status_code", number(Number::Status)),
        KeyValue::new("http.response.size", number(Number::Sent)),
        KeyValue::new("http.request.size", number(Number::Received)),
        KeyValue::new("client.port", number(Number::PeerPort)),
        KeyValue::new("network.protocol.name", row.protocol().name()),
    ];
    let mut text = |name: &'static str, value: String| {
        if !value.is_empty() {
            all.push(KeyValue::new(name, value));
        }
    };
    text("url.query", query.to_owned());
    text("server.address", escape(row.text(Text::Host), false));
    text("user_agent.original", escape(row.text(Text::Agent), false));
    text(
        "client.address",
        row.peer().map(|peer| peer.to_string()).unwrap_or_default(),
    );
    text(
        "clb.backend",
        row.upstream()
            .map(|backend| backend.to_string())
            .unwrap_or_default(),
    );
    text("clb.request_id", escape(row.text(Text::Id), false));
    text("clb.reason", row.reason().word().to_owned());
    let lb = LbId::from_bits(row.number(Number::Lb));
    text("clb.lb", lb.map(|id| id.to_string()).unwrap_or_default());
    let listener = ListenerId::from_bits(row.number(Number::Listener));
    text(
        "clb.listener",
        listener.map(|id| id.to_string()).unwrap_or_default(),
    );
    let rule = RuleId::from_bits(row.number(Number::Rule));
    text(
        "clb.rule",
        rule.map(|id| id.to_string()).unwrap_or_default(),
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_span_if_it_has_a_trace() {
        let mut row = Row::default();
        row.set(Number::Time, 2_000_000);
        row.set(Number::Took, 500_000);
        row.set(Number::Status, 502);
        row.set_text(Text::Line, b"GET /a?b=c HTTP/1.1");
        assert!(span(&row).is_none());
        let context: Vec<u8> = (1..=32).collect();
        row.set_text(Text::Trace, &context);
        let made = span(&row).unwrap();
        assert_eq!(made.name, "GET");
        assert_eq!(
            made.span_context.trace_id().to_string(),
            "0102030405060708090a0b0c0d0e0f10"
        );
        assert_eq!(made.span_context.span_id().to_string(), "1112131415161718");
        assert_eq!(made.parent_span_id.to_string(), "191a1b1c1d1e1f20");
        assert_eq!(
            made.end_time.duration_since(made.start_time).unwrap(),
            Duration::from_millis(500)
        );
        let value = |name: &str| {
            made.attributes
                .iter()
                .find(|one| one.key.as_str() == name)
                .map(|one| one.value.to_string())
        };
        assert_eq!(value("url.path").as_deref(), Some("/a"));
        assert_eq!(value("url.query").as_deref(), Some("b=c"));
        assert_eq!(value("http.response.status_code").as_deref(), Some("502"));
        assert_eq!(value("clb.rule"), None);
    }
}
