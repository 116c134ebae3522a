//! The list of all Actions, one row each, in the order of actions.md.

use super::{ActionSpec, Family, Kind, ParamSpec, classic, common};
use crate::cross;

/// All Actions of the API, served or not yet.
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
    not_yet_common("GetCertListWithLoadBalancer", Kind::Read),
    not_yet_common("DescribeLoadBalancerLog", Kind::Read),
    not_yet_common("GetMonitorData", Kind::Read),
    not_yet_common("ReplaceCert", Kind::Sync),
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
    without_alias(not_yet_classic("DescribeLoadBalancersByInstances", Kind::Read)),
    not_yet_classic("DescribeLBHealth", Kind::Read),
    not_yet_classic("ModifyLBHealth", Kind::Async),
    // Application-based.
    not_yet_application("ModifyForwardLBName", Kind::Sync),
    not_yet_application("DescribeForwardLBListeners", Kind::Read),
    not_yet_application("CreateForwardLBSeventhLayerListeners", Kind::Sync),
    not_yet_application("ModifyForwardLBSeventhListener", Kind::Async),
    not_yet_application("CreateForwardLBFourthLayerListeners", Kind::Async),
    not_yet_application("ModifyForwardLBFourthListener", Kind::Async),
    not_yet_application("DeleteForwardLBListener", Kind::Async),
    not_yet_application("CreateForwardLBListenerRules", Kind::Async),
    not_yet_application("ModifyForwardLBRulesDomain", Kind::Async),
    not_yet_application("ModifyLoadBalancerRulesProbe", Kind::Async),
    not_yet_application("DeleteForwardLBListenerRules", Kind::Async),
    not_yet_application("DescribeForwardLBHealthStatus", Kind::Read),
    not_yet_application("DescribeForwardLBBackends", Kind::Read),
    not_yet_application("RegisterInstancesWithForwardLBSeventhListener", Kind::Async),
    not_yet_application("DeregisterInstancesFromForwardLB", Kind::Async),
    not_yet_application("ModifyForwardSeventhBackendsPort", Kind::Async),
    not_yet_application("ModifyForwardSeventhBackends", Kind::Async),
    not_yet_application("RegisterInstancesWithForwardLBFourthListener", Kind::Async),
    not_yet_application("DeregisterInstancesFromForwardLBFourthListener", Kind::Async),
    not_yet_application("ModifyForwardFourthBackendsPort", Kind::Async),
    not_yet_application("ModifyForwardFourthBackendsWeight", Kind::Async),
    not_yet_application("DescribeRewrite", Kind::Read),
    not_yet_application("ManualRewrite", Kind::Async),
    not_yet_application("AutoRewrite", Kind::Async),
    not_yet_application("DeleteRewrite", Kind::Async),
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

const fn not_yet_common(name: &'static str, kind: Kind) -> ActionSpec {
    ActionSpec::not_yet(name, Family::Common, kind)
}

const fn not_yet_classic(name: &'static str, kind: Kind) -> ActionSpec {
    ActionSpec::not_yet(name, Family::Classic, kind)
}

const fn not_yet_application(name: &'static str, kind: Kind) -> ActionSpec {
    ActionSpec::not_yet(name, Family::Application, kind)
}

/// For an Action that has no loadBalancerId.
const fn without_alias(mut action: ActionSpec) -> ActionSpec {
    action.aliases = &[];
    action
}
