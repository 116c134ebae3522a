//! The configuration as the program uses it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

/// A secret: wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) Zeroizing<String>);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// `api.tls`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiTls {
    /// A certificate that clbd makes and keeps in `state_dir`.
    SelfSigned,
    /// Plain HTTP.
    Off,
    /// PEM files.
    Files {
        /// Certificate chain, leaf first.
        cert: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// `api.keys.access`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Every Action.
    Full,
    /// Actions that change nothing.
    ReadOnly,
}

/// `[[api.keys]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Public half.
    pub secret_id: String,
    /// Secret half.
    pub secret_key: Secret,
    /// What it may do.
    pub access: Access,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    /// Certificate.
    pub tls: ApiTls,
    /// Region that requests name.
    pub region: String,
    /// Extra hosts of the signed string.
    pub hosts: Vec<String>,
    /// Key pairs; none: one is generated.
    pub keys: Vec<ApiKey>,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Plain HTTP.
    pub listen: SocketAddr,
    /// Names of the console.
    pub hosts: Vec<String>,
}

/// `[workers]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    /// 0 is one per usable core.
    pub count: usize,
}

/// `[vips]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vips {
    /// For loadBalancerType 2.
    pub public: Vec<IpNet>,
    /// For loadBalancerType 3.
    pub private: Vec<IpNet>,
    /// Completes domains.
    pub domain_suffix: String,
}

/// `[[instances]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// instanceId, unique.
    pub id: String,
    /// Address.
    pub ip: IpAddr,
    /// instanceName.
    pub name: String,
    /// wanIpSet.
    pub wan_ips: Vec<IpAddr>,
}

/// `[[certificates]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// certId, unique: eight characters of a-z0-9.
    pub id: String,
    /// certName.
    pub name: String,
    /// A server's chain and key, or client CAs.
    pub content: clb_cert::Content,
}

/// What private keys are encrypted with: wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKey(pub(crate) Zeroizing<[u8; 32]>);

impl StoreKey {
    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Content of `key_file`; none: private keys are stored in clear.
    pub key: Option<StoreKey>,
    /// `audit_entries`: calls that the audit log keeps; 0 keeps none.
    pub audit_entries: u64,
}

/// `access_log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// nginx's predefined format.
    Combined,
    /// Objects.
    Json,
}

/// `[access_log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Whether requests are logged.
    pub enabled: bool,
    /// How long rows are kept.
    pub retention: Duration,
    /// Bytes on disk.
    pub max_bytes: u64,
    /// An extra file.
    pub file: Option<PathBuf>,
    /// Its lines.
    pub format: AccessLogFormat,
    /// An extra syslog server.
    pub syslog: Option<SocketAddr>,
}

/// `[tracing]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracing {
    /// Whether requests without a valid traceparent get one.
    pub creates: bool,
    /// How many of a hundred are sampled.
    pub sample_percent: u32,
    /// Where spans are sent.
    pub otlp: Option<SocketAddr>,
}

/// `[metrics]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metrics {
    /// Rules with series of their own.
    pub max_rules: u64,
    /// Backends with series of their own.
    pub max_backends: u64,
    /// Whether rules have histograms.
    pub rule_histograms: bool,
}

/// `[backends]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backends {
    /// Where backend addresses may lie.
    pub networks: Vec<IpNet>,
    /// Further addresses that connections to backends may come from.
    pub source_addresses: Vec<IpAddr>,
}

/// `[limits]`; 0 is no limit unless said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// 0 is what RLIMIT_NOFILE allows.
    pub connections: u64,
    /// 0 is no limit.
    pub connections_per_source: u64,
    /// Bytes; 0 is 80 % of what there is.
    pub memory: u64,
    /// Bytes; 414.
    pub request_line: u64,
    /// Bytes; 431.
    pub request_head: u64,
    /// Fields; 431.
    pub request_fields: u64,
    /// Bytes; 502.
    pub response_head: u64,
    /// Bytes; 413.
    pub request_body: u64,
    /// Entries.
    pub persistence_entries: u64,
    /// UDP sessions at once; 0 is no limit.
    pub udp_sessions: u64,
    /// Bytes for each worker.
    pub access_log_ring: u64,
    /// In progress, all workers together.
    pub tls_handshakes: u64,
    /// In one connection.
    pub h2_concurrent_streams: u64,
    /// Bytes.
    pub api_url_bytes: u64,
    /// Bytes.
    pub api_body_bytes: u64,
    /// Requests.
    pub api_nonces: u64,
    /// For each key.
    pub api_requests_per_second: u64,
    /// Count.
    pub load_balancers: u64,
    /// Count.
    pub listeners_per_load_balancer: u64,
    /// Count.
    pub rules_per_listener: u64,
    /// Count.
    pub backends_per_pool: u64,
    /// Count.
    pub certificates: u64,
}

/// `[timeouts]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a head is complete; 408.
    pub client_header: Duration,
    /// Between two reads of a body, or two writes of an answer; 408.
    pub client_body: Duration,
    /// Between two requests.
    pub client_keepalive: Duration,
    /// From accept to its end.
    pub tls_handshake: Duration,
    /// One attempt.
    pub backend_connect: Duration,
    /// Until the head of an answer, and between two reads; 504.
    pub backend_response: Duration,
    /// How long an idle connection is kept.
    pub backend_keepalive: Duration,
    /// Without a byte either way.
    pub tunnel_idle: Duration,
    /// Without a byte either way.
    pub tcp_idle: Duration,
    /// Silence before the kernel asks; none: never.
    pub tcp_keepalive: Option<Duration>,
    /// Of a UDP session.
    pub udp_idle: Duration,
    /// 0 resets at once.
    pub drain: Duration,
    /// `drain_idle`
    pub drain_idle: Duration,
    /// Until a task is in force.
    pub task: Duration,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Whether Via is added.
    pub via: bool,
    /// Without a backend: 200 to 599.
    pub no_backend_status: u16,
    /// A cookie's name.
    pub session_cookie: String,
}

/// `health.http_method`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET
    Get,
    /// HEAD
    Head,
}

/// `[health]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Of HTTP probes, where the rule does not say.
    pub http_method: HttpMethod,
    /// What UDP probes send.
    pub udp_payload: Box<[u8]>,
    /// Whether failing traffic takes a backend out for a while.
    pub passive: bool,
}

/// `[prices]`, 0.01 CNY per hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// loadBalancerType 2.
    pub public: i64,
    /// loadBalancerType 3.
    pub private: i64,
}

/// `log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And events.
    Info,
    /// And details.
    Debug,
    /// Everything.
    Trace,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// What is allowed but risky.
    pub warnings: Vec<String>,
    /// Folder of the database.
    pub state_dir: PathBuf,
    /// `[api]`
    pub api: Api,
    /// `[admin]`
    pub admin: Admin,
    /// `[workers]`
    pub workers: Workers,
    /// `[vips]`
    pub vips: Vips,
    /// `[[instances]]`
    pub instances: Vec<Instance>,
    /// `[[certificates]]`
    pub certificates: Vec<Certificate>,
    /// `[[load_balancers]]`
    pub load_balancers: Vec<clb_declared::LoadBalancer>,
    /// `[backends]`
    pub backends: Backends,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[http]`
    pub http: Http,
    /// `[health]`
    pub health: Health,
    /// `[store]`
    pub store: Store,
    /// `[access_log]`
    pub access_log: AccessLog,
    /// `[tracing]`
    pub tracing: Tracing,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[prices]`
    pub prices: Prices,
    /// `[log]`
    pub log: Log,
}
