//! The API's certificate: from files, or made here and kept in `state_dir`.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The API's certificate can not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not make a TLS server.
    #[error("{path}: {source}")]
    Unusable {
        /// The certificate's file.
        path: String,
        /// Why.
        source: rustls::Error,
    },
    /// No certificate could be made.
    #[error("the API's certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
}

fn file(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// TLS 1.2 and 1.3 with the certificate chain and key of two PEM files.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file(certificate, error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |source| TlsError::Unusable {
        path: certificate.display().to_string(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Paths of the certificate and key that clbd makes for itself.
#[must_use]
pub fn own_paths(state_dir: &Path) -> (PathBuf, PathBuf) {
    (state_dir.join("api.pem"), state_dir.join("api.key"))
}

/// Makes `api.pem` and `api.key` in the folder, unless they are there for the same names already.
///
/// # Errors
/// [`TlsError`]
pub fn ensure_own(
    state_dir: &Path,
    listen: &[SocketAddr],
    hosts: &[String],
) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = own_paths(state_dir);
    let names = names(listen, hosts);
    // Text outside the PEM block: readers pass over it, and it tells whom the certificate is for.
    let heading = format!("clbd API certificate for {}\n", names.join(" "));
    let is_current = fs::read_to_string(&certificate).is_ok_and(|text| text.starts_with(&heading));
    if is_current && key.exists() {
        return Ok((certificate, key));
    }
    let pair = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "clbd Action API");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2126, 1, 1);
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let made = params.self_signed(&pair)?;
    write(&key, pair.serialize_pem().as_bytes(), 0o600)?;
    write(
        &certificate,
        format!("{heading}{}", made.pem()).as_bytes(),
        0o644,
    )?;
    Ok((certificate, key))
}

/// Whom the certificate is for: what the API listens on, its configured names, and loopback.
fn names(listen: &[SocketAddr], hosts: &[String]) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let listened = listen
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified());
    names.extend(listened.map(|ip| ip.to_string()));
    names.extend(hosts.iter().map(|host| without_port(host).to_owned()));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

/// Writes a file that appears whole or not at all.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let _ = fs::remove_file(&temporary);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut open| {
            open.write_all(content)?;
            open.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_certificate_is_kept_until_its_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let listen: Vec<SocketAddr> = vec!["127.0.0.1:8443".parse().unwrap()];
        let (certificate, key) = ensure_own(dir.path(), &listen, &[]).unwrap();
        let first = fs::read(&certificate).unwrap();
        acceptor(&certificate, &key).unwrap();
        ensure_own(dir.path(), &listen, &[]).unwrap();
        assert_eq!(fs::read(&certificate).unwrap(), first);
        ensure_own(dir.path(), &listen, &["lb.example.com:8443".to_owned()]).unwrap();
        assert_ne!(fs::read(&certificate).unwrap(), first);
        acceptor(&certificate, &key).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&key).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.pem");
        fs::write(&path, "nothing").unwrap();
        let error = acceptor(&path, &path)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("api.pem"), "{error}");
    }
}
