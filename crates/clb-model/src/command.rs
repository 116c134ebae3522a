//! What can be asked for. A command says everything that its execution needs (ids and time
//! included), so that executing it again gives the same objects.

mod application;
mod certificates;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::check_path::CheckPath;
use crate::id::{CertificateId, LbId, ListenerId, RuleId};
use crate::object::{Counters, Declared, HealthCheck};
use crate::types::{
    CheckCount, ClientIp, Family, HttpCodeMask, IntervalTime, LoadBalancerType, Port, Protocol,
    Scheduler, SessionExpire, TimeOut, UnixMillis, Weight,
};

pub use application::{
    ApplicationCommand, AutoRedirect, ListenerChange, NewApplicationListener, NewRule, PortMove,
    RulePair, RulePatch, RuleSelection, Target, TargetWeight,
};

pub use certificates::{CertificateChoice, NewTls, TlsPatch, Upload};

/// A network or subnet as given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkChoice {
    /// A number; 0 is the default network.
    Number(u64),
    /// `vpc-…` or `subnet-…`.
    Name(String),
}

/// CreateLoadBalancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateLoadBalancers {
    /// One id for each instance; see [`Command::assign_ids`].
    pub ids: Vec<LbId>,
    /// How many, 1 to 20.
    pub number: usize,
    /// When.
    pub now: UnixMillis,
    /// Random; names are generated from it.
    pub order_number: u32,
    /// Public or private.
    pub network_type: LoadBalancerType,
    /// Classic or application-based.
    pub family: Family,
    /// Wanted name.
    pub name: Option<String>,
    /// Wanted domain prefix.
    pub domain_prefix: Option<String>,
    /// Wanted address; none: the next free one. With one instance only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip: Option<IpAddr>,
    /// Whom the backends of TCP listeners see.
    #[serde(default, skip_serializing_if = "ClientIp::is_gateway")]
    pub client_ip: ClientIp,
    /// Network.
    pub vpc: NetworkChoice,
    /// Subnet.
    pub subnet: NetworkChoice,
    /// Project.
    pub project_id: i64,
    /// Free text.
    pub special: Option<String>,
}

/// One listener to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewListener {
    /// See [`Command::assign_ids`].
    pub id: ListenerId,
    /// Name.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the VIP.
    pub port: Port,
    /// Port of the backends.
    pub instance_port: Port,
    /// `scheduler` or `httpHash`, when given.
    pub scheduler: Option<Scheduler>,
    /// Session persistence; none is off.
    pub session_expire: Option<SessionExpire>,
    /// Health check.
    pub health: HealthCheck,
    /// HTTPS only, and then always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NewTls>,
}

/// ModifyLoadBalancerListener: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerPatch {
    /// `listenerName`
    pub name: Option<String>,
    /// `sessionExpire`; the inner none is off.
    pub session_expire: Option<Option<SessionExpire>>,
    /// `healthSwitch`
    pub health_enabled: Option<bool>,
    /// `timeOut`
    pub time_out: Option<TimeOut>,
    /// `intervalTime`
    pub interval_time: Option<IntervalTime>,
    /// `healthNum`
    pub health_num: Option<CheckCount>,
    /// `unhealthNum`
    pub unhealth_num: Option<CheckCount>,
    /// `scheduler` or `httpHash`
    pub scheduler: Option<Scheduler>,
    /// `httpCode`
    pub http_code: Option<HttpCodeMask>,
    /// `httpCheckPath`
    pub check_path: Option<CheckPath>,
    /// `SSLMode` and certificates.
    pub tls: TlsPatch,
    /// The first given parameter that only TCP and UDP listeners have.
    pub layer4_parameter: Option<String>,
    /// The first given parameter that only HTTP and HTTPS listeners have.
    pub layer7_parameter: Option<String>,
    /// The first given parameter that only HTTPS listeners have.
    pub https_parameter: Option<String>,
}

/// Health check settings that all protocols have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthTimes {
    /// `switch`
    pub enabled: bool,
    /// `timeOut`, less than `interval_time`.
    pub time_out: TimeOut,
    /// `intervalTime`
    pub interval_time: IntervalTime,
    /// `healthNum`
    pub health_num: CheckCount,
    /// `unhealthNum`
    pub unhealth_num: CheckCount,
}

/// A backend and, where the Action has one, its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendWeight {
    /// As the client named it.
    pub instance: String,
    /// Weight, when given.
    pub weight: Option<Weight>,
}

