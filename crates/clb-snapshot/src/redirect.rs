//! Where a rule's requests are redirected to.

use clb_model::{PathMap, Port, Protocol};

/// The address that a redirected rule's requests are sent to (semantics.md 6). The host is the
/// request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// What the target's listener speaks: HTTP or HTTPS.
    pub protocol: Protocol,
    /// Its port.
    pub port: Port,
    /// What becomes of the path.
    pub path: PathMap,
}

impl Redirect {
    /// The scheme of the address.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match self.protocol {
            Protocol::Https => "https",
            Protocol::Http | Protocol::Tcp | Protocol::Udp => "http",
        }
    }

    /// The port, unless it is the scheme's own (RFC 9110, section 4.2).
    #[must_use]
    pub fn named_port(&self) -> Option<Port> {
        let default = match self.protocol {
            Protocol::Https => Port::HTTPS,
            Protocol::Http | Protocol::Tcp | Protocol::Udp => Port::HTTP,
        };
        (self.port != default).then_some(self.port)
    }
}
