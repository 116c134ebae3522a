//! Metrics of HTTP requests, by rule, and by listener for requests that belong to no rule.

use std::fmt;
use std::sync::Arc;

use clb_model::RuleId;
use clb_snapshot::{
    DURATION_BOUNDS, GATEWAY_STATUSES, HistogramTotals, Listener, REQUEST_CLASSES, RequestTotals,
    RuleLive, Service,
};
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::{Labels, MetricsSettings, Writer, listener_labels};

/// One source of counts, and what its series are called by.
struct Counted {
    labels: Labels,
    totals: RequestTotals,
    /// Its histograms are in its listener's.
    is_within: bool,
}

/// Writes them; how many rules were left out.
pub(super) fn write(
    writer: &mut Writer<'_>,
    listeners: &[&Arc<Listener>],
    settings: MetricsSettings,
) -> Result<u64, fmt::Error> {
    let (mut counted, mut rules, mut left_out) = (Vec::new(), 0, 0);
    for listener in listeners
        .iter()
        .filter(|listener| listener.protocol.is_layer7())
    {
        let labels = listener_labels(listener);
        let mut own = Counted {
            labels: labels.clone(),
            totals: listener.requests().totals(),
            is_within: false,
        };
        let mut of_rules = Vec::new();
        for (rule, live) in rules_of(listener) {
            // Most of ten thousand rules are asked for seldom.
            let totals = live.totals();
            if totals == RequestTotals::default() {
                continue;
            }
            if rules >= settings.max_rules {
                left_out += 1;
                own.totals.add(&totals);
                continue;
            }
            rules += 1;
            if !settings.rule_histograms {
                own.totals.add_durations(&totals);
            }
            let mut labels = labels.clone();
            labels.push(("rule", rule.to_string()));
            of_rules.push(Counted {
                labels,
                totals,
                is_within: !settings.rule_histograms,
            });
        }
        if own.totals != RequestTotals::default() {
            counted.push(own);
        }
        counted.append(&mut of_rules);
    }
    write_counted(writer, &counted)?;
    Ok(left_out)
}

/// A listener's rules, and what was counted there.
fn rules_of(listener: &Listener) -> impl Iterator<Item = (RuleId, &RuleLive)> {
    let router = match &listener.service {
        Service::Rules(router) => Some(router),
        Service::Pool(_) => None,
    };
    let rules = router.into_iter().flat_map(|router| router.iter());
    rules.map(|route| {
        let rule = route.value.rule();
        (rule.id, rule.pool.requests())
    })
}

fn write_counted(writer: &mut Writer<'_>, counted: &[Counted]) -> fmt::Result {
    let with = |labels: &Labels, name: &'static str, value: String| {
        let mut labels = labels.clone();
        labels.push((name, value));
        labels
    };
    writer.counter(
        "clb_requests_total",
        "Requests by class of the status that the client was sent; none: it went away before.",
        counted.iter().flat_map(|one| {
            REQUEST_CLASSES
                .iter()
                .zip(one.totals.classes)
                // One that has not been seen yet is not there, except for what everybody looks at.
                .filter(|(class, count)| *count > 0 || matches!(**class, "2xx" | "5xx"))
                .map(|(class, count)| (with(&one.labels, "class", (*class).to_owned()), count))
        }),
    )?;
    writer.counter(
        "clb_gateway_answers_total",
        "Answers that the gateway gave itself, by status; 0: any other one.",
        counted.iter().flat_map(|one| {
            GATEWAY_STATUSES
                .iter()
                .zip(one.totals.gateway)
                .filter(|(_, count)| *count > 0)
                .map(|(status, count)| (with(&one.labels, "status", status.to_string()), count))
        }),
    )?;
    writer.counter(
        "clb_request_received_bytes_total",
        "Bytes of requests that were passed on towards backends.",
        counted
            .iter()
            .map(|one| (one.labels.clone(), one.totals.bytes_in)),
    )?;
    writer.counter(
        "clb_request_sent_bytes_total",
        "Bytes of answers that went to clients.",
        counted
            .iter()
            .map(|one| (one.labels.clone(), one.totals.bytes_out)),
    )?;
    let outside = || counted.iter().filter(|one| !one.is_within);
    histogram(
        writer,
        "clb_request_duration_seconds",
        "From the first octet of a request to the last of its answer.",
        outside().map(|one| (&one.labels, &one.totals.requests)),
    )?;
    histogram(
        writer,
        "clb_upstream_connect_duration_seconds",
        "How long it took to connect to a backend, when that succeeded.",
        outside().map(|one| (&one.labels, &one.totals.connects)),
    )
}

