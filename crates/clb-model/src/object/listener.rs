//! Listeners, and the settings that each pool has.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Status;
use crate::check_path::CheckPath;
use crate::id::{CertificateId, LbId, ListenerId};
use crate::types::{
    CheckCount, HttpCodeMask, IntervalTime, Port, Protocol, Scheduler, SessionExpire, SslMode,
    TimeOut, UnixMillis,
};

/// Longest `httpCheckDomain`, in characters.
const CHECK_DOMAIN_CHARS: usize = 80;

/// `httpCheckDomain`: the Host field of a probe, 1 to 80 visible ASCII characters. A blank or a
/// control character would end the field or the line it is sent in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckDomain(String);

/// The text can not be a Host field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {CHECK_DOMAIN_CHARS} visible ASCII characters without blanks")]
pub struct BadCheckDomain;

impl CheckDomain {
    /// Reads a Host field.
    ///
    /// # Errors
    /// [`BadCheckDomain`] when it is empty, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, BadCheckDomain> {
        let fits = (1..=CHECK_DOMAIN_CHARS).contains(&text.len());
        if fits && text.bytes().all(|octet| octet.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadCheckDomain)
        }
    }

    /// As given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CheckDomain {
    type Error = BadCheckDomain;
    fn try_from(text: String) -> Result<Self, BadCheckDomain> {
        Self::parse(&text)
    }
}

impl From<CheckDomain> for String {
    fn from(domain: CheckDomain) -> Self {
        domain.0
    }
}

/// `httpCheckMethod`: what an HTTP probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProbeMethod {
    /// GET
    #[serde(rename = "GET")]
    Get,
    /// HEAD
    #[serde(rename = "HEAD")]
    Head,
}

impl ProbeMethod {
    /// The API's word, and HTTP's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }

    /// Reads the API's word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            _ => None,
        }
    }
}

/// What an HTTP probe asks for and which answers are healthy (semantics.md 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// `httpCode`
    pub code: HttpCodeMask,
    /// `httpCheckPath`
    pub path: CheckPath,
    /// `httpCheckDomain`; none: the rule's domain when it is a plain one, else the backend's
    /// address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<CheckDomain>,
    /// `httpCheckMethod`; none: `[health] http_method`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<ProbeMethod>,
}

/// Health check settings (semantics.md 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// HTTP and HTTPS only: what is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
}

/// How one pool's backends are chosen and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSettings {
    /// How a backend is chosen.
    pub scheduler: Scheduler,
    /// Session persistence; none is off.
    pub session_expire: Option<SessionExpire>,
    /// Health check.
    pub health: HealthCheck,
}

/// Where a listener's traffic goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ListenerService {
    /// Application-based, layer 7: to the backends of its rules.
    Rules {
        /// Tells the stored forms apart.
        service: RulesTag,
    },
    /// Application-based, layer 4: to the backends that are bound to the listener.
    Own {
        /// Tells the stored forms apart.
        service: OwnTag,
        /// How they are chosen and checked.
        #[serde(flatten)]
        settings: PoolSettings,
    },
    /// Classic: to the instance's backends, each at this port.
    Instance {
        /// Port of the backends.
        instance_port: Port,
        /// How they are chosen and checked.
        #[serde(flatten)]
        settings: PoolSettings,
    },
}

/// See [`ListenerService::Rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesTag {
    /// `"service": "rules"`
    Rules,
}

/// See [`ListenerService::Own`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnTag {
    /// `"service": "own"`
    Own,
}

impl ListenerService {
    /// A listener with rules.
    pub const RULES: Self = Self::Rules {
        service: RulesTag::Rules,
    };

    /// A listener with bindings of its own.
    #[must_use]
    pub const fn own(settings: PoolSettings) -> Self {
        Self::Own {
            service: OwnTag::Own,
            settings,
        }
    }
}

/// What an HTTPS listener's handshakes are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// Whether clients must show a certificate.
    pub mode: SslMode,
    /// The server's chain and key.
    pub certificate: CertificateId,
    /// What client certificates are checked against; there exactly when the mode is mutual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<CertificateId>,
}

/// A listener.
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
    /// Where its traffic goes.
    #[serde(flatten)]
    pub service: ListenerService,
    /// HTTPS only, and then always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Creating or running.
    pub status: Status,
    /// When it was created.
    #[serde(default)]
    pub created: UnixMillis,
}

impl Listener {
    /// How its backends are chosen and checked; none if its rules say that.
    #[must_use]
    pub const fn settings(&self) -> Option<&PoolSettings> {
        match &self.service {
            ListenerService::Instance { settings, .. } | ListenerService::Own { settings, .. } => {
                Some(settings)
            }
            ListenerService::Rules { .. } => None,
        }
    }

    /// The port at which a classic instance's backends serve this listener.
    #[must_use]
    pub const fn instance_port(&self) -> Option<Port> {
        match &self.service {
            ListenerService::Instance { instance_port, .. } => Some(*instance_port),
            ListenerService::Own { .. } | ListenerService::Rules { .. } => None,
        }
    }
}
