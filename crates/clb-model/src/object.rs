//! The objects that the store keeps, their keys, and the changes between two states.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::id::{BindingId, LbId, ListenerId, TaskId};
use crate::types::{
    CheckCount, Family, IntervalTime, LoadBalancerType, Port, Protocol, Scheduler, SessionExpire,
    TimeOut, UnixMillis, Weight,
};

/// Status of instances and listeners (actions.md C.8): creating until the task that made them ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// 0
    Creating,
    /// 1
    Running,
}

impl Status {
    /// The API's number.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Creating => 0,
            Self::Running => 1,
        }
    }
}

/// A network or subnet as the caller named it: a number, or a name to which clbd gave a number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkRef {
    /// The number that is answered; 0 is the default network.
    pub number: u64,
    /// `vpc-…` or `subnet-…` as given; empty when a number was given.
    pub name: String,
}

/// A load balancer instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// `lb-xxxxxxxx`.
    pub id: LbId,
    /// 1 to 50 letters, digits, `-`, `_`.
    pub name: String,
    /// Public or private.
    pub network_type: LoadBalancerType,
    /// Classic or application-based.
    pub family: Family,
    /// Classic public instances only; unique.
    pub domain_prefix: Option<String>,
    /// The address, kept for life.
    pub vip: IpAddr,
    /// Kept and answered, otherwise without effect.
    pub vpc: NetworkRef,
    /// Kept and answered, otherwise without effect.
    pub subnet: NetworkRef,
    /// Kept, answered, and a filter.
    pub project_id: i64,
    /// Free text of the caller.
    pub special: Option<String>,
    /// When it was created.
    pub created: UnixMillis,
    /// Creating or running.
    pub status: Status,
    /// When `status` changed last.
    pub status_time: UnixMillis,
}

/// Health check settings (semantics.md 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `healthSwitch`.
    pub enabled: bool,
    /// `timeOut`, less than `interval_time`.
    pub time_out: TimeOut,
    /// `intervalTime`.
    pub interval_time: IntervalTime,
    /// `healthNum`.
    pub health_num: CheckCount,
    /// `unhealthNum`.
    pub unhealth_num: CheckCount,
}

/// A listener of a classic instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `lbl-xxxxxxxx`.
    pub id: ListenerId,
    /// Its instance.
    pub load_balancer: LbId,
    /// Rises with creation; lists are in this order.
    pub order: u64,
    /// Any text, may be empty.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Port of the VIP.
    pub port: Port,
    /// Port of the backends.
    pub instance_port: Port,
    /// How a backend is chosen.
    pub scheduler: Scheduler,
    /// Session persistence; none is off.
    pub session_expire: Option<SessionExpire>,
    /// Health check.
    pub health: HealthCheck,
    /// Creating or running.
    pub status: Status,
}

/// A backend bound to a classic instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Given out once; rises with binding, lists are in this order.
    pub id: BindingId,
    /// The instance it is bound to.
    pub load_balancer: LbId,
    /// The id of `[[instances]]`, or an address literal, as bound.
    pub instance: String,
    /// The address at binding, or the newest that clb.toml gave the instance since.
    pub address: IpAddr,
    /// Share of new sessions.
    pub weight: Weight,
}

/// A VIP that was in use once: given out again last, and the longest freed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreedVip {
    /// The address.
    pub vip: IpAddr,
    /// Rises with each freeing.
    pub order: u64,
}

/// The number that clbd gave to a network's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkName {
    /// `vpc-…` or `subnet-…`.
    pub name: String,
    /// From 1.
    pub number: u64,
}

/// A signed request that changed something: refused when it comes a second time, also after a
/// restart (actions.md A.7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nonce {
    /// Unix seconds. First, so that sets of nonces begin with the ones that expire first.
    pub timestamp: u64,
    /// The request's random number.
    pub nonce: u64,
    /// The key's id.
    pub secret_id: String,
}

/// Numbers that only rise. They are never taken back, so that nothing is given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Scrambles the numbers behind `lb-` and `lbl-` ids; drawn once for the life of the store.
    pub id_key: u64,
    /// Next number for an `lb-` or `lbl-` id.
    pub next_id: u64,
    /// Next [`BindingId`].
    pub next_binding: u64,
    /// Next [`TaskId`].
    pub next_task: u64,
    /// Next order of a listener or freed VIP.
    pub next_order: u64,
    /// Next number of a network's name.
    pub next_network: u64,
}

impl Counters {
    /// The counters of a new store.
    #[must_use]
    pub const fn new(id_key: u64) -> Self {
        Self {
            id_key,
            next_id: 0,
            next_binding: 1,
            next_task: 1,
            next_order: 1,
            next_network: 1,
        }
    }

