//! The one place where refusals become the documented codes.

use clb_actions::ApiError;
use clb_model::ModelError;

use crate::engine::ExecuteError;

/// The API's error for a refused command; `instead` is the Action for the other family.
pub(super) fn from_model(error: ModelError, instead: &str) -> ApiError {
    let message = error.to_string();
    match error {
        ModelError::LoadBalancerNotFound(id) => ApiError::load_balancer_not_found(id),
        ModelError::ListenerNotFound { listener, .. } => ApiError::listener_not_found(listener),
        ModelError::WrongFamily { .. } => {
            ApiError::parameter(format!("{message}: use {instead} for it"))
        }
        ModelError::NotAvailable(_) => ApiError::not_supported(message),
        ModelError::Contradiction(_)
        | ModelError::NotBound { .. }
        | ModelError::NotOfProtocol { .. } => ApiError::parameter(message),
        ModelError::PortTaken { .. } => ApiError::port_taken(message),
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
