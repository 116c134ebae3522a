//! Certificates as commands name or bring them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::CertificateId;
use crate::object::CertificateContent;
use crate::types::{SslMode, UnixMillis};

/// An uploaded certificate, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// See [`Command::assign_ids`](crate::Command::assign_ids); an equal upload that is stored
    /// already keeps its own.
    pub id: CertificateId,
    /// Its name.
    pub name: String,
    /// When.
    pub now: UnixMillis,
    /// What it is.
    pub content: Arc<CertificateContent>,
}

/// A stored certificate, or one that comes with the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateChoice {
    /// `certId`, `certCaId`, `newCertId`
    Stored(CertificateId),
    /// `certContent`, `certCaContent`, `newCertContent`
    Upload(Upload),
}

/// What a new HTTPS listener's handshakes are made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTls {
    /// `SSLMode`
    pub mode: SslMode,
    /// The server's.
    pub certificate: CertificateChoice,
    /// What client certificates are checked against: there exactly when the mode is mutual.
    pub authority: Option<CertificateChoice>,
}

/// A change of an HTTPS listener: what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsPatch {
    /// `SSLMode`; unidirectional drops the CA.
    pub mode: Option<SslMode>,
    /// The server's.
    pub certificate: Option<CertificateChoice>,
    /// What client certificates are checked against.
    pub authority: Option<CertificateChoice>,
}

impl CertificateChoice {
    pub(super) fn assign_id(&mut self, draw: &mut impl FnMut() -> u64) {
        if let Self::Upload(upload) = self {
            upload.id = CertificateId::from_number(draw());
        }
    }
}

impl NewTls {
    pub(super) fn assign_ids(&mut self, draw: &mut impl FnMut() -> u64) {
        self.certificate.assign_id(draw);
        if let Some(authority) = &mut self.authority {
            authority.assign_id(draw);
        }
    }
}

impl TlsPatch {
    pub(super) fn assign_ids(&mut self, draw: &mut impl FnMut() -> u64) {
        let choices = [&mut self.certificate, &mut self.authority];
        for choice in choices.into_iter().flatten() {
            choice.assign_id(draw);
        }
    }
}
