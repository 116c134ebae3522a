//! What a certificate says of itself.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::error::Fault;

/// Longest text of a name in messages and facts, in characters: names come from outside.
const NAME_CHARS: usize = 200;

/// Most names of one certificate that are kept; a certificate may have more, which are served.
const NAMES: usize = 100;

/// A public key's type and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// RSA with the modulus's length in bits.
    Rsa(usize),
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// ECDSA on NIST P-521.
    P521,
    /// Ed25519 (RFC 8410).
    Ed25519,
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA-{bits}"),
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Distinguished name, shortened when it is long.
    pub subject: String,
    /// Distinguished name of the issuer, shortened when it is long.
    pub issuer: String,
    /// Serial number, hexadecimal with colons.
    pub serial: String,
    /// First second of its life, Unix time.
    pub not_before: i64,
    /// Last second of its life, Unix time.
    pub not_after: i64,
    /// DNS names and IP addresses of the subject alternative name; at most 100.
    pub names: Vec<String>,
    /// Its public key's type; none when it is one that clbd does not serve.
    pub key_type: Option<KeyType>,
}

/// A certificate as it was read, for the checks.
pub(crate) struct Parsed<'a> {
    pub certificate: X509Certificate<'a>,
    pub facts: Facts,
}

pub(crate) fn parse(der: &[u8]) -> Result<Parsed<'_>, Fault> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| Fault::Unreadable(reason(&error)))?;
    if !rest.is_empty() {
        return Err(Fault::Trailing(rest.len()));
    }
    let facts = Facts {
        subject: shown(&certificate.subject().to_string()),
        issuer: shown(&certificate.issuer().to_string()),
        serial: certificate.raw_serial_as_string(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        names: names(&certificate),
        key_type: key_type(certificate.public_key()).ok(),
    };
    Ok(Parsed { certificate, facts })
}

/// What the parser stumbled over, in one word: its own text is a nested structure.
fn reason(error: &x509_parser::nom::Err<x509_parser::error::X509Error>) -> String {
    use x509_parser::nom::Err;
    match error {
        Err::Incomplete(_) => "it is cut off".to_owned(),
        Err::Error(error) | Err::Failure(error) => shown(&error.to_string()),
    }
}

/// A text from outside as a message may show it: without control characters, not too long.
fn shown(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut shown: String = clean.take(NAME_CHARS).collect();
    if text.chars().nth(NAME_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(shown(name)),
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    };
    let names = extension.value.general_names.iter().filter_map(name);
    names.take(NAMES).collect()
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| std::net::Ipv4Addr::from(octets).to_string());
    let v6 =
        <[u8; 16]>::try_from(octets).map(|octets| std::net::Ipv6Addr::from(octets).to_string());
    v4.or(v6).ok()
}

/// The type of a public key, or its name when it is not one that is served.
pub(crate) fn key_type(key: &SubjectPublicKeyInfo<'_>) -> Result<KeyType, String> {
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        let bits = match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => bits(rsa.modulus),
            _ => return Err("RSA, which cannot be read".to_owned()),
        };
        return match bits {
            2048..=8192 => Ok(KeyType::Rsa(bits)),
            _ => Err(format!("RSA of {bits} bits")),
        };
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref();
        return match curve.and_then(|curve| curve.as_oid().ok()) {
            Some(curve) => curve_type(&curve),
            None => Err("ECDSA on a curve that has no name".to_owned()),
        };
    }
    if *algorithm == OID_SIG_ED25519 {
        return Ok(KeyType::Ed25519);
    }
    Err(algorithm.to_id_string())
}

fn curve_type(curve: &Oid<'_>) -> Result<KeyType, String> {
    [
        (OID_EC_P256, KeyType::P256),
        (OID_NIST_EC_P384, KeyType::P384),
        (OID_NIST_EC_P521, KeyType::P521),
    ]
    .into_iter()
    .find_map(|(oid, key_type)| (oid == *curve).then_some(key_type))
    .ok_or_else(|| format!("ECDSA on the curve {}", curve.to_id_string()))
}

/// The length of a number without its leading zeros, in bits.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    match number.get(zeros) {
        None => 0,
        Some(first) => {
            let of_first = usize::try_from(8 - first.leading_zeros()).unwrap_or(8);
            (number.len() - zeros - 1) * 8 + of_first
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_are_no_bits() {
        for (number, length) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[1], 1),
            (&[0, 0x80, 0], 16),
            (&[0x7f, 0xff], 15),
        ] {
            assert_eq!(bits(number), length, "{number:?}");
        }
    }

    #[test]
    fn names_from_outside_are_cut_and_cleaned() {
        assert_eq!(shown("a\nb\u{1b}[1m"), "a?b?[1m");
        assert_eq!(shown(&"x".repeat(201)).chars().count(), 201);
        assert!(shown(&"x".repeat(201)).ends_with('…'));
    }
}
