//! Server certificates and client CAs.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::id::CertificateId;
use crate::types::UnixMillis;

/// Octets that are kept as base64: a certificate, DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Der(pub Vec<u8>);

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let der = STANDARD.decode(text).map_err(D::Error::custom)?;
        Ok(Self(der))
    }
}

/// In which form a private key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyForm {
    /// PKCS#8 (RFC 5958).
    Pkcs8,
    /// PKCS#1 (RFC 8017), RSA only.
    Pkcs1,
    /// SEC1 (RFC 5915), elliptic curves only.
    Sec1,
}

/// A private key, DER: wiped when it is dropped, never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateKey {
    /// How it is written.
    pub form: KeyForm,
    der: SecretOctets,
}

impl PrivateKey {
    /// A key in this form.
    #[must_use]
    pub fn new(form: KeyForm, der: &[u8]) -> Self {
        Self {
            form,
            der: SecretOctets(Zeroizing::new(der.to_vec())),
        }
    }

    /// The key itself.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

#[derive(Clone, PartialEq, Eq)]
struct SecretOctets(Zeroizing<Vec<u8>>);

impl Serialize for SecretOctets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(STANDARD.encode(&*self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for SecretOctets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The decoder's error would name a character.
        let wrong = |_| D::Error::custom("a private key is not base64");
        Ok(Self(Zeroizing::new(
            STANDARD.decode(text.as_bytes()).map_err(wrong)?,
        )))
    }
}

/// What is the same content: a digest over kind and certificates. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("a fingerprint has 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (octet, at) in digest.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

/// What a certificate is for (actions.md C.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// A server's chain and key.
    Server,
    /// What client certificates are checked against.
    ClientAuthority,
}

impl fmt::Display for CertificateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "a server certificate",
            Self::ClientAuthority => "a client CA certificate",
        })
    }
}

/// A server's chain and key, or client CAs, as they were checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateContent {
    /// Equal for equal uploads.
    pub fingerprint: Fingerprint,
    /// At least one; a server's chain leaf first.
    pub certificates: Vec<Der>,
    /// A server's key; client CAs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PrivateKey>,
    /// Subject of the first certificate.
    pub subject: String,
    /// Unix time, seconds: from then on all of its certificates are valid.
    pub not_before: i64,
    /// Unix time, seconds: the last second in which all of its certificates are valid.
    pub not_after: i64,
}

impl CertificateContent {
    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> CertificateKind {
        match self.key {
            Some(_) => CertificateKind::Server,
            None => CertificateKind::ClientAuthority,
        }
    }
}

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The API. Its content never changes and it is never deleted.
    Uploaded,
    /// `[[certificates]]` of clb.toml, whose content it follows.
    File,
    /// It was in clb.toml and is no more: listeners that use it keep it, no other can have it.
    Withdrawn,
}

/// A certificate under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Eight characters of `a-z0-9`.
    pub id: CertificateId,
    /// As given; not unique.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// When it was stored first.
    pub created: UnixMillis,
    /// What it is.
    pub content: Arc<CertificateContent>,
}
