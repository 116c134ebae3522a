//! Who the gateway must prove to be: the holder of one certificate, or of one that an authority has
//! signed. There is no switch for neither.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};

/// What the gateway's certificate is compared with can not be used.
#[derive(Debug, thiserror::Error)]
pub enum BadPin {
    /// Not a SHA-256.
    #[error("fingerprint {0}: must be 64 hexadecimal digits, colons allowed")]
    Fingerprint(String),
    /// A PEM file.
    #[error("{file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// Neither is given.
    #[error(
        "the gateway speaks TLS: give --certificate FILE (its own, such as api.pem of its state_dir, or its authority's) or --fingerprint SHA256"
    )]
    Missing,
}

/// The TLS settings of a client that talks to nobody else.
///
/// # Errors
/// [`BadPin`]
pub fn client_config(
    certificate: Option<&Path>,
    fingerprint: Option<&str>,
) -> Result<ClientConfig, BadPin> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pin = Pin::new(certificate, fingerprint, &provider)?;
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadPin::File {
            file: "TLS".to_owned(),
            reason: error.to_string(),
        })?;
    Ok(versions
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth())
}

/// Takes a certificate that is one of those named, or that one of them has signed.
#[derive(Debug)]
struct Pin {
    digests: Vec<[u8; 32]>,
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn new(
        certificate: Option<&Path>,
        fingerprint: Option<&str>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, BadPin> {
        let mut digests = Vec::new();
        let mut authority = None;
        // A fingerprint decides alone: it names one certificate, where a file may name an authority.
        if let Some(text) = fingerprint {
            digests.push(digest_of(text).ok_or_else(|| BadPin::Fingerprint(text.to_owned()))?);
        } else if let Some(file) = certificate {
            let bad = |reason: String| BadPin::File {
                file: file.display().to_string(),
                reason,
            };
            let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .map_err(|error| bad(error.to_string()))?;
            if certificates.is_empty() {
                return Err(bad("has no certificate".to_owned()));
            }
            digests.extend(certificates.iter().map(|one| digest(one)));
            let mut roots = RootCertStore::empty();
            // A certificate that is no authority is one to compare with.
            roots.add_parsable_certificates(certificates);
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                    .build();
            authority = built.ok();
        }
        match digests.is_empty() {
            true => Err(BadPin::Missing),
            false => Ok(Self {
                digests,
                authority,
                provider: Arc::clone(provider),
            }),
        }
    }
}

fn digest(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// Reads `AB:CD:…` or `abcd…`.
fn digest_of(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.chars().filter(|letter| *letter != ':').collect();
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (octet, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *octet = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.digests.contains(&digest(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authority {
            Some(authority) => {
                authority.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
            }
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let digits = "0f".repeat(32);
        let colons = vec!["0F"; 32].join(":");
        assert_eq!(digest_of(&digits), Some([15; 32]));
        assert_eq!(digest_of(&colons), Some([15; 32]));
        for bad in ["", "0f", &"0g".repeat(32), &"0f".repeat(33)] {
            assert_eq!(digest_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn without_anything_to_compare_with_nobody_is_trusted() {
        assert!(matches!(client_config(None, None), Err(BadPin::Missing)));
        assert!(client_config(None, Some("0f")).is_err());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("empty.pem");
        std::fs::write(&file, "").unwrap();
        let error = client_config(Some(&file), None).unwrap_err();
        assert!(error.to_string().contains("empty.pem"), "{error}");
    }
}
