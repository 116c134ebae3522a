//! An upload as a whole: a server's chain with its key, or the CAs that clients are checked
//! against.

use std::fmt;

use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;

use crate::error::{CertificateError, Fault, KeyError, PemFault, Refused};
use crate::facts::{Facts, Parsed, key_type, parse};
use crate::key::PrivateKey;
use crate::pem::{at, blocks};

/// Most certificates of one text.
pub const MAX_CERTIFICATES: usize = 32;

/// What is the same upload: SHA-256 over the kind and the certificates. The key is in it by its
/// public half, which the first certificate has and which it was checked against, so that the same
/// key in another encoding is the same, and nothing is derived from a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// An upload that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// DER, in the order of the text: a server's chain leaf first. At least one, at most
    /// [`MAX_CERTIFICATES`].
    pub certificates: Vec<CertificateDer<'static>>,
    /// What the certificates say, in the same order.
    pub facts: Vec<Facts>,
    /// A server's key; none for client CAs.
    pub key: Option<PrivateKey>,
    /// See [`Fingerprint`].
    pub fingerprint: Fingerprint,
}

impl Content {
    /// Unix time of the last second in which all of its certificates are valid.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        let ends = self.facts.iter().map(|facts| facts.not_after);
        ends.min().unwrap_or(i64::MAX)
    }

    /// What is taken but will not work: certificates that are expired or not yet valid at `now`
    /// (Unix seconds).
    #[must_use]
    pub fn warnings(&self, now: i64) -> Vec<String> {
        let numbered = (1..).zip(&self.facts);
        let warn = |(number, facts): (usize, &Facts)| {
            let what = if facts.not_after < now {
                "has expired"
            } else if facts.not_before > now {
                "is not yet valid"
            } else {
                return None;
            };
            Some(format!("certificate {number} ({}) {what}", facts.subject))
        };
        numbered.filter_map(warn).collect()
    }
}

/// A server's certificate chain, leaf first, and its private key; both PEM, at most
/// [`MAX_PEM_BYTES`](crate::MAX_PEM_BYTES) each. Whatever is taken can be served with rustls.
///
/// # Errors
/// [`Refused`]: which of the two texts, where, and why. The certificates are looked at first.
pub fn server(chain: &str, key: &str) -> Result<Content, Refused> {
    let certificates = read_certificates(chain).map_err(Refused::Certificate)?;
    let parsed = parse_all(&certificates).map_err(Refused::Certificate)?;
    check_chain(&certificates, &parsed).map_err(Refused::Certificate)?;
    let (key, line) = PrivateKey::read(key).map_err(Refused::Key)?;
    let signer = key.signer();
    let signer = signer.ok_or(Refused::Key(KeyError::Unusable(line)))?;
    let facts: Vec<Facts> = parsed.into_iter().map(|parsed| parsed.facts).collect();
    let chain: Vec<_> = certificates.into_iter().map(|read| read.der).collect();
    let leaf = chain.iter().take(1).cloned().collect();
    match CertifiedKey::new(leaf, signer).keys_match() {
        Ok(()) => {}
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let subject = facts.first().map(|facts| facts.subject.clone());
            let subject = subject.unwrap_or_default();
            return Err(Refused::Key(KeyError::Mismatch { subject }));
        }
        // Something in the certificate that rustls does not take, whatever its key.
        Err(error) => {
            let fault = Fault::Unreadable(error.to_string());
            return Err(Refused::Certificate(CertificateError::Certificate {
                number: 1,
                line: 1,
                subject: facts.first().map(|facts| facts.subject.clone()),
                fault,
            }));
        }
    }
    Ok(Content {
        fingerprint: fingerprint("server", &chain),
        certificates: chain,
        facts,
        key: Some(key),
    })
}

/// The CA certificates that client certificates must be signed by; PEM, in any order, at most
/// [`MAX_PEM_BYTES`](crate::MAX_PEM_BYTES).
///
/// # Errors
/// [`CertificateError`]: where and why.
pub fn authority(text: &str) -> Result<Content, CertificateError> {
    let certificates = read_certificates(text)?;
    let parsed = parse_all(&certificates)?;
    for ((number, read), parsed) in (1..).zip(&certificates).zip(&parsed) {
        check_authority(&parsed.certificate)
            .and_then(|()| check_anchor(&read.der))
            .map_err(|fault| fault_of(number, read.line, &parsed.facts, fault))?;
    }
    let facts = parsed.into_iter().map(|parsed| parsed.facts).collect();
    let certificates: Vec<_> = certificates.into_iter().map(|read| read.der).collect();
    Ok(Content {
        fingerprint: fingerprint("client_ca", &certificates),
        certificates,
        facts,
        key: None,
    })
}

