//! Private keys.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use crate::error::{KeyError, PemFault};
use crate::pem::{Block, at, blocks};

/// In which form a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Pkcs8,
    Pkcs1,
    Sec1,
}

/// A private key: wiped from memory when it is dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    form: Form,
    der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([redacted])")
    }
}

impl PrivateKey {
    /// The word for the form the key is written in, to keep beside [`Self::der`]: `"pkcs8"`,
    /// `"pkcs1"` or `"sec1"`.
    #[must_use]
    pub const fn form(&self) -> &'static str {
        match self.form {
            Form::Pkcs8 => "pkcs8",
            Form::Pkcs1 => "pkcs1",
            Form::Sec1 => "sec1",
        }
    }

    /// The key itself, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The only key of a PEM text: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) or SEC1 (RFC 5915). Curve
    /// parameters before it, as OpenSSL writes them, are passed over.
    pub(crate) fn read(text: &str) -> Result<(Self, usize), KeyError> {
        let mut found: Option<(Self, usize)> = None;
        for (number, block) in (1..).zip(blocks(text)?) {
            let Some(key) = Self::of_block(number, &block)? else {
                continue;
            };
            if found.is_some() {
                return Err(KeyError::Several(block.line));
            }
            found = Some((key, block.line));
        }
        found.ok_or(KeyError::None)
    }

    fn of_block(number: usize, block: &Block) -> Result<Option<Self>, KeyError> {
        let form = match block.label {
            _ if block.is_encrypted => return Err(KeyError::Encrypted(block.line)),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted(block.line)),
            "PRIVATE KEY" => Form::Pkcs8,
            "RSA PRIVATE KEY" => Form::Pkcs1,
            "EC PRIVATE KEY" => Form::Sec1,
            "EC PARAMETERS" => return Ok(None),
            label => {
                let wanted = "a private key is PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY";
                return Err(at(number, block.line, PemFault::Label { label, wanted }).into());
            }
        };
        Ok(Some(Self {
            form,
            der: block.der.clone(),
        }))
    }

    /// What TLS signs with; none when the key is of a kind that cannot, or damaged.
    pub(crate) fn signer(&self) -> Option<Arc<dyn SigningKey>> {
        any_supported_type(&self.borrowed()).ok()
    }

    /// As rustls takes it, borrowed: nothing is left behind that would not be wiped.
    fn borrowed(&self) -> PrivateKeyDer<'_> {
        let der: &[u8] = &self.der;
        match self.form {
            Form::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
            Form::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
            Form::Sec1 => PrivateSec1KeyDer::from(der).into(),
        }
    }
}
