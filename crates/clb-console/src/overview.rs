//! All load balancers and listeners, with their counters; and how they have come here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use clb_model::{Family, LbId, LoadBalancerType};
use clb_monitor::{Metric, Period, Selection};
use clb_snapshot::{DURATION_BOUNDS, Listener, Refusal, RequestTotals, Service};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Sources;
use crate::parameters::Parameters;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// What requests have counted.
#[derive(Serialize)]
pub(crate) struct Requests {
    /// 1xx to 5xx, and none.
    classes: [u64; 6],
    /// Together, in seconds.
    took: f64,
    /// By bucket; the bounds are in the overview.
    buckets: Vec<u64>,
}

impl From<&RequestTotals> for Requests {
    fn from(totals: &RequestTotals) -> Self {
        Self {
            classes: totals.classes,
            took: totals.requests.sum.as_secs_f64(),
            buckets: totals.requests.buckets.to_vec(),
        }
    }
}

/// What a listener shows.
fn listener_figures(listener: &Listener) -> Value {
    let totals = listener.live.totals();
    let mut requests = listener.requests().totals();
    let (mut rules, mut states, mut backends) = (0, BTreeMap::new(), BTreeSet::new());
    if let Service::Rules(router) = &listener.service {
        for route in router.iter() {
            rules += 1;
            requests.add(&route.value.rule().pool.requests().totals());
        }
    }
    for pool in listener.service.pools() {
        for member in pool.view().members() {
            *states.entry(member.health.word()).or_insert(0) += 1;
            backends.insert(member.addr);
        }
    }
    json!({
        "connections": listener.live.active(),
        "opened": totals.opened,
        "failed": totals.failed,
        "bytesIn": totals.bytes_in,
        "bytesOut": totals.bytes_out,
        "rules": rules,
        "backends": backends.len(),
        "states": states,
        "requests": listener.protocol.is_layer7().then(|| Requests::from(&requests)),
    })
}

pub(crate) async fn overview(State(sources): State<Arc<Sources>>) -> Response {
    // Thousands of rules are added up.
    let answer = tokio::task::spawn_blocking(move || build(&sources)).await;
    answer.map_or_else(
        |_| crate::gone("overview"),
        |answer| Json(answer).into_response(),
    )
}

fn build(sources: &Sources) -> Value {
    let snapshot = sources.board.snapshot();
    // The state is read first and briefly, the counters afterwards.
    let described: Vec<_> = sources.control.read(|state| {
        let balancers = state.load_balancers();
        balancers
            .map(|lb| {
                (
                    Arc::clone(lb),
                    state.listeners_of(lb.id).cloned().collect::<Vec<_>>(),
                )
            })
            .collect()
    });
    let balancers: Vec<Value> = described
        .iter()
        .map(|(lb, listeners)| {
            let listeners: Vec<Value> = listeners
                .iter()
                .map(|listener| {
                    let served = snapshot.get(listener.id);
                    json!({
                        "id": listener.id,
                        "name": listener.name,
                        "protocol": format!("{:?}", listener.protocol).to_uppercase(),
                        "port": listener.port.get(),
                        "figures": served.map(|served| listener_figures(served)),
                    })
                })
                .collect();
            json!({
                "id": lb.id,
                "name": lb.name,
                "type": match lb.network_type {
                    LoadBalancerType::Public => "public",
                    LoadBalancerType::Private => "private",
                },
                "family": match lb.family {
                    Family::Classic => "classic",
                    Family::Application => "application",
                },
                "vip": lb.vip,
                "listeners": listeners,
            })
        })
        .collect();
    let (stats, log) = (sources.control.stats(), sources.access_log.figures());
    let view = stats.view();
    let refused: Vec<Value> = Refusal::ALL
        .map(|reason| (reason.name(), sources.board.refused.total(reason)))
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| json!({"reason": reason, "count": count}))
        .collect();
    json!({
        "version": sources.version,
        "now": now_ms(),
        "connections": sources.board.connections(),
        "revision": stats.revision(),
        "tasks": {"pending": view.pending, "succeeded": stats.tasks().0, "failed": stats.tasks().1},
        "unbound": view.unbound,
        "refused": refused,
        "log": {"rows": log.rows, "dropped": log.dropped_ring + log.dropped_disk},
        "bounds": DURATION_BOUNDS,
        "loadBalancers": balancers,
    })
}

/// The last hour, by minute: of a listener (`lb`, `protocol`, `port`), of a load balancer (`lb`), or
/// of all together.
pub(crate) async fn history(State(sources): State<Arc<Sources>>, asked: Parameters) -> Response {
    let lb = match asked.find("lb").map(LbId::parse) {
        None => None,
        Some(Ok(lb)) => Some(lb.to_bits()),
        Some(Err(_)) => return crate::gone("load balancer"),
    };
    let port = match asked.find("port").map(str::parse) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(_)) => return crate::gone("listener"),
    };
    let selection = Selection {
        lb,
        listener: asked.find("protocol").map(str::to_lowercase).zip(port),
        ..Selection::default()
    };
    let answer = tokio::task::spawn_blocking(move || series(&sources, &selection)).await;
    match answer {
        Ok(Ok(value)) => Json(value).into_response(),
        _ => crate::gone("past"),
    }
}

fn series(sources: &Sources, selection: &Selection) -> Result<Value, clb_monitor::MonitorError> {
    let now = now_ms() / 1_000;
    let mut metrics = serde_json::Map::new();
    let mut start = 0;
    for metric in [
        Metric::Requests,
        Metric::Answers4xx,
        Metric::Answers5xx,
        Metric::MeanResponse,
        Metric::LongestResponse,
        Metric::Connections,
        Metric::NewConnections,
        Metric::InTraffic,
        Metric::OutTraffic,
    ] {
        let window = (now.saturating_sub(3_600), now);
        let series = sources
            .monitor
            .series(metric, Period::Minute, selection, window, 0)?;
        start = series.start;
        metrics.insert(metric.name().to_owned(), json!(series.values));
    }
    Ok(json!({"start": start, "period": 60, "metrics": metrics}))
}
