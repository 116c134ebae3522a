//! What can be asked of application-based instances.

use serde::{Deserialize, Serialize};

use super::{ListenerPatch, NewTls, TlsPatch};
use crate::check_path::CheckPath;
use crate::id::{ListenerId, RuleId};
use crate::object::{CheckDomain, PoolSettings, ProbeMethod};
use crate::pattern::{DomainPattern, UrlPattern};
use crate::types::{
    CheckCount, HttpCodeMask, IntervalTime, Port, Protocol, Scheduler, SessionExpire, TimeOut,
    UnixMillis, Weight,
};

/// One listener to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApplicationListener {
    /// See [`Command::assign_ids`](crate::Command::assign_ids).
    pub id: ListenerId,
    /// Name.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the VIP.
    pub port: Port,
    /// TCP and UDP; HTTP and HTTPS listeners have rules instead.
    pub settings: Option<PoolSettings>,
    /// HTTPS only, and then always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NewTls>,
}

/// ModifyForwardLBSeventhListener: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerChange {
    /// `listenerName`
    pub name: Option<String>,
    /// `SSLMode` and certificates.
    pub tls: TlsPatch,
    /// The first given parameter that only HTTPS listeners have.
    pub https_parameter: Option<String>,
}

/// One rule to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRule {
    /// See [`Command::assign_ids`](crate::Command::assign_ids).
    pub id: RuleId,
    /// Domain.
    pub domain: DomainPattern,
    /// Path.
    pub url: UrlPattern,
    /// How its backends are chosen and checked.
    pub settings: PoolSettings,
}

/// ModifyLoadBalancerRulesProbe: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RulePatch {
    /// `url`
    pub url: Option<UrlPattern>,
    /// `sessionExpire`; the inner none is off.
    pub session_expire: Option<Option<SessionExpire>>,
    /// `healthSwitch`
    pub health_enabled: Option<bool>,
    /// `intervalTime`
    pub interval_time: Option<IntervalTime>,
    /// `healthNum`
    pub health_num: Option<CheckCount>,
    /// `unhealthNum`
    pub unhealth_num: Option<CheckCount>,
    /// `httpHash`
    pub scheduler: Option<Scheduler>,
    /// `httpCode`
    pub http_code: Option<HttpCodeMask>,
    /// `httpCheckPath`
    pub check_path: Option<CheckPath>,
    /// `httpCheckDomain`
    pub check_domain: Option<CheckDomain>,
    /// `httpCheckMethod`
    pub check_method: Option<ProbeMethod>,
    /// `timeOut`
    pub time_out: Option<TimeOut>,
}

/// Rules of a listener: those that match every condition, all of them when there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleSelection {
    /// `locationIds`; empty is no condition.
    pub rules: Vec<RuleId>,
    /// `domain`
    pub domain: Option<String>,
    /// `url`
    pub url: Option<String>,
}

impl RuleSelection {
    /// Whether there is no condition.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.rules.is_empty() && self.domain.is_none() && self.url.is_none()
    }
}

/// A backend at one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// `instanceId` as the client wrote it, or the address that `eniIp` names.
    pub instance: String,
    /// Named by `eniIp`.
    #[serde(default)]
    pub by_address: bool,
    /// Port.
    pub port: Port,
}

/// A target and, where it was given, its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetWeight {
    /// The backend.
    pub target: Target,
    /// Weight, when given.
    pub weight: Option<Weight>,
}

/// A target that moves to another port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMove {
    /// The backend where it is bound now.
    pub target: Target,
    /// `newPort`
    pub port: Port,
    /// Weight there; none keeps the one it has.
    pub weight: Option<Weight>,
}

/// Two rules, the one redirected to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RulePair {
    /// The rule that is redirected.
    pub source: RuleId,
    /// The rule that it points to.
    pub target: RuleId,
}

/// AutoRewrite
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoRedirect {
    /// When.
    pub now: UnixMillis,
    /// The HTTPS listener at port 443.
    pub listener: ListenerId,
    /// Domains of its rules; empty is all of them.
    pub domains: Vec<String>,
    /// The listener at port 80 if it must be made; see
    /// [`Command::assign_ids`](crate::Command::assign_ids).
    pub new_listener: ListenerId,
    /// The listener's rules, each with the id of the rule that is made for it if it must be; see
    /// [`Command::assign_ids`](crate::Command::assign_ids).
    pub new_rules: Vec<RulePair>,
    /// How backends of rules that are made are chosen and checked.
    pub settings: PoolSettings,
}

