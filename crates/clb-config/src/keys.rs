//! Every key of clb.toml.

use crate::value::Kind;

/// When a key can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// In this version.
    Now,
    /// Later; only its default is accepted until then. Says what it comes with.
    Later(&'static str),
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`, or the key alone.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default as TOML; none: the key is required.
    pub default: Option<&'static str>,
    /// When it can be used.
    pub availability: Availability,
    /// One sentence.
    pub meaning: &'static str,
}

/// A section that is written once, `[name]`.
pub const TABLES: &[&str] = &[
    "api",
    "admin",
    "workers",
    "vips",
    "backends",
    "limits",
    "timeouts",
    "persistence",
    "http",
    "health",
    "store",
    "access_log",
    "tracing",
    "metrics",
    "prices",
    "log",
];

/// Sections that are written once for each element, `[[name]]`.
pub const ARRAYS: &[&str] = &["api.keys", "instances", "certificates"];

/// The section whose keys are those of the API ([`clb_declared::fields`]).
pub const DECLARED: &str = "load_balancers";

const DURATION: Kind = Kind::Duration { zero: false };
const DURATION_OR_NONE: Kind = Kind::Duration { zero: true };
const COUNT: Kind = Kind::Int {
    min: 0,
    max: 1_000_000_000,
};

const fn now(path: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key {
        path,
        kind,
        default: Some(default),
        availability: Availability::Now,
        meaning,
    }
}

const fn required(path: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key {
        path,
        kind,
        default: None,
        availability: Availability::Now,
        meaning,
    }
}

const fn later(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    with: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default: Some(default),
        availability: Availability::Later(with),
        meaning,
    }
}

/// All keys, in the order of the reference.
pub const KEYS: &[Key] = &[
    now(
        "state_dir",
        Kind::Path,
        "\"clb-state\"",
        "Folder of the embedded database, the API's generated certificate and key pair.",
    ),
    now(
        "api.listen",
        Kind::Sockets,
        "[\"127.0.0.1:8443\"]",
        "Where the Action API listens.",
    ),
    now(
        "api.tls",
        Kind::Tls,
        "\"self-signed\"",
        "The API's certificate: made by clbd and kept in state_dir, none, or from PEM files.",
    ),
    now(
        "api.region",
        Kind::Name,
        "\"ap-guangzhou\"",
        "The region that requests must name, if they name one.",
    ),
    now(
        "api.hosts",
        Kind::Names,
        "[]",
        "Extra host names accepted in the signed string; the Host header always is.",
    ),
    required(
        "api.keys.secret_id",
        Kind::Name,
        "SecretId of a key pair. Without any [[api.keys]] a pair is generated into state_dir/credentials.toml.",
    ),
    now(
        "api.keys.secret_key",
        Kind::Secret,
        "\"-\"",
        "SecretKey; either this or secret_key_file.",
    ),
    now(
        "api.keys.secret_key_file",
        Kind::Path,
        "\"-\"",
        "File that holds the SecretKey; one line break at its end is dropped.",
    ),
    now(
        "api.keys.access",
        Kind::Word(&["full", "read-only"]),
        "\"full\"",
        "Which Actions the key may call: all, or those that change nothing.",
    ),
    now(
        "admin.listen",
        Kind::Socket,
        "\"127.0.0.1:9180\"",
        "Plain HTTP for operators: /healthz, /readyz, /metrics, /console/.",
    ),
    now(
        "admin.hosts",
        Kind::Names,
        "[]",
        "Names by which browsers may call the console, beside addresses and localhost.",
    ),
    now(
        "workers.count",
        Kind::Int { min: 0, max: 1024 },
        "0",
        "Data-plane worker threads; 0 is one per usable core.",
    ),
    now(
        "vips.public",
        Kind::Networks,
        "[\"127.10.0.0/16\"]",
        "Addresses for load balancers of loadBalancerType 2.",
    ),
    now(
        "vips.private",
        Kind::Networks,
        "[\"127.11.0.0/16\"]",
        "Addresses for load balancers of loadBalancerType 3.",
    ),
    later(
        "vips.interface",
        Kind::Text,
        "\"\"",
        "address management",
        "Interface to which VIPs are added; \"\": they exist already, as all of loopback's do.",
    ),
    now(
        "vips.domain_suffix",
        Kind::Name,
        "\"clb.internal\"",
        "Completes the domain of a classic public load balancer.",
    ),
    required(
        "instances.id",
        Kind::Name,
        "instanceId of a machine behind the gateway.",
    ),
    required("instances.ip", Kind::Address, "Its address."),
    now(
        "instances.name",
        Kind::Text,
        "\"\"",
        "Answered as instanceName.",
    ),
    now(
        "instances.wan_ips",
        Kind::Addresses,
        "[]",
        "Answered as wanIpSet.",
    ),
    now(
        "backends.networks",
        Kind::Networks,
        "[\"0.0.0.0/0\", \"::/0\"]",
        "Where backend addresses may lie.",
    ),
    now(
        "backends.source_addresses",
        Kind::Addresses,
        "[]",
        "Addresses of this machine from which connections to a backend come when no port is left at the one that the kernel chooses.",
    ),
    required(
        "certificates.id",
        Kind::CertificateId,
        "certId or certCaId under which listeners use it.",
    ),
    now(
        "certificates.name",
        Kind::Text,
        "\"\"",
        "Its name, for people.",
    ),
    required(
        "certificates.cert",
        Kind::Path,
        "PEM file: the server's certificate and then each one's issuer, or client CAs.",
    ),
    now(
        "certificates.key",
        Kind::Path,
        "\"-\"",
        "PEM file of the private key, without passphrase. Without it the certificates are client CAs.",
    ),
    now(
        "limits.connections",
        COUNT,
        "0",
        "Client connections open at once; 0 is what RLIMIT_NOFILE allows.",
    ),
    now(
        "limits.connections_per_source",
        COUNT,
        "0",
        "Client connections and UDP sessions of one address, or one /64 of IPv6, at once. 0 is no limit.",
    ),
    now(
        "limits.memory",
        Kind::Size,
        "\"0\"",
        "Memory of the process's own beyond which nothing new is taken: connections are reset, requests answered with 503, what is under way goes on. 0 is 80 % of what the machine or its control group has.",
    ),
    now(
        "limits.request_line",
        Kind::Size,
        "\"16KiB\"",
        "Longest request line; 414.",
    ),
    now(
        "limits.request_head",
        Kind::Size,
        "\"64KiB\"",
        "Longest request head; 431.",
    ),
    now(
        "limits.request_fields",
        COUNT,
        "128",
        "Most header fields of a request; 431.",
    ),
    now(
        "limits.response_head",
        Kind::Size,
        "\"64KiB\"",
        "Longest head of a backend's answer; 502.",
    ),
    now(
        "limits.request_body",
        Kind::Size,
        "\"0\"",
        "Longest request body; 413. 0 is no limit.",
    ),
    now(
        "limits.persistence_entries",
        COUNT,
        "1000000",
        "Clients that layer-4 session persistence remembers; the oldest go first. 0 is no limit.",
    ),
    now(
        "limits.udp_sessions",
        COUNT,
        "262144",
        "UDP sessions at once, all listeners together; new ones beyond it are dropped. 0 is no limit.",
    ),
    now(
        "limits.access_log_ring",
        Kind::Size,
        "\"4MiB\"",
        "Bytes of rows that each worker may have waiting for the access log, at least 64 KiB; more are dropped and counted.",
    ),
    now(
        "limits.tls_handshakes",
        COUNT,
        "8192",
        "TLS handshakes in progress; the oldest makes room for a new one. 0 is no limit.",
    ),
    now(
        "limits.h2_concurrent_streams",
        COUNT,
        "128",
        "HTTP/2 streams at once in a connection; more are refused. 0 is no limit.",
    ),
    now(
        "limits.api_url_bytes",
        Kind::Size,
        "\"64KiB\"",
        "Longest target of an API request; 414. Beyond 65,534 bytes none is read.",
    ),
    now(
        "limits.api_body_bytes",
        Kind::Size,
        "\"1MiB\"",
        "Longest body of an API request; 413. 0 is no limit.",
    ),
    now(
        "limits.api_nonces",
        COUNT,
        "1000000",
        "API requests remembered so that none comes twice; full: 4400. 0 is no limit.",
    ),
    now(
        "limits.api_requests_per_second",
        COUNT,
        "200",
        "API requests for each key; beyond: 4400. 0 is no limit.",
    ),
    now(
        "limits.load_balancers",
        COUNT,
        "1000",
        "Load balancers; 0 is no limit.",
    ),
    now(
        "limits.listeners_per_load_balancer",
        COUNT,
        "500",
        "Listeners of one load balancer; 0 is no limit.",
    ),
    now(
        "limits.rules_per_listener",
        COUNT,
        "20000",
        "Rules of one listener; 0 is no limit.",
    ),
    now(
        "limits.backends_per_pool",
        COUNT,
        "1000",
        "Backends of one pool; 0 is no limit.",
    ),
    now(
        "limits.certificates",
        COUNT,
        "10000",
        "Stored certificates; 0 is no limit.",
    ),
    now(
        "timeouts.client_header",
        DURATION,
        "\"60s\"",
        "Until a request's head is complete; 408.",
    ),
    now(
        "timeouts.client_body",
        DURATION,
        "\"60s\"",
        "Between two reads of a request's body; 408.",
    ),
    now(
        "timeouts.client_keepalive",
        DURATION,
        "\"75s\"",
        "Between two requests of a connection.",
    ),
    now(
        "timeouts.tls_handshake",
        DURATION,
        "\"10s\"",
        "For a TLS handshake, from accept to its end.",
    ),
    now(
        "timeouts.backend_connect",
        DURATION,
        "\"3s\"",
        "For one attempt to connect to a backend; then the next backend is tried.",
    ),
    now(
        "timeouts.backend_response",
        DURATION,
        "\"60s\"",
        "Until the head of an answer, and between two reads; 504.",
    ),
    now(
        "timeouts.backend_keepalive",
        DURATION,
        "\"60s\"",
        "How long an idle backend connection is kept.",
    ),
    now(
        "timeouts.tunnel_idle",
        DURATION,
        "\"900s\"",
        "Idle time of an upgraded connection.",
    ),
    now(
        "timeouts.tcp_idle",
        DURATION,
        "\"900s\"",
        "Idle time of a TCP connection; then both sides are reset.",
    ),
    now(
        "timeouts.tcp_keepalive",
        DURATION_OR_NONE,
        "\"60s\"",
        "Silence after which the kernel asks both sides of a relayed TCP connection whether they are there; six unanswered questions over as long again end it. \"0s\" never asks.",
    ),
    now(
        "timeouts.udp_idle",
        DURATION,
        "\"90s\"",
        "Idle time of a UDP session.",
    ),
    now(
        "timeouts.drain",
        DURATION_OR_NONE,
        "\"60s\"",
        "What connections get when their backend, listener or the gateway goes; \"0s\" resets at once.",
    ),
    now(
        "timeouts.drain_idle",
        DURATION_OR_NONE,
        "\"2s\"",
        "How long an HTTP connection that waits for a request when its listener or the gateway goes may still bring one, which is answered; closing it at once would fail a request on its way.",
    ),
    now(
        "timeouts.task",
        DURATION,
        "\"60s\"",
        "A task that is not in force by then fails and is taken back.",
    ),
    later(
        "persistence.drain_keeps_sessions",
        Kind::Bool,
        "false",
        "layer 4 to the limit",
        "Whether clients stay with a backend of weight 0 until their session expires.",
    ),
    now(
        "http.via",
        Kind::Bool,
        "false",
        "Whether a Via field is added.",
    ),
    now(
        "http.no_backend_status",
        Kind::Int { min: 200, max: 599 },
        "503",
        "Status when there is no backend.",
    ),
    now(
        "http.session_cookie",
        Kind::Token,
        "\"clb_route\"",
        "Name of the session persistence cookie.",
    ),
    now(
        "health.http_method",
        Kind::Word(&["GET", "HEAD"]),
        "\"GET\"",
        "Method of HTTP probes.",
    ),
    now(
        "health.udp_payload",
        Kind::Text,
        "\"\"",
        "What a UDP probe sends: text, or octets such as \"hex:000103ff\".",
    ),
    now(
        "health.passive",
        Kind::Bool,
        "true",
        "Whether failing traffic takes a backend out for a while.",
    ),
    now(
        "store.key_file",
        Kind::Path,
        "\"-\"",
        "File with 64 hexadecimal digits, readable by its owner only: private keys are kept encrypted with it.",
    ),
    now(
        "store.audit_entries",
        COUNT,
        "100000",
        "Calls of the API that the audit log tells of: all that change something or tried to; the oldest go first. 0 keeps none.",
    ),
    now(
        "access_log.enabled",
        Kind::Bool,
        "true",
        "Whether requests of HTTP and HTTPS listeners are logged.",
    ),
    now(
        "access_log.retention",
        DURATION,
        "\"72h\"",
        "How long rows are kept; DescribeLoadBalancerLog asks for the last 72 hours at most.",
    ),
    now(
        "access_log.max_bytes",
        Kind::Size,
        "\"1GiB\"",
        "Bytes of rows on disk, compressed, at least 1 MiB; the oldest go first. A million rows of usual requests take about 60 MB.",
    ),
    now(
        "access_log.file",
        Kind::Text,
        "\"\"",
        "A file that gets a line for each request besides; whoever rotates it renames it, and a second later there is a new one. A pipe loses lines while it is full. Empty: none.",
    ),
    now(
        "access_log.format",
        Kind::Word(&["combined", "json"]),
        "\"combined\"",
        "The lines of access_log.file: as nginx's predefined format, or an object with the fields of DescribeLoadBalancerLog.",
    ),
    now(
        "access_log.syslog",
        Kind::Text,
        "\"\"",
        "address:port of a syslog server that gets a message for each request besides: RFC 5424 over UDP, local7.info, the text as in combined. Empty: none.",
    ),
    now(
        "tracing.traceparent",
        Kind::Word(&["pass", "create"]),
        "\"pass\"",
        "What becomes of traceparent and tracestate (W3C Trace Context): they pass as they are, or requests without a valid traceparent get one. The trace has the number of X-Request-Id then.",
    ),
    now(
        "tracing.sample_percent",
        Kind::Int { min: 0, max: 100 },
        "100",
        "How many of a hundred traces that begin here are marked as sampled.",
    ),
    now(
        "tracing.otlp",
        Kind::Text,
        "\"\"",
        "address:port of an OpenTelemetry collector: the gateway is a span of every trace then, and sends those that are sampled there (OTLP over HTTP, /v1/traces). Needs a clbd that is built with the feature otel, and access_log.enabled. Empty: none.",
    ),
    now(
        "metrics.max_rules",
        COUNT,
        "20000",
        "Rules that have series of their own in /metrics, those that were asked for; more are counted in their listener's.",
    ),
    now(
        "metrics.max_backends",
        COUNT,
        "10000",
        "Backends that have series of their own in /metrics: for each listener those of different address.",
    ),
    now(
        "metrics.rule_histograms",
        Kind::Bool,
        "false",
        "Whether rules have histograms of their own in /metrics, some forty series each. If not, their requests are in their listener's.",
    ),
    now(
        "prices.public",
        COUNT,
        "2",
        "What InquiryLBPrice answers for loadBalancerType 2, in 0.01 CNY per hour.",
    ),
    now(
        "prices.private",
        COUNT,
        "2",
        "What InquiryLBPrice answers for loadBalancerType 3, in 0.01 CNY per hour.",
    ),
    now(
        "log.level",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "\"info\"",
        "What is logged.",
    ),
    now(
        "log.format",
        Kind::Word(&["text", "json"]),
        "\"text\"",
        "How it is logged, on standard error.",
    ),
];

/// A key by its path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}
