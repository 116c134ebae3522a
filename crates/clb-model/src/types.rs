//! Checked values: past the API's edge no range is checked twice.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value lies outside its type's range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value} is outside {min} to {max}")]
pub struct OutOfRange {
    value: i64,
    min: i64,
    max: i64,
}

macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name($inner);

        impl $name {
            /// Smallest value.
            pub const MIN: Self = Self($min);
            /// Largest value.
            pub const MAX: Self = Self($max);

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = OutOfRange;
            fn try_from(value: i64) -> Result<Self, OutOfRange> {
                let range = i64::from(Self::MIN.0)..=i64::from(Self::MAX.0);
                match <$inner>::try_from(value) {
                    Ok(inner) if range.contains(&value) => Ok(Self(inner)),
                    _ => Err(OutOfRange { value, min: *range.start(), max: *range.end() }),
                }
            }
        }

        impl From<$name> for i64 {
            fn from(value: $name) -> i64 {
                i64::from(value.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ranged!(
    /// A TCP or UDP port, 1 to 65535.
    Port,
    u16,
    1,
    65535
);
ranged!(
    /// A backend's weight, 0 to 100; 0 takes no new sessions.
    Weight,
    u8,
    0,
    100
);
ranged!(
    /// `intervalTime`: seconds from probe start to probe start, 5 to 300.
    IntervalTime,
    u16,
    5,
    300
);
ranged!(
    /// `timeOut`: seconds one probe may take, 2 to 60.
    TimeOut,
    u8,
    2,
    60
);
ranged!(
    /// `healthNum` and `unhealthNum`: equal results in a row that flip the state, 2 to 10.
    CheckCount,
    u8,
    2,
    10
);
ranged!(
    /// `sessionExpire` when persistence is on: seconds, 30 to 3600.
    SessionExpire,
    u16,
    30,
    3600
);

ranged!(
    /// `httpCode`: the classes of status codes that count as healthy, added up: 1 for 1xx, 2 for
    /// 2xx, 4 for 3xx, 8 for 4xx, 16 for 5xx; 1 to 31.
    HttpCodeMask,
    u8,
    1,
    31
);

impl HttpCodeMask {
    /// The mask of a check that is made without one: every class.
    pub const DEFAULT: Self = Self::MAX;

    /// Whether a status code's class is in the mask; codes outside 100 to 599 are in none.
    #[must_use]
    pub const fn accepts(self, status: u16) -> bool {
        match status {
            100..=599 => self.0 & (1 << (status / 100 - 1)) != 0,
            _ => false,
        }
    }
}

impl Port {
    /// The default port of http (RFC 9110, section 4.2.1).
    pub const HTTP: Self = Self(80);
    /// The default port of https (RFC 9110, section 4.2.2).
    pub const HTTPS: Self = Self(443);
}

impl Weight {
    /// The weight of a backend that is bound without one.
    pub const DEFAULT: Self = Self(10);
}

/// Public (`loadBalancerType` 2) or private (3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadBalancerType {
    /// Public network.
    Public,
    /// Private network.
    Private,
}

impl LoadBalancerType {
    /// The API's number.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Public => 2,
            Self::Private => 3,
        }
    }

    /// Reads the API's number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            2 => Some(Self::Public),
            3 => Some(Self::Private),
            _ => None,
        }
    }
}

/// The API's `forward`: classic (0) or application-based (1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `forward` 0: backends are bound to the instance.
    Classic,
    /// `forward` 1: backends are bound to layer-4 listeners and to rules.
    Application,
}

impl Family {
    /// The API's number.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Classic => 0,
            Self::Application => 1,
        }
    }

    /// Reads the API's number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Classic),
            1 => Some(Self::Application),
            _ => None,
        }
    }
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP (1).
    Http,
    /// TCP (2).
    Tcp,
    /// UDP (3).
    Udp,
    /// HTTPS (4).
    Https,
}

