//! From a file to the configuration.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::document::{Document, Values, read};
use crate::files;
use crate::problems::{Collector, Problems};
use crate::shape::*;
use crate::value::Value;

/// Reads a file.
///
/// # Errors
/// [`Problems`]: every one that was found.
pub fn load(path: &Path) -> Result<Config, Problems> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, path),
        Err(error) => Err(Problems::whole_file(
            path.to_owned(),
            format!("can not be read: {error}"),
        )),
    }
}

/// Reads a text as if it stood in that file.
///
/// # Errors
/// [`Problems`]: every one that was found.
pub fn parse(text: &str, path: &Path) -> Result<Config, Problems> {
    let mut problems = Collector::default();
    let document = read(text, &mut problems);
    let folder = path.parent().unwrap_or(Path::new(""));
    let config = assemble(&document, path, folder, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            if problems.is_empty() {
                problems.add(0, "can not be understood");
            }
            Err(problems.into_problems(path.to_owned(), text))
        }
    }
}

fn assemble(
    document: &Document,
    path: &Path,
    folder: &Path,
    problems: &mut Collector,
) -> Option<Config> {
    let root = &document.root;
    let none = Vec::new();
    let elements = |name: &str| document.arrays.get(name).unwrap_or(&none);
    let config = Config {
        path: path.to_owned(),
        warnings: Vec::new(),
        state_dir: folder.join(text(root, "state_dir")?),
        api: Api {
            listen: match root.value("api.listen")? {
                Value::Sockets(sockets) => sockets,
                _ => return None,
            },
            tls: match root.value("api.tls")? {
                Value::TlsFiles { cert, key } => ApiTls::Files {
                    cert: folder.join(cert),
                    key: folder.join(key),
                },
                Value::Text(word) if word == "off" => ApiTls::Off,
                _ => ApiTls::SelfSigned,
            },
            region: text(root, "api.region")?,
            hosts: match root.value("api.hosts")? {
                Value::Names(names) => names,
                _ => return None,
            },
            keys: keys(elements("api.keys"), folder, problems),
        },
        admin: Admin {
            listen: match root.value("admin.listen")? {
                Value::Socket(socket) => socket,
                _ => return None,
            },
            hosts: match root.value("admin.hosts")? {
                Value::Names(names) => names,
                _ => return None,
            },
        },
        workers: Workers {
            count: usize::try_from(number(root, "workers.count")?).ok()?,
        },
        vips: Vips {
            public: networks(root, "vips.public")?,
            private: networks(root, "vips.private")?,
            domain_suffix: text(root, "vips.domain_suffix")?,
        },
        instances: elements("instances").iter().filter_map(instance).collect(),
        certificates: elements("certificates")
            .iter()
            .filter_map(|values| files::certificate(values, folder, problems))
            .collect(),
        load_balancers: document.load_balancers.clone(),
        backends: Backends {
            networks: networks(root, "backends.networks")?,
            source_addresses: match root.value("backends.source_addresses")? {
                Value::Addresses(addresses) => addresses,
                _ => return None,
            },
        },
        limits: Limits {
            connections: number(root, "limits.connections")?,
            connections_per_source: number(root, "limits.connections_per_source")?,
            memory: number(root, "limits.memory")?,
            request_line: number(root, "limits.request_line")?,
            request_head: number(root, "limits.request_head")?,
            request_fields: number(root, "limits.request_fields")?,
            response_head: number(root, "limits.response_head")?,
            request_body: number(root, "limits.request_body")?,
            persistence_entries: number(root, "limits.persistence_entries")?,
            udp_sessions: number(root, "limits.udp_sessions")?,
            access_log_ring: at_least(root, "limits.access_log_ring", 64 * KIB, problems)?,
            tls_handshakes: number(root, "limits.tls_handshakes")?,
            h2_concurrent_streams: number(root, "limits.h2_concurrent_streams")?,
            api_url_bytes: number(root, "limits.api_url_bytes")?,
            api_body_bytes: number(root, "limits.api_body_bytes")?,
            api_nonces: number(root, "limits.api_nonces")?,
            api_requests_per_second: number(root, "limits.api_requests_per_second")?,
            load_balancers: number(root, "limits.load_balancers")?,
            listeners_per_load_balancer: number(root, "limits.listeners_per_load_balancer")?,
            rules_per_listener: number(root, "limits.rules_per_listener")?,
            backends_per_pool: number(root, "limits.backends_per_pool")?,
            certificates: number(root, "limits.certificates")?,
        },
        timeouts: Timeouts {
            client_header: duration(root, "timeouts.client_header")?,
            client_body: duration(root, "timeouts.client_body")?,
            client_keepalive: duration(root, "timeouts.client_keepalive")?,
            tls_handshake: duration(root, "timeouts.tls_handshake")?,
            backend_connect: duration(root, "timeouts.backend_connect")?,
            backend_response: duration(root, "timeouts.backend_response")?,
            backend_keepalive: duration(root, "timeouts.backend_keepalive")?,
            tunnel_idle: duration(root, "timeouts.tunnel_idle")?,
            tcp_idle: duration(root, "timeouts.tcp_idle")?,
            tcp_keepalive: Some(duration(root, "timeouts.tcp_keepalive")?)
                .filter(|time| !time.is_zero()),
            udp_idle: duration(root, "timeouts.udp_idle")?,
            drain: duration(root, "timeouts.drain")?,
            drain_idle: duration(root, "timeouts.drain_idle")?,
            task: duration(root, "timeouts.task")?,
        },
        http: Http {
            via: boolean(root, "http.via")?,
            no_backend_status: u16::try_from(number(root, "http.no_backend_status")?).ok()?,
            session_cookie: text(root, "http.session_cookie")?,
        },
        health: Health {
            http_method: match text(root, "health.http_method")?.as_str() {
                "HEAD" => HttpMethod::Head,
                _ => HttpMethod::Get,
            },
            udp_payload: udp_payload(root, problems)?,
            passive: boolean(root, "health.passive")?,
        },
        store: Store {
            key: files::store_key(root, folder, problems),
            audit_entries: number(root, "store.audit_entries")?,
        },
        access_log: access_log(root, folder, problems)?,
        tracing: Tracing {
            creates: text(root, "tracing.traceparent")? == "create",
            sample_percent: u32::try_from(number(root, "tracing.sample_percent")?).ok()?,
            otlp: address(root, "tracing.otlp", "127.0.0.1:4318", problems)?,
        },
        metrics: Metrics {
            max_rules: number(root, "metrics.max_rules")?,
            max_backends: number(root, "metrics.max_backends")?,
            rule_histograms: boolean(root, "metrics.rule_histograms")?,
        },
        prices: Prices {
            public: i64::try_from(number(root, "prices.public")?).ok()?,
            private: i64::try_from(number(root, "prices.private")?).ok()?,
        },
        log: Log {
            level: match text(root, "log.level")?.as_str() {
                "error" => LogLevel::Error,
                "warn" => LogLevel::Warn,
                "debug" => LogLevel::Debug,
                "trace" => LogLevel::Trace,
                _ => LogLevel::Info,
            },
            format: match text(root, "log.format")?.as_str() {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            },
        },
    };
    check_together(&config, document, problems);
    Some(Config {
        warnings: warnings(&config)
            .into_iter()
            .chain(files::key_warnings(path, folder, elements("api.keys")))
            .collect(),
        ..config
    })
}

