//! GetMonitorData: what was measured of an instance, a listener, a rule or a backend.

use std::net::IpAddr;

use clb_actions::params::Params;
use clb_actions::recorded_rules::{ALL_METRICS, Dimensions, PRIVATE};
use clb_actions::{ApiError, envelope};
use clb_model::{Listener, LoadBalancer, LoadBalancerType, Owner, PoolKey, Port, Rule};
use clb_monitor::{Metric, Period, Selection};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use super::handlers::Ask;
use super::view::View;

/// The most points of an answer.
const POINTS: u64 = 1_440;
const DEFAULT_PERIOD: i64 = 300;

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    metric_name: &'static str,
    start_time: String,
    end_time: String,
    period: u32,
    data_points: Vec<Option<Value>>,
}

/// Prepares the answer; reading the points takes no part in what the state is locked for.
pub(super) fn data(view: &View<'_>, params: &Params) -> Result<Ask, ApiError> {
    let metric = params.text("metricName").unwrap_or_default();
    let metric =
        Metric::parse(metric).ok_or_else(|| params.refuse("metricName", "is no metric"))?;
    let seconds = params.int("period").unwrap_or(DEFAULT_PERIOD);
    let period =
        Period::of_seconds(seconds).ok_or_else(|| params.refuse("period", "must be 60 or 300"))?;
    let dimensions = Dimensions::of(params)?;
    let (selection, since) = select(view, params.text("namespace"), &dimensions)?;
    let (from, to) = window(view, params, period)?;
    let zone = view.zone.clone();
    Ok(Box::new(move |records| {
        let Some(monitor) = &records.monitor else {
            return Err(ApiError::unavailable("nothing is monitored".to_owned()));
        };
        let series = monitor.series(metric, period, &selection, (from, to), since);
        let series = series.map_err(|error| {
            let id = format!("{:016x}", rand::random::<u64>());
            tracing::error!(id, %error, "monitoring data can not be read");
            ApiError::internal(id)
        })?;
        Ok(envelope::success(&Data {
            metric_name: metric.name(),
            start_time: shown(series.start, &zone),
            end_time: shown(series.end, &zone),
            period: period.seconds(),
            data_points: series
                .values
                .iter()
                .map(|value| value.map(number))
                .collect(),
        }))
    }))
}

/// A value as it is answered: a whole number without a point, others to a millionth.
#[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
fn number(value: f64) -> Value {
    let rounded = (value * 1e6).round() / 1e6;
    match rounded.fract() == 0.0 && rounded.abs() < 9e15 {
        true => (rounded as i64).into(),
        false => rounded.into(),
    }
}

fn shown(seconds: u64, zone: &TimeZone) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    let zoned = time.to_zoned_datetime(zone.clone());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// From and to, Unix seconds.
fn window(view: &View<'_>, params: &Params, period: Period) -> Result<(u64, u64), ApiError> {
    let now = view.now.0 / 1_000;
    let midnight = || {
        let now = Timestamp::from_second(now).unwrap_or_default();
        let today = now.to_zoned_datetime(view.zone.clone()).start_of_day();
        today.map_or(0, |today| today.timestamp().as_second())
    };
    let to = time(params, "endTime", view.zone)?.unwrap_or(now);
    let from = time(params, "startTime", view.zone)?.unwrap_or_else(midnight);
    if from > to {
        let name = match params.is_given("startTime") {
            true => "startTime",
            false => "endTime",
        };
        return Err(params.refuse(name, "startTime must not be after endTime"));
    }
    let unsigned = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
    let (from, to) = (unsigned(from), unsigned(to));
    let length = u64::from(period.seconds());
    let points = (to / length).saturating_sub(from / length);
    if points > POINTS {
        return Err(ApiError::parameter(format!(
            "startTime, endTime and period: {points} points are asked for, at most {POINTS} are answered"
        )));
    }
    Ok((from, to))
}

fn time(params: &Params, name: &str, zone: &TimeZone) -> Result<Option<i64>, ApiError> {
    let Some(text) = params.text(name) else {
        return Ok(None);
    };
    let mut parts = text
        .split(['-', ' ', ':'])
        .map(|part| part.parse::<i16>().unwrap_or(-1));
    let mut next = || parts.next().unwrap_or(-1);
    let year = next();
    let mut small = || i8::try_from(next()).unwrap_or(-1);
    let (month, day, hour, minute, second) = (small(), small(), small(), small(), small());
    DateTime::new(year, month, day, hour, minute, second, 0)
        .and_then(|time| zone.to_timestamp(time))
        .map(|time| Some(time.as_second()))
        .map_err(|_| params.refuse(name, "is no time that there is"))
}

