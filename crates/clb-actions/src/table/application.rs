//! Parameters of the Actions of family application (actions.md D, "Application-based").

use super::ParamSpec;
use super::classic::{HASH_SCHEDULERS, PROTOCOLS, SCHEDULERS, SSL_MODES, load_balancer_id};
use super::common::{MAX_COUNT, NAME_DESCRIPTION};
use super::pattern::{INSTANCE_NAME, RULE_CHECK_PATH};
use crate::cross;

/// Longest domain or path of a rule, in characters.
const PATTERN_CHARS: usize = 80;
/// GET and HEAD, as HTTP writes them.
const METHODS: &[&str] = &["GET", "HEAD"];
const PATH_DESCRIPTION: &str = "'/' and up to 79 letters, digits or characters of _ - . & # ? % /";

const fn listener_id() -> ParamSpec {
    ParamSpec::text("listenerId").required()
}

pub(super) static MODIFY_NAME: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::pattern("loadBalancerName", &INSTANCE_NAME, NAME_DESCRIPTION).required(),
];

pub(super) static DESCRIBE_LISTENERS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("listenerIds.n"),
    ParamSpec::int_enum("protocol", PROTOCOLS),
    ParamSpec::int("loadBalancerPort", 1, 65535),
    ParamSpec::int("offset", 0, MAX_COUNT).or_int(0),
    // Its default depends on whether there is any filter.
    ParamSpec::int("limit", 0, 1000),
];

pub(super) static CREATE_SEVENTH_LISTENERS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::int("listeners.n.loadBalancerPort", 1, 65535).required(),
    ParamSpec::int_enum("listeners.n.protocol", &[1, 4]).required(),
    ParamSpec::text("listeners.n.listenerName").or_text(""),
    ParamSpec::text_enum("listeners.n.SSLMode", SSL_MODES),
    ParamSpec::text("listeners.n.certId"),
    ParamSpec::text("listeners.n.certCaId"),
    ParamSpec::pem("listeners.n.certCaContent"),
    ParamSpec::text_of("listeners.n.certCaName", 1, 255),
    ParamSpec::pem("listeners.n.certContent"),
    ParamSpec::pem("listeners.n.certKey").secret(),
    ParamSpec::text_of("listeners.n.certName", 1, 255),
];

// No defaults: what is absent stays as it is.
pub(super) static MODIFY_SEVENTH_LISTENER: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("listenerName"),
    ParamSpec::text_enum("SSLMode", SSL_MODES),
    ParamSpec::text("certId"),
    ParamSpec::text("certCaId"),
    ParamSpec::pem("certCaContent"),
    ParamSpec::text_of("certCaName", 1, 255),
    ParamSpec::pem("certContent"),
    ParamSpec::pem("certKey").secret(),
    ParamSpec::text_of("certName", 1, 255),
];

pub(super) static CREATE_FOURTH_LISTENERS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::int("listeners.n.loadBalancerPort", 1, 65535).required(),
    ParamSpec::int_enum("listeners.n.protocol", &[2, 3]).required(),
    ParamSpec::text("listeners.n.listenerName").or_text(""),
    ParamSpec::int_or("listeners.n.sessionExpire", 30, 3600, &[0]).or_int(0),
    ParamSpec::int_enum("listeners.n.healthSwitch", &[0, 1]).or_int(1),
    ParamSpec::int("listeners.n.timeOut", 2, 60).or_int(cross::DEFAULT_TIME_OUT),
    ParamSpec::int("listeners.n.intervalTime", 5, 300).or_int(cross::DEFAULT_INTERVAL_TIME),
    ParamSpec::int("listeners.n.healthNum", 2, 10).or_int(3),
    ParamSpec::int("listeners.n.unhealthNum", 2, 10).or_int(3),
    ParamSpec::text_enum("listeners.n.scheduler", SCHEDULERS).or_text("wrr"),
];

// No defaults: what is absent stays as it is.
pub(super) static MODIFY_FOURTH_LISTENER: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("listenerName"),
    ParamSpec::int_or("sessionExpire", 30, 3600, &[0]),
    ParamSpec::int_enum("healthSwitch", &[0, 1]),
    ParamSpec::int("timeOut", 2, 60),
    ParamSpec::int("intervalTime", 5, 300),
    ParamSpec::int("healthNum", 2, 10),
    ParamSpec::int("unhealthNum", 2, 10),
    ParamSpec::text_enum("scheduler", SCHEDULERS),
];

// One of the two is required: the official page's table has the first, its example the second.
pub(super) static DELETE_LISTENER: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("listenerId"),
    ParamSpec::text("listenerIds.n"),
];

// That a domain or path has one of the documented forms, and that a regular expression compiles,
// is checked by the control plane, which has the engine.
pub(super) static CREATE_RULES: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text_of("rules.n.domain", 1, PATTERN_CHARS).required(),
    ParamSpec::text_of("rules.n.url", 1, PATTERN_CHARS).required(),
    ParamSpec::int_or("rules.n.sessionExpire", 30, 3600, &[0]).or_int(0),
    ParamSpec::int_enum("rules.n.healthSwitch", &[0, 1]).or_int(1),
    ParamSpec::int("rules.n.intervalTime", 5, 300).or_int(cross::DEFAULT_INTERVAL_TIME),
    ParamSpec::int("rules.n.healthNum", 2, 10).or_int(3),
    ParamSpec::int("rules.n.unhealthNum", 2, 10).or_int(3),
    ParamSpec::text_enum("rules.n.httpHash", HASH_SCHEDULERS).or_text("wrr"),
    ParamSpec::int("rules.n.httpCode", 1, 31).or_int(31),
    ParamSpec::pattern("rules.n.httpCheckPath", &RULE_CHECK_PATH, PATH_DESCRIPTION).or_text("/"),
    ParamSpec::text_of("rules.n.httpCheckDomain", 1, PATTERN_CHARS),
    // Its default is [health] http_method.
    ParamSpec::text_enum("rules.n.httpCheckMethod", METHODS),
    ParamSpec::int("rules.n.timeOut", 2, 60).or_int(cross::DEFAULT_TIME_OUT),
];

