//! What listeners count.

use std::fmt;
use std::sync::Arc;

use clb_snapshot::{Listener, Totals};

use super::{Writer, listener_labels};

pub(super) fn write(writer: &mut Writer<'_>, listeners: &[&Arc<Listener>]) -> fmt::Result {
    let totals: Vec<Totals> = listeners
        .iter()
        .map(|listener| listener.live.totals())
        .collect();
    let all = || listeners.iter().zip(&totals);
    let each = |value: fn(&Totals) -> u64| {
        all().map(move |(listener, totals)| (listener_labels(listener), value(totals)))
    };
    writer.gauge(
        "clb_connections_active",
        "Client connections open now, or UDP sessions.",
        all().map(|(listener, _)| (listener_labels(listener), listener.live.active())),
    )?;
    writer.counter(
        "clb_connections_accepted_total",
        "Client connections accepted, or UDP sessions begun.",
        each(|totals| totals.opened),
    )?;
    writer.counter(
        "clb_connections_failed_total",
        "Client connections for which no backend was found.",
        each(|totals| totals.failed),
    )?;
    writer.counter(
        "clb_received_bytes_total",
        "Bytes passed on from clients to backends.",
        each(|totals| totals.bytes_in),
    )?;
    writer.counter(
        "clb_sent_bytes_total",
        "Bytes passed on from backends to clients.",
        each(|totals| totals.bytes_out),
    )?;
    let udp = |value: fn(&Totals) -> u64| {
        let udp = all().filter(|(listener, _)| listener.protocol.is_udp());
        udp.map(move |(listener, totals)| (listener_labels(listener), value(totals)))
    };
    writer.counter(
        "clb_udp_received_datagrams_total",
        "Datagrams passed on from clients to backends.",
        udp(|totals| totals.datagrams_in),
    )?;
    writer.counter(
        "clb_udp_sent_datagrams_total",
        "Datagrams passed on from backends to clients.",
        udp(|totals| totals.datagrams_out),
    )
}
