//! Metrics of TLS handshakes, by listener.

use std::fmt;
use std::sync::Arc;

use clb_snapshot::{HandshakeFailure, Listener, TlsLive};

use super::{Labels, Writer, listener_labels};

pub(super) fn write(writer: &mut Writer<'_>, listeners: &[&Arc<Listener>]) -> fmt::Result {
    let counted: Vec<(Labels, &TlsLive)> = listeners
        .iter()
        .filter_map(|listener| Some((listener_labels(listener), &*listener.tls.as_ref()?.live)))
        .collect();
    let with = |labels: &Labels, name: &'static str, value: &str| {
        let mut labels = labels.clone();
        labels.push((name, value.to_owned()));
        labels
    };
    writer.counter(
        "clb_tls_handshakes_total",
        "TLS handshakes that ended well; resumed: without a look at certificates, by a ticket.",
        counted.iter().flat_map(|(labels, live)| {
            [("full", live.full()), ("resumed", live.resumed())]
                .map(|(kind, count)| (with(labels, "kind", kind), count))
        }),
    )?;
    writer.counter(
        "clb_tls_handshake_failures_total",
        "TLS handshakes that came to nothing, by reason.",
        counted.iter().flat_map(|(labels, live)| {
            HandshakeFailure::ALL.map(|why| (with(labels, "reason", why.name()), live.failed(why)))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ControlFigures, Metrics};
    use clb_model::{LbId, ListenerId, Protocol, Scheduler};
    use clb_snapshot::{
        Board, HttpSettings, ListenSockets, Live, PlaneSettings, Pool, PoolKey, PoolView, RuleLive,
        ServerTls, Service, Stickiness,
    };
    use std::time::Duration;

    fn tls() -> ServerTls {
        let signed = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let key = signed.signing_key.serialize_der().try_into().unwrap();
        ServerTls::new(vec![signed.cert.der().clone()], key, None, false, None).unwrap()
    }

    fn listener(number: u64, tls: Option<ServerTls>) -> Arc<Listener> {
        let id = ListenerId::from_number(number);
        let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, Vec::new());
        Arc::new(Listener {
            id,
            lb: LbId::from_number(1),
            addr: ([127, 0, 0, 1], 443).into(),
            protocol: Protocol::Https,
            client_ip: clb_model::ClientIp::Gateway,
            service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(id), view, 1))),
            live: Arc::new(Live::new(1)),
            unruled: Arc::new(RuleLive::new(1)),
            tls: tls.map(Arc::new),
            sockets: Arc::new(ListenSockets::tcp(Vec::new())),
        })
    }

    #[test]
    fn handshakes_are_told_by_listener_and_reason() {
        let settings = PlaneSettings {
            http: HttpSettings::default(),
            udp: clb_snapshot::UdpSettings::default(),
            backend_connect: Duration::from_secs(3),
            tcp_idle: Duration::from_secs(900),
            max_connections: 1,
            max_sockets: u64::MAX,
            max_memory: u64::MAX,
            max_per_source: u64::MAX,
            source_addresses: std::sync::Arc::new([]),
            tcp_keepalive: None,
            passive_health: true,
        };
        let board = Arc::new(Board::new(1, settings, 0));
        let (with, without) = (listener(1, Some(tls())), listener(2, None));
        for listener in [&with, &without] {
            board.publish(board.snapshot().insert(Arc::clone(listener)));
        }
        let live = &with.tls.as_ref().unwrap().live;
        live.count_done(false);
        live.count_done(true);
        live.count_done(true);
        live.count_failed(HandshakeFailure::PlainHttp);

        let text = Metrics::new("1", board, ControlFigures::default)
            .text()
            .unwrap();
        let labels = format!("lb=\"{}\",listener=\"{}\"", with.lb, with.id);
        for line in [
            format!("clb_tls_handshakes_total{{{labels},kind=\"full\"}} 1.0"),
            format!("clb_tls_handshakes_total{{{labels},kind=\"resumed\"}} 2.0"),
            format!("clb_tls_handshake_failures_total{{{labels},reason=\"plain_http\"}} 1.0"),
            format!("clb_tls_handshake_failures_total{{{labels},reason=\"timeout\"}} 0.0"),
            "clb_refused_total{reason=\"tls_handshakes\"} 0.0".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let id = without.id.to_string();
        let others = text.lines().filter(|line| line.contains(&id));
        assert!(others.clone().count() > 0);
        assert_eq!(others.filter(|line| line.starts_with("clb_tls")).count(), 0);
    }
}
