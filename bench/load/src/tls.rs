//! TLS towards the proxy: what is offered, and one session over a socket that does not block.

use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedCipherSuite, version,
};

/// The most ciphertext that is received at once.
const READ: usize = 64 << 10;

/// What is offered to the proxy.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Speak TLS, and trust the certificates in this PEM file
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// The only version offered
    #[arg(long, default_value = "1.3", requires = "tls")]
    tls_version: Version,
    /// The only cipher offered, so that no proxy's preference decides
    #[arg(long, default_value = "aes-128-gcm", requires = "tls")]
    tls_cipher: Cipher,
    /// The name that is asked for and that the certificate must have
    #[arg(long, default_value = "www.example.com", requires = "tls")]
    tls_name: String,
    /// Resume the session of the connection before; that it is not resumed is a failure
    #[arg(long, requires = "tls")]
    resume: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, ValueEnum)]
enum Version {
    /// RFC 5246.
    #[value(name = "1.2")]
    Tls12,
    /// RFC 8446.
    #[value(name = "1.3")]
    Tls13,
}

/// A cipher.
#[derive(Clone, Copy, ValueEnum)]
enum Cipher {
    /// With SHA-256.
    #[value(name = "aes-128-gcm")]
    Aes128Gcm,
    /// With SHA-384.
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
}

impl Options {
    /// How each session begins; `None`: without TLS.
    pub(crate) fn client(&self) -> anyhow::Result<Option<Client>> {
        let Some(file) = &self.tls else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file)
            .with_context(|| format!("--tls {}", file.display()))?
        {
            roots.add(certificate?)?;
        }
        let mut provider = default_provider();
        provider.cipher_suites = self.suites();
        // Only the first is used; in TLS 1.2 the list must have the curve of the certificate too (RFC 8422, 5.1).
        provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
        let versions = match self.tls_version {
            Version::Tls12 => [&version::TLS12],
            Version::Tls13 => [&version::TLS13],
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Some(Client {
            config: Arc::new(config),
            name: ServerName::try_from(self.tls_name.clone())
                .with_context(|| format!("--tls-name {}", self.tls_name))?,
            resume: self.resume,
        }))
    }

    /// Both of TLS 1.2: the certificate's key decides between them.
    fn suites(&self) -> Vec<SupportedCipherSuite> {
        match (self.tls_version, self.tls_cipher) {
            (Version::Tls13, Cipher::Aes128Gcm) => vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            (Version::Tls13, Cipher::Aes256Gcm) => vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
            (Version::Tls12, Cipher::Aes128Gcm) => vec![
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ],
            (Version::Tls12, Cipher::Aes256Gcm) => vec![
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ],
        }
    }
}

/// How sessions begin that follow each other in one slot.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    resume: bool,
}

impl Client {
    /// The same for one slot. If sessions are to be resumed, the slot has tickets of its own: those of
    /// TLS 1.3 serve once, and with a common store others would take them all.
    pub(crate) fn slot(&self) -> Self {
        let mut own = self.clone();
        if self.resume {
            let mut config = ClientConfig::clone(&self.config);
            config.resumption = Resumption::in_memory_sessions(1);
            own.config = Arc::new(config);
        }
        own
    }

    /// Whether a session after the first one must be resumed.
    pub(crate) fn resumes(&self) -> bool {
        self.resume
    }

    /// The octets with which a client begins.
    pub(crate) fn hello(&self) -> anyhow::Result<Vec<u8>> {
        let mut octets = Vec::new();
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())?
            .write_tls(&mut octets)?;
        Ok(octets)
    }
}

/// Buffers that all sessions share.
pub(crate) struct Buffers {
    cipher: Vec<u8>,
    /// What the last `receive` has decrypted.
    pub(crate) plain: Vec<u8>,
}

impl Buffers {
    /// Buffers for any number of sessions.
    pub(crate) fn new() -> Self {
        Self {
            cipher: vec![0; READ],
            plain: Vec::with_capacity(READ),
        }
    }
}

/// What one receive brought, beside what is in `Buffers::plain`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// There may be more to receive.
    Some,
    /// The socket is empty.
    All,
    /// The other side has ended the session or the connection.
    End,
}

/// One session.
pub(crate) struct Session {
    connection: Box<ClientConnection>,
    /// The other side has ended it. Some wait for our end before they close the connection.
    ended: bool,
}

impl Session {
    /// Nothing is sent yet.
    pub(crate) fn new(client: &Client) -> io::Result<Self> {
        ClientConnection::new(Arc::clone(&client.config), client.name.clone())
            .map(|connection| Self {
                connection: Box::new(connection),
                ended: false,
            })
            .map_err(io::Error::other)
    }

    /// Whether requests must wait.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the handshake, which has ended, resumed an earlier session.
    pub(crate) fn resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Takes a whole head, to be sent by `flush`.
    pub(crate) fn take(&mut self, head: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(head)
    }

    /// Sends as much as the socket takes of what waits.
    pub(crate) fn flush(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            };
        }
        Ok(())
    }

    /// Receives once, and leaves what came in `buffers.plain`. `ended`: the socket will bring its end.
    pub(crate) fn receive(
        &mut self,
        stream: &mut TcpStream,
        ended: bool,
        buffers: &mut Buffers,
    ) -> Result<Received, &'static str> {
        buffers.plain.clear();
        if self.ended {
            return Ok(Received::End);
        }
        let count = match stream.read(&mut buffers.cipher) {
            Ok(0) => return Ok(Received::End),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::All),
            Err(error) => return Err(crate::connection::cause(&error)),
        };
        let mut cipher = buffers.cipher.get(..count).unwrap_or_default();
        while !cipher.is_empty() {
            let taken = self
                .connection
                .read_tls(&mut cipher)
                .map_err(|_| "TLS input full")?;
            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| cause(&error))?;
            match state.plaintext_bytes_to_read() {
                0 => {}
                fresh => {
                    let mut part = self.connection.reader().take(fresh as u64);
                    part.read_to_end(&mut buffers.plain)
                        .map_err(|_| "TLS output lost")?;
                }
            }
            if state.peer_has_closed() || taken == 0 {
                self.ended = true;
                return Ok(Received::End);
            }
        }
        // A read that filled less than the buffer emptied the socket, but an end behind it would not be
        // reported again.
        match count < READ && !ended {
            true => Ok(Received::All),
            false => Ok(Received::Some),
        }
    }
}

fn cause(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::AlertReceived(_) => "TLS alert",
        rustls::Error::InvalidCertificate(_) => "certificate not trusted",
        _ => "TLS error",
    }
}
