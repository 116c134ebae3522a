//! The keys of `[[load_balancers]]`: the API's parameters, their names in snake_case.
//!
//! What a value may be is what the API's own table says of the parameter.

use clb_actions::table::{ActionSpec, ParamKind};
use clb_model::{Family, Protocol};

/// What a key that is left out means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It can not be left out.
    Required,
    /// This value.
    Is(&'static str),
    /// A new object gets the API's default; an existing one keeps what it has.
    Kept,
    /// Not set. The API can not take the value back, so the object is made anew.
    Unset,
}

/// Kinds of load balancers and listeners; a set of them says where a key can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    const CLASSIC_4: Self = Self(1);
    const CLASSIC_HTTP: Self = Self(2);
    const CLASSIC_HTTPS: Self = Self(4);
    const FORWARD_4: Self = Self(8);
    const FORWARD_HTTP: Self = Self(16);
    const FORWARD_HTTPS: Self = Self(32);
    const ALL: Self = Self(63);
    const CLASSIC: Self = Self(7);
    const CLASSIC_7: Self = Self(6);
    const LAYER_4: Self = Self(9);
    const OWN_POOL: Self = Self(15);
    const HTTPS: Self = Self(36);

    /// That of a listener.
    #[must_use]
    pub const fn of(family: Family, protocol: Protocol) -> Self {
        match (family, protocol) {
            (Family::Classic, Protocol::Tcp | Protocol::Udp) => Self::CLASSIC_4,
            (Family::Classic, Protocol::Http) => Self::CLASSIC_HTTP,
            (Family::Classic, Protocol::Https) => Self::CLASSIC_HTTPS,
            (Family::Application, Protocol::Tcp | Protocol::Udp) => Self::FORWARD_4,
            (Family::Application, Protocol::Http) => Self::FORWARD_HTTP,
            (Family::Application, Protocol::Https) => Self::FORWARD_HTTPS,
        }
    }

    const fn has(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }

    /// In words that follow "only for".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self.0 {
            7 => "listeners of classic load balancers",
            6 => "HTTP and HTTPS listeners of classic load balancers",
            9 => "TCP and UDP listeners",
            15 => {
                "TCP and UDP listeners and those of classic load balancers; on others the rules have it"
            }
            36 => "HTTPS listeners",
            _ => "other listeners",
        }
    }
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// In the file.
    pub key: &'static str,
    /// The API's parameter.
    pub api: &'static str,
    /// Where it can stand.
    pub kinds: Kinds,
    /// When it is left out.
    pub absent: Absent,
    /// One sentence.
    pub meaning: &'static str,
    /// Whose table says what it takes.
    spec: (&'static str, &'static str),
}

impl Field {
    /// What the API takes for it; none only if the API's table had no such parameter.
    #[must_use]
    pub fn kind(&self) -> Option<ParamKind> {
        let (action, array) = self.spec;
        let name = match array {
            "" => self.api.to_owned(),
            array => format!("{array}.n.{}", self.api),
        };
        let action = ActionSpec::find(action)?;
        let found = action.params.iter().find(|param| param.name == name);
        found.map(|param| param.kind)
    }

    /// For which listeners it is, in words that follow "only for"; empty: for all.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.kinds == Kinds::ALL {
            true => "",
            false => self.kinds.words(),
        }
    }

    /// Whether it can stand at a listener of this kind.
    #[must_use]
    pub const fn is_for(&self, kind: Kinds) -> bool {
        self.kinds.has(kind)
    }
}

const CREATE: (&str, &str) = ("CreateLoadBalancer", "");
const CLASSIC: (&str, &str) = ("CreateLoadBalancerListeners", "listeners");
const RULES: (&str, &str) = ("CreateForwardLBListenerRules", "rules");

const fn field(
    spec: (&'static str, &'static str),
    key: &'static str,
    api: &'static str,
    kinds: Kinds,
    absent: Absent,
    meaning: &'static str,
) -> Field {
    Field {
        key,
        api,
        kinds,
        absent,
        meaning,
        spec,
    }
}

/// Keys of `[[load_balancers]]` beside `name`, `type`, `forward` and `vip`.
pub const LOAD_BALANCER: &[Field] = &[
    field(
        CREATE,
        "domain_prefix",
        "domainPrefix",
        Kinds::ALL,
        Absent::Kept,
        "Begins the domain of a classic public load balancer; left out: a generated one.",
    ),
    field(
        CREATE,
        "project_id",
        "projectId",
        Kinds::ALL,
        Absent::Is("0"),
        "Project, a filter of the API. Another one means a new load balancer.",
    ),
    field(
        CREATE,
        "vpc_id",
        "vpcId",
        Kinds::ALL,
        Absent::Is("0"),
        "Network, answered by the API. Another one means a new load balancer.",
    ),
    field(
        CREATE,
        "client_ip",
        "clientIp",
        Kinds::ALL,
        Absent::Is("gateway"),
        "Whom the backends of TCP listeners see: the gateway; the gateway, which names the client by PROXY protocol 1 or 2; the client itself (transparent: needs CAP_NET_ADMIN and answers that come back through the gateway). Another one means a new load balancer.",
    ),
];

const HEALTH_MEANING: &str = "Health check: 1 on, 0 off.";
const EXPIRE_MEANING: &str = "Session persistence, seconds; 0 is off.";
const INTERVAL_MEANING: &str = "Seconds from probe to probe.";
const UP_MEANING: &str = "Successes in a row that make a backend healthy.";
const DOWN_MEANING: &str = "Failures in a row that make a backend unhealthy.";
const TIME_OUT_MEANING: &str = "Seconds that one probe may take; less than interval_time.";
const CODE_MEANING: &str =
    "Healthy status classes: 1 is 1xx, 2 is 2xx, 4 is 3xx, 8 is 4xx, 16 is 5xx; add them up.";
