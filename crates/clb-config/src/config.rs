//! The configuration as the program uses it.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::document::{Document, Values, read};
use crate::problems::{Collector, Problems};
use crate::value::Value;

/// A secret: wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

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

/// `[backends]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backends {
    /// Where backend addresses may lie.
    pub networks: Vec<IpNet>,
}

/// `[limits]`; 0 is no limit unless said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// 0 is what RLIMIT_NOFILE allows.
    pub connections: u64,
    /// Entries.
    pub persistence_entries: u64,
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
    pub backends_per_pool: u64,
}

/// `[timeouts]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt.
    pub backend_connect: Duration,
    /// Without a byte either way.
    pub tcp_idle: Duration,
    /// 0 resets at once.
    pub drain: Duration,
    /// Until a task is in force.
    pub task: Duration,
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
    /// `[backends]`
    pub backends: Backends,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[prices]`
    pub prices: Prices,
    /// `[log]`
    pub log: Log,
}

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
        backends: Backends {
            networks: networks(root, "backends.networks")?,
        },
        limits: Limits {
            connections: number(root, "limits.connections")?,
            persistence_entries: number(root, "limits.persistence_entries")?,
            api_url_bytes: number(root, "limits.api_url_bytes")?,
            api_body_bytes: number(root, "limits.api_body_bytes")?,
            api_nonces: number(root, "limits.api_nonces")?,
            api_requests_per_second: number(root, "limits.api_requests_per_second")?,
            load_balancers: number(root, "limits.load_balancers")?,
            listeners_per_load_balancer: number(root, "limits.listeners_per_load_balancer")?,
            backends_per_pool: number(root, "limits.backends_per_pool")?,
        },
        timeouts: Timeouts {
            backend_connect: duration(root, "timeouts.backend_connect")?,
            tcp_idle: duration(root, "timeouts.tcp_idle")?,
            drain: duration(root, "timeouts.drain")?,
            task: duration(root, "timeouts.task")?,
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
        warnings: warnings(&config),
        ..config
    })
}

fn text(values: &Values, path: &str) -> Option<String> {
    match values.value(path)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn number(values: &Values, path: &str) -> Option<u64> {
    match values.value(path)? {
        Value::Int(number) => Some(number),
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
