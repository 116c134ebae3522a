//! Why a command was refused. Mapped to codes once, at the API's edge.

use crate::command::{RulePair, RuleSelection, Target};
use crate::id::{LbId, ListenerId, RuleId};
use crate::object::PoolKey;
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
    /// No such rule in that listener.
    #[error("rule {rule} does not exist in {listener}")]
    RuleNotFound {
        /// As asked for.
        rule: String,
        /// The listener.
        listener: ListenerId,
    },
    /// No such certificate, or one that clb.toml no longer has.
    #[error("certificate {0} does not exist")]
    CertificateNotFound(String),
    /// The listener has no rule that matches.
    #[error("{listener} has no rule{}", conditions(selection))]
    NoRuleSelected {
        /// The listener.
        listener: ListenerId,
        /// What was asked for.
        selection: RuleSelection,
    },
    /// The instance is of the other family.
    #[error("{load_balancer} is {} (forward={})", family_name(*family), family.number())]
    WrongFamily {
        /// The instance.
        load_balancer: LbId,
        /// The family it has.
        family: Family,
    },
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
    /// A rule of the listener has that domain and url.
    #[error("domain={domain} url={url}: {}", by.map(|id| format!("{id} has them already")).unwrap_or_else(|| "this request names them twice".to_owned()))]
    RuleTaken {
        /// As asked for.
        domain: String,
        /// As asked for.
        url: String,
        /// The rule that has them; none when the request itself names them twice.
        by: Option<RuleId>,
    },
    /// The rule is redirected elsewhere.
    #[error("{source_rule} is redirected to {target} already")]
    RuleRedirected {
        /// The rule.
        source_rule: RuleId,
        /// Where it is redirected to.
        target: RuleId,
    },
    /// The one rule is not redirected to the other.
    #[error("{} is not redirected to {}", .0.source, .0.target)]
    RedirectNotFound(RulePair),
    /// The backend is bound at the new port already.
    #[error("{} port {} is bound to {pool} already", target.instance, target.port)]
    PortBound {
        /// The backend at its new port.
        target: Target,
        /// The listener or rule.
        pool: PoolKey,
    },
    /// The listener is of the other layer.
    #[error("{listener} is a {protocol} listener (layer {}): {reason}", if protocol.is_layer7() { 7 } else { 4 })]
    WrongLayer {
        /// The listener.
        listener: ListenerId,
        /// What it speaks.
        protocol: Protocol,
        /// What that means for the request.
        reason: &'static str,
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
    /// The backend is not bound there at that port.
    #[error("{} port {} is not bound to {}", target.instance, target.port, of.map_or_else(|| "any of the selected rules".to_owned(), |pool| pool.to_string()))]
    TargetNotBound {
        /// As asked for.
        target: Target,
        /// The listener or rule; none for any of the selected rules.
        of: Option<PoolKey>,
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

fn conditions(selection: &RuleSelection) -> String {
    let ids = selection.rules.iter().map(ToString::to_string);
    let domain = selection.domain.iter().map(|text| format!("domain={text}"));
    let url = selection.url.iter().map(|text| format!("url={text}"));
    let all: Vec<String> = ids.chain(domain).chain(url).collect();
    if all.is_empty() {
        String::new()
    } else {
        format!(" that matches {}", all.join(" and "))
    }
}
