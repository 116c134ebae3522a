//! Rules across the parameters of the Actions that answer from what was recorded.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::ApiError;
use crate::params::{Element, Params};

type Checked = Result<(), ApiError>;

const LESS: &str = "request_time_less_than";
const MORE: &str = "request_time_greater_than";

/// DescribeLoadBalancerLog: each key once, the two of request_time together, and values that can be
/// compared with.
pub(crate) fn describe_log(params: &Params) -> Checked {
    let filters = params.elements("filter");
    let mut keys: Vec<&str> = Vec::new();
    for filter in &filters {
        let key = filter.text("key").unwrap_or_default();
        if keys.contains(&key) {
            return Err(filter.refuse("key", "each key may be there once"));
        }
        keys.push(key);
        match key {
            "status" | "status_not" => check_status(filter)?,
            "remote_addr" | "remote_addr_not" => check_address(filter)?,
            LESS | MORE => {
                seconds(filter)?;
            }
            _ => {}
        }
    }
    let lone = filters.iter().find(|filter| {
        let key = filter.text("key").unwrap_or_default();
        (key == LESS && !keys.contains(&MORE)) || (key == MORE && !keys.contains(&LESS))
    });
    match lone {
        Some(filter) => {
            let reason = format!("{LESS} and {MORE} go together only");
            Err(filter.refuse("key", &reason))
        }
        None => Ok(()),
    }
}

fn check_status(filter: &Element<'_>) -> Checked {
    let status = filter
        .text("value")
        .and_then(|text| text.parse::<u16>().ok());
    match status {
        Some(100..=599) => Ok(()),
        _ => Err(filter.refuse("value", "must be an integer from 100 to 599")),
    }
}

fn check_address(filter: &Element<'_>) -> Checked {
    let address = filter
        .text("value")
        .and_then(|text| text.parse::<IpAddr>().ok());
    match address {
        Some(_) => Ok(()),
        None => Err(filter.refuse("value", "must be an IP address")),
    }
}

/// The time that a filter of request_time compares with: seconds, decimals allowed.
///
/// # Errors
/// 4000 for what is none.
pub fn seconds(filter: &Element<'_>) -> Result<Duration, ApiError> {
    let text = filter.text("value").unwrap_or_default();
    let is_plain = text
        .bytes()
        .all(|octet| octet.is_ascii_digit() || octet == b'.');
    text.parse()
        .ok()
        .filter(|_| is_plain)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| filter.refuse("value", "must be seconds, such as 1 or 0.25"))
}

/// What GetMonitorData can be asked about, by name.
const DIMENSIONS: [&str; 8] = [
    "vip",
    "loadBalancerPort",
    "protocol",
    "domain",
    "url",
    "vpcId",
    "lanIp",
    "port",
];

/// Metrics of all namespaces, and those of `qce/loadbalance` alone.
const BASIC_METRICS: [&str; 6] = [
    "connum",
    "new_conn",
    "intraffic",
    "outtraffic",
    "inpkg",
    "outpkg",
];
const HTTP_METRICS: [&str; 10] = [
    "httpCode_2XX",
    "httpCode_3XX",
    "httpCode_4XX",
    "httpCode_5XX",
    "httpCode_404",
    "httpCode_502",
    "response_time_max",
    "response_time_average",
    "response_timeout_num",
    "QPS",
];

const PROTOCOLS: [&str; 4] = ["tcp", "udp", "http", "https"];

/// The namespace of all metrics.
pub const ALL_METRICS: &str = "qce/loadbalance";
/// That of private instances.
pub const PRIVATE: &str = "qce/lb_private";

/// What GetMonitorData is asked about: values by name.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dimensions<'a>([Option<&'a str>; 8]);

impl<'a> Dimensions<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// 4000 for a name that is none, or is there twice.
    pub fn of(params: &'a Params) -> Result<Self, ApiError> {
        let mut found = Self::default();
        for dimension in params.elements("dimensions") {
            let name = dimension.text("name").unwrap_or_default();
            let is_vip = name.eq_ignore_ascii_case("vip");
            let place = DIMENSIONS
                .iter()
                .position(|known| *known == name || (is_vip && *known == "vip"));
            let Some(slot) = place.and_then(|place| found.0.get_mut(place)) else {
                let reason = format!("must be one of {}", DIMENSIONS.join(", "));
                return Err(dimension.refuse("name", &reason));
            };
            if slot.is_some() {
                return Err(dimension.refuse("name", "each dimension may be there once"));
            }
            *slot = dimension.text("value");
        }
        Ok(found)
    }

    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let place = DIMENSIONS.iter().position(|known| *known == name)?;
        self.0.get(place).copied().flatten()
    }

    /// Those that are there.
    fn names(&self) -> Vec<&'static str> {
        let all = DIMENSIONS.iter().zip(self.0);
        all.filter_map(|(name, value)| value.map(|_| *name))
            .collect()
    }
}

