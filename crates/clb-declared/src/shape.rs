//! What is declared, and what runs: the same shape, so that they can be compared.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clb_model::{DomainPattern, Family, LoadBalancerType, Port, Protocol, UrlPattern, Weight};

/// Settings under the API's names of their parameters, as the API takes them.
pub type Settings = BTreeMap<&'static str, String>;

/// Where something is declared: line and column, from 1. What runs stands nowhere: 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// Line and column of an octet of a text.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

/// A load balancer with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancer {
    /// Where it is declared.
    pub place: Place,
    /// Its id; empty when it is only declared.
    pub id: String,
    /// What a file knows it by.
    pub name: String,
    /// Public or private.
    pub network: LoadBalancerType,
    /// Classic or application-based.
    pub family: Family,
    /// Its address; none: the next free one of the pool.
    pub vip: Option<IpAddr>,
    /// Those of [`fields::LOAD_BALANCER`](crate::fields::LOAD_BALANCER).
    pub settings: Settings,
    /// Each at a port of its own, UDP apart.
    pub listeners: Vec<Listener>,
    /// Classic: for all listeners.
    pub backends: Vec<Backend>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it is declared.
    pub place: Place,
    /// Its id; empty when it is only declared.
    pub id: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the VIP.
    pub port: Port,
    /// Those of [`fields::LISTENER`](crate::fields::LISTENER).
    pub settings: Settings,
    /// Application-based, layer 7: in order of creation.
    pub rules: Vec<Rule>,
    /// Application-based, layer 4.
    pub backends: Vec<Backend>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it is declared.
    pub place: Place,
    /// Its id; empty when it is only declared.
    pub id: String,
    /// Domain.
    pub domain: DomainPattern,
    /// Path.
    pub url: UrlPattern,
    /// Those of [`fields::RULE`](crate::fields::RULE).
    pub settings: Settings,
    /// Where it is redirected to.
    pub redirect: Option<Redirect>,
    /// Its backends.
    pub backends: Vec<Backend>,
}

/// What a rule is known by within its listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleKey(pub String, pub String);

impl Rule {
    /// What it is known by within its listener.
    #[must_use]
    pub fn key(&self) -> RuleKey {
        RuleKey(self.domain.key(), self.url.key())
    }
}

/// The rule that another one is redirected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Port of its listener.
    pub port: Port,
    /// Its domain.
    pub domain: DomainPattern,
    /// Its path.
    pub url: UrlPattern,
}

impl Redirect {
    /// What its rule is known by within its listener.
    #[must_use]
    pub fn key(&self) -> RuleKey {
        RuleKey(self.domain.key(), self.url.key())
    }
}

/// A backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Where it is declared.
    pub place: Place,
    /// `instanceId`, or the address that `eniIp` names.
    pub instance: String,
    /// Named by `eniIp`.
    pub by_address: bool,
    /// None on classic load balancers, where listeners have it.
    pub port: Option<Port>,
    /// Weight.
    pub weight: Weight,
}

/// What a backend is known by within its pool.
pub type BackendKey<'a> = (&'a str, bool, Option<u16>);

impl Backend {
    /// What it is known by within its pool.
    #[must_use]
    pub fn key(&self) -> BackendKey<'_> {
        (&self.instance, self.by_address, self.port.map(Port::get))
    }
}

impl Listener {
    /// Whether another one can not have the same port.
    #[must_use]
    pub fn same_port(&self, other: &Self, family: Family) -> bool {
        let is_udp = |listener: &Self| listener.protocol == Protocol::Udp;
        // A port of a classic instance has one protocol (actions.md C.2).
        self.port == other.port && (family == Family::Classic || is_udp(self) == is_udp(other))
    }
}
