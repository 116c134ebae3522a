//! The list of all Actions, one row each, in the order of actions.md.

use super::{
    ActionSpec, Alias, Family, Kind, LOAD_BALANCE_ID, ParamSpec, Tolerated, application, classic,
    common, recorded,
};
use crate::{cross, recorded_rules};

/// All Actions of the API.
pub static ACTIONS: &[ActionSpec] = &[
    // Common.
    served_common("InquiryLBPrice", Kind::Read, common::INQUIRY_LB_PRICE),
    served_common("CreateLoadBalancer", Kind::Async, common::CREATE_LOAD_BALANCER)
        .with_cross(cross::create_load_balancer),
    served_common("DescribeLoadBalancers", Kind::Read, common::DESCRIBE_LOAD_BALANCERS),
    served_common("DeleteLoadBalancers", Kind::Async, common::DELETE_LOAD_BALANCERS),
    served_common("DescribeLoadBalancersTaskResult",
        Kind::Read, common::DESCRIBE_TASK_RESULT,
    ),
    served_common("GetCertListWithLoadBalancer", Kind::Read, common::GET_CERT_LIST),
    served_common("DescribeLoadBalancerLog", Kind::Read, recorded::DESCRIBE_LOG)
        .with_cross(recorded_rules::describe_log)
        .with_aliases(&[LOAD_BALANCE_ID]),
    served_common("GetMonitorData", Kind::Read, recorded::GET_MONITOR_DATA)
        .with_cross(recorded_rules::get_monitor_data),
    served_common("ReplaceCert", Kind::Sync, common::REPLACE_CERT)
        .with_cross(cross::replace_cert),
    // Classic.
    served_classic("ModifyLoadBalancerAttributes", Kind::Async, classic::MODIFY_ATTRIBUTES)
        .with_counterpart("ModifyForwardLBName"),
    served_classic("CreateLoadBalancerListeners", Kind::Async, classic::CREATE_LISTENERS)
        .with_cross(cross::create_load_balancer_listeners)
        .with_counterpart(
            "CreateForwardLBSeventhLayerListeners or CreateForwardLBFourthLayerListeners",
        ),
    served_classic("DescribeLoadBalancerListeners", Kind::Read, classic::DESCRIBE_LISTENERS)
        .with_counterpart("DescribeForwardLBListeners"),
    served_classic("ModifyLoadBalancerListener", Kind::Async, classic::MODIFY_LISTENER)
        .with_cross(cross::modify_load_balancer_listener)
        .with_counterpart("ModifyForwardLBSeventhListener or ModifyForwardLBFourthListener"),
    served_classic("DeleteLoadBalancerListeners", Kind::Async, classic::DELETE_LISTENERS)
        .with_counterpart("DeleteForwardLBListener"),
    served_classic("RegisterInstancesWithLoadBalancer", Kind::Async, classic::REGISTER_INSTANCES)
        .with_cross(cross::distinct_backends)
        .with_counterpart(
            "RegisterInstancesWithForwardLBSeventhListener or RegisterInstancesWithForwardLBFourthListener",
        ),
    served_classic("DescribeLoadBalancerBackends", Kind::Read, classic::DESCRIBE_BACKENDS)
        .with_counterpart("DescribeForwardLBBackends"),
    served_classic("ModifyLoadBalancerBackends", Kind::Async, classic::MODIFY_BACKENDS)
        .with_cross(cross::distinct_backends)
        .with_counterpart("ModifyForwardSeventhBackends or ModifyForwardFourthBackendsWeight"),
    served_classic("DeregisterInstancesFromLoadBalancer",
        Kind::Async, classic::DEREGISTER_INSTANCES,
    )
    .with_cross(cross::distinct_backends)
    .with_counterpart(
        "DeregisterInstancesFromForwardLB or DeregisterInstancesFromForwardLBFourthListener",
    ),
    served_classic("DescribeLBHealthStatus", Kind::Read, classic::DESCRIBE_HEALTH_STATUS)
        .with_counterpart("DescribeForwardLBHealthStatus"),
    without_alias(served_classic("DescribeLoadBalancersByInstances", Kind::Read, classic::DESCRIBE_BY_INSTANCES))
        .with_counterpart("DescribeForwardLBBackends"),
    served_classic("DescribeLBHealth", Kind::Read, classic::DESCRIBE_HEALTH)
        .with_counterpart("DescribeForwardLBListeners"),
    served_classic("ModifyLBHealth", Kind::Async, classic::MODIFY_HEALTH)
        .with_cross(cross::modify_health)
        .with_counterpart("ModifyForwardLBFourthListener or ModifyLoadBalancerRulesProbe"),
    // Application-based.
    served_application("ModifyForwardLBName", Kind::Sync, application::MODIFY_NAME)
        .with_counterpart("ModifyLoadBalancerAttributes"),
    served_application("DescribeForwardLBListeners", Kind::Read, application::DESCRIBE_LISTENERS)
        .with_counterpart("DescribeLoadBalancerListeners"),
    served_application("CreateForwardLBSeventhLayerListeners", Kind::Sync, application::CREATE_SEVENTH_LISTENERS)
        .with_cross(cross::create_seventh_listeners)
        .with_counterpart("CreateLoadBalancerListeners"),
    served_application("ModifyForwardLBSeventhListener", Kind::Async, application::MODIFY_SEVENTH_LISTENER)
        .with_cross(cross::modify_seventh_listener)
        .with_counterpart("ModifyLoadBalancerListener"),
    served_application("CreateForwardLBFourthLayerListeners", Kind::Async, application::CREATE_FOURTH_LISTENERS)
        .with_cross(cross::create_fourth_listeners)
        .with_tolerated(END_PORT)
        .with_counterpart("CreateLoadBalancerListeners"),
    served_application("ModifyForwardLBFourthListener", Kind::Async, application::MODIFY_FOURTH_LISTENER)
        .with_cross(cross::modify_pool)
        .with_tolerated(SSL_MODE)
        .with_counterpart("ModifyLoadBalancerListener"),
    served_application("DeleteForwardLBListener", Kind::Async, application::DELETE_LISTENER)
        .with_cross(cross::delete_forward_listener)
        .with_counterpart("DeleteLoadBalancerListeners"),
    served_application("CreateForwardLBListenerRules", Kind::Async, application::CREATE_RULES)
        .with_cross(cross::create_rules)
        .with_counterpart("CreateLoadBalancerListeners"),
    served_application("ModifyForwardLBRulesDomain", Kind::Async, application::MODIFY_RULES_DOMAIN)
        .with_tolerated(RENAMED_WHOLE)
        .with_counterpart("ModifyLoadBalancerListener"),
    served_application("ModifyLoadBalancerRulesProbe", Kind::Async, application::MODIFY_RULES_PROBE)
        .with_cross(cross::modify_pool)
        .with_counterpart("ModifyLoadBalancerListener"),
    served_application("DeleteForwardLBListenerRules", Kind::Async, application::DELETE_RULES)
        .with_counterpart("DeleteLoadBalancerListeners"),
    served_application("DescribeForwardLBHealthStatus", Kind::Read, application::DESCRIBE_HEALTH_STATUS)
        .with_cross(cross::forward_health_status)
        .with_counterpart("DescribeLBHealthStatus"),
    served_application("DescribeForwardLBBackends", Kind::Read, application::DESCRIBE_BACKENDS)
        .with_counterpart("DescribeLoadBalancerBackends"),
    served_application("RegisterInstancesWithForwardLBSeventhListener", Kind::Async, application::REGISTER_SEVENTH)
        .with_cross(cross::distinct_targets)
        .with_counterpart("RegisterInstancesWithLoadBalancer"),
    served_application("DeregisterInstancesFromForwardLB", Kind::Async, application::DEREGISTER)
        .with_cross(cross::distinct_targets)
        .with_tolerated(WEIGHT)
        .with_counterpart("DeregisterInstancesFromLoadBalancer"),
    served_application("ModifyForwardSeventhBackendsPort", Kind::Async, application::MODIFY_SEVENTH_PORT)
        .with_cross(cross::distinct_targets)
        .with_counterpart("ModifyLoadBalancerListener"),
    served_application("ModifyForwardSeventhBackends", Kind::Async, application::REGISTER_SEVENTH)
        .with_cross(cross::distinct_targets)
        .with_counterpart("ModifyLoadBalancerBackends"),
    served_application("RegisterInstancesWithForwardLBFourthListener", Kind::Async, application::REGISTER_FOURTH)
        .with_cross(cross::distinct_targets)
        .with_tolerated(LOCATION_AND_NEW_PORT)
        .with_counterpart("RegisterInstancesWithLoadBalancer"),
    served_application("DeregisterInstancesFromForwardLBFourthListener", Kind::Async, application::DEREGISTER_FOURTH)
        .with_cross(cross::distinct_targets)
        .with_tolerated(LOCATION_WEIGHT_AND_NEW_PORT)
        .with_counterpart("DeregisterInstancesFromLoadBalancer"),
    served_application("ModifyForwardFourthBackendsPort", Kind::Async, application::MODIFY_FOURTH_PORT)
        .with_cross(cross::distinct_targets)
        .with_tolerated(LOCATION)
        .with_counterpart("ModifyLoadBalancerListener"),
    served_application("ModifyForwardFourthBackendsWeight", Kind::Async, application::MODIFY_FOURTH_WEIGHT)
        .with_cross(cross::distinct_targets)
        .with_tolerated(LOCATION)
        .with_counterpart("ModifyLoadBalancerBackends"),
    without_alias(served_application("DescribeRewrite", Kind::Read, application::DESCRIBE_REWRITE))
        .with_counterpart("DescribeLoadBalancerListeners"),
    served_application("ManualRewrite", Kind::Async, application::MANUAL_REWRITE)
        .with_counterpart("ModifyLoadBalancerListener"),
    served_application("AutoRewrite", Kind::Async, application::AUTO_REWRITE)
        .with_counterpart("CreateLoadBalancerListeners"),
    served_application("DeleteRewrite", Kind::Async, application::DELETE_REWRITE)
        .with_aliases(REWRITE_INFO)
        .with_counterpart("ModifyLoadBalancerListener"),
];