impl Protocol {
    /// What it is called in clb.toml, in stored series and as `protocolType` of the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// The API's number.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Http => 1,
            Self::Tcp => 2,
            Self::Udp => 3,
            Self::Https => 4,
        }
    }

    /// Reads the API's number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Http),
            2 => Some(Self::Tcp),
            3 => Some(Self::Udp),
            4 => Some(Self::Https),
            _ => None,
        }
    }

    /// Datagrams instead of connections.
    #[must_use]
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::Udp)
    }

    /// HTTP or HTTPS.
    #[must_use]
    pub const fn is_layer7(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// Whom the backends of a load balancer's TCP listeners see as the client (semantics.md 5, "Source
/// address").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientIp {
    /// The gateway.
    #[default]
    Gateway,
    /// The gateway, which begins each connection with a line that names the client (PROXY protocol
    /// 1).
    #[serde(rename = "proxy-v1")]
    ProxyV1,
    /// The same in binary (PROXY protocol 2).
    #[serde(rename = "proxy-v2")]
    ProxyV2,
    /// The client.
    Transparent,
}

impl ClientIp {
    /// Its word in the API and in clb.toml.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::ProxyV1 => "proxy-v1",
            Self::ProxyV2 => "proxy-v2",
            Self::Transparent => "transparent",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Gateway,
            Self::ProxyV1,
            Self::ProxyV2,
            Self::Transparent,
        ];
        all.into_iter().find(|one| one.word() == word)
    }

    /// Whether it is the gateway, of which nothing need be said.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        *self == Self::Gateway
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Https => "HTTPS",
        })
    }
}

/// How a backend is chosen (semantics.md 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheduler {
    /// Weighted round robin.
    Wrr,
    /// Fewest active connections by weight.
    LeastConn,
    /// The client's address, hashed; HTTP and HTTPS only.
    IpHash,
}

impl Scheduler {
    /// The API's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wrr => "wrr",
            Self::LeastConn => "least_conn",
            Self::IpHash => "ip_hash",
        }
    }

    /// Reads the API's word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "wrr" => Some(Self::Wrr),
            "least_conn" => Some(Self::LeastConn),
            "ip_hash" => Some(Self::IpHash),
            _ => None,
        }
    }
}

/// `SSLMode`: who shows a certificate in a handshake (semantics.md 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SslMode {
    /// Only the server.
    Unidirectional,
    /// The client too, one that is signed by the listener's CA.
    Mutual,
}

impl SslMode {
    /// The API's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unidirectional => "unidirectional",
            Self::Mutual => "mutual",
        }
    }

    /// Reads the API's word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "unidirectional" => Some(Self::Unidirectional),
            "mutual" => Some(Self::Mutual),
            _ => None,
        }
    }
}

/// A point in time, milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ports_hold_exactly_their_range(value in any::<i64>()) {
            prop_assert_eq!(Port::try_from(value).is_ok(), (1..=65535).contains(&value));
        }
    }

    #[test]
    fn ends_of_ranges() {
        assert!(
            Weight::try_from(100).is_ok()
                && Weight::try_from(101).is_err()
                && Weight::try_from(-1).is_err()
        );
        assert!(IntervalTime::try_from(4).is_err() && IntervalTime::try_from(301).is_err());
        assert!(serde_json::from_str::<Weight>("101").is_err());
        assert_eq!(serde_json::to_string(&Weight::DEFAULT).unwrap(), "10");
    }

    #[test]
    fn a_mask_accepts_the_classes_that_are_added_up_in_it() {
        for mask in 1..=31 {
            let codes = HttpCodeMask::try_from(mask).unwrap();
            for (bit, first) in (0..).zip([100u16, 200, 300, 400, 500]) {
                for status in [first, first + 99] {
                    assert_eq!(
                        codes.accepts(status),
                        mask >> bit & 1 == 1,
                        "{mask} {status}"
                    );
                }
            }
            assert!(!codes.accepts(99) && !codes.accepts(600) && !codes.accepts(0));
        }
        assert!(HttpCodeMask::try_from(0).is_err() && HttpCodeMask::try_from(32).is_err());
        assert_eq!(HttpCodeMask::DEFAULT.get(), 31);
    }

    #[test]
    fn numbers_and_words_read_back() {
        for protocol in [
            Protocol::Http,
            Protocol::Tcp,
            Protocol::Udp,
            Protocol::Https,
        ] {
            assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
        }
        for scheduler in [Scheduler::Wrr, Scheduler::LeastConn, Scheduler::IpHash] {
            assert_eq!(Scheduler::from_name(scheduler.name()), Some(scheduler));
        }
    }
}