const PATH_MEANING: &str = "Path that is probed.";

/// Keys of `[[load_balancers.listeners]]` beside `protocol`, `load_balancer_port` and `backends`.
pub const LISTENER: &[Field] = &[
    field(
        CLASSIC,
        "listener_name",
        "listenerName",
        Kinds::ALL,
        Absent::Kept,
        "Its name, for people; left out: none, or the one that the API gave it.",
    ),
    field(
        CLASSIC,
        "instance_port",
        "instancePort",
        Kinds::CLASSIC,
        Absent::Required,
        "Port of the backends. Another one means a new listener.",
    ),
    field(
        CLASSIC,
        "session_expire",
        "sessionExpire",
        Kinds::OWN_POOL,
        Absent::Is("0"),
        EXPIRE_MEANING,
    ),
    field(
        CLASSIC,
        "health_switch",
        "healthSwitch",
        Kinds::OWN_POOL,
        Absent::Is("1"),
        HEALTH_MEANING,
    ),
    field(
        CLASSIC,
        "time_out",
        "timeOut",
        Kinds::LAYER_4,
        Absent::Is("2"),
        TIME_OUT_MEANING,
    ),
    field(
        CLASSIC,
        "interval_time",
        "intervalTime",
        Kinds::OWN_POOL,
        Absent::Is("5"),
        INTERVAL_MEANING,
    ),
    field(
        CLASSIC,
        "health_num",
        "healthNum",
        Kinds::OWN_POOL,
        Absent::Is("3"),
        UP_MEANING,
    ),
    field(
        CLASSIC,
        "unhealth_num",
        "unhealthNum",
        Kinds::OWN_POOL,
        Absent::Is("3"),
        DOWN_MEANING,
    ),
    field(
        CLASSIC,
        "scheduler",
        "scheduler",
        Kinds::LAYER_4,
        Absent::Is("wrr"),
        "How a backend is chosen.",
    ),
    field(
        CLASSIC,
        "http_hash",
        "httpHash",
        Kinds::CLASSIC_7,
        Absent::Is("wrr"),
        "How a backend is chosen.",
    ),
    field(
        CLASSIC,
        "http_code",
        "httpCode",
        Kinds::CLASSIC_7,
        Absent::Is("31"),
        CODE_MEANING,
    ),
    field(
        CLASSIC,
        "http_check_path",
        "httpCheckPath",
        Kinds::CLASSIC_7,
        Absent::Is("/"),
        PATH_MEANING,
    ),
    field(
        CLASSIC,
        "ssl_mode",
        "SSLMode",
        Kinds::HTTPS,
        Absent::Required,
        "unidirectional: only the server shows a certificate; mutual: the client must show one, too.",
    ),
    field(
        CLASSIC,
        "cert_id",
        "certId",
        Kinds::HTTPS,
        Absent::Required,
        "Server certificate: one of [[certificates]] or an uploaded one.",
    ),
    field(
        CLASSIC,
        "cert_ca_id",
        "certCaId",
        Kinds::HTTPS,
        Absent::Is(""),
        "Client CA, with ssl_mode = \"mutual\".",
    ),
];

/// Keys of `[[load_balancers.listeners.rules]]` beside `domain`, `url`, `rewrite_port`,
/// `rewrite_domain`, `rewrite_url` and `backends`.
pub const RULE: &[Field] = &[
    field(
        RULES,
        "session_expire",
        "sessionExpire",
        Kinds::ALL,
        Absent::Is("0"),
        EXPIRE_MEANING,
    ),
    field(
        RULES,
        "health_switch",
        "healthSwitch",
        Kinds::ALL,
        Absent::Is("1"),
        HEALTH_MEANING,
    ),
    field(
        RULES,
        "time_out",
        "timeOut",
        Kinds::ALL,
        Absent::Is("2"),
        TIME_OUT_MEANING,
    ),
    field(
        RULES,
        "interval_time",
        "intervalTime",
        Kinds::ALL,
        Absent::Is("5"),
        INTERVAL_MEANING,
    ),
    field(
        RULES,
        "health_num",
        "healthNum",
        Kinds::ALL,
        Absent::Is("3"),
        UP_MEANING,
    ),
    field(
        RULES,
        "unhealth_num",
        "unhealthNum",
        Kinds::ALL,
        Absent::Is("3"),
        DOWN_MEANING,
    ),
    field(
        RULES,
        "http_hash",
        "httpHash",
        Kinds::ALL,
        Absent::Is("wrr"),
        "How a backend is chosen.",
    ),
    field(
        RULES,
        "http_code",
        "httpCode",
        Kinds::ALL,
        Absent::Is("31"),
        CODE_MEANING,
    ),
    field(
        RULES,
        "http_check_path",
        "httpCheckPath",
        Kinds::ALL,
        Absent::Is("/"),
        PATH_MEANING,
    ),
    field(
        RULES,
        "http_check_domain",
        "httpCheckDomain",
        Kinds::ALL,
        Absent::Unset,
        "Host of the probe; left out: the rule's domain if it is a plain one, else the backend's address.",
    ),
    field(
        RULES,
        "http_check_method",
        "httpCheckMethod",
        Kinds::ALL,
        Absent::Kept,
        "Method of the probe; left out: [health] http_method, or the one that the API gave it.",
    ),
];