fn text(values: &Values, path: &str) -> Option<String> {
    match values.value(path)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

const KIB: u64 = 1024;

/// A number with a lower bound.
fn at_least(root: &Values, path: &str, least: u64, problems: &mut Collector) -> Option<u64> {
    let value = number(root, path)?;
    if value < least {
        let message = format!("{path} = {value}: must be {least} bytes or more");
        problems.add(root.offset_of(path), message);
        return None;
    }
    Some(value)
}

/// An address with its port, or an empty text for none; outside nothing where it is neither.
fn address(
    root: &Values,
    path: &str,
    example: &str,
    problems: &mut Collector,
) -> Option<Option<SocketAddr>> {
    let text = text(root, path)?;
    if text.is_empty() {
        return Some(None);
    }
    let address = text.parse();
    if address.is_err() {
        let message = format!("{path} = \"{text}\": must be address:port, such as \"{example}\"");
        problems.add(root.offset_of(path), message);
    }
    address.ok().map(Some)
}

fn access_log(root: &Values, folder: &Path, problems: &mut Collector) -> Option<AccessLog> {
    let given = |path| text(root, path).filter(|text| !text.is_empty());
    let syslog = address(root, "access_log.syslog", "127.0.0.1:514", problems)?;
    Some(AccessLog {
        enabled: boolean(root, "access_log.enabled")?,
        retention: duration(root, "access_log.retention")?,
        max_bytes: at_least(root, "access_log.max_bytes", KIB * KIB, problems)?,
        file: given("access_log.file").map(|name| folder.join(name)),
        format: match text(root, "access_log.format")?.as_str() {
            "json" => AccessLogFormat::Json,
            _ => AccessLogFormat::Combined,
        },
        syslog,
    })
}

/// `health.udp_payload`: text, or octets in hexadecimal digits.
fn udp_payload(root: &Values, problems: &mut Collector) -> Option<Box<[u8]>> {
    let text = text(root, "health.udp_payload")?;
    let Some(digits) = text.strip_prefix("hex:") else {
        return Some(text.into_bytes().into());
    };
    let octet = |pair: &[u8]| {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        u8::try_from(digit(0)? * 16 + digit(1)?).ok()
    };
    let octets: Option<Box<[u8]>> = digits.as_bytes().chunks(2).map(octet).collect();
    if octets.is_none() {
        problems.add(
            root.offset_of("health.udp_payload"),
            format!(
                "health.udp_payload = \"{text}\": after hex: there must be pairs of the digits 0-9 and a-f"
            ),
        );
    }
    octets
}

fn number(values: &Values, path: &str) -> Option<u64> {
    match values.value(path)? {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

fn boolean(values: &Values, path: &str) -> Option<bool> {
    match values.value(path)? {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

fn duration(values: &Values, path: &str) -> Option<Duration> {
    match values.value(path)? {
        Value::Duration(duration) => Some(duration),
        _ => None,
    }
}

fn networks(values: &Values, path: &str) -> Option<Vec<IpNet>> {
    match values.value(path)? {
        Value::Networks(networks) => Some(networks),
        _ => None,
    }
}

fn instance(values: &Values) -> Option<Instance> {
    Some(Instance {
        id: text(values, "instances.id")?,
        ip: match values.value("instances.ip")? {
            Value::Address(address) => address,
            _ => return None,
        },
        name: text(values, "instances.name")?,
        wan_ips: match values.value("instances.wan_ips")? {
            Value::Addresses(addresses) => addresses,
            _ => return None,
        },
    })
}

fn keys(elements: &[Values], folder: &Path, problems: &mut Collector) -> Vec<ApiKey> {
    elements
        .iter()
        .filter_map(|values| key(values, folder, problems))
        .collect()
}

fn key(values: &Values, folder: &Path, problems: &mut Collector) -> Option<ApiKey> {
    let inline = values.given("api.keys.secret_key");
    let file = values.given("api.keys.secret_key_file");
    let secret_key = match (inline, file) {
        (Some(inline), None) => match &inline.value {
            Value::Text(text) => Zeroizing::new(text.clone()),
            _ => return None,
        },
        (None, Some(file)) => {
            let Value::Text(name) = &file.value else {
                return None;
            };
            match fs::read_to_string(folder.join(name)).map(Zeroizing::new) {
                Ok(text) => {
                    let line = text.strip_suffix('\n').unwrap_or(&text);
                    let line = line.strip_suffix('\r').unwrap_or(line);
                    if line.is_empty() || line.chars().any(|c| c.is_control() || c.is_whitespace())
                    {
                        let message = format!(
                            "api.keys.secret_key_file = \"{name}\": must hold one line without blanks"
                        );
                        problems.add(file.offset, message);
                    }
                    Zeroizing::new(line.to_owned())
                }
                Err(error) => {
                    let message =
                        format!("api.keys.secret_key_file = \"{name}\": can not be read: {error}");
                    problems.add(file.offset, message);
                    return None;
                }
            }
        }
        (Some(_), Some(file)) => {
            problems.add(
                file.offset,
                "api.keys: secret_key and secret_key_file exclude each other",
            );
            return None;
        }
        (None, None) => {
            let said = ["api.keys.secret_key", "api.keys.secret_key_file"];
            if !said.iter().any(|path| values.is_mentioned(path)) {
                let message = "api.keys: secret_key or secret_key_file is required";
                problems.add(values.offset, message);
            }
            return None;
        }
    };
    Some(ApiKey {
        secret_id: text(values, "api.keys.secret_id")?,
        secret_key: Secret(secret_key),
        access: match text(values, "api.keys.access")?.as_str() {
            "read-only" => Access::ReadOnly,
            _ => Access::Full,
        },
    })
}

fn check_together(config: &Config, document: &Document, problems: &mut Collector) {
    let root = &document.root;
    for public in &config.vips.public {
        for private in &config.vips.private {
            if public.contains(private) || private.contains(public) {
                problems.add(
                    root.offset_of("vips.private"),
                    format!("vips.private {private} and vips.public {public} overlap"),
                );
            }
        }
    }
    let mut sockets: Vec<SocketAddr> = Vec::new();
    let listens = config
        .api
        .listen
        .iter()
        .map(|socket| ("api.listen", socket));
    for (path, socket) in listens.chain([("admin.listen", &config.admin.listen)]) {
        if socket.port() != 0 && sockets.contains(socket) {
            problems.add(
                root.offset_of(path),
                format!("{path}: {socket} is used twice"),
            );
        }
        sockets.push(*socket);
    }
    let unique = |section: &'static str, path: &'static str, problems: &mut Collector| {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for values in document.arrays.get(section).into_iter().flatten() {
            let Some(Value::Text(id)) = values.given(path).map(|placed| &placed.value) else {
                continue;
            };
            if seen.insert(id.clone(), values.offset).is_some() {
                let message = format!("{path} = \"{id}\": is there already, ids must be unique");
                problems.add(values.offset_of(path), message);
            }
        }
    };
    unique("instances", "instances.id", problems);
    unique("api.keys", "api.keys.secret_id", problems);
    unique("certificates", "certificates.id", problems);
    for values in document.arrays.get("instances").into_iter().flatten() {
        if let Some(Value::Address(ip)) = values.given("instances.ip").map(|placed| &placed.value)
            && let Some(reason) = unfit(*ip, &config.backends.networks)
        {
            let message = format!("instances.ip = \"{ip}\": {reason}");
            problems.add(values.offset_of("instances.ip"), message);
        }
    }
}

/// Why an address can not be a machine behind the gateway (semantics.md 1).
fn unfit(ip: IpAddr, networks: &[IpNet]) -> Option<&'static str> {
    match ip.to_canonical() {
        ip if ip.is_unspecified() => Some("the unspecified address can not be a backend"),
        ip if ip.is_multicast() => Some("a multicast address can not be a backend"),
        IpAddr::V4(v4) if v4 == Ipv4Addr::BROADCAST => {
            Some("the broadcast address can not be a backend")
        }
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address can not be a backend"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some("a link-local address can not be a backend")
        }
        ip if !networks.iter().any(|network| network.contains(&ip)) => {
            Some("lies outside [backends] networks")
        }
        _ => None,
    }
}

fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for socket in &config.api.listen {
        if config.api.tls == ApiTls::Off && !socket.ip().is_loopback() {
            warnings.push(format!(
                "api.tls = \"off\" while api.listen has {socket}: secrets and answers go over the network in clear"
            ));
        }
    }
    if !config.admin.listen.ip().is_loopback() {
        warnings.push(format!(
            "admin.listen = \"{}\" is not a loopback address: anyone who reaches it can read it",
            config.admin.listen
        ));
    }
    warnings
}
