//! The objects that the store keeps, their keys, and the changes between two states.

mod binding;
mod certificate;
mod declared;
mod listener;
mod load_balancer;
mod rule;
mod session_key;
mod task;

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{BindingId, CertificateId, LbId, ListenerId, RuleId, TaskId};

pub use binding::{Binding, BoundTo, Owner, PoolKey};
pub use certificate::{
    Certificate, CertificateContent, CertificateKind, Der, Fingerprint, KeyForm, Origin, PrivateKey,
};
pub use declared::Declared;
pub use listener::{
    BadCheckDomain, CheckDomain, HealthCheck, HttpCheck, Listener, ListenerService, ListenerTls,
    PoolSettings, ProbeMethod,
};
pub use load_balancer::{FreedVip, LoadBalancer, NetworkName, NetworkRef, Status};
pub use rule::Rule;
pub use session_key::SessionKey;
pub use task::{Counters, Nonce, Task, TaskState};

/// Any object that the store keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A server certificate or client CA.
    Certificate(Arc<Certificate>),
    /// An instance.
    LoadBalancer(Arc<LoadBalancer>),
    /// A listener.
    Listener(Arc<Listener>),
    /// A rule of an application-based layer-7 listener.
    Rule(Arc<Rule>),
    /// A bound backend.
    Binding(Arc<Binding>),
    /// A VIP that is free again.
    FreedVip(FreedVip),
    /// A network's number.
    Network(NetworkName),
    /// A load balancer that clb.toml declares.
    Declared(Arc<Declared>),
    /// A task.
    Task(Arc<Task>),
    /// A request that must not come twice.
    Nonce(Nonce),
    /// The key of the session cookies; one object.
    SessionKey(SessionKey),
    /// The counters; one object.
    Counters(Counters),
}

/// What an object is kept under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// By id.
    Certificate(CertificateId),
    /// By id.
    LoadBalancer(LbId),
    /// By id.
    Listener(ListenerId),
    /// By id.
    Rule(RuleId),
    /// By id.
    Binding(BindingId),
    /// By address.
    FreedVip(IpAddr),
    /// By name.
    Network(String),
    /// By name.
    Declared(String),
    /// By id.
    Task(TaskId),
    /// By itself.
    Nonce(Nonce),
    /// There is one.
    SessionKey,
    /// There is one.
    Counters,
}

/// The kinds of [`Object`]s, for the store's first column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Object::Certificate`]
    Certificate,
    /// [`Object::LoadBalancer`]
    LoadBalancer,
    /// [`Object::Listener`]
    Listener,
    /// [`Object::Rule`]
    Rule,
    /// [`Object::Binding`]
    Binding,
    /// [`Object::FreedVip`]
    FreedVip,
    /// [`Object::Network`]
    Network,
    /// [`Object::Declared`]
    Declared,
    /// [`Object::Task`]
    Task,
    /// [`Object::Nonce`]
    Nonce,
    /// [`Object::SessionKey`]
    SessionKey,
    /// [`Object::Counters`]
    Counters,
}

impl Kind {
    /// Every kind, in the order in which a state is loaded.
    pub const ALL: [Self; 12] = [
        Self::Counters,
        Self::SessionKey,
        Self::Network,
        Self::Certificate,
        Self::LoadBalancer,
        Self::Listener,
        Self::Rule,
        Self::Binding,
        Self::FreedVip,
        Self::Declared,
        Self::Task,
        Self::Nonce,
    ];

    /// The word in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::LoadBalancer => "load_balancer",
            Self::Listener => "listener",
            Self::Rule => "rule",
            Self::Binding => "binding",
            Self::FreedVip => "freed_vip",
            Self::Network => "network",
            Self::Declared => "declared",
            Self::Task => "task",
            Self::Nonce => "nonce",
            Self::SessionKey => "session_key",
            Self::Counters => "counters",
        }
    }
}

impl Key {
    /// The kind of object that lies under this key.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Certificate(_) => Kind::Certificate,
            Self::LoadBalancer(_) => Kind::LoadBalancer,
            Self::Listener(_) => Kind::Listener,
            Self::Rule(_) => Kind::Rule,
            Self::Binding(_) => Kind::Binding,
            Self::FreedVip(_) => Kind::FreedVip,
            Self::Network(_) => Kind::Network,
            Self::Declared(_) => Kind::Declared,
            Self::Task(_) => Kind::Task,
            Self::Nonce(_) => Kind::Nonce,
            Self::SessionKey => Kind::SessionKey,
            Self::Counters => Kind::Counters,
        }
    }

    /// The text in the store's second column. Numbers are padded, so that their order is the text's.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Certificate(id) => id.to_string(),
            Self::LoadBalancer(id) => id.to_string(),
            Self::Listener(id) => id.to_string(),
            Self::Rule(id) => id.to_string(),
            Self::Binding(id) => format!("{:020}", id.0),
            Self::FreedVip(vip) => vip.to_string(),
            Self::Network(name) | Self::Declared(name) => name.clone(),
            Self::Task(id) => format!("{:020}", id.0),
            Self::Nonce(nonce) => {
                format!(
                    "{:020}/{}/{}",
                    nonce.timestamp, nonce.nonce, nonce.secret_id
                )
            }
            Self::SessionKey | Self::Counters => String::new(),
        }
    }
}

impl Object {
    /// What it is kept under.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Certificate(object) => Key::Certificate(object.id),
            Self::LoadBalancer(object) => Key::LoadBalancer(object.id),
            Self::Listener(object) => Key::Listener(object.id),
            Self::Rule(object) => Key::Rule(object.id),
            Self::Binding(object) => Key::Binding(object.id),
            Self::FreedVip(object) => Key::FreedVip(object.vip),
            Self::Network(object) => Key::Network(object.name.clone()),
            Self::Declared(object) => Key::Declared(object.name.clone()),
            Self::Task(object) => Key::Task(object.id),
            Self::Nonce(object) => Key::Nonce(object.clone()),
            Self::SessionKey(_) => Key::SessionKey,
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
