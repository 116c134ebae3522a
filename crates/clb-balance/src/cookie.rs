//! The value of the layer-7 session cookie (semantics.md 3): which member a client belongs to,
//! hidden and authenticated.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// Bytes of randomness in a value.
pub const COOKIE_NONCE: usize = 7;

/// Characters of a value, always.
pub const COOKIE_VALUE_CHARS: usize = 48;

/// How far ahead of this node's clock a value's time may lie, in seconds: the nodes of a cluster
/// read each other's values, and their clocks differ a little.
pub const COOKIE_CLOCK_SKEW: u64 = 2;

const TAG: usize = 16;
const MEMBER: usize = 8;
const ISSUED: usize = 5;
const CONTENT: usize = MEMBER + ISSUED + COOKIE_NONCE;
const SEALED: usize = TAG + CONTENT;

/// The key of all session cookies: drawn once, kept in the store, the same on all nodes.
///
/// A value is made as in SIV mode (the construction of RFC 5297, with HMAC-SHA256 for both parts):
/// the tag is a MAC, cut to 128 bits, over pool, member, time and nonce; the content is hidden by a
/// stream that is keyed by the tag. So a nonce that comes twice does no more harm than two equal
/// values, which counts where a key lives for years and nodes draw their nonces without talking.
#[derive(Clone)]
pub struct CookieKey {
    tag: Hmac<Sha256>,
    stream: Hmac<Sha256>,
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(…)")
    }
}

/// A cookie's value: [`COOKIE_VALUE_CHARS`] characters of base64url (RFC 4648, section 5), all of
/// which may stand in a cookie as they are (RFC 6265, section 4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CookieValue([u8; COOKIE_VALUE_CHARS]);

impl CookieValue {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for CookieValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CookieValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a valid value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedCookie {
    /// The member: the binding's id.
    pub member: u64,
    /// When it was issued, Unix seconds.
    pub issued: u64,
}

impl OpenedCookie {
    /// Whether a new value is due: less than half of the time `expire` (`sessionExpire`, seconds)
    /// is left at `now` (Unix seconds).
    #[must_use]
    pub fn needs_renewal(&self, now: u64, expire: u64) -> bool {
        let left = expire.saturating_sub(now.saturating_sub(self.issued));
        left.saturating_mul(2) < expire
    }
}

fn xor(content: &mut [u8], stream: &[u8]) {
    for (byte, mask) in content.iter_mut().zip(stream) {
        *byte ^= mask;
    }
}

/// HMAC-SHA256 under a 32-byte key, which HMAC pads with zeros to its block (RFC 2104, section 2).
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    let (start, _) = block.split_at_mut(key.len());
    start.copy_from_slice(key);
    let hmac = Hmac::new(&block.into());
    block.zeroize();
    hmac
}

/// The HMAC for one purpose, under a key derived for it.
fn derived(key: &[u8; 32], purpose: &[u8]) -> Hmac<Sha256> {
    let mut derived: [u8; 32] = keyed(key)
        .chain_update(purpose)
        .finalize()
        .into_bytes()
        .into();
    let hmac = keyed(&derived);
    derived.zeroize();
    hmac
}

impl CookieKey {
    /// A key from 32 random bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            tag: derived(key, b"clbd session cookie 1: tag"),
            stream: derived(key, b"clbd session cookie 1: stream"),
        }
    }

    /// The value that binds a client to `member` (the binding's id) of `pool` (the name of the
    /// rule or listener), issued now (Unix seconds; below 2^40, which lasts to the year 36812, and
    /// later counts as that). The nonce makes equal values differ and should be random.
    #[must_use]
    pub fn seal(
        &self,
        pool: &[u8],
        member: u64,
        issued: u64,
        nonce: [u8; COOKIE_NONCE],
    ) -> CookieValue {
        let issued = issued.min((1 << (8 * ISSUED)) - 1);
        let mut sealed = [0; SEALED];
        let (tag, content) = sealed.split_at_mut(TAG);
        let parts = member
            .to_be_bytes()
            .into_iter()
            .chain(issued.to_be_bytes().into_iter().skip(8 - ISSUED))
            .chain(nonce);
        for (byte, part) in content.iter_mut().zip(parts) {
            *byte = part;
        }
        let mac: [u8; 32] = self.mac(pool, content).finalize().into_bytes().into();
        tag.copy_from_slice(mac.split_at(TAG).0);
        xor(content, &self.stream(tag));
        let mut value = [0; COOKIE_VALUE_CHARS];
        // The lengths fit: 36 bytes are 48 characters.
        let written = URL_SAFE_NO_PAD.encode_slice(sealed, &mut value);
        debug_assert_eq!(written, Ok(COOKIE_VALUE_CHARS));
        CookieValue(value)
    }

    /// What a value says, if this key sealed it for this pool and it was issued less than `expire`
    /// seconds (`sessionExpire`) before `now` (Unix seconds) and not after it, but for
    /// [`COOKIE_CLOCK_SKEW`]. For anything else that a client may send, `None`. Takes the same
    /// time for every tag that does not fit.
    #[must_use]
    pub fn open(&self, pool: &[u8], value: &[u8], now: u64, expire: u64) -> Option<OpenedCookie> {
        if value.len() != COOKIE_VALUE_CHARS {
            return None;
        }
        let mut sealed = [0; SEALED];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut sealed).ok()?;
        if length != SEALED {
            return None;
        }
        let (tag, content) = sealed.split_at_mut(TAG);
        xor(content, &self.stream(tag));
        self.mac(pool, content).verify_truncated_left(tag).ok()?;
        let (member, rest) = content.split_first_chunk::<MEMBER>()?;
        let issued = rest
            .first_chunk::<ISSUED>()?
            .iter()
            .fold(0, |issued, byte| issued << 8 | u64::from(*byte));
        let is_fresh =
            issued <= now.saturating_add(COOKIE_CLOCK_SKEW) && now.saturating_sub(issued) < expire;
        is_fresh.then_some(OpenedCookie {
            member: u64::from_be_bytes(*member),
            issued,
        })
    }

    /// The content has one length, so nothing of it can be taken for the pool's name.
    fn mac(&self, pool: &[u8], content: &[u8]) -> Hmac<Sha256> {
        self.tag.clone().chain_update(content).chain_update(pool)
    }

    fn stream(&self, tag: &[u8]) -> [u8; 32] {
        let stream = self.stream.clone().chain_update(tag);
        stream.finalize().into_bytes().into()
    }
}

/// A `Set-Cookie` field's value (semantics.md 3; RFC 6265, section 4.1, and SameSite, which that
/// does not know yet): written by its `Display`.
#[derive(Debug, Clone, Copy)]
pub struct SetCookie<'a> {
    /// `[http] session_cookie`, a token.
    pub name: &'a str,
    /// The value.
    pub value: &'a CookieValue,
    /// `sessionExpire` in seconds.
    pub max_age: u16,
    /// On HTTPS listeners: the client sends it over TLS only.
    pub secure: bool,
}

impl fmt::Display for SetCookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = if self.secure { "; Secure" } else { "" };
        write!(
            f,
            "{}={}; Max-Age={}; Path=/{secure}; HttpOnly; SameSite=Lax",
            self.name, self.value, self.max_age
        )
    }
}

#[cfg(test)]
mod tests;
