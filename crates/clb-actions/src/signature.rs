//! The request signature (actions.md A.6).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use subtle::ConstantTimeEq as _;

use crate::form::Pair;

/// Which hash the HMAC uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-1 (RFC 2104, FIPS 180-4): the default.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
}

impl Algorithm {
    /// What the value of SignatureMethod selects: exactly `HmacSHA256` is SHA-256, anything else
    /// and its absence is SHA-1 (product document: "otherwise HmacSHA1 is used").
    #[must_use]
    pub fn from_method_param(value: Option<&str>) -> Self {
        match value {
            Some("HmacSHA256") => Self::Sha256,
            _ => Self::Sha1,
        }
    }
}

/// The parameters as they stand in the string to sign: all but Signature, `_` in a name as `.`,
/// sorted by name in byte order, `name=value` joined by `&`, values as decoded.
#[must_use]
pub fn canonical_parameters(params: &[Pair]) -> String {
    let mut signed: Vec<(String, &str)> = params
        .iter()
        .filter(|(name, _)| name != "Signature")
        .map(|(name, value)| (name.replace('_', "."), value.as_str()))
        .collect();
    signed.sort();
    let mut out = String::new();
    for (name, value) in signed {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(&name);
        out.push('=');
        out.push_str(value);
    }
    out
}

/// METHOD + host + path + `?` + parameters. `method` is `GET` or `POST`, `host` the Host field
/// with its port if it has one, `params` decoded.
#[must_use]
pub fn string_to_sign(method: &str, host: &str, path: &str, params: &[Pair]) -> String {
    with_prefix(method, host, path, &canonical_parameters(params))
}

/// As [`string_to_sign`], for parameters that are canonical already.
pub(crate) fn with_prefix(method: &str, host: &str, path: &str, canonical: &str) -> String {
    format!("{method}{host}{path}?{canonical}")
}

/// The signature of `text`: Base64 (standard alphabet, padded) of its HMAC.
#[must_use]
pub fn sign(secret_key: &str, algorithm: Algorithm, text: &str) -> String {
    match algorithm {
        Algorithm::Sha1 => encoded_hmac::<Hmac<sha1::Sha1>>(secret_key, text),
        Algorithm::Sha256 => encoded_hmac::<Hmac<sha2::Sha256>>(secret_key, text),
    }
}

/// Whether `signature` is the signature of `text`. The encoded texts are compared, in constant
/// time, so that each signature has exactly one accepted spelling.
#[must_use]
pub fn verify(secret_key: &str, algorithm: Algorithm, text: &str, signature: &str) -> bool {
    let expected = sign(secret_key, algorithm, text);
    expected.as_bytes().ct_eq(signature.as_bytes()).into()
}

fn encoded_hmac<M: Mac + KeyInit>(secret_key: &str, text: &str) -> String {
    match <M as KeyInit>::new_from_slice(secret_key.as_bytes()) {
        Ok(mut mac) => {
            mac.update(text.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        }
        // HMAC takes keys of any length (RFC 2104). An empty text matches no signature, since
        // an empty Signature is refused before it is compared.
        Err(_) => String::new(),
    }
}
