//! Server certificates and client CAs as they are uploaded: parsed and checked, without I/O.
//!
//! [`server`] and [`authority`] take PEM text (RFC 7468) and give what a TLS listener can really be
//! run with, or say in which block, at which line, what is wrong. An expired certificate is taken
//! (actions.md C.7); [`Content::warnings`] says so.
//!
//! The crate is pure: the time of day is an argument. Private keys are wiped when they are dropped,
//! and neither `Debug` nor any error shows a character of them.

mod content;
mod error;
mod facts;
mod key;
mod pem;

pub use content::{Content, Fingerprint, MAX_CERTIFICATES, authority, server};
pub use error::{CertificateError, Fault, KeyError, PemError, PemFault, Refused};
pub use facts::{Facts, KeyType};
pub use key::PrivateKey;
pub use pem::MAX_PEM_BYTES;