fn histogram<'a>(
    writer: &mut Writer<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (&'a Labels, &'a HistogramTotals)>,
) -> fmt::Result {
    let mut metric = writer
        .encoder
        .encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, totals) in samples {
        // The encoder adds the buckets up.
        let buckets: Vec<(f64, u64)> = DURATION_BOUNDS.into_iter().zip(totals.buckets).collect();
        metric
            .encode_family(labels)?
            .encode_histogram::<NoLabelSet>(
                totals.sum.as_secs_f64(),
                totals.count,
                &buckets,
                None,
            )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ControlFigures, Metrics};
    use clb_model::{DomainPattern, LbId, ListenerId, Protocol, Scheduler, UrlPattern};
    use clb_routing::Router;
    use clb_snapshot::{
        Board, FinishedRequest, ListenSockets, Live, PlaneSettings, Pool, PoolKey, PoolView, Rule,
        Stickiness,
    };
    use std::time::Duration;

    fn listener(number: u64, protocol: Protocol) -> Arc<Listener> {
        let id = ListenerId::from_number(number);
        let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, Vec::new());
        Arc::new(Listener {
            id,
            lb: LbId::from_number(1),
            addr: ([127, 0, 0, 1], 80).into(),
            protocol,
            client_ip: clb_model::ClientIp::Gateway,
            service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(id), view, 2))),
            live: Arc::new(Live::new(2)),
            unruled: Arc::new(RuleLive::new(2)),
            tls: None,
            sockets: Arc::new(ListenSockets::tcp(Vec::new())),
        })
    }

    fn board() -> Arc<Board> {
        let settings = PlaneSettings {
            http: clb_snapshot::HttpSettings::default(),
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
        Arc::new(Board::new(2, settings, 0))
    }

    #[test]
    fn what_rules_have_counted_is_theirs() {
        let (domain, board) = (DomainPattern::parse("a.com").unwrap(), board());
        let rule = |number, url: &str| {
            let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, Vec::new());
            let id = RuleId::from_number(number);
            Arc::new(Rule {
                id,
                domain: domain.clone(),
                url: UrlPattern::parse(url).unwrap(),
                redirect: None,
                pool: Arc::new(Pool::new(PoolKey::Rule(id), view, 2)),
                name: clb_snapshot::RuleName::default(),
            })
        };
        let (busy, idle) = (rule(1, "/busy"), rule(2, "/idle"));
        let router = Router::new()
            .with(&domain, &busy.url, 1, Arc::clone(&busy).into())
            .and_then(|router| router.with(&domain, &idle.url, 2, Arc::clone(&idle).into()));
        let listener = Listener {
            service: Service::Rules(router.unwrap()),
            ..Listener::clone(&listener(1, Protocol::Http))
        };
        let labels = format!("lb=\"{}\",listener=\"{}\"", listener.lb, listener.id);
        board.publish(board.snapshot().insert(Arc::new(listener)));
        let request = FinishedRequest {
            status: Some(302),
            is_gateways: true,
            took: Duration::ZERO,
        };
        busy.pool.requests().record(1, &request);
        let metrics = Metrics::new("1", board, ControlFigures::default);
        let text = metrics.text().unwrap();
        let of_listener = format!("clb_request_duration_seconds_count{{{labels}}} 1");
        assert!(text.contains(&of_listener), "{text}");
        metrics.set_settings(MetricsSettings {
            rule_histograms: true,
            ..MetricsSettings::default()
        });
        let text = metrics.text().unwrap();
        assert!(!text.contains(&of_listener), "{text}");
        let labels = format!("{labels},rule=\"{}\"", busy.id);
        for (name, more) in [
            ("clb_gateway_answers_total", ",status=\"302\""),
            ("clb_requests_total", ",class=\"3xx\""),
            ("clb_request_duration_seconds_count", ""),
        ] {
            let prefix = format!("{name}{{{labels}{more}}} ");
            let found = text.lines().find_map(|line| line.strip_prefix(&prefix));
            assert_eq!(
                found.unwrap_or_default().parse(),
                Ok(1.0),
                "{prefix}\n{text}"
            );
        }
        assert!(!text.contains(&idle.id.to_string()), "{text}");
        metrics.set_settings(MetricsSettings {
            max_rules: 0,
            ..MetricsSettings::default()
        });
        let text = metrics.text().unwrap();
        assert!(!text.contains("rule="), "{text}");
        assert!(
            text.contains("clb_metrics_left_out{what=\"rules\"} 1"),
            "{text}"
        );
        assert!(text.contains("clb_requests_total{") && text.contains("class=\"3xx\"} 1"));
    }

    #[test]
    fn a_scrape_says_what_was_counted() {
        let board = board();
        let (busy, idle) = (listener(1, Protocol::Http), listener(2, Protocol::Https));
        let tcp = listener(3, Protocol::Tcp);
        for listener in [&busy, &idle, &tcp] {
            board.publish(board.snapshot().insert(Arc::clone(listener)));
        }
        for (worker, status, millis) in [(0, 200, 3), (1, 200, 5), (1, 503, 70_000)] {
            let request = FinishedRequest {
                status: Some(status),
                is_gateways: status == 503,
                took: Duration::from_millis(millis),
            };
            busy.requests().record(worker, &request);
        }
        busy.requests().count_bytes(0, 100, 2_000);
        busy.requests()
            .record_connect(1, Duration::from_micros(400));

        let text = Metrics::new("1", board, ControlFigures::default)
            .text()
            .unwrap();
        let labels = format!("lb=\"{}\",listener=\"{}\"", busy.lb, busy.id);
        for (name, more, value) in [
            ("clb_requests_total", ",class=\"2xx\"", "2"),
            ("clb_requests_total", ",class=\"5xx\"", "1"),
            ("clb_gateway_answers_total", ",status=\"503\"", "1"),
            ("clb_request_received_bytes_total", "", "100"),
            ("clb_request_sent_bytes_total", "", "2000"),
            ("clb_request_duration_seconds_bucket", ",le=\"0.0025\"", "0"),
            ("clb_request_duration_seconds_bucket", ",le=\"0.005\"", "2"),
            ("clb_request_duration_seconds_bucket", ",le=\"60\"", "2"),
            ("clb_request_duration_seconds_bucket", ",le=\"+Inf\"", "3"),
            ("clb_request_duration_seconds_count", "", "3"),
            ("clb_request_duration_seconds_sum", "", "70.008"),
            (
                "clb_upstream_connect_duration_seconds_bucket",
                ",le=\"0.0005\"",
                "1",
            ),
        ] {
            let prefix = format!("{name}{{{labels}{more}}} ");
            let found = text.lines().find_map(|line| line.strip_prefix(&prefix));
            let found: f64 = found.unwrap_or_default().parse().unwrap_or(f64::NAN);
            assert_eq!(found, value.parse::<f64>().unwrap(), "{prefix}\n{text}");
        }
        let of_requests = |listener: &Listener| {
            let id = listener.id.to_string();
            text.lines()
                .filter(|line| line.starts_with("clb_request") && line.contains(&id))
                .count()
        };
        assert_eq!((of_requests(&idle), of_requests(&tcp)), (0, 0));
        assert!(text.contains("# TYPE clb_request_duration_seconds histogram"));
    }
}
