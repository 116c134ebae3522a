//! DescribeLoadBalancerLog: the access log of an instance.

use std::net::IpAddr;

use clb_access_log::{Condition, Number, Query, Shown, Text};
use clb_actions::params::{Element, Params};
use clb_actions::{ApiError, envelope, recorded_rules};
use clb_model::{LbId, RuleId};
use serde::Serialize;
use serde_json::{Map, Value};

use super::handlers::Ask;
use super::view::View;

/// What is asked for when nothing is said: the last five minutes.
const DEFAULT_INTERVAL: i64 = 300;
/// The longest interval.
const LONGEST: i64 = 86_400;
/// How long ago it may begin.
const OLDEST: i64 = 259_200;
const DEFAULT_LIMIT: i64 = 20;

/// The answer.
#[derive(Serialize)]
struct Log {
    #[serde(rename = "logInfo")]
    info: LogInfo,
}

#[derive(Serialize)]
struct LogInfo {
    #[serde(rename = "logList")]
    list: Vec<Map<String, Value>>,
    total: u64,
}

/// Prepares the answer; reading the log takes no part in what the state is locked for.
pub(super) fn describe(view: &View<'_>, params: &Params) -> Result<Ask, ApiError> {
    let id = params.text("loadBalancerId").unwrap_or_default();
    let lb = view.load_balancer(id)?.id;
    let query = query(lb, view.now.0 / 1_000, params)?;
    let zone = view.zone.clone();
    Ok(Box::new(move |records| {
        let page = match &records.access_log {
            Some(log) => log.query(&query),
            None => Ok(clb_access_log::Page::default()),
        };
        let page = page.map_err(|error| {
            let id = format!("{:016x}", rand::random::<u64>());
            tracing::error!(id, %error, "the access log can not be read");
            ApiError::internal(id)
        })?;
        let rows = page.rows();
        let list = rows.map(|row| Shown::new(&row, &zone).object()).collect();
        let total = page.total;
        Ok(envelope::success(&Log {
            info: LogInfo { list, total },
        }))
    }))
}

/// A rule's id as the API shows it.
#[must_use]
pub fn rule_name(bits: u64) -> String {
    RuleId::from_bits(bits).map_or_else(|| "-".to_owned(), |id| id.to_string())
}

fn query(lb: LbId, now: i64, params: &Params) -> Result<Query, ApiError> {
    let end = params.int("endTime").unwrap_or(now);
    let start = params
        .int("startTime")
        .unwrap_or((end - DEFAULT_INTERVAL).max(0));
    if start > end {
        let reason = format!("must not be after endTime, which is {end}");
        return Err(refuse("startTime", start, &reason));
    }
    if end - start > LONGEST {
        let reason = format!("the interval to endTime, which is {end}, must not exceed one day");
        return Err(refuse("startTime", start, &reason));
    }
    if start < now - OLDEST {
        let reason = format!("must not be more than three days ago; now is {now}");
        return Err(refuse("startTime", start, &reason));
    }
    let mut conditions = vec![Condition::Number(Number::Lb, lb.to_bits(), true)];
    let (mut more, mut less) = (None, None);
    for filter in params.elements("filter") {
        match filter.text("key").unwrap_or_default() {
            "request_time_greater_than" => more = Some(micros(&filter)?),
            "request_time_less_than" => less = Some(micros(&filter)?),
            key => conditions.push(condition(key, filter.text("value").unwrap_or_default())),
        }
    }
    if let (Some(more), Some(less)) = (more, less) {
        conditions.push(Condition::Took(more, less));
    }
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0).saturating_mul(1_000_000);
    let size = |name, default| {
        let value = params.int(name).unwrap_or(default);
        usize::try_from(value).unwrap_or(0)
    };
    Ok(Query {
        // All of the last second.
        times: (seconds(start), seconds(end + 1).saturating_sub(1)),
        conditions,
        latest_first: params.text("order") != Some("asc"),
        offset: size("offset", 0),
        limit: size("limit", DEFAULT_LIMIT),
    })
}

fn refuse(name: &str, value: i64, reason: &str) -> ApiError {
    ApiError::parameter(format!("{name}={value}: {reason}"))
}

fn micros(filter: &Element<'_>) -> Result<u64, ApiError> {
    let time = recorded_rules::seconds(filter)?;
    Ok(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// A condition on one field; the values were checked with the request.
fn condition(key: &str, value: &str) -> Condition {
    let (field, is) = match key.strip_suffix("_not") {
        Some(field) => (field, false),
        None => (key, true),
    };
    let text = |text, value: Vec<u8>| Condition::Text(text, value, is);
    match field {
        "status" => Condition::Number(Number::Status, value.parse().unwrap_or(0), is),
        "http_host" => text(Text::Host, value.into()),
        "remote_addr" => text(
            Text::Peer,
            match value.parse() {
                Ok(IpAddr::V4(ip)) => ip.octets().to_vec(),
                Ok(IpAddr::V6(ip)) => ip.octets().to_vec(),
                Err(_) => Vec::new(),
            },
        ),
        _ => text(Text::ServerName, value.into()),
    }
}
