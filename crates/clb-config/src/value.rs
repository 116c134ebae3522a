//! The kinds of values and how they are read.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text without control characters.
    Text,
    /// Text that is not empty and has no blanks or control characters.
    Name,
    /// Eight characters of a-z0-9 (actions.md C.7).
    CertificateId,
    /// A token (RFC 9110 5.6.2).
    Token,
    /// As `Name`, and never shown.
    Secret,
    /// Text that names a file or folder.
    Path,
    /// One of these words.
    Word(&'static [&'static str]),
    /// true or false.
    Bool,
    /// A whole number.
    Int {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number of bytes: "64KiB", "1MiB", "0", or a whole number.
    Size,
    /// A time: "5s", "500ms", "2m", "72h".
    Duration {
        /// Whether "0s" is allowed.
        zero: bool,
    },
    /// address:port
    Socket,
    /// At least one address:port.
    Sockets,
    /// Networks such as "127.10.0.0/16".
    Networks,
    /// An IP address.
    Address,
    /// IP addresses.
    Addresses,
    /// Names.
    Names,
    /// "self-signed", "off" or { cert = "…", key = "…" }.
    Tls,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Int(u64),
    Duration(Duration),
    Socket(SocketAddr),
    Sockets(Vec<SocketAddr>),
    Networks(Vec<IpNet>),
    Address(IpAddr),
    Addresses(Vec<IpAddr>),
    Names(Vec<String>),
    TlsFiles { cert: String, key: String },
}

impl Kind {
    /// What is allowed, as messages and the reference say it.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Text => "a string without control characters".to_owned(),
            Self::Name | Self::Secret => "a string without blanks, not empty".to_owned(),
            Self::CertificateId => "eight characters of a-z0-9".to_owned(),
            Self::Token => "letters, digits and !#$%&'*+-.^_`|~, not empty".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Word(words) => words
                .iter()
                .map(|word| format!("\"{word}\""))
                .collect::<Vec<_>>()
                .join(" or "),
            Self::Bool => "true or false".to_owned(),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Size => "a size such as \"64KiB\", \"1MiB\" or \"0\"".to_owned(),
            Self::Duration { zero: false } => {
                "a duration such as \"500ms\", \"5s\", \"2m\" or \"72h\", more than 0".to_owned()
            }
            Self::Duration { zero: true } => {
                "a duration such as \"0s\", \"500ms\", \"5s\", \"2m\" or \"72h\"".to_owned()
            }
            Self::Socket => "an address and port such as \"127.0.0.1:8443\"".to_owned(),
            Self::Sockets => {
                "an array of addresses and ports such as [\"127.0.0.1:8443\"], at least one"
                    .to_owned()
            }
            Self::Networks => "an array of networks such as [\"10.0.0.0/8\"]".to_owned(),
            Self::Address => "an IP address".to_owned(),
            Self::Addresses => "an array of IP addresses".to_owned(),
            Self::Names => "an array of strings without blanks, not empty".to_owned(),
            Self::Tls => {
                "\"self-signed\", \"off\" or { cert = \"FILE\", key = \"FILE\" }".to_owned()
            }
        }
    }

    /// Reads a value; none if it is not of this kind.
    pub(crate) fn read(self, value: &DeValue<'_>) -> Option<Value> {
        match self {
            Self::Text => text(value).map(Value::Text),
            Self::Name | Self::Secret => name(value).map(Value::Text),
            Self::CertificateId => text(value)
                .filter(|text| is_certificate_id(text))
                .map(Value::Text),
            Self::Token => text(value).filter(|text| is_token(text)).map(Value::Text),
            Self::Path => text(value).filter(|path| !path.is_empty()).map(Value::Text),
            Self::Word(words) => {
                let word = value.as_str()?;
                words.contains(&word).then(|| Value::Text(word.to_owned()))
            }
            Self::Bool => value.as_bool().map(Value::Bool),
            Self::Int { min, max } => integer(value)
                .filter(|number| (min..=max).contains(number))
                .map(Value::Int),
            Self::Size => match value.as_str() {
                Some(text) => size(text),
                None => integer(value),
            }
            .map(Value::Int),
            Self::Duration { zero } => duration(value.as_str()?)
                .filter(|duration| zero || !duration.is_zero())
                .map(Value::Duration),
            Self::Socket => value.as_str()?.parse().ok().map(Value::Socket),
            Self::Sockets => list(value, |text| text.parse().ok())
                .filter(|all| !all.is_empty())
                .map(Value::Sockets),
            Self::Networks => list(value, network).map(Value::Networks),
            Self::Address => value.as_str()?.parse().ok().map(Value::Address),
            Self::Addresses => list(value, |text| text.parse().ok()).map(Value::Addresses),
            Self::Names => {
                list(value, |text| is_name(text).then(|| text.to_owned())).map(Value::Names)
            }
            Self::Tls => tls(value),
        }
    }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    let text = value.as_str()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn is_certificate_id(text: &str) -> bool {
    text.len() == 8
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn name(value: &DeValue<'_>) -> Option<String> {
    text(value).filter(|text| is_name(text))
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn list<T>(value: &DeValue<'_>, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value
        .as_array()?
        .iter()
        .map(|item| read(item.get_ref().as_str()?))
        .collect()
}

/// A network, or an address that stands for the network of itself. Host bits are refused: they
/// are a slip of the pen more often than meant.
fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpNet>() {
        Ok(network) => (network.trunc() == network).then_some(network),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

fn size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    // Ten years: beyond, sums of times could overflow.
    const LONGEST_MS: u64 = 10 * 365 * 24 * 3_600_000;
    let millis = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (millis <= LONGEST_MS).then(|| Duration::from_millis(millis))
}

fn tls(value: &DeValue<'_>) -> Option<Value> {
    if let Some(word) = value.as_str() {
        return ["self-signed", "off"]
            .contains(&word)
            .then(|| Value::Text(word.to_owned()));
    }
    let table = value.as_table()?;
    let file = |name: &str| {
        let text = table.get(name)?.get_ref().as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    match table.len() {
        2 => Some(Value::TlsFiles {
            cert: file("cert")?,
            key: file("key")?,
        }),
        _ => None,
    }
}
