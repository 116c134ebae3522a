//! What TLS handshakes of a listener are done with (semantics.md 6, ADR 17).

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::provider::PROVIDER;
use crate::tickets::TicketKeys;
use crate::tls_live::TlsLive;

/// Octets of content that a record gets which we send: a worker's buffer of 60 KiB is five of them.
/// A record of 16 KiB is just too long for what the allocator keeps in its small pages: each would be
/// written to memory that no cache has (ADR 21).
pub const RECORD_CONTENT: usize = 12 * 1024;
/// Octets before a record's content (RFC 8446 5.1), which rustls counts with it.
const RECORD_HEADER: usize = 5;

/// What an HTTPS listener's next handshake is done with: TLS 1.2 and 1.3, no early data (RFC 8446
/// 8), no session cache, stateless tickets (RFC 5077).
pub struct ServerTls {
    /// What rustls goes by.
    pub config: Arc<ServerConfig>,
    /// Whether a client has to show a certificate (`SSLMode` mutual).
    pub requires_client_certificate: bool,
    /// What became of the listener's handshakes.
    pub live: Arc<TlsLive>,
    leaf: CertificateDer<'static>,
    authority: Option<Vec<CertificateDer<'static>>>,
    tickets: Arc<TicketKeys>,
}

/// Why there can be no handshakes with a certificate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerTlsError {
    /// The chain is empty.
    #[error("the chain has no certificate: it must begin with the server's own")]
    NoCertificate,
    /// The first certificate of the chain is none.
    #[error("the chain's first certificate can not be used: {0}")]
    Certificate(rustls::Error),
    /// The key is of no use, or not the certificate's.
    #[error("the private key can not be used: {0}")]
    Key(rustls::Error),
    /// A certificate of the client CA is none.
    #[error("certificate {number} of the client CA can not be used: {error}")]
    Authority {
        /// Its place, from 1.
        number: usize,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// The client CA as a whole is of no use.
    #[error("the client CA can not be used: {0}")]
    ClientCa(String),
    /// The system gives no random octets.
    #[error("there is no key for session tickets: the system gives no random octets")]
    Tickets,
}

impl ServerTls {
    /// What handshakes are done with that prove `chain`, the server's own certificate first, with
    /// its `key`. With `authority`, the certificates of a client CA, a client has to show a
    /// certificate that one of them has signed. `http2` is whether HTTP/2 is offered (RFC 7301).
    ///
    /// `previous` is what the same listener had before; never another listener's, for a session is
    /// resumed without a look at certificates. Its counters go on, and its tickets stay good as
    /// long as the client CA is the same. A ticket's key makes tickets for 6 hours and reads them
    /// for 12, and is kept in memory only.
    ///
    /// # Errors
    /// [`ServerTlsError`], also for a key that does not fit the certificate.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authority: Option<Vec<CertificateDer<'static>>>,
        http2: bool,
        previous: Option<&Self>,
    ) -> Result<Self, ServerTlsError> {
        let leaf = chain.first().ok_or(ServerTlsError::NoCertificate)?.clone();
        ParsedCertificate::try_from(&leaf).map_err(ServerTlsError::Certificate)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()
            .map_err(ServerTlsError::Key)?;
        let builder = match &authority {
            Some(authority) => builder.with_client_cert_verifier(verifier(authority)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(ServerTlsError::Key)?;
        let tickets = match previous.filter(|previous| previous.authority == authority) {
            Some(previous) => Arc::clone(&previous.tickets),
            None => Arc::new(TicketKeys::new().ok_or(ServerTlsError::Tickets)?),
        };
        config.ticketer = Arc::<TicketKeys>::clone(&tickets);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        // One for each connection keeps as many at hand as a client has connections; who wants more
        // may ask for them (RFC 9149).
        config.send_tls13_tickets = 1;
        config.max_tls13_tickets = 4;
        config.max_fragment_size = Some(RECORD_CONTENT + RECORD_HEADER);
        // All of them are good; the same for everybody is what auditors look for.
        config.ignore_client_order = true;
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Ok(Self {
            config: Arc::new(config),
            requires_client_certificate: authority.is_some(),
            live: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.live)),
            leaf,
            authority,
            tickets,
        })
    }

    /// The keys of its session tickets.
    #[must_use]
    pub fn tickets(&self) -> &TicketKeys {
        &self.tickets
    }

    /// Whether the certificate is good for this host, a name or an address without port, by its
    /// subjectAltName (RFC 9110 4.3.4; RFC 9525 6): whether a request for it may come over a
    /// connection that was made for another of the certificate's names (RFC 9113 9.1.1).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let Ok(name) = ServerName::try_from(host) else {
            return false;
        };
        ParsedCertificate::try_from(&self.leaf)
            .is_ok_and(|leaf| rustls::client::verify_server_name(&leaf, &name).is_ok())
    }
}

