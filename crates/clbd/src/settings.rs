//! From clb.toml to what the parts take.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use clb_access_log::{FileFormat, Settings as AccessLogSettings, Targets};
use clb_actions::{Access, Key, Limits as GateLimits};
use clb_config::{AccessLogFormat, Config, HttpMethod};
use clb_control::Settings;
use clb_control::api::{ApiLimits, Prices};
use clb_control::applier::{ApplierSettings, ProbeSettings};
use clb_model::{CertificateId, Env, FileCertificate, Instance, Limits, ProbeMethod};
use clb_observe::MetricsSettings;
use clb_snapshot::{HttpSettings, PlaneSettings, Tracing, UdpSettings};

use crate::credentials;

/// Descriptors that are not for relayed connections: listeners, the API, the store, probes.
const DESCRIPTORS_KEPT: u64 = 1024;
/// Of the memory that there is, what may be used before new work is refused: the kernel has buffers
/// for each connection, too.
const MEMORY_PERCENT: u64 = 80;
/// A relayed connection has a socket to the client and one to the backend.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Data-plane workers: as configured, else one for each usable core.
pub fn workers(config: &Config) -> usize {
    match config.workers.count {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// Entries of the session persistence table; 0 in the file is no limit.
pub fn persistence_entries(config: &Config) -> usize {
    limit(config.limits.persistence_entries)
}

/// What the workers take, given how many descriptors the process may open.
pub fn plane_settings(config: &Config, descriptors: u64) -> PlaneSettings {
    let pipes = (workers(config) * clb_l4::PIPE_DESCRIPTORS) as u64;
    let kept = (DESCRIPTORS_KEPT + pipes).min(descriptors / 4);
    let max_sockets = descriptors.saturating_sub(kept);
    let by_descriptors = max_sockets / DESCRIPTORS_PER_CONNECTION;
    PlaneSettings {
        backend_connect: config.timeouts.backend_connect,
        tcp_idle: config.timeouts.tcp_idle,
        max_connections: match config.limits.connections {
            0 => by_descriptors,
            connections => connections,
        },
        max_sockets,
        max_memory: max_memory(config),
        max_per_source: match config.limits.connections_per_source {
            0 => u64::MAX,
            connections => connections,
        },
        source_addresses: config.backends.source_addresses.as_slice().into(),
        tcp_keepalive: config.timeouts.tcp_keepalive,
        udp: UdpSettings {
            idle: config.timeouts.udp_idle,
            max_sessions: match config.limits.udp_sessions {
                0 => u64::MAX,
                sessions => sessions,
            },
        },
        http: http_settings(config),
        passive_health: config.health.passive,
    }
}

/// Octets of memory beyond which nothing new is taken.
fn max_memory(config: &Config) -> u64 {
    match config.limits.memory {
        0 => clb_net::memory_there_is().map_or(u64::MAX, |octets| octets / 100 * MEMORY_PERCENT),
        octets => octets,
    }
}

/// What the access log takes.
pub fn access_log(config: &Config) -> AccessLogSettings {
    let log = &config.access_log;
    let format = match log.format {
        AccessLogFormat::Combined => FileFormat::Combined,
        AccessLogFormat::Json => FileFormat::Json,
    };
    AccessLogSettings {
        enabled: log.enabled,
        retention: log.retention,
        max_bytes: log.max_bytes,
        ring_bytes: size(config.limits.access_log_ring),
        targets: Targets {
            file: log.file.clone().map(|path| (path, format)),
            syslog: log.syslog,
        },
    }
}

/// What /metrics goes by.
pub fn metrics(config: &Config) -> MetricsSettings {
    MetricsSettings {
        max_rules: size(config.metrics.max_rules),
        max_backends: size(config.metrics.max_backends),
        rule_histograms: config.metrics.rule_histograms,
    }
}

fn http_settings(config: &Config) -> HttpSettings {
    let (limits, timeouts) = (&config.limits, &config.timeouts);
    HttpSettings {
        client_header: timeouts.client_header,
        client_body: timeouts.client_body,
        client_keepalive: timeouts.client_keepalive,
        drain_idle: timeouts.drain_idle,
        backend_response: timeouts.backend_response,
        backend_keepalive: timeouts.backend_keepalive,
        tunnel_idle: timeouts.tunnel_idle,
        tls_handshake: timeouts.tls_handshake,
        tls_handshakes: limit(limits.tls_handshakes),
        h2_concurrent_streams: u32::try_from(limit(limits.h2_concurrent_streams))
            .unwrap_or(u32::MAX),
        request_line: limit(limits.request_line),
        request_head: limit(limits.request_head),
        request_fields: limit(limits.request_fields),
        response_head: limit(limits.response_head),
        request_body: match limits.request_body {
            0 => u64::MAX,
            octets => octets,
        },
        tracing: Tracing {
            creates: config.tracing.creates,
            records: config.tracing.otlp.is_some(),
            sample_percent: config.tracing.sample_percent,
        },
        via: config.http.via,
        no_backend_status: config.http.no_backend_status,
        session_cookie: config.http.session_cookie.as_str().into(),
    }
}

/// A limit as the file says it: 0 is none.
fn limit(value: u64) -> usize {
    match value {
        0 => usize::MAX,
        value => size(value),
    }
}

/// What the control plane takes. Reads or makes the generated key pair when none is configured.
///
/// # Errors
/// When that pair can not be read or made.
pub fn control(config: &Config, own_sockets: Vec<SocketAddr>) -> anyhow::Result<Settings> {
    Ok(Settings {
        keys: keys(config)?,
        ..without_keys(config, own_sockets)
    })
}

/// What the control plane takes, with no key that could call it.
pub fn without_keys(config: &Config, own_sockets: Vec<SocketAddr>) -> Settings {
    let limits = &config.limits;
    Settings {
        env: Env {
            public_vips: config.vips.public.clone(),
            private_vips: config.vips.private.clone(),
            domain_suffix: config.vips.domain_suffix.clone(),
            instances: config
                .instances
                .iter()
                .map(|entry| {
                    let instance = Instance {
                        ip: entry.ip,
                        name: entry.name.clone(),
                        wan_ips: entry.wan_ips.clone(),
                    };
                    (entry.id.clone(), instance)
                })
                .collect(),
            certificates: certificates(config),
            backend_networks: config.backends.networks.clone(),
            own_sockets,
            limits: Limits {
                load_balancers: size(limits.load_balancers),
                listeners_per_load_balancer: size(limits.listeners_per_load_balancer),
                rules_per_listener: size(limits.rules_per_listener),
                backends_per_pool: size(limits.backends_per_pool),
                certificates: size(limits.certificates),
            },
            http_method: http_method(config),
        },
        keys: Vec::new(),
        region: config.api.region.clone(),
        hosts: config.api.hosts.clone(),
        audit_entries: config.store.audit_entries,
        gate: GateLimits {
            nonces: size(limits.api_nonces),
            requests_per_second: u32::try_from(limits.api_requests_per_second).unwrap_or(u32::MAX),
        },
        api_limits: ApiLimits {
            url_bytes: limits.api_url_bytes,
            body_bytes: limits.api_body_bytes,
        },
        prices: Prices {
            public: config.prices.public,
            private: config.prices.private,
        },
        applier: ApplierSettings {
            drain: config.timeouts.drain,
            task: config.timeouts.task,
            probes: ProbeSettings {
                http_method: http_method(config),
                udp_payload: config.health.udp_payload.as_ref().into(),
            },
        },
    }
}

/// `[[certificates]]` by id; the configuration has none with a malformed one.
pub fn certificates(config: &Config) -> HashMap<CertificateId, FileCertificate> {
    let entries = config.certificates.iter().filter_map(|entry| {
        let id = CertificateId::parse(&entry.id).ok()?;
        let content = clb_control::certificates::content(entry.content.clone());
        let file = FileCertificate {
            name: entry.name.clone(),
            content: Arc::new(content),
        };
        Some((id, file))
    });
    entries.collect()
}

fn http_method(config: &Config) -> ProbeMethod {
    match config.health.http_method {
        HttpMethod::Get => ProbeMethod::Get,
        HttpMethod::Head => ProbeMethod::Head,
    }
}

fn keys(config: &Config) -> anyhow::Result<Vec<Key>> {
    if config.api.keys.is_empty() {
        return Ok(vec![credentials::ensure(&config.state_dir)?.key()]);
    }
    Ok(config
        .api
        .keys
        .iter()
        .map(|key| {
            let access = match key.access {
                clb_config::Access::Full => Access::Full,
                clb_config::Access::ReadOnly => Access::ReadOnly,
            };
            Key::new(key.secret_id.clone(), key.secret_key.expose(), access)
        })
        .collect())
}

/// Keys whose new value a running gateway can not take over.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("state_dir", old.state_dir != new.state_dir),
        ("api.listen", old.api.listen != new.api.listen),
        ("api.tls", old.api.tls != new.api.tls),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("workers.count", old.workers.count != new.workers.count),
        (
            "limits.persistence_entries",
            old.limits.persistence_entries != new.limits.persistence_entries,
        ),
        ("store.key_file", old.store.key != new.store.key),
        (
            "store.audit_entries",
            old.store.audit_entries != new.store.audit_entries,
        ),
        ("log.format", old.log.format != new.log.format),
        ("tracing.otlp", old.tracing.otlp != new.tracing.otlp),
        (
            "limits.access_log_ring",
            old.limits.access_log_ring != new.limits.access_log_ring,
        ),
    ]
    .into_iter()
    .filter_map(|(key, is_changed)| is_changed.then_some(key))
    .collect()
}
