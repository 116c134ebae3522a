//! Parameters of the Actions of family common (actions.md D, "Common").

use super::ParamSpec;
use super::pattern::{DOMAIN_PREFIX, INSTANCE_NAME, SUBNET_ID, VPC_ID};

/// Largest count, offset or project id.
pub(super) const MAX_COUNT: i64 = 2_147_483_647;

/// Largest task id: JSON numbers are exact up to here.
const MAX_TASK: i64 = 9_007_199_254_740_991;

/// 2 public network, 3 private network.
const LOAD_BALANCER_TYPES: &[i64] = &[2, 3];

pub(super) const NAME_DESCRIPTION: &str = "1 to 50 letters, digits, '-' or '_'";
pub(super) const PREFIX_DESCRIPTION: &str = "1 to 20 lower-case letters, digits or '-'";

pub(super) static INQUIRY_LB_PRICE: &[ParamSpec] = &[
    ParamSpec::int_enum("loadBalancerType", LOAD_BALANCER_TYPES).required(),
    ParamSpec::text_enum("timeUnit", &["h"]).or_text("h"),
];

pub(super) static CREATE_LOAD_BALANCER: &[ParamSpec] = &[
    ParamSpec::int_enum("loadBalancerType", LOAD_BALANCER_TYPES).required(),
    ParamSpec::int_enum("forward", &[0, 1]).or_int(0),
    ParamSpec::pattern("loadBalancerName", &INSTANCE_NAME, NAME_DESCRIPTION),
    ParamSpec::pattern("domainPrefix", &DOMAIN_PREFIX, PREFIX_DESCRIPTION),
    ParamSpec::pattern(
        "vpcId",
        &VPC_ID,
        "0, a number of at most 10 digits, or \"vpc-\" and 1 to 16 of a-z0-9",
    )
    .or_text("0"),
    ParamSpec::pattern(
        "subnetId",
        &SUBNET_ID,
        "0, a number of at most 10 digits, or \"subnet-\" and 1 to 16 of a-z0-9",
    )
    .or_text("0"),
    ParamSpec::int("projectId", 0, MAX_COUNT).or_int(0),
    ParamSpec::int("number", 1, 20).or_int(1),
    ParamSpec::text_of("special", 1, 255),
    // Our choice, for the declared configuration: the documents let nobody choose a VIP.
    ParamSpec::text_of("vip", 1, 45),
    // The same; semantics.md 5, "Source address".
    ParamSpec::text_enum("clientIp", CLIENT_IPS).or_text("gateway"),
];

/// Whom the backends of TCP listeners see.
const CLIENT_IPS: &[&str] = &["gateway", "proxy-v1", "proxy-v2", "transparent"];

pub(super) static DESCRIBE_LOAD_BALANCERS: &[ParamSpec] = &[
    ParamSpec::text("loadBalancerIds.n"),
    ParamSpec::int_enum("loadBalancerType", LOAD_BALANCER_TYPES),
    // Its default depends on loadBalancerIds.
    ParamSpec::int_enum("forward", &[-1, 0, 1]),
    ParamSpec::text("loadBalancerName"),
    ParamSpec::text("domain"),
    ParamSpec::text("loadBalancerVips.n"),
    ParamSpec::text("backendWanIps.n"),
    ParamSpec::text("backendLanIps.n"),
    ParamSpec::int("offset", 0, MAX_COUNT).or_int(0),
    ParamSpec::int("limit", 0, 100).or_int(20),
    ParamSpec::text_enum(
        "orderBy",
        &[
            "loadBalancerName",
            "createTime",
            "domain",
            "loadBalancerType",
        ],
    )
    .or_text("createTime"),
    ParamSpec::int_enum("orderType", &[0, 1]).or_int(1),
    ParamSpec::text_of("searchKey", 1, 255),
    ParamSpec::int("projectId", 0, MAX_COUNT),
    ParamSpec::int_enum("withRs", &[0, 1, 2]).or_int(2),
    ParamSpec::text_of("special", 1, 255),
];

pub(super) static DELETE_LOAD_BALANCERS: &[ParamSpec] =
    &[ParamSpec::text("loadBalancerIds.n").required()];

pub(super) static GET_CERT_LIST: &[ParamSpec] = &[ParamSpec::text("certIds.n").required()];

pub(super) static REPLACE_CERT: &[ParamSpec] = &[
    ParamSpec::text("oldCertId").required(),
    ParamSpec::text("newCertId"),
    ParamSpec::pem("newCertContent"),
    ParamSpec::text_of("newCertName", 1, 255),
    ParamSpec::pem("newCertKey").secret(),
];

pub(super) static DESCRIBE_TASK_RESULT: &[ParamSpec] =
    &[ParamSpec::int("requestId", 1, MAX_TASK).required()];