/// A change that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationCommand {
    /// ModifyForwardLBName
    Rename {
        /// New name.
        name: String,
    },
    /// CreateForwardLBSeventhLayerListeners, CreateForwardLBFourthLayerListeners
    CreateListeners {
        /// When.
        now: UnixMillis,
        /// In the order of the request's indexes.
        listeners: Vec<NewApplicationListener>,
    },
    /// ModifyForwardLBSeventhListener
    ModifyListener {
        /// Layer-7 listener.
        listener: ListenerId,
        /// What changes.
        change: Box<ListenerChange>,
    },
    /// ModifyForwardLBFourthListener
    ModifyFourthListener {
        /// Layer-4 listener.
        listener: ListenerId,
        /// What changes.
        patch: Box<ListenerPatch>,
    },
    /// DeleteForwardLBListener
    DeleteListeners {
        /// Listeners.
        listeners: Vec<ListenerId>,
    },
    /// CreateForwardLBListenerRules
    CreateRules {
        /// Layer-7 listener.
        listener: ListenerId,
        /// In the order of the request's indexes.
        rules: Vec<NewRule>,
    },
    /// ModifyForwardLBRulesDomain
    RenameDomain {
        /// Layer-7 listener.
        listener: ListenerId,
        /// The domain that the rules have.
        domain: String,
        /// The domain that they get.
        new_domain: DomainPattern,
    },
    /// ModifyLoadBalancerRulesProbe
    ModifyRule {
        /// Layer-7 listener.
        listener: ListenerId,
        /// Rule.
        rule: RuleId,
        /// What changes.
        patch: Box<RulePatch>,
    },
    /// DeleteForwardLBListenerRules
    DeleteRules {
        /// Layer-7 listener.
        listener: ListenerId,
        /// Which.
        rules: RuleSelection,
    },
    /// ManualRewrite
    Redirect {
        /// Layer-7 listener of the rules that are redirected.
        from: ListenerId,
        /// Layer-7 listener of the rules that they point to.
        to: ListenerId,
        /// Which.
        rules: Vec<RulePair>,
    },
    /// AutoRewrite
    AutoRedirect(Box<AutoRedirect>),
    /// DeleteRewrite
    DeleteRedirects {
        /// Layer-7 listener of the rules that are redirected.
        from: ListenerId,
        /// Layer-7 listener of the rules that they point to.
        to: ListenerId,
        /// Which.
        rules: Vec<RulePair>,
    },
    /// RegisterInstancesWithForwardLBSeventhListener,
    /// RegisterInstancesWithForwardLBFourthListener
    Bind {
        /// When.
        now: UnixMillis,
        /// Listener of either layer.
        listener: ListenerId,
        /// Layer 7: which rules.
        rules: RuleSelection,
        /// Backends; a missing weight is 10 for a new binding and keeps that of an old one.
        backends: Vec<TargetWeight>,
    },
    /// ModifyForwardSeventhBackends, ModifyForwardFourthBackendsWeight
    Reweight {
        /// Listener of either layer.
        listener: ListenerId,
        /// Layer 7: which rules.
        rules: RuleSelection,
        /// Backends; a missing weight is 10.
        backends: Vec<TargetWeight>,
    },
    /// ModifyForwardSeventhBackendsPort, ModifyForwardFourthBackendsPort
    MovePorts {
        /// Listener of either layer.
        listener: ListenerId,
        /// Layer 7: which rules.
        rules: RuleSelection,
        /// Backends with their new ports.
        backends: Vec<PortMove>,
    },
    /// DeregisterInstancesFromForwardLB, DeregisterInstancesFromForwardLBFourthListener
    Unbind {
        /// Listener of either layer.
        listener: ListenerId,
        /// Layer 7: which rules.
        rules: RuleSelection,
        /// Backends.
        backends: Vec<Target>,
    },
}