const fn served_common(name: &'static str, kind: Kind, params: &'static [ParamSpec]) -> ActionSpec {
    ActionSpec::served(name, Family::Common, kind, params)
}

const fn served_classic(
    name: &'static str,
    kind: Kind,
    params: &'static [ParamSpec],
) -> ActionSpec {
    ActionSpec::served(name, Family::Classic, kind, params)
}

const fn served_application(
    name: &'static str,
    kind: Kind,
    params: &'static [ParamSpec],
) -> ActionSpec {
    ActionSpec::served(name, Family::Application, kind, params)
}

/// bk-bcs sends the one, the document's example the other; the whole domain is renamed.
const RENAMED_WHOLE: &[Tolerated] = &[tolerated("locationId"), tolerated("SSLMode")];

/// bk-bcs always sends the end of a range of ports, 0 for none; ranges are not served.
const END_PORT: &[Tolerated] = &[Tolerated {
    name: "listeners.n.endPort",
    only: Some("0"),
}];

/// The document's own example sends it; a layer-4 listener has none.
const SSL_MODE: &[Tolerated] = &[tolerated("SSLMode")];

/// qcloudcli offers the id of a rule, and official samples send more than the Action knows.
const LOCATION: &[Tolerated] = &[tolerated("locationId")];
const LOCATION_AND_NEW_PORT: &[Tolerated] =
    &[tolerated("locationId"), tolerated("backends.n.newPort")];
const LOCATION_WEIGHT_AND_NEW_PORT: &[Tolerated] = &[
    tolerated("locationId"),
    tolerated("backends.n.weight"),
    tolerated("backends.n.newPort"),
];

/// The Terraform provider and bk-bcs send the weight of what they unbind.
const WEIGHT: &[Tolerated] = &[tolerated("backends.n.weight")];

/// An official sample's comment calls the array so, its call as the table does.
const REWRITE_INFO: &[Alias] = &[
    LOAD_BALANCE_ID,
    Alias {
        name: "rewriteInfo.n.sourceLocation",
        target: "delRewriteInfo.n.sourceLocation",
    },
    Alias {
        name: "rewriteInfo.n.targetLocation",
        target: "delRewriteInfo.n.targetLocation",
    },
];

const fn tolerated(name: &'static str) -> Tolerated {
    Tolerated { name, only: None }
}

/// For an Action that has no loadBalancerId.
const fn without_alias(mut action: ActionSpec) -> ActionSpec {
    action.aliases = &[];
    action
}