/// A change that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// CreateLoadBalancer
    CreateLoadBalancers(CreateLoadBalancers),
    /// ModifyLoadBalancerAttributes
    ModifyLoadBalancer {
        /// Instance.
        load_balancer: LbId,
        /// New name.
        name: Option<String>,
        /// New domain prefix.
        domain_prefix: Option<String>,
    },
    /// DeleteLoadBalancers
    DeleteLoadBalancers {
        /// Instances.
        load_balancers: Vec<LbId>,
    },
    /// CreateLoadBalancerListeners
    CreateListeners {
        /// Instance.
        load_balancer: LbId,
        /// When.
        #[serde(default)]
        now: UnixMillis,
        /// In the order of the request's indexes.
        listeners: Vec<NewListener>,
    },
    /// ModifyLoadBalancerListener
    ModifyListener {
        /// Instance.
        load_balancer: LbId,
        /// Listener.
        listener: ListenerId,
        /// What changes.
        patch: ListenerPatch,
    },
    /// ModifyLBHealth
    ModifyHealth {
        /// Instance.
        load_balancer: LbId,
        /// What each of its listeners is checked with; `time_out` stays on HTTP and HTTPS ones.
        health: HealthTimes,
    },
    /// DeleteLoadBalancerListeners
    DeleteListeners {
        /// Instance.
        load_balancer: LbId,
        /// Listeners.
        listeners: Vec<ListenerId>,
    },
    /// RegisterInstancesWithLoadBalancer
    BindBackends {
        /// Instance.
        load_balancer: LbId,
        /// When.
        #[serde(default)]
        now: UnixMillis,
        /// Backends; a missing weight is 10 for a new binding and keeps that of an old one.
        backends: Vec<BackendWeight>,
    },
    /// ModifyLoadBalancerBackends
    ModifyBackends {
        /// Instance.
        load_balancer: LbId,
        /// Backends with their new weights.
        backends: Vec<BackendWeight>,
    },
    /// DeregisterInstancesFromLoadBalancer
    UnbindBackends {
        /// Instance.
        load_balancer: LbId,
        /// As the client named them.
        instances: Vec<String>,
    },
    /// An Action of application-based instances.
    Application {
        /// Instance.
        load_balancer: LbId,
        /// What is asked for.
        command: ApplicationCommand,
    },
    /// ReplaceCert
    ReplaceCertificate {
        /// Wherever this one is used,
        old: CertificateId,
        /// this one is from now on.
        new: CertificateChoice,
    },
    /// `[[certificates]]` of clb.toml may differ from what is stored; at start and SIGHUP.
    FollowCertificates {
        /// When.
        now: UnixMillis,
    },
    /// `[[load_balancers]]` of clb.toml: what was applied is remembered.
    Declare(Declared),
    /// A name that clb.toml no longer declares, and that is deleted.
    ForgetDeclared {
        /// Its name in the file.
        name: String,
    },
    /// `[[instances]]` of clb.toml may have other addresses than at binding; at start and SIGHUP.
    FollowInstances,
}

impl Command {
    /// Draws the ids of the objects that the command will make.
    pub fn assign_ids(&mut self, counters: &mut Counters) {
        let mut draw = || counters.draw_id();
        match self {
            Self::CreateLoadBalancers(create) => {
                create.ids = (0..create.number)
                    .map(|_| LbId::from_number(draw()))
                    .collect();
            }
            Self::CreateListeners { listeners, .. } => {
                for listener in listeners {
                    listener.id = ListenerId::from_number(draw());
                    if let Some(tls) = &mut listener.tls {
                        tls.assign_ids(&mut draw);
                    }
                }
            }
            Self::ModifyListener { patch, .. } => patch.tls.assign_ids(&mut draw),
            Self::ReplaceCertificate { new, .. } => new.assign_id(&mut draw),
            Self::Application { command, .. } => match command {
                ApplicationCommand::CreateListeners { listeners, .. } => {
                    for listener in listeners {
                        listener.id = ListenerId::from_number(draw());
                        if let Some(tls) = &mut listener.tls {
                            tls.assign_ids(&mut draw);
                        }
                    }
                }
                ApplicationCommand::ModifyListener { change, .. } => {
                    change.tls.assign_ids(&mut draw);
                }
                ApplicationCommand::CreateRules { rules, .. } => {
                    for rule in rules {
                        rule.id = RuleId::from_number(draw());
                    }
                }
                ApplicationCommand::AutoRedirect(redirect) => {
                    redirect.new_listener = ListenerId::from_number(draw());
                    for rule in &mut redirect.new_rules {
                        rule.source = RuleId::from_number(draw());
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}