/// A certificate and where its block begins.
struct Read {
    line: usize,
    der: CertificateDer<'static>,
}

fn read_certificates(text: &str) -> Result<Vec<Read>, CertificateError> {
    let mut certificates = Vec::new();
    for (number, block) in (1..).zip(blocks(text)?) {
        if block.label != "CERTIFICATE" {
            let label = block.label;
            let wanted = "only CERTIFICATE belongs here";
            return Err(at(number, block.line, PemFault::Label { label, wanted }).into());
        }
        if certificates.len() == MAX_CERTIFICATES {
            return Err(CertificateError::TooMany {
                max: MAX_CERTIFICATES,
                line: block.line,
            });
        }
        certificates.push(Read {
            line: block.line,
            der: CertificateDer::from(block.der.to_vec()),
        });
    }
    match certificates.is_empty() {
        true => Err(CertificateError::None),
        false => Ok(certificates),
    }
}

fn parse_all<'a>(certificates: &'a [Read]) -> Result<Vec<Parsed<'a>>, CertificateError> {
    let one = |(number, read): (usize, &'a Read)| {
        parse(&read.der).map_err(|fault| CertificateError::Certificate {
            number,
            line: read.line,
            subject: None,
            fault,
        })
    };
    (1..).zip(certificates).map(one).collect()
}

fn fault_of(number: usize, line: usize, facts: &Facts, fault: Fault) -> CertificateError {
    CertificateError::Certificate {
        number,
        line,
        subject: Some(facts.subject.clone()),
        fault,
    }
}

fn check_chain(certificates: &[Read], parsed: &[Parsed<'_>]) -> Result<(), CertificateError> {
    if let (Some(read), Some(leaf)) = (certificates.first(), parsed.first()) {
        check_leaf(&leaf.certificate)
            .map_err(|fault| fault_of(1, read.line, &leaf.facts, fault))?;
    }
    let pairs = parsed.iter().zip(parsed.iter().skip(1));
    for ((number, read), (before, this)) in (2..).zip(certificates.iter().skip(1)).zip(pairs) {
        if before.certificate.issuer().as_raw() != this.certificate.subject().as_raw() {
            return Err(CertificateError::OutOfOrder {
                number,
                line: read.line,
                issuer: before.facts.issuer.clone(),
                subject: this.facts.subject.clone(),
            });
        }
    }
    Ok(())
}

/// What the first certificate must be so that a server can show it.
fn check_leaf(certificate: &X509Certificate<'_>) -> Result<(), Fault> {
    let version = certificate.version().0.saturating_add(1);
    if version != 3 {
        return Err(Fault::Version(version));
    }
    key_type(certificate.public_key()).map_err(Fault::KeyType)?;
    Ok(())
}

fn check_authority(certificate: &X509Certificate<'_>) -> Result<(), Fault> {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => Ok(()),
        Ok(Some(_)) => Err(Fault::NoAuthority("its basic constraints say CA:FALSE")),
        Ok(None) if certificate.version().0 != 2 => Err(Fault::NoAuthority(
            "it is of X.509 version 1, which cannot say CA:TRUE",
        )),
        _ => Err(Fault::NoAuthority("it has no basic constraints")),
    }
}

/// Whether rustls takes it as a root.
fn check_anchor(der: &CertificateDer<'static>) -> Result<(), Fault> {
    let mut roots = rustls::RootCertStore::empty();
    let added = roots.add(der.clone());
    added.map_err(|error| Fault::Unreadable(error.to_string()))
}

fn fingerprint(kind: &str, certificates: &[CertificateDer<'static>]) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for certificate in certificates {
        let length = u64::try_from(certificate.len()).unwrap_or(u64::MAX);
        hash.update(length.to_be_bytes());
        hash.update(certificate);
    }
    Fingerprint(hash.finalize().into())
}
