//! Certificates between those who check them, keep them and serve them.

use clb_model::{
    Certificate, CertificateContent, Der, Fingerprint, KeyForm, Origin, PrivateKey, State,
    UnixMillis,
};
use clb_snapshot::ServerTls;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

/// From when on the end of a certificate is warned of, in seconds before it.
const WARN_BEFORE: i64 = 30 * 24 * 3600;
/// The most certificates that one round of warnings names.
const WARNINGS: usize = 100;

/// Checked content as the model keeps it.
#[must_use]
pub fn content(checked: clb_cert::Content) -> CertificateContent {
    let not_after = checked.not_after();
    let first = checked.facts.first();
    CertificateContent {
        fingerprint: Fingerprint(checked.fingerprint.0),
        subject: first.map(|facts| facts.subject.clone()).unwrap_or_default(),
        not_before: {
            let starts = checked.facts.iter().map(|facts| facts.not_before);
            starts.max().unwrap_or(i64::MIN)
        },
        not_after,
        certificates: checked
            .certificates
            .iter()
            .map(|certificate| Der(certificate.to_vec()))
            .collect(),
        key: checked.key.as_ref().map(|key| {
            let form = match key.form() {
                "pkcs1" => KeyForm::Pkcs1,
                "sec1" => KeyForm::Sec1,
                _ => KeyForm::Pkcs8,
            };
            PrivateKey::new(form, key.der())
        }),
    }
}

/// What a listener's handshakes are done with. `previous` is what it has now, whose session tickets
/// stay good where they may.
///
/// # Errors
/// A sentence.
pub(crate) fn compile(
    server: &CertificateContent,
    authority: Option<&CertificateContent>,
    previous: Option<&ServerTls>,
) -> Result<ServerTls, String> {
    let key = server.key.as_ref();
    let key = key.ok_or_else(|| "the server certificate has no key".to_owned())?;
    let authority = authority.map(chain);
    ServerTls::new(
        chain(server),
        borrowed(key).clone_key(),
        authority,
        true,
        previous,
    )
    .map_err(|error| error.to_string())
}

fn chain(content: &CertificateContent) -> Vec<CertificateDer<'static>> {
    let certificates = content.certificates.iter();
    certificates
        .map(|der| CertificateDer::from(der.0.clone()))
        .collect()
}

fn borrowed(key: &PrivateKey) -> PrivateKeyDer<'_> {
    match key.form {
        KeyForm::Pkcs8 => PrivatePkcs8KeyDer::from(key.der()).into(),
        KeyForm::Pkcs1 => PrivatePkcs1KeyDer::from(key.der()).into(),
        KeyForm::Sec1 => PrivateSec1KeyDer::from(key.der()).into(),
    }
}

/// When a stored certificate ends, for the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// certId
    pub id: String,
    /// Unix time, seconds: the last second in which the whole chain is valid.
    pub not_after: i64,
}

/// The ends of all stored certificates, by id.
#[must_use]
pub fn expiries(state: &State) -> Vec<Expiry> {
    let of_one = |certificate: &std::sync::Arc<Certificate>| Expiry {
        id: certificate.id.to_string(),
        not_after: certificate.content.not_after,
    };
    state.certificates().map(of_one).collect()
}

/// One sentence for each certificate in use that ends within 30 days of `now` or has ended, the
/// first to end first; at most 100.
#[must_use]
pub fn expiry_warnings(state: &State, now: UnixMillis) -> Vec<String> {
    let now = now.0.div_euclid(1000);
    let mut ending: Vec<&Certificate> = state
        .certificates()
        .map(AsRef::as_ref)
        .filter(|certificate| certificate.content.not_after < now.saturating_add(WARN_BEFORE))
        .filter(|certificate| state.users_of(certificate.id).next().is_some())
        .collect();
    ending.sort_unstable_by_key(|certificate| (certificate.content.not_after, certificate.id));
    ending.truncate(WARNINGS);
    ending
        .into_iter()
        .map(|certificate| warning(state, certificate, now))
        .collect()
}

fn warning(state: &State, certificate: &Certificate, now: i64) -> String {
    let left = certificate.content.not_after.saturating_sub(now);
    let when = match left {
        i64::MIN..0 => "has expired".to_owned(),
        left => format!("expires in {} days", left / (24 * 3600)),
    };
    let users = state.users_of(certificate.id).count();
    let origin = match certificate.origin {
        Origin::Uploaded => "uploaded",
        Origin::File | Origin::Withdrawn => "from clb.toml",
    };
    format!(
        "certificate {} ({}, {origin}) {when}; listeners that use it: {users}",
        certificate.id, certificate.content.subject
    )
}
