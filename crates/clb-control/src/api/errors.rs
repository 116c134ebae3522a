//! The one place where refusals become the documented codes.

use clb_actions::ApiError;
use clb_model::ModelError;

use crate::engine::{ExecuteError, WaitError};

/// The API's error for a refused command; `instead` is the Action for the other family.
pub(super) fn from_model(error: ModelError, instead: &str) -> ApiError {
    let message = error.to_string();
    match error {
        ModelError::LoadBalancerNotFound(id) => ApiError::load_balancer_not_found(id),
        ModelError::ListenerNotFound { listener, .. } => ApiError::listener_not_found(listener),
        ModelError::CertificateNotFound(id) => ApiError::certificate_not_found(id),
        ModelError::RuleNotFound { rule, .. } => ApiError::rule_not_found(rule),
        ModelError::NoRuleSelected { .. } => ApiError::no_rule_selected(message),
        ModelError::WrongFamily { .. } => {
            ApiError::parameter(format!("{message}: use {instead} for it"))
        }
        ModelError::Contradiction(_)
        | ModelError::NotBound { .. }
        | ModelError::TargetNotBound { .. }
        | ModelError::WrongLayer { .. }
        | ModelError::NotOfProtocol { .. } => ApiError::parameter(message),
        ModelError::PortTaken { .. } => ApiError::port_taken(message),
        ModelError::RuleTaken { .. } => ApiError::rule_taken(message),
        ModelError::RuleRedirected { .. } => ApiError::rule_redirected(message),
        ModelError::RedirectNotFound(_) => ApiError::rewrite_not_found(message),
        ModelError::PortBound { .. } => ApiError::backend_port_taken(message),
        ModelError::Limit { .. } => ApiError::count_limit(message),
        ModelError::NoVip(_) => ApiError::no_vip(message),
        ModelError::DomainTaken { .. } => ApiError::domain_prefix_taken(message),
        ModelError::BackendRefused { .. } => ApiError::backend_not_found(message),
    }
}

/// The API's error for a command that was not executed.
pub(super) fn from_execute(error: ExecuteError, instead: &str) -> ApiError {
    match error {
        ExecuteError::Refused(error) => from_model(error, instead),
        ExecuteError::Unavailable(message) => ApiError::unavailable(message),
    }
}

/// The API's error for a change that did not come into force.
pub(super) fn from_wait(error: WaitError) -> ApiError {
    match error {
        WaitError::Failed(reason) => ApiError::data_plane(reason),
        WaitError::Stopped(_) => ApiError::unavailable(error.to_string()),
    }
}
