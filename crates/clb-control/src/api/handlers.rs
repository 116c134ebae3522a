//! One row an Action: how its parameters become a question or a command, and how it is answered.

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::Params;
use clb_model::{Command, TaskId};

use super::answers::{Accepted, ListenersCreated, LoadBalancersCreated};
use super::view::View;
use super::{classic, common, listeners};
use crate::engine::Executed;

/// What an Action does.
pub(super) enum Handler {
    /// Answers from what there is.
    Read(fn(&View<'_>, &Params) -> Result<String, ApiError>),
    /// Asks how a task ended; old ones are in the store only.
    TaskResult,
    /// Executes a command and answers when it is durable.
    Change {
        command: fn(&View<'_>, &Params) -> Result<Command, ApiError>,
        answer: fn(&Executed) -> String,
    },
}

/// An Action's row.
pub(super) struct Row {
    pub action: &'static str,
    pub handler: Handler,
    /// For Actions of one family: what to use on an instance of the other.
    pub instead: &'static str,
}

const fn read(
    action: &'static str,
    instead: &'static str,
    handler: fn(&View<'_>, &Params) -> Result<String, ApiError>,
) -> Row {
    Row {
        action,
        handler: Handler::Read(handler),
        instead,
    }
}

const fn change(
    action: &'static str,
    instead: &'static str,
    command: fn(&View<'_>, &Params) -> Result<Command, ApiError>,
    answer: fn(&Executed) -> String,
) -> Row {
    Row {
        action,
        handler: Handler::Change { command, answer },
        instead,
    }
}

/// Every Action that is served.
pub(super) const ROWS: &[Row] = &[
    read("InquiryLBPrice", "", common::price),
    change(
        "CreateLoadBalancer",
        "",
        common::create,
        load_balancers_created,
    ),
    read("DescribeLoadBalancers", "", common::describe),
    change("DeleteLoadBalancers", "", common::delete, accepted),
    Row {
        action: "DescribeLoadBalancersTaskResult",
        handler: Handler::TaskResult,
        instead: "",
    },
    change(
        "ModifyLoadBalancerAttributes",
        "ModifyForwardLBName",
        classic::modify,
        accepted,
    ),
    change(
        "CreateLoadBalancerListeners",
        "CreateForwardLBSeventhLayerListeners or CreateForwardLBFourthLayerListeners",
        listeners::create,
        listeners_created,
    ),
    read(
        "DescribeLoadBalancerListeners",
        "DescribeForwardLBListeners",
        listeners::describe,
    ),
    change(
        "ModifyLoadBalancerListener",
        "ModifyForwardLBSeventhListener or ModifyForwardLBFourthListener",
        listeners::modify,
        accepted,
    ),
    change(
        "DeleteLoadBalancerListeners",
        "DeleteForwardLBListener",
        listeners::delete,
        accepted,
    ),
    change(
        "RegisterInstancesWithLoadBalancer",
        "RegisterInstancesWithForwardLBSeventhListener or RegisterInstancesWithForwardLBFourthListener",
        classic::bind,
        accepted,
    ),
    read(
        "DescribeLoadBalancerBackends",
        "DescribeForwardLBBackends",
        classic::describe_backends,
    ),
    change(
        "ModifyLoadBalancerBackends",
        "ModifyForwardSeventhBackends or ModifyForwardFourthBackendsWeight",
        classic::modify_backends,
        accepted,
    ),
    change(
        "DeregisterInstancesFromLoadBalancer",
        "DeregisterInstancesFromForwardLB or DeregisterInstancesFromForwardLBFourthListener",
        classic::unbind,
        accepted,
    ),
    read(
        "DescribeLBHealthStatus",
        "DescribeForwardLBHealthStatus",
        classic::health,
    ),
];

/// The row of an Action.
pub(super) fn find(action: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.action == action)
}

fn accepted(executed: &Executed) -> String {
    envelope::success(&Accepted {
        request_id: executed.task,
    })
}

fn load_balancers_created(executed: &Executed) -> String {
    let task: TaskId = executed.task;
    let ids = match &executed.command {
        Command::CreateLoadBalancers(create) => create.ids.as_slice(),
        _ => &[],
    };
    envelope::success(&LoadBalancersCreated::new(
        task,
        ids.iter().map(ToString::to_string),
    ))
}

fn listeners_created(executed: &Executed) -> String {
    let listeners = match &executed.command {
        Command::CreateListeners { listeners, .. } => listeners.as_slice(),
        _ => &[],
    };
    envelope::success(&ListenersCreated {
        request_id: executed.task,
        listener_ids: listeners
            .iter()
            .map(|listener| listener.id.to_string())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_actions::table::{ACTIONS, Availability};

    #[test]
    fn every_served_action_has_a_handler_and_no_other_has_one() {
        let served: Vec<&str> = ACTIONS
            .iter()
            .filter(|action| matches!(action.availability, Availability::Served))
            .map(|action| action.name)
            .collect();
        let handled: Vec<&str> = ROWS.iter().map(|row| row.action).collect();
        assert!(
            served.iter().all(|action| handled.contains(action)),
            "{served:?} {handled:?}"
        );
        assert_eq!(served.len(), handled.len());
    }
}