pub(super) static MODIFY_RULES_DOMAIN: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("domain").required(),
    ParamSpec::text_of("newDomain", 1, PATTERN_CHARS).required(),
];

// No defaults: what is absent stays as it is.
pub(super) static MODIFY_RULES_PROBE: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("locationId").required(),
    ParamSpec::text_of("url", 1, PATTERN_CHARS),
    ParamSpec::int_or("sessionExpire", 30, 3600, &[0]),
    ParamSpec::int_enum("healthSwitch", &[0, 1]),
    ParamSpec::int("intervalTime", 5, 300),
    ParamSpec::int("healthNum", 2, 10),
    ParamSpec::int("unhealthNum", 2, 10),
    ParamSpec::text_enum("httpHash", HASH_SCHEDULERS),
    ParamSpec::int("httpCode", 1, 31),
    ParamSpec::pattern("httpCheckPath", &RULE_CHECK_PATH, PATH_DESCRIPTION),
    ParamSpec::text_of("httpCheckDomain", 1, PATTERN_CHARS),
    ParamSpec::text_enum("httpCheckMethod", METHODS),
    ParamSpec::int("timeOut", 2, 60),
];

pub(super) static DELETE_RULES: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("locationIds.n"),
    ParamSpec::text("domain"),
    ParamSpec::text("url"),
];

// One of the two is required: the document's table has the first, its example the second.
pub(super) static DESCRIBE_HEALTH_STATUS: &[ParamSpec] = &[
    ParamSpec::text("loadBalancerIds.n"),
    ParamSpec::text("loadBalancerId"),
];

pub(super) static DESCRIBE_BACKENDS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("listenerIds.n"),
    ParamSpec::int_enum("protocol", PROTOCOLS),
    ParamSpec::int("loadBalancerPort", 1, 65535),
];

// Of instanceId and eniIp each backend has exactly one.
pub(super) static REGISTER_SEVENTH: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("locationIds.n"),
    ParamSpec::text("domain"),
    ParamSpec::text("url"),
    ParamSpec::text("backends.n.instanceId"),
    ParamSpec::text("backends.n.eniIp"),
    ParamSpec::int("backends.n.port", 1, 65535).required(),
    ParamSpec::int("backends.n.weight", 0, 100).or_int(10),
];

pub(super) static DEREGISTER: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("locationIds.n"),
    ParamSpec::text("domain"),
    ParamSpec::text("url"),
    ParamSpec::text("backends.n.instanceId"),
    ParamSpec::text("backends.n.eniIp"),
    ParamSpec::int("backends.n.port", 1, 65535).required(),
];

pub(super) static MODIFY_SEVENTH_PORT: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("locationIds.n"),
    ParamSpec::text("domain"),
    ParamSpec::text("url"),
    ParamSpec::text("backends.n.instanceId"),
    ParamSpec::text("backends.n.eniIp"),
    ParamSpec::int("backends.n.port", 1, 65535).required(),
    ParamSpec::int("backends.n.newPort", 1, 65535).required(),
    // Absent: the weight it has.
    ParamSpec::int("backends.n.weight", 0, 100),
];

pub(super) static REGISTER_FOURTH: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("backends.n.instanceId"),
    ParamSpec::text("backends.n.eniIp"),
    ParamSpec::int("backends.n.port", 1, 65535).required(),
    ParamSpec::int("backends.n.weight", 0, 100).or_int(10),
];

pub(super) static DEREGISTER_FOURTH: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("backends.n.instanceId"),
    ParamSpec::text("backends.n.eniIp"),
    ParamSpec::int("backends.n.port", 1, 65535).required(),
];

pub(super) static MODIFY_FOURTH_PORT: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("backends.n.instanceId"),
    ParamSpec::text("backends.n.eniIp"),
    ParamSpec::int("backends.n.port", 1, 65535).required(),
    ParamSpec::int("backends.n.newPort", 1, 65535).required(),
    // Absent: the weight it has.
    ParamSpec::int("backends.n.weight", 0, 100),
];

pub(super) static MODIFY_FOURTH_WEIGHT: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("backends.n.instanceId"),
    ParamSpec::text("backends.n.eniIp"),
    ParamSpec::int("backends.n.port", 1, 65535).required(),
    ParamSpec::int("backends.n.weight", 0, 100).required(),
];

pub(super) static DESCRIBE_REWRITE: &[ParamSpec] = &[
    ParamSpec::text("loadBalancerIds.n"),
    ParamSpec::text("listenerIds.n"),
    ParamSpec::text("locationIds.n"),
];

pub(super) static MANUAL_REWRITE: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("sourceuListenerId").required(),
    ParamSpec::text("targetuListenerId").required(),
    ParamSpec::text("rewriteInfo.n.sourceLocation").required(),
    ParamSpec::text("rewriteInfo.n.targetLocation").required(),
];

pub(super) static AUTO_REWRITE: &[ParamSpec] = &[
    load_balancer_id(),
    listener_id(),
    ParamSpec::text("domains.n"),
];

pub(super) static DELETE_REWRITE: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("sourceuListenerId").required(),
    ParamSpec::text("targetuListenerId").required(),
    ParamSpec::text("delRewriteInfo.n.sourceLocation").required(),
    ParamSpec::text("delRewriteInfo.n.targetLocation").required(),
];
