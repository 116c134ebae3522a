//! Upgrade (RFC 9110, section 7.8).

use super::method::Method;
use super::octets::{is_token, members};

/// Most octets of an Upgrade value that is sent on.
pub const UPGRADE_LENGTH: usize = 64;

/// The protocols that a request asks for, copied out of it, so that the answer can be checked when
/// the request's octets are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpgradeAsked {
    text: [u8; UPGRADE_LENGTH],
    length: u8,
}

impl Default for UpgradeAsked {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Option<&[u8]>> for UpgradeAsked {
    /// Of [`Request::upgrade`](super::Request::upgrade); a longer value than [`UPGRADE_LENGTH`]
    /// counts as none.
    fn from(value: Option<&[u8]>) -> Self {
        let mut asked = Self::default();
        if let Some(value) = value
            && let Some(text) = asked.text.get_mut(..value.len())
        {
            text.copy_from_slice(value);
            asked.length = value.len() as u8;
        }
        asked
    }
}

impl UpgradeAsked {
    /// No protocol was asked for.
    pub const NONE: Self = Self {
        text: [0; UPGRADE_LENGTH],
        length: 0,
    };

    /// Whether any protocol was asked for.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.length > 0
    }

    fn value(&self) -> &[u8] {
        self.text
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// Whether `value`, a 101's Upgrade, names protocols, and only those that were asked for
    /// (RFC 9110, section 7.8: a server must not switch to another).
    pub(crate) fn covers(&self, value: &[u8]) -> bool {
        let mut some = false;
        for answered in members(value).filter(|member| !member.is_empty()) {
            some = true;
            let is_asked = members(self.value())
                .filter(|member| !member.is_empty())
                .any(|asked| asked.eq_ignore_ascii_case(answered));
            if !is_asked {
                return false;
            }
        }
        some
    }
}

/// Whether `value` asks for protocols that go through a tunnel unseen: tokens with an optional
/// version, none of them HTTP itself or TLS, with which one connection would get a second life
/// behind our back (RFC 9113, section 3.1, has withdrawn h2c), and WebSocket with GET only
/// (RFC 6455, section 4.1).
pub(crate) fn may_tunnel(method: Method<'_>, value: &[u8]) -> bool {
    let mut some = false;
    let fine = value.len() <= UPGRADE_LENGTH
        && members(value)
            .filter(|member| !member.is_empty())
            .all(|protocol| {
                some = true;
                let mut parts = protocol.splitn(2, |&octet| octet == b'/');
                let name = parts.next().unwrap_or_default();
                let version_fits = parts.next().is_none_or(is_token);
                let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
                is_token(name)
                    && version_fits
                    && !["h2c", "h2", "h3", "http", "https", "tls"]
                        .into_iter()
                        .any(is)
                    && (!is("websocket") || method == Method::Get)
            });
    fine && some
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_for() {
        for (value, expected) in [
            ("websocket", true),
            ("WebSocket", true),
            ("websocket, foo/2", true),
            ("foo", true),
            ("SPDY/3.1", true),
            ("tcp", true),
            ("", false),
            (",", false),
            ("h2c", false),
            ("H2C", false),
            ("websocket, h2c", false),
            ("h2c, websocket", false),
            ("h2", false),
            ("HTTP/2.0", false),
            ("http/1.1", false),
            ("TLS/1.0", false),
            ("web socket", false),
            ("websocket;x", false),
            ("\"websocket\"", false),
            ("foo/", false),
            ("foo/1/2", false),
            ("/1", false),
        ] {
            assert_eq!(
                may_tunnel(Method::Get, value.as_bytes()),
                expected,
                "{value}"
            );
        }
        assert!(!may_tunnel(Method::Post, b"websocket"));
        assert!(may_tunnel(Method::Post, b"tcp"));
        assert!(may_tunnel(Method::Get, &[b'a'; UPGRADE_LENGTH]));
        assert!(!may_tunnel(Method::Get, &[b'a'; UPGRADE_LENGTH + 1]));
    }

    #[test]
    fn what_may_be_answered() {
        let asked = UpgradeAsked::from(Some(&b"websocket, Foo/2"[..]));
        for (value, expected) in [
            ("websocket", true),
            ("WebSocket", true),
            ("foo/2", true),
            ("foo/2, websocket", true),
            ("foo", false),
            ("foo/1", false),
            ("websocket, bar", false),
            ("h2c", false),
            ("", false),
            (",", false),
            ("websocket x", false),
        ] {
            assert_eq!(asked.covers(value.as_bytes()), expected, "{value}");
        }
        assert!(!UpgradeAsked::from(None).is_some());
        assert!(!UpgradeAsked::default().covers(b"websocket"));
        assert!(!UpgradeAsked::from(Some(&[b'a'; UPGRADE_LENGTH + 1][..])).is_some());
        assert!(UpgradeAsked::from(Some(&[b'a'; UPGRADE_LENGTH][..])).is_some());
    }
}