    /// Takes the next value of the counter that `field` names.
    pub fn take(&mut self, field: impl FnOnce(&mut Self) -> &mut u64) -> u64 {
        let counter = field(self);
        let value = *counter;
        *counter = value.saturating_add(1);
        value
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TaskState {
    /// Durable, not yet in force. What it needs to be taken up again, or taken back, is kept.
    Pending {
        /// What was asked for; executed anew when an earlier task of the instance is taken back.
        command: Box<Command>,
        /// What it changed.
        changes: Arc<[Change]>,
    },
    /// In force on every worker.
    Succeeded,
    /// Taken back whole.
    Failed {
        /// Why.
        message: String,
    },
}

/// An asynchronous Action's task (actions.md C.8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The API's `requestId`.
    pub id: TaskId,
    /// Instances it concerns; tasks that share one run in the order of their ids.
    pub load_balancers: Vec<LbId>,
    /// When it was answered.
    pub created: UnixMillis,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// How far it is.
    #[serde(flatten)]
    pub state: TaskState,
}

/// Any object that the store keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// An instance.
    LoadBalancer(Arc<LoadBalancer>),
    /// A listener.
    Listener(Arc<Listener>),
    /// A bound backend.
    Binding(Arc<Binding>),
    /// A VIP that is free again.
    FreedVip(FreedVip),
    /// A network's number.
    Network(NetworkName),
    /// A task.
    Task(Arc<Task>),
    /// A request that must not come twice.
    Nonce(Nonce),
    /// The counters; one object.
    Counters(Counters),
}

/// What an object is kept under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// By id.
    LoadBalancer(LbId),
    /// By id.
    Listener(ListenerId),
    /// By id.
    Binding(BindingId),
    /// By address.
    FreedVip(IpAddr),
    /// By name.
    Network(String),
    /// By id.
    Task(TaskId),
    /// By itself.
    Nonce(Nonce),
    /// There is one.
    Counters,
}

/// The kinds of [`Object`]s, for the store's first column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Object::LoadBalancer`]
    LoadBalancer,
    /// [`Object::Listener`]
    Listener,
    /// [`Object::Binding`]
    Binding,
    /// [`Object::FreedVip`]
    FreedVip,
    /// [`Object::Network`]
    Network,
    /// [`Object::Task`]
    Task,
    /// [`Object::Nonce`]
    Nonce,
    /// [`Object::Counters`]
    Counters,
}

impl Kind {
    /// Every kind, in the order in which a state is loaded.
    pub const ALL: [Self; 8] = [
        Self::Counters,
        Self::Network,
        Self::LoadBalancer,
        Self::Listener,
        Self::Binding,
        Self::FreedVip,
        Self::Task,
        Self::Nonce,
    ];

    /// The word in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load_balancer",
            Self::Listener => "listener",
            Self::Binding => "binding",
            Self::FreedVip => "freed_vip",
            Self::Network => "network",
            Self::Task => "task",
            Self::Nonce => "nonce",
            Self::Counters => "counters",
        }
    }
}

impl Key {
    /// The kind of object that lies under this key.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::LoadBalancer(_) => Kind::LoadBalancer,
            Self::Listener(_) => Kind::Listener,
            Self::Binding(_) => Kind::Binding,
            Self::FreedVip(_) => Kind::FreedVip,
            Self::Network(_) => Kind::Network,
            Self::Task(_) => Kind::Task,
            Self::Nonce(_) => Kind::Nonce,
            Self::Counters => Kind::Counters,
        }
    }

    /// The text in the store's second column. Numbers are padded, so that their order is the text's.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::LoadBalancer(id) => id.to_string(),
            Self::Listener(id) => id.to_string(),
            Self::Binding(id) => format!("{:020}", id.0),
            Self::FreedVip(vip) => vip.to_string(),
            Self::Network(name) => name.clone(),
            Self::Task(id) => format!("{:020}", id.0),
            Self::Nonce(nonce) => {
                format!(
                    "{:020}/{}/{}",
                    nonce.timestamp, nonce.nonce, nonce.secret_id
                )
            }
            Self::Counters => String::new(),
        }
    }
}

impl Object {
    /// What it is kept under.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::LoadBalancer(object) => Key::LoadBalancer(object.id),
            Self::Listener(object) => Key::Listener(object.id),
            Self::Binding(object) => Key::Binding(object.id),
            Self::FreedVip(object) => Key::FreedVip(object.vip),
            Self::Network(object) => Key::Network(object.name.clone()),
            Self::Task(object) => Key::Task(object.id),
            Self::Nonce(object) => Key::Nonce(object.clone()),
            Self::Counters(_) => Key::Counters,
        }
    }
}

/// One object made, changed or removed. At least one side is there, and both have the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The object before.
    pub before: Option<Object>,
    /// The object after.
    pub after: Option<Object>,
}

impl Change {
    /// A new object.
    #[must_use]
    pub const fn made(after: Object) -> Self {
        Self {
            before: None,
            after: Some(after),
        }
    }

    /// An object with a new value.
    #[must_use]
    pub const fn changed(before: Object, after: Object) -> Self {
        Self {
            before: Some(before),
            after: Some(after),
        }
    }

    /// An object that is gone.
    #[must_use]
    pub const fn removed(before: Object) -> Self {
        Self {
            before: Some(before),
            after: None,
        }
    }

    /// The object's key; none only for a change that says nothing.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.after
            .as_ref()
            .or(self.before.as_ref())
            .map(Object::key)
    }
}
