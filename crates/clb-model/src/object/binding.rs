//! Bound backends, and what they are bound to.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{BadId, BindingId, LbId, ListenerId, RuleId};
use crate::types::{Port, UnixMillis, Weight};

/// What a pool belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKey {
    /// A layer-4 listener, or any listener of a classic load balancer.
    Listener(ListenerId),
    /// A rule of an application-based layer-7 listener.
    Rule(RuleId),
}

impl PoolKey {
    /// Reads the id of a listener or rule.
    ///
    /// # Errors
    /// [`BadId`] when the text is neither.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        RuleId::parse(text)
            .map(Self::Rule)
            .or_else(|_| ListenerId::parse(text).map(Self::Listener))
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(id) => id.fmt(f),
            Self::Rule(id) => id.fmt(f),
        }
    }
}

/// What a backend can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A classic instance: each of its listeners uses the backend at its own instance port.
    LoadBalancer(LbId),
    /// A layer-4 listener or a rule of an application-based instance.
    Pool(PoolKey),
}

/// Where a backend of an application-based instance is bound, and at which of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundTo {
    /// The layer-4 listener or the rule.
    pub pool: PoolKey,
    /// The backend's port.
    pub port: Port,
}

/// A bound backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Given out once; rises with binding, lists are in this order.
    pub id: BindingId,
    /// The instance it is bound to, or to one of whose listeners or rules.
    pub load_balancer: LbId,
    /// Application-based instances: the pool and the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<BoundTo>,
    /// The id of `[[instances]]`, or an address literal, as bound.
    pub instance: Arc<str>,
    /// Bound by `eniIp`: `instance` is the address, whatever `[[instances]]` says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_address: bool,
    /// The address at binding, or the newest that clb.toml gave the instance since.
    pub address: IpAddr,
    /// Share of new sessions.
    pub weight: Weight,
    /// When it was bound.
    #[serde(default)]
    pub created: UnixMillis,
}

impl Binding {
    /// What it is bound to.
    #[must_use]
    pub fn owner(&self) -> Owner {
        match self.to {
            None => Owner::LoadBalancer(self.load_balancer),
            Some(to) => Owner::Pool(to.pool),
        }
    }

    /// The backend's port; none on classic instances, where each listener has its own.
    #[must_use]
    pub fn port(&self) -> Option<Port> {
        self.to.map(|to| to.port)
    }
}
