//! The errors that the API answers (actions.md B).

use std::fmt::Display;

use crate::echo::echo;

/// One error answer: `code`, `codeDesc`, the module number (actions.md B.2) and the text.
///
/// `message` is English, never empty, and stands without the `(module code) ` prefix;
/// [`ApiError::full_message`] adds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} {code_desc}: {}", self.full_message())]
pub struct ApiError {
    /// The answer's `code`, 4000 to 6200 (actions.md B.1).
    pub code: u32,
    /// The answer's `codeDesc`.
    pub code_desc: &'static str,
    /// The number in parentheses at the start of the answered message, if the error has one.
    pub module: Option<u32>,
    /// What is wrong, without the number.
    pub message: String,
}

const INVALID_PARAMETER: &str = "InvalidParameter";
const RESOURCE_NOT_FOUND: &str = "ResourceNotFound";
const RESOURCE_OP_FAILED: &str = "ResourceOpFailed";

/// Number of everything that is wrong with the parameters themselves.
const MODULE_PARAMETER: u32 = 9003;

impl ApiError {
    fn new(
        code: u32,
        code_desc: &'static str,
        module: Option<u32>,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        let message = if message.trim().is_empty() {
            code_desc.to_owned()
        } else {
            message
        };
        Self {
            code,
            code_desc,
            module,
            message,
        }
    }

    /// The text as it is answered: `(module code) message`, or the message alone for the errors
    /// that have no number (actions.md A.10).
    #[must_use]
    pub fn full_message(&self) -> String {
        let message = if self.message.is_empty() {
            self.code_desc
        } else {
            &self.message
        };
        match self.module {
            Some(module) => format!("({module}) {message}"),
            None => message.to_owned(),
        }
    }