/// Its key is not shown.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field(
                "requires_client_certificate",
                &self.requires_client_certificate,
            )
            .finish_non_exhaustive()
    }
}

fn verifier(
    authority: &[CertificateDer<'static>],
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, ServerTlsError> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(authority) {
        roots
            .add(certificate.clone())
            .map_err(|error| ServerTlsError::Authority { number, error })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER))
        .build()
        .map_err(|error| ServerTlsError::ClientCa(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair};
    use rustls::server::ProducesTickets as _;

    fn certificate(names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        (
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
        )
    }

    fn authority() -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        vec![params.self_signed(&key).unwrap().der().clone()]
    }

    fn tls(
        names: &[&str],
        authority: Option<Vec<CertificateDer<'static>>>,
        previous: Option<&ServerTls>,
    ) -> ServerTls {
        let (chain, key) = certificate(names);
        ServerTls::new(chain, key, authority, false, previous).unwrap()
    }

    #[test]
    fn it_covers_the_names_of_its_certificate_only() {
        let tls = tls(&["www.example.com", "*.a.example", "192.0.2.7"], None, None);
        for host in [
            "www.example.com",
            "WWW.example.COM",
            "x.a.example",
            "192.0.2.7",
        ] {
            assert!(tls.covers(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "a.example",
            "y.x.a.example",
            "192.0.2.8",
            "[::1]",
            "?",
        ] {
            assert!(!tls.covers(host), "{host}");
        }
    }

    #[test]
    fn a_foreign_key_and_an_empty_chain_are_refused() {
        let ((chain, _), (_, key)) = (certificate(&["a"]), certificate(&["a"]));
        let error = ServerTls::new(chain, key.clone_key(), None, false, None).unwrap_err();
        assert!(matches!(error, ServerTlsError::Key(_)), "{error}");
        let error = ServerTls::new(Vec::new(), key.clone_key(), None, false, None).unwrap_err();
        assert_eq!(error, ServerTlsError::NoCertificate);
        let chain = vec![CertificateDer::from(vec![1, 2, 3])];
        let error = ServerTls::new(chain, key, None, false, None).unwrap_err();
        assert!(matches!(error, ServerTlsError::Certificate(_)), "{error}");
    }

    #[test]
    fn a_client_ca_that_is_none_is_refused_by_its_place() {
        let (chain, key) = certificate(&["a"]);
        let mut authority = authority();
        authority.push(CertificateDer::from(vec![1]));
        let error = ServerTls::new(chain, key, Some(authority), false, None).unwrap_err();
        assert!(
            matches!(error, ServerTlsError::Authority { number: 2, .. }),
            "{error}"
        );
        let (chain, key) = certificate(&["a"]);
        let error = ServerTls::new(chain, key, Some(Vec::new()), false, None).unwrap_err();
        assert!(matches!(error, ServerTlsError::ClientCa(_)), "{error}");
    }

    #[test]
    fn tickets_outlive_a_certificate_but_not_a_client_ca() {
        let ca = authority();
        let first = tls(&["a"], None, None);
        let ticket = first.tickets.encrypt(b"session").unwrap();
        let reads = |tls: &ServerTls| tls.tickets.decrypt(&ticket).is_some();
        let replaced = tls(&["a"], None, Some(&first));
        assert!(reads(&replaced));
        let mutual = tls(&["a"], Some(ca.clone()), Some(&replaced));
        assert!(!reads(&mutual) && mutual.requires_client_certificate);
        assert!(Arc::ptr_eq(&mutual.live, &first.live));
        assert!(!reads(&tls(&["a"], None, None)));

        let ticket = mutual.tickets.encrypt(b"session").unwrap();
        let reads = |tls: &ServerTls| tls.tickets.decrypt(&ticket).is_some();
        assert!(reads(&tls(&["a"], Some(ca), Some(&mutual))));
        assert!(!reads(&tls(&["a"], Some(authority()), Some(&mutual))));
        assert!(!reads(&tls(&["a"], None, Some(&mutual))));
    }
}
