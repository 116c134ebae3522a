//! Certificates for tests, and a TLS client before clients that speak none.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clb_snapshot::ServerTls;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The name in every server's certificate.
pub const NAME: &str = "www.example.com";

/// A certificate and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub pem: String,
    key: KeyPair,
}

impl Identity {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn der(&self) -> Vec<CertificateDer<'static>> {
        vec![self.0.der().clone()]
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn server(&self) -> Identity {
        self.issue(vec![NAME.to_owned()], "server", false)
    }

    pub fn client(&self, name: &str, is_expired: bool) -> Identity {
        self.issue(Vec::new(), name, is_expired)
    }

    fn issue(&self, names: Vec<String>, name: &str, is_expired: bool) -> Identity {
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key,
        }
    }
}

pub fn server_tls(
    identity: &Identity,
    clients: Option<&Authority>,
    previous: Option<&ServerTls>,
) -> Arc<ServerTls> {
    server_tls_with(identity, clients, previous, false)
}

/// The same; `http2`: offers HTTP/2 too.
pub fn server_tls_with(
    identity: &Identity,
    clients: Option<&Authority>,
    previous: Option<&ServerTls>,
    http2: bool,
) -> Arc<ServerTls> {
    let authority = clients.map(Authority::der);
    let tls = ServerTls::new(
        identity.chain.clone(),
        identity.key(),
        authority,
        http2,
        previous,
    );
    Arc::new(tls.unwrap())
}

/// What a client trusts and shows.
pub fn client_config(
    trusted: &Authority,
    identity: Option<&Identity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted.der() {
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    })
}

/// A client's side of a session that has not begun.
pub fn client_session(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(NAME).unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

/// Takes plain connections and passes each on over TLS: an orderly end becomes close_notify and a
/// reset a reset, and the other way round, so that rows for plain clients hold.
pub struct Wrapper {
    pub addr: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Wrapper {
    pub fn start(to: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        std::thread::spawn(move || {
            while let Ok((plain, _)) = listener.accept() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let config = Arc::clone(&config);
                std::thread::spawn(move || {
                    if wrap(&plain, to, &config).is_err() {
                        reset(&plain);
                    }
                });
            }
        });
        Self { addr, is_over }
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

/// The coming close is a reset; who reads is woken.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Read);
}

fn wrap(plain: &TcpStream, to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<()> {
    let mut socket = TcpStream::connect(to)?;
    socket.set_nodelay(true)?;
    plain.set_nodelay(true)?;
    let mut session = client_session(config);
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    let session = Mutex::new(session);
    std::thread::scope(|scope| {
        let (session, socket) = (&session, &socket);
        scope.spawn(move || {
            if encrypt(plain, socket, session).is_err() {
                reset(socket);
                reset(plain);
            }
        });
        if decrypt(plain, socket, session).is_err() {
            reset(plain);
            reset(socket);
        }
    });
    Ok(())
}

fn encrypt(
    mut plain: &TcpStream,
    mut socket: &TcpStream,
    session: &Mutex<ClientConnection>,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = plain.read(&mut buffer)?;
        let mut session = session.lock().unwrap();
        match length {
            0 => session.send_close_notify(),
            length => session.writer().write_all(&buffer[..length])?,
        }
        let mut out = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut out)?;
        }
        drop(session);
        socket.write_all(&out)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn decrypt(
    mut plain: &TcpStream,
    mut socket: &TcpStream,
    session: &Mutex<ClientConnection>,
) -> io::Result<()> {
    let mut buffer = [0; 4 * 1024];
    loop {
        let length = socket.read(&mut buffer)?;
        let mut data = &buffer[..length];
        if data.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut out = Vec::new();
        let mut is_end = false;
        {
            let mut session = session.lock().unwrap();
            while !data.is_empty() && !is_end {
                session.read_tls(&mut data)?;
                let state = session
                    .process_new_packets()
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                let start = out.len();
                out.resize(start + state.plaintext_bytes_to_read(), 0);
                session.reader().read_exact(&mut out[start..])?;
                is_end = state.peer_has_closed();
            }
        }
        plain.write_all(&out)?;
        if is_end {
            return plain.shutdown(Shutdown::Write);
        }
    }
}