    /// 4000 without a number: the request could not be decoded into parameters.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(4000, INVALID_PARAMETER, None, message)
    }

    /// 4000 (9003): a parameter is missing, malformed, out of range, unknown or contradictory,
    /// the Action is for the other family, or a backend is not bound.
    #[must_use]
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(4000, INVALID_PARAMETER, Some(MODULE_PARAMETER), message)
    }

    /// 4100: the signature does not verify, or a Token was given.
    #[must_use]
    pub fn auth_failure(message: impl Into<String>) -> Self {
        Self::new(4100, "AuthFailure", None, message)
    }

    /// 4101: a read-only key calls an Action that changes something.
    #[must_use]
    pub fn unauthorized_operation(message: impl Into<String>) -> Self {
        Self::new(4101, "AuthFailure.UnauthorizedOperation", None, message)
    }

    /// 4104: no key has this SecretId.
    #[must_use]
    pub fn secret_id_not_found(secret_id: &str) -> Self {
        Self::new(
            4104,
            "AuthFailure.SecretIdNotFound",
            None,
            format!("SecretId={}: no such key", echo(secret_id)),
        )
    }

    /// 4400: the key's request rate is passed, or the replay memory is full.
    #[must_use]
    pub fn request_limit_exceeded(message: impl Into<String>) -> Self {
        Self::new(4400, "RequestLimitExceeded", None, message)
    }

    /// 4500: the Timestamp lies outside the window, or the request was seen before.
    #[must_use]
    pub fn replay(message: impl Into<String>) -> Self {
        Self::new(4500, "ReplayAttack", None, message)
    }

    /// 4600: plain HTTP on the TLS port.
    #[must_use]
    pub fn unsupported_protocol(message: impl Into<String>) -> Self {
        Self::new(4600, "UnsupportedProtocol", None, message)
    }

    /// 5000 (10005): a backend instance is not configured, or its address is not allowed; the
    /// message says which and why.
    #[must_use]
    pub fn backend_not_found(message: impl Into<String>) -> Self {
        Self::new(5000, RESOURCE_NOT_FOUND, Some(10005), message)
    }

    /// 5000 (11041): no load balancer instance has this id.
    #[must_use]
    pub fn load_balancer_not_found(id: impl Display) -> Self {
        Self::not_found(11041, "load balancer instance", &id)
    }

    /// 5000 (11042): the instance has no listener of this id.
    #[must_use]
    pub fn listener_not_found(id: impl Display) -> Self {
        Self::not_found(11042, "listener", &id)
    }

    /// 5000 (11043): the rule does not exist, or none was selected; the message says which.
    #[must_use]
    pub fn rule_not_found(message: impl Into<String>) -> Self {
        Self::new(5000, RESOURCE_NOT_FOUND, Some(11043), message)
    }

    /// 5000 (11044): no certificate has this id.
    #[must_use]
    pub fn certificate_not_found(id: impl Display) -> Self {
        Self::not_found(11044, "certificate", &id)
    }

    /// 5000 (11045): the task is unknown or its result is no longer kept.
    #[must_use]
    pub fn task_not_found(id: impl Display) -> Self {
        Self::new(
            5000,
            RESOURCE_NOT_FOUND,
            Some(11045),
            format!(
                "task {}: does not exist or its result is no longer kept",
                echo(&id.to_string())
            ),
        )
    }

    /// 5000 (11046): there is no such redirect.
    #[must_use]
    pub fn rewrite_not_found(message: impl Into<String>) -> Self {
        Self::new(5000, RESOURCE_NOT_FOUND, Some(11046), message)
    }

    /// 5000 (11043): the listener has no rule that the request selects.
    #[must_use]
    pub fn no_rule_selected(message: impl Into<String>) -> Self {
        Self::new(5000, RESOURCE_NOT_FOUND, Some(11043), message)
    }

    /// 5100 (12011): the port is taken, or named twice in the request.
    #[must_use]
    pub fn port_taken(message: impl Into<String>) -> Self {
        Self::new(5100, RESOURCE_OP_FAILED, Some(12011), message)
    }

    /// 5100 (12012): the listener has a rule of this domain and url already.
    #[must_use]
    pub fn rule_taken(message: impl Into<String>) -> Self {
        Self::new(5100, RESOURCE_OP_FAILED, Some(12012), message)
    }

    /// 5100 (12013): a count limit of `[limits]` would be passed.
    #[must_use]
    pub fn count_limit(message: impl Into<String>) -> Self {
        Self::new(5100, RESOURCE_OP_FAILED, Some(12013), message)
    }

    /// 5200 (12014): no VIP is free, or the limit of instances would be passed.
    #[must_use]
    pub fn no_vip(message: impl Into<String>) -> Self {
        Self::new(5200, "ResourceInsufficient", Some(12014), message)
    }

    /// 5100 (12015): the rule is redirected elsewhere already.
    #[must_use]
    pub fn rule_redirected(message: impl Into<String>) -> Self {
        Self::new(5100, RESOURCE_OP_FAILED, Some(12015), message)
    }

    /// 5100 (12016): another instance has the domain prefix.
    #[must_use]
    pub fn domain_prefix_taken(message: impl Into<String>) -> Self {
        Self::new(5100, RESOURCE_OP_FAILED, Some(12016), message)
    }

    /// 5100 (12017): the data plane could not apply the change.
    #[must_use]
    pub fn data_plane(message: impl Into<String>) -> Self {
        Self::new(5100, RESOURCE_OP_FAILED, Some(12017), message)
    }

    /// 5100 (12018): the backend is bound at the new port already.
    #[must_use]
    pub fn backend_port_taken(message: impl Into<String>) -> Self {
        Self::new(5100, RESOURCE_OP_FAILED, Some(12018), message)
    }

    /// 6000: a fault of the gateway. `id` stands in the log beside the cause; the answer says
    /// nothing else.
    #[must_use]
    pub fn internal(id: impl Display) -> Self {
        Self::new(
            6000,
            "InternalError",
            None,
            format!(
                "internal error, see {} in the gateway's log",
                echo(&id.to_string())
            ),
        )
    }

    /// 6100: Action unknown or of another product, or a Version was given.
    #[must_use]
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(6100, "InvalidAction", None, message)
    }

    /// 6200: the gateway is starting or stopping, or its store cannot be written.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(6200, "ServiceUnavailable", None, message)
    }

    /// Whether it is 6200: it says nothing of what was asked for.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        self.code == 6200
    }

    fn not_found(module: u32, what: &str, id: &dyn Display) -> Self {
        Self::new(
            5000,
            RESOURCE_NOT_FOUND,
            Some(module),
            format!("{what} {}: does not exist", echo(&id.to_string())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constructor_has_the_documented_code_description_and_number() {
        let rows = [
            (ApiError::invalid("x"), 4000, "InvalidParameter", None),
            (
                ApiError::parameter("x"),
                4000,
                "InvalidParameter",
                Some(9003),
            ),
            (ApiError::auth_failure("x"), 4100, "AuthFailure", None),
            (
                ApiError::unauthorized_operation("x"),
                4101,
                "AuthFailure.UnauthorizedOperation",
                None,
            ),
            (
                ApiError::secret_id_not_found("x"),
                4104,
                "AuthFailure.SecretIdNotFound",
                None,
            ),
            (
                ApiError::request_limit_exceeded("x"),
                4400,
                "RequestLimitExceeded",
                None,
            ),
            (ApiError::replay("x"), 4500, "ReplayAttack", None),
            (
                ApiError::unsupported_protocol("x"),
                4600,
                "UnsupportedProtocol",
                None,
            ),
            (
                ApiError::backend_not_found("x"),
                5000,
                "ResourceNotFound",
                Some(10005),
            ),
            (
                ApiError::load_balancer_not_found("x"),
                5000,
                "ResourceNotFound",
                Some(11041),
            ),
            (
                ApiError::listener_not_found("x"),
                5000,
                "ResourceNotFound",
                Some(11042),
            ),
            (
                ApiError::rule_not_found("x"),
                5000,
                "ResourceNotFound",
                Some(11043),
            ),
            (
                ApiError::no_rule_selected("x"),
                5000,
                "ResourceNotFound",
                Some(11043),
            ),
            (
                ApiError::certificate_not_found("x"),
                5000,
                "ResourceNotFound",
                Some(11044),
            ),
            (
                ApiError::task_not_found(7),
                5000,
                "ResourceNotFound",
                Some(11045),
            ),
            (
                ApiError::rewrite_not_found("x"),
                5000,
                "ResourceNotFound",
                Some(11046),
            ),
            (
                ApiError::port_taken("x"),
                5100,
                "ResourceOpFailed",
                Some(12011),
            ),
            (
                ApiError::rule_taken("x"),
                5100,
                "ResourceOpFailed",
                Some(12012),
            ),
            (
                ApiError::count_limit("x"),
                5100,
                "ResourceOpFailed",
                Some(12013),
            ),
            (
                ApiError::no_vip("x"),
                5200,
                "ResourceInsufficient",
                Some(12014),
            ),
            (
                ApiError::rule_redirected("x"),
                5100,
                "ResourceOpFailed",
                Some(12015),
            ),
            (
                ApiError::domain_prefix_taken("x"),
                5100,
                "ResourceOpFailed",
                Some(12016),
            ),
            (
                ApiError::data_plane("x"),
                5100,
                "ResourceOpFailed",
                Some(12017),
            ),
            (
                ApiError::backend_port_taken("x"),
                5100,
                "ResourceOpFailed",
                Some(12018),
            ),
            (ApiError::internal("x"), 6000, "InternalError", None),
            (ApiError::not_supported("x"), 6100, "InvalidAction", None),
            (ApiError::unavailable("x"), 6200, "ServiceUnavailable", None),
        ];
        for (error, code, description, module) in rows {
            assert_eq!(
                (error.code, error.code_desc, error.module),
                (code, description, module)
            );
            assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn the_number_stands_in_front_of_the_answered_message_only() {
        let error = ApiError::parameter("weight=101: must be an integer from 0 to 100");
        assert!(!error.message.contains("9003"));
        assert_eq!(
            error.full_message(),
            "(9003) weight=101: must be an integer from 0 to 100"
        );
        assert_eq!(
            ApiError::replay("seen before").full_message(),
            "seen before"
        );
    }

    #[test]
    fn a_message_is_never_empty() {
        assert_eq!(ApiError::invalid("").full_message(), "InvalidParameter");
        assert_eq!(
            ApiError::port_taken("  ").full_message(),
            "(12011) ResourceOpFailed"
        );
    }
}
