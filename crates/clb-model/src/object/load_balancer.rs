//! Load balancer instances and what belongs to them alone.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::LbId;
use crate::types::{ClientIp, Family, LoadBalancerType, UnixMillis};

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
    /// Whom the backends of TCP listeners see, kept for life.
    #[serde(default, skip_serializing_if = "ClientIp::is_gateway")]
    pub client_ip: ClientIp,
    /// When it was created.
    pub created: UnixMillis,
    /// Creating or running.
    pub status: Status,
    /// When `status` changed last.
    pub status_time: UnixMillis,
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
