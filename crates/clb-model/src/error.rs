//! Why a command was refused. Mapped to codes once, at the API's edge.

use crate::id::{LbId, ListenerId};
use crate::types::{Family, Port, Protocol};

/// A refused command; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No such instance.
    #[error("load balancer {0} does not exist")]
    LoadBalancerNotFound(String),
    /// No such listener in that instance.
    #[error("listener {listener} does not exist in {load_balancer}")]
    ListenerNotFound {
        /// As asked for.
        listener: String,
        /// The instance.
        load_balancer: LbId,
    },
    /// The instance is of the other family.
    #[error("{load_balancer} is {} (forward={})", family_name(*family), family.number())]
    WrongFamily {
        /// The instance.
        load_balancer: LbId,
        /// The family it has.
        family: Family,
    },
    /// The gateway does not have this yet.
    #[error("{0}")]
    NotAvailable(String),
    /// A parameter that contradicts the state.
    #[error("{0}")]
    Contradiction(String),
    /// A listener of the instance has that port.
    #[error("port {port} of {load_balancer} is taken{}", by.map(|id| format!(" by {id}")).unwrap_or_else(|| " twice by this request".to_owned()))]
    PortTaken {
        /// The instance.
        load_balancer: LbId,
        /// The port.
        port: Port,
        /// The listener that has it; none when the request itself names it twice.
        by: Option<ListenerId>,
    },
    /// A count of `[limits]` would be passed.
    #[error("limits.{name} = {max} would be passed")]
    Limit {
        /// The key in `[limits]`.
        name: &'static str,
        /// Its value.
        max: usize,
    },
    /// No more instances, or no VIP.
    #[error("{0}")]
    NoVip(String),
    /// Another instance has the domain.
    #[error("domainPrefix={prefix}: {owner} has that domain")]
    DomainTaken {
        /// As asked for.
        prefix: String,
        /// The instance that has it.
        owner: LbId,
    },
    /// The machine may not be bound.
    #[error("{instance}: {reason}")]
    BackendRefused {
        /// As asked for.
        instance: String,
        /// Why.
        reason: String,
    },
    /// The backend is not bound.
    #[error("{instance} is not bound to {load_balancer}")]
    NotBound {
        /// As asked for.
        instance: String,
        /// The instance.
        load_balancer: LbId,
    },
    /// A parameter that listeners of this protocol do not have.
    #[error("{parameter}: a {protocol} listener has no such parameter")]
    NotOfProtocol {
        /// The parameter's name.
        parameter: String,
        /// The listener's protocol.
        protocol: Protocol,
    },
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Classic => "a classic instance",
        Family::Application => "an application-based instance",
    }
}
