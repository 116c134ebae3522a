//! One row an Action: how its parameters become a question or a command, and how it is answered.

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::Params;
use clb_model::{ApplicationCommand, Command, TaskId};

use super::answers::{Accepted, ListenersCreated, LoadBalancersCreated};
use super::certificates::{self, Uploads};
use super::forward_answers::{ForwardListenersCreated, Nothing};
use super::instance_answers::HealthChanged;
use super::view::View;
use super::{application, classic, common, listeners, logs, monitor, redirects, rules, targets};
use crate::Records;
use crate::engine::Executed;

/// What an Action does.
pub(super) enum Handler {
    /// Answers from what there is.
    Read(fn(&View<'_>, &Params) -> Result<String, ApiError>),
    /// The same where the answer may have ten thousand rows: what it is made of is collected
    /// first, so that the writer does not wait until it is written.
    ReadMuch(fn(&View<'_>, &Params) -> Result<Write, ApiError>),
    /// Answers from what was recorded, once what there is has said whose records are meant. Reads
    /// files, so it has a thread of its own.
    Recorded(fn(&View<'_>, &Params) -> Result<Ask, ApiError>),
    /// Asks how a task ended; old ones are in the store only.
    TaskResult,
    /// Executes a command and answers when it is durable.
    Change {
        command: fn(&View<'_>, &Params) -> Result<Command, ApiError>,
        /// Synchronous: the answer waits until the change is in force on every worker.
        wait: bool,
        answer: fn(&Executed) -> String,
    },
}

/// Reads an answer from what was recorded.
pub(super) type Ask = Box<dyn FnOnce(&Records) -> Result<String, ApiError> + Send>;

/// Writes an answer from what was collected.
pub(super) type Write = Box<dyn FnOnce() -> String + Send>;

/// An Action's row.
pub(super) struct Row {
    pub action: &'static str,
    /// What can be said of the request alone and is too dear to be said under the state's lock.
    pub check: fn(&Params) -> Result<(), ApiError>,
    /// Reads and checks the certificates that come with the request, before any state is looked at.
    pub uploads: fn(&Params) -> Result<Uploads, ApiError>,
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
        check: nothing_to_check,
        uploads: no_uploads,
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
        check: nothing_to_check,
        uploads: no_uploads,
        handler: Handler::Change {
            command,
            wait: false,
            answer,
        },
        instead,
    }
}

const fn read_much(
    action: &'static str,
    instead: &'static str,
    handler: fn(&View<'_>, &Params) -> Result<Write, ApiError>,
) -> Row {
    Row {
        action,
        check: nothing_to_check,
        uploads: no_uploads,
        handler: Handler::ReadMuch(handler),
        instead,
    }
}

const fn recorded(
    action: &'static str,
    handler: fn(&View<'_>, &Params) -> Result<Ask, ApiError>,
) -> Row {
    Row {
        action,
        check: nothing_to_check,
        uploads: no_uploads,
        handler: Handler::Recorded(handler),
        instead: "",
    }
}

const fn synchronous(
    action: &'static str,
    instead: &'static str,
    command: fn(&View<'_>, &Params) -> Result<Command, ApiError>,
    answer: fn(&Executed) -> String,
) -> Row {
    Row {
        action,
        check: nothing_to_check,
        uploads: no_uploads,
        handler: Handler::Change {
            command,
            wait: true,
            answer,
        },
        instead,
    }
}

impl Row {
    const fn checked_by(mut self, check: fn(&Params) -> Result<(), ApiError>) -> Self {
        self.check = check;
        self
    }

    const fn with_uploads(mut self, uploads: fn(&Params) -> Result<Uploads, ApiError>) -> Self {
        self.uploads = uploads;
        self
    }
}

fn no_uploads(_: &Params) -> Result<Uploads, ApiError> {
    Ok(Uploads::default())
}

fn nothing_to_check(_: &Params) -> Result<(), ApiError> {
    Ok(())
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
        check: nothing_to_check,
        uploads: no_uploads,
        handler: Handler::TaskResult,
        instead: "",
    },
    read("GetCertListWithLoadBalancer", "", certificates::users),
    recorded("DescribeLoadBalancerLog", logs::describe),
    recorded("GetMonitorData", monitor::data),
    synchronous("ReplaceCert", "", certificates::replace, envelope_only)
        .with_uploads(certificates::of_replacement),
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
    )
    .with_uploads(certificates::of_listeners),
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
    )
    .with_uploads(certificates::of_listener),
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
    read(
        "DescribeLoadBalancersByInstances",
        "",
        classic::describe_by_instances,
    ),
    read(
        "DescribeLBHealth",
        "DescribeForwardLBListeners",
        classic::describe_health,
    ),
    change(
        "ModifyLBHealth",
        "ModifyForwardLBFourthListener or ModifyLoadBalancerRulesProbe",
        classic::modify_health,
        health_changed,
    ),
    synchronous(
        "ModifyForwardLBName",
        "ModifyLoadBalancerAttributes",
        application::rename,
        envelope_only,
    ),
    read_much(
        "DescribeForwardLBListeners",
        "DescribeLoadBalancerListeners",
        application::describe_listeners,
    ),
    synchronous(
        "CreateForwardLBSeventhLayerListeners",
        "CreateLoadBalancerListeners",
        application::create_seventh_listeners,
        forward_listeners_created,
    )
    .with_uploads(certificates::of_listeners),
    change(
        "ModifyForwardLBSeventhListener",
        "ModifyLoadBalancerListener",
        application::modify_seventh_listener,
        accepted,
    )
    .with_uploads(certificates::of_listener),
    change(
        "CreateForwardLBFourthLayerListeners",
        "CreateLoadBalancerListeners",
        application::create_fourth_listeners,
        listeners_created,
    ),
    change(
        "ModifyForwardLBFourthListener",
        "ModifyLoadBalancerListener",
        application::modify_fourth_listener,
        accepted,
    ),
    change(
        "DeleteForwardLBListener",
        "DeleteLoadBalancerListeners",
        application::delete_listeners,
        accepted,
    ),
    change(
        "CreateForwardLBListenerRules",
        "CreateLoadBalancerListeners",
        rules::create,
        accepted,
    )
    .checked_by(rules::check_new_patterns),
    change(
        "ModifyForwardLBRulesDomain",
        "ModifyLoadBalancerListener",
        rules::rename_domain,
        accepted,
    )
    .checked_by(rules::check_new_domain),
    change(
        "ModifyLoadBalancerRulesProbe",
        "ModifyLoadBalancerListener",
        rules::modify,
        accepted,
    )
    .checked_by(rules::check_changed_patterns),
    change(
        "DeleteForwardLBListenerRules",
        "DeleteLoadBalancerListeners",
        rules::delete,
        accepted,
    ),
    read_much(
        "DescribeForwardLBHealthStatus",
        "DescribeLBHealthStatus",
        application::health,
    ),
    read_much(
        "DescribeForwardLBBackends",
        "DescribeLoadBalancerBackends",
        application::describe_backends,
    ),
    change(
        "RegisterInstancesWithForwardLBSeventhListener",
        "RegisterInstancesWithLoadBalancer",
        targets::bind,
        accepted,
    ),
    change(
        "DeregisterInstancesFromForwardLB",
        "DeregisterInstancesFromLoadBalancer",
        targets::unbind,
        accepted,
    ),
    change(
        "ModifyForwardSeventhBackendsPort",
        "ModifyLoadBalancerListener",
        targets::move_ports,
        accepted,
    ),
    change(
        "ModifyForwardSeventhBackends",
        "ModifyLoadBalancerBackends",
        targets::reweight,
        accepted,
    ),
    change(
        "RegisterInstancesWithForwardLBFourthListener",
        "RegisterInstancesWithLoadBalancer",
        targets::bind_fourth,
        accepted,
    ),
    change(
        "DeregisterInstancesFromForwardLBFourthListener",
        "DeregisterInstancesFromLoadBalancer",
        targets::unbind_fourth,
        accepted,
    ),
    change(
        "ModifyForwardFourthBackendsPort",
        "ModifyLoadBalancerListener",
        targets::move_ports_fourth,
        accepted,
    ),
    change(
        "ModifyForwardFourthBackendsWeight",
        "ModifyLoadBalancerBackends",
        targets::reweight_fourth,
        accepted,
    ),
    read_much("DescribeRewrite", "", redirects::describe),
    change(
        "ManualRewrite",
        "ModifyLoadBalancerListener",
        redirects::create,
        accepted,
    ),
    change(
        "AutoRewrite",
        "CreateLoadBalancerListeners",
        redirects::create_automatically,
        accepted,
    ),
    change(
        "DeleteRewrite",
        "ModifyLoadBalancerListener",
        redirects::delete,
        accepted,
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

fn envelope_only(_: &Executed) -> String {
    envelope::success(&Nothing {})
}

fn forward_listeners_created(executed: &Executed) -> String {
    envelope::success(&ForwardListenersCreated {
        listener_ids: listener_ids(executed),
    })
}

fn health_changed(executed: &Executed) -> String {
    envelope::success(&HealthChanged::new(executed.task))
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
    envelope::success(&ListenersCreated {
        request_id: executed.task,
        listener_ids: listener_ids(executed),
    })
}

/// The listeners that a command has made, in the order of the request's indexes.
fn listener_ids(executed: &Executed) -> Vec<String> {
    match &executed.command {
        Command::CreateListeners { listeners, .. } => {
            let ids = listeners.iter().map(|listener| listener.id.to_string());
            ids.collect()
        }
        Command::Application {
            command: ApplicationCommand::CreateListeners { listeners, .. },
            ..
        } => {
            let ids = listeners.iter().map(|listener| listener.id.to_string());
            ids.collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_actions::table::ACTIONS;

    #[test]
    fn every_action_has_a_handler() {
        let served: Vec<&str> = ACTIONS.iter().map(|action| action.name).collect();
        let handled: Vec<&str> = ROWS.iter().map(|row| row.action).collect();
        assert!(
            served.iter().all(|action| handled.contains(action)),
            "{served:?} {handled:?}"
        );
        assert_eq!(served.len(), handled.len());
    }
}
