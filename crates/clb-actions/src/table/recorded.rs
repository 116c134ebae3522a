//! Parameters of the Actions that answer from what was recorded (actions.md D, "Common").

use super::ParamSpec;
use super::pattern::MONITOR_TIME;

/// Largest Unix time.
const MAX_TIME: i64 = 4_294_967_295;

/// What DescribeLoadBalancerLog compares.
const FILTER_KEYS: &[&str] = &[
    "status",
    "status_not",
    "server_name",
    "server_name_not",
    "http_host",
    "http_host_not",
    "remote_addr",
    "remote_addr_not",
    "request_time_less_than",
    "request_time_greater_than",
];

pub(super) static DESCRIBE_LOG: &[ParamSpec] = &[
    ParamSpec::text("loadBalancerId").required(),
    ParamSpec::text_enum("order", &["desc", "asc"]).or_text("desc"),
    // Their defaults depend on the time.
    ParamSpec::int("startTime", 0, MAX_TIME),
    ParamSpec::int("endTime", 0, MAX_TIME),
    ParamSpec::int("offset", 0, 10_000).or_int(0),
    ParamSpec::int("limit", 0, 500).or_int(20),
    ParamSpec::text_enum("filter.n.key", FILTER_KEYS).required_in_element(),
    ParamSpec::text_of("filter.n.value", 1, 255).required_in_element(),
];

const TIME_DESCRIPTION: &str = "a time such as 2015-12-28 14:00:00";

pub(super) static GET_MONITOR_DATA: &[ParamSpec] = &[
    ParamSpec::text_enum(
        "namespace",
        &["qce/lb_public", "qce/lb_private", "qce/loadbalance"],
    )
    .required(),
    // Whatever the case of its letters, as the official page's tables and examples differ in it.
    ParamSpec::text_of("metricName", 1, 255).required(),
    ParamSpec::text_of("dimensions.n.name", 1, 255).required(),
    ParamSpec::text_of("dimensions.n.value", 1, 255).required(),
    // Its default depends on the time.
    ParamSpec::pattern("startTime", &MONITOR_TIME, TIME_DESCRIPTION),
    ParamSpec::pattern("endTime", &MONITOR_TIME, TIME_DESCRIPTION),
    ParamSpec::int_enum("period", &[60, 300]).or_int(300),
];
