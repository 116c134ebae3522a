//! Parameters of the Actions of family classic (actions.md D, "Classic").

use super::ParamSpec;
use super::common::{MAX_COUNT, NAME_DESCRIPTION, PREFIX_DESCRIPTION};
use super::pattern::{CHECK_PATH, DOMAIN_PREFIX, INSTANCE_NAME};
use crate::cross;

/// 1 HTTP, 2 TCP, 3 UDP, 4 HTTPS.
pub(super) const PROTOCOLS: &[i64] = &[1, 2, 3, 4];
pub(super) const HASH_SCHEDULERS: &[&str] = &["wrr", "ip_hash", "least_conn"];
pub(super) const SCHEDULERS: &[&str] = &["wrr", "least_conn"];
pub(super) const SSL_MODES: &[&str] = &["unidirectional", "mutual"];
const PATH_DESCRIPTION: &str = "'/' and up to 254 printable ASCII characters without blanks";

pub(super) const fn load_balancer_id() -> ParamSpec {
    ParamSpec::text("loadBalancerId").required()
}

pub(super) static DESCRIBE_BY_INSTANCES: &[ParamSpec] = &[
    ParamSpec::text("backendIps.n"),
    ParamSpec::text("backendInstanceName"),
    ParamSpec::int("offset", 0, MAX_COUNT).or_int(0),
    ParamSpec::int("limit", 0, 100).or_int(20),
    ParamSpec::int("projectId", 0, MAX_COUNT),
];

pub(super) static DESCRIBE_HEALTH: &[ParamSpec] = &[load_balancer_id()];

pub(super) static MODIFY_HEALTH: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::int_enum("switch", &[0, 1]).required(),
    ParamSpec::int("timeOut", 2, 60).required(),
    ParamSpec::int("intervalTime", 5, 300).required(),
    ParamSpec::int("healthNum", 2, 10).required(),
    ParamSpec::int("unhealthNum", 2, 10).required(),
];

pub(super) static MODIFY_ATTRIBUTES: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::pattern("loadBalancerName", &INSTANCE_NAME, NAME_DESCRIPTION),
    ParamSpec::pattern("domainPrefix", &DOMAIN_PREFIX, PREFIX_DESCRIPTION),
];

pub(super) static CREATE_LISTENERS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::int("listeners.n.loadBalancerPort", 1, 65535).required(),
    ParamSpec::int("listeners.n.instancePort", 1, 65535).required(),
    ParamSpec::int_enum("listeners.n.protocol", PROTOCOLS).required(),
    ParamSpec::text("listeners.n.listenerName").or_text(""),
    ParamSpec::int_or("listeners.n.sessionExpire", 30, 3600, &[0]).or_int(0),
    ParamSpec::int_enum("listeners.n.healthSwitch", &[0, 1]).or_int(1),
    ParamSpec::int("listeners.n.timeOut", 2, 60).or_int(cross::DEFAULT_TIME_OUT),
    ParamSpec::int("listeners.n.intervalTime", 5, 300).or_int(cross::DEFAULT_INTERVAL_TIME),
    ParamSpec::int("listeners.n.healthNum", 2, 10).or_int(3),
    ParamSpec::int("listeners.n.unhealthNum", 2, 10).or_int(3),
    ParamSpec::text_enum("listeners.n.httpHash", HASH_SCHEDULERS).or_text("wrr"),
    ParamSpec::text_enum("listeners.n.scheduler", SCHEDULERS).or_text("wrr"),
    ParamSpec::int("listeners.n.httpCode", 1, 31).or_int(31),
    ParamSpec::pattern("listeners.n.httpCheckPath", &CHECK_PATH, PATH_DESCRIPTION).or_text("/"),
    ParamSpec::text_enum("listeners.n.SSLMode", SSL_MODES),
    ParamSpec::text("listeners.n.certId"),
    ParamSpec::text("listeners.n.certCaId"),
    ParamSpec::pem("listeners.n.certCaContent"),
    ParamSpec::text_of("listeners.n.certCaName", 1, 255),
    ParamSpec::pem("listeners.n.certContent"),
    ParamSpec::pem("listeners.n.certKey").secret(),
    ParamSpec::text_of("listeners.n.certName", 1, 255),
];

pub(super) static DESCRIBE_LISTENERS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("listenerIds.n"),
    ParamSpec::int_enum("protocol", PROTOCOLS),
    ParamSpec::int("loadBalancerPort", 1, 65535),
    ParamSpec::int_enum("status", &[0, 1]),
    ParamSpec::int("offset", 0, 2_147_483_647).or_int(0),
    // Its default depends on whether there is any filter.
    ParamSpec::int("limit", 0, 1000),
];

// No defaults: what is absent stays as it is.
pub(super) static MODIFY_LISTENER: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("listenerId").required(),
    ParamSpec::text("listenerName"),
    ParamSpec::int_or("sessionExpire", 30, 3600, &[0]),
    ParamSpec::int_enum("healthSwitch", &[0, 1]),
    ParamSpec::int("timeOut", 2, 60),
    ParamSpec::int("intervalTime", 5, 300),
    ParamSpec::int("healthNum", 2, 10),
    ParamSpec::int("unhealthNum", 2, 10),
    ParamSpec::text_enum("scheduler", SCHEDULERS),
    ParamSpec::text_enum("httpHash", HASH_SCHEDULERS),
    ParamSpec::int("httpCode", 1, 31),
    ParamSpec::pattern("httpCheckPath", &CHECK_PATH, PATH_DESCRIPTION),
    ParamSpec::text_enum("SSLMode", SSL_MODES),
    ParamSpec::text("certId"),
    ParamSpec::text("certCaId"),
    ParamSpec::pem("certCaContent"),
    ParamSpec::text_of("certCaName", 1, 255),
    ParamSpec::pem("certContent"),
    ParamSpec::pem("certKey").secret(),
    ParamSpec::text_of("certName", 1, 255),
];

pub(super) static DELETE_LISTENERS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("listenerIds.n").required(),
];

pub(super) static REGISTER_INSTANCES: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("backends.n.instanceId").required(),
    ParamSpec::int("backends.n.weight", 0, 100).or_int(10),
];

pub(super) static DESCRIBE_BACKENDS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::int("offset", 0, 2_147_483_647).or_int(0),
    // Default: all.
    ParamSpec::int("limit", 0, 100),
];

pub(super) static MODIFY_BACKENDS: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("backends.n.instanceId").required(),
    ParamSpec::int("backends.n.weight", 0, 100).required(),
];

pub(super) static DEREGISTER_INSTANCES: &[ParamSpec] = &[
    load_balancer_id(),
    ParamSpec::text("backends.n.instanceId").required(),
];

pub(super) static DESCRIBE_HEALTH_STATUS: &[ParamSpec] =
    &[load_balancer_id(), ParamSpec::text("listenerId")];