/// The series that are asked for, and since when there can be any, Unix seconds.
fn select(
    view: &View<'_>,
    namespace: Option<&str>,
    dimensions: &Dimensions<'_>,
) -> Result<(Selection, u64), ApiError> {
    let text = |name| dimensions.get(name).map(ToOwned::to_owned);
    let ip: Option<IpAddr> = dimensions.get("lanIp").and_then(|ip| ip.parse().ok());
    let mut selection = Selection {
        lb: None,
        listener: listener(dimensions),
        domain: text("domain"),
        url: text("url"),
        ip: ip.map(|ip| ip.to_string()),
        port: dimensions.get("port").and_then(|port| port.parse().ok()),
    };
    let Some(vip) = dimensions.get("vip") else {
        let listeners = view.state.listeners();
        let mut listeners = listeners.filter(|listener| is(listener, &selection));
        if !listeners.any(|listener| has_rule(view, listener, &selection)) {
            let domain = dimensions.get("domain").unwrap_or_default();
            return Err(ApiError::rule_not_found(format!(
                "no rule has the domain {domain}"
            )));
        }
        return Ok((selection, 0));
    };
    let lb = load_balancer(view, vip, namespace, dimensions.get("vpcId"))?;
    selection.lb = Some(lb.id.to_bits());
    if let Some((protocol, port)) = &selection.listener {
        let mut listeners = view.state.listeners_of(lb.id);
        let found = listeners.find(|listener| is(listener, &selection));
        let listener = found
            .ok_or_else(|| ApiError::listener_not_found(format!("{protocol} {vip}:{port}")))?;
        check(view, lb, listener, &selection, ip)?;
    }
    let created = u64::try_from(lb.created.0 / 1_000).unwrap_or(0);
    Ok((selection, created))
}

fn listener(dimensions: &Dimensions<'_>) -> Option<(String, u16)> {
    let protocol = dimensions.get("protocol")?.to_ascii_lowercase();
    let port = dimensions.get("loadBalancerPort")?.parse().ok()?;
    Some((protocol, port))
}

fn load_balancer<'v>(
    view: &'v View<'_>,
    vip: &str,
    namespace: Option<&str>,
    vpc: Option<&str>,
) -> Result<&'v LoadBalancer, ApiError> {
    let found = vip
        .parse()
        .ok()
        .and_then(|ip| view.state.load_balancer_at(ip));
    let lb = found.and_then(|id| view.state.load_balancer(id));
    let is_of = |lb: &LoadBalancer| match namespace {
        Some(ALL_METRICS) => true,
        Some(PRIVATE) => lb.network_type == LoadBalancerType::Private,
        _ => lb.network_type == LoadBalancerType::Public,
    };
    let lb = lb
        .filter(|lb| is_of(lb))
        .ok_or_else(|| ApiError::load_balancer_not_found(format!("with the VIP {vip}")))?;
    match vpc {
        Some(vpc) if vpc != lb.vpc.name && vpc != lb.vpc.number.to_string() => Err(
            ApiError::load_balancer_not_found(format!("with the VIP {vip} in vpcId {vpc}")),
        ),
        _ => Ok(lb),
    }
}

fn is(listener: &Listener, selection: &Selection) -> bool {
    let (protocol, port) = match &selection.listener {
        Some((protocol, port)) => (protocol, *port),
        None => return false,
    };
    listener.protocol.word() == protocol && listener.port.get() == port
}

fn is_selected(rule: &Rule, selection: &Selection) -> bool {
    let is = |wanted: &Option<String>, text: String| {
        wanted.as_ref().is_none_or(|wanted| *wanted == text)
    };
    is(&selection.domain, rule.domain.to_string()) && is(&selection.url, rule.url.to_string())
}

fn has_rule(view: &View<'_>, listener: &Listener, selection: &Selection) -> bool {
    let mut rules = view.state.rules_of(listener.id);
    rules.any(|rule| is_selected(rule, selection))
}

/// Whether the rule and the backend are there.
fn check(
    view: &View<'_>,
    lb: &LoadBalancer,
    listener: &Listener,
    selection: &Selection,
    ip: Option<IpAddr>,
) -> Result<(), ApiError> {
    if let Some(domain) = &selection.domain
        && !has_rule(view, listener, selection)
    {
        let url = selection.url.as_deref().unwrap_or_default();
        return Err(ApiError::rule_not_found(format!(
            "the listener has no rule {domain}{url}"
        )));
    }
    let Some(ip) = ip else {
        return Ok(());
    };
    let mut bound = Vec::new();
    let owner = Owner::LoadBalancer(lb.id);
    bound.extend(
        view.state
            .bindings_of(owner)
            .map(|one| (one.address, listener.instance_port())),
    );
    let rules = view.state.rules_of(listener.id);
    let rules = rules.filter(|rule| is_selected(rule, selection));
    let pools = rules.map(|rule| PoolKey::Rule(rule.id));
    for pool in pools.chain([PoolKey::Listener(listener.id)]) {
        let bindings = view.state.bindings_of(Owner::Pool(pool));
        bound.extend(bindings.map(|one| (one.address, one.to.map(|to| to.port))));
    }
    let is_there = bound.iter().any(|(address, port)| {
        let port = port.map(Port::get);
        *address == ip && selection.port.is_none_or(|wanted| port == Some(wanted))
    });
    match is_there {
        true => Ok(()),
        false => Err(ApiError::backend_not_found(format!(
            "no backend {ip} is bound there{}",
            selection
                .port
                .map(|port| format!(" at port {port}"))
                .unwrap_or_default()
        ))),
    }
}