/// The sets of dimensions of a namespace (actions.md, GetMonitorData); `?` after a name: it may be
/// left out.
fn sets(namespace: &str) -> &'static [&'static str] {
    match namespace {
        "qce/lb_public" => &[
            "vip",
            "vip loadBalancerPort protocol",
            "vip loadBalancerPort protocol vpcId? lanIp",
            "vip loadBalancerPort protocol vpcId? lanIp port",
        ],
        PRIVATE => &[
            "vip vpcId?",
            "vip loadBalancerPort protocol vpcId?",
            "vip loadBalancerPort protocol vpcId? lanIp",
            "vip loadBalancerPort protocol vpcId? lanIp port",
        ],
        _ => &[
            "vip",
            "vip loadBalancerPort protocol",
            "vip loadBalancerPort protocol domain",
            "vip loadBalancerPort protocol domain url",
            "vip loadBalancerPort protocol domain? url? vpcId? lanIp",
            "vip loadBalancerPort protocol domain? url? vpcId? lanIp port",
            "loadBalancerPort protocol domain",
        ],
    }
}

fn is_set(set: &str, names: &[&str]) -> bool {
    let mut all = set.split(' ');
    let is_known = |name: &&str| set.split(' ').any(|one| one.trim_end_matches('?') == *name);
    all.all(|name| name.ends_with('?') || names.contains(&name)) && names.iter().all(is_known)
}

/// GetMonitorData: a metric that the namespace has, and one of its sets of dimensions.
pub(crate) fn get_monitor_data(params: &Params) -> Checked {
    let namespace = params.text("namespace").unwrap_or_default();
    let metric = params.text("metricName").unwrap_or_default();
    let is = |known: &&str| known.eq_ignore_ascii_case(metric);
    if !BASIC_METRICS.iter().any(is) {
        if namespace != ALL_METRICS && HTTP_METRICS.iter().any(is) {
            let reason = format!("is a metric of {ALL_METRICS} only");
            return Err(params.refuse("metricName", &reason));
        }
        if !HTTP_METRICS.iter().any(is) {
            let all = [BASIC_METRICS.join(", "), HTTP_METRICS.join(", ")].join(", ");
            return Err(params.refuse("metricName", &format!("must be one of {all}")));
        }
    }
    let dimensions = Dimensions::of(params)?;
    let names = dimensions.names();
    let known = sets(namespace);
    let has_url_alone = names.contains(&"url") && !names.contains(&"domain");
    if has_url_alone || !known.iter().any(|set| is_set(set, &names)) {
        return Err(ApiError::parameter(format!(
            "dimensions: {} is no set of {namespace}; its sets are: {} (those with ? may be left out)",
            names.join(" "),
            known.join("; ")
        )));
    }
    for name in ["loadBalancerPort", "port"] {
        if let Some(value) = dimensions.get(name)
            && !value.parse().is_ok_and(|port: u16| port > 0)
        {
            return Err(refuse(name, value, "an integer from 1 to 65535"));
        }
    }
    if let Some(value) = dimensions.get("protocol")
        && !PROTOCOLS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(value))
    {
        return Err(refuse("protocol", value, "tcp, udp, http or https"));
    }
    for name in ["vip", "lanIp"] {
        if let Some(value) = dimensions.get(name)
            && value.parse::<IpAddr>().is_err()
        {
            return Err(refuse(name, value, "an IP address"));
        }
    }
    Ok(())
}

fn refuse(name: &str, value: &str, allowed: &str) -> ApiError {
    ApiError::parameter(format!(
        "dimensions: {name}={}: must be {allowed}",
        crate::echo::echo(value)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_those_of_the_table() {
        let fits = |namespace: &str, names: &str| {
            let names: Vec<&str> = names.split(' ').collect();
            sets(namespace).iter().any(|set| is_set(set, &names))
        };
        for (namespace, names, expected) in [
            ("qce/lb_public", "vip", true),
            ("qce/lb_public", "protocol vip loadBalancerPort", true),
            ("qce/lb_public", "vip protocol", false),
            ("qce/lb_public", "vip vpcId", false),
            ("qce/lb_public", "vip loadBalancerPort protocol lanIp", true),
            ("qce/lb_public", "vip loadBalancerPort protocol port", false),
            (
                "qce/lb_public",
                "vip loadBalancerPort protocol domain",
                false,
            ),
            (PRIVATE, "vip vpcId", true),
            (PRIVATE, "vip", true),
            (PRIVATE, "lanIp vip", false),
            (ALL_METRICS, "loadBalancerPort protocol domain", true),
            (ALL_METRICS, "loadBalancerPort protocol", false),
            (
                ALL_METRICS,
                "vip loadBalancerPort protocol domain url",
                true,
            ),
            (
                ALL_METRICS,
                "vip loadBalancerPort protocol lanIp port",
                true,
            ),
            (
                ALL_METRICS,
                "vip loadBalancerPort protocol domain url vpcId lanIp port",
                true,
            ),
            (ALL_METRICS, "vip vpcId", false),
        ] {
            assert_eq!(fits(namespace, names), expected, "{namespace} {names}");
        }
    }
}
