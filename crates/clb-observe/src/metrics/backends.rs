//! What backends count, by listener and address: a backend of many rules has one set of series.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use clb_snapshot::{Listener, Member};

use super::{Labels, MetricsSettings, Writer, listener_labels};

/// A backend at one listener.
#[derive(Debug, Default)]
struct Backend {
    weight: u64,
    /// Pools in which it has a state.
    states: BTreeMap<&'static str, u64>,
    active: u64,
    opened: u64,
    failed: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Backend {
    fn add(&mut self, member: &Member) {
        let totals = member.live.totals();
        self.weight += u64::from(member.weight.get());
        *self.states.entry(member.health.word()).or_default() += 1;
        self.active += member.live.active();
        self.opened += totals.opened;
        self.failed += totals.failed;
        self.bytes_in += totals.bytes_in;
        self.bytes_out += totals.bytes_out;
    }
}

/// Writes them; how many were left out.
pub(super) fn write(
    writer: &mut Writer<'_>,
    listeners: &[&Arc<Listener>],
    settings: MetricsSettings,
) -> Result<u64, fmt::Error> {
    let (mut all, mut left_out) = (Vec::new(), 0);
    for listener in listeners {
        let mut backends: BTreeMap<SocketAddr, Backend> = BTreeMap::new();
        for pool in listener.service.pools() {
            for member in pool.view().members() {
                backends.entry(member.addr).or_default().add(member);
            }
        }
        for (addr, backend) in backends {
            if all.len() >= settings.max_backends {
                left_out += 1;
                continue;
            }
            let mut labels = listener_labels(listener);
            labels.push(("backend", addr.to_string()));
            all.push((labels, backend));
        }
    }
    write_all(writer, &all)?;
    Ok(left_out)
}

fn write_all(writer: &mut Writer<'_>, all: &[(Labels, Backend)]) -> fmt::Result {
    let each = |value: fn(&Backend) -> u64| {
        all.iter()
            .map(move |(labels, backend)| (labels.clone(), value(backend)))
    };
    writer.gauge(
        "clb_backend_weight",
        "Weight of the backend, added up over the rules that have it.",
        each(|backend| backend.weight),
    )?;
    writer.gauge(
        "clb_backend_health",
        "In how many pools, the listener's own or its rules', the backend has this state of health.",
        all.iter().flat_map(|(labels, backend)| {
            backend.states.iter().map(move |(state, count)| {
                let mut labels = labels.clone();
                labels.push(("state", (*state).to_owned()));
                (labels, *count)
            })
        }),
    )?;
    writer.gauge(
        "clb_backend_connections_active",
        "Connections to the backend, open or being opened; of HTTP: requests in flight.",
        each(|backend| backend.active),
    )?;
    writer.counter(
        "clb_backend_connections_total",
        "Connections to the backend that were established.",
        each(|backend| backend.opened),
    )?;
    writer.counter(
        "clb_backend_connect_failures_total",
        "Attempts to connect to the backend that failed.",
        each(|backend| backend.failed),
    )?;
    writer.counter(
        "clb_backend_received_bytes_total",
        "Bytes passed on to the backend.",
        each(|backend| backend.bytes_in),
    )?;
    writer.counter(
        "clb_backend_sent_bytes_total",
        "Bytes passed on from the backend.",
        each(|backend| backend.bytes_out),
    )
}
