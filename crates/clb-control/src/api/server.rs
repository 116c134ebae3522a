//! The API's sockets: TLS or plain, HTTP/1.1, bounded.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use clb_actions::ApiError;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::{Api, ApiLimits, Peer, refuse, router};

/// Connections that are served at once; more wait in the listening socket's queue.
const CONNECTIONS: usize = 1024;
/// A TLS handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A request's head is complete after this time; also the longest pause between two requests.
const HEAD: Duration = Duration::from_secs(60);
/// What a head may take beside its request line.
const HEADERS: usize = 64 * 1024;
/// First byte of every TLS connection: a handshake record (RFC 8446 5.1).
const TLS_HANDSHAKE_RECORD: u8 = 0x16;

/// The API's addresses can not be used.
#[derive(Debug, thiserror::Error)]
#[error("api.listen {address}: {source}")]
pub struct ServeError {
    address: SocketAddr,
    source: io::Error,
}

/// Whether the API is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// It is not.
    #[default]
    No,
    /// Connections that wait for a request may bring one more within this time, which is answered:
    /// another process goes on, and a request may be on its way.
    Within(Duration),
    /// Connections that wait for a request end.
    Now,
}

/// The API, bound and ready to serve.
#[derive(Debug)]
pub struct ApiServer {
    /// With the addresses that were asked for.
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl ApiServer {
    /// Binds all addresses but those that are among the sockets `there`, with the addresses that
    /// were asked for when they were bound.
    ///
    /// # Errors
    /// [`ServeError`] names the first address that can not be bound.
    pub async fn bind(
        addresses: &[SocketAddr],
        mut there: Vec<(SocketAddr, StdTcpListener)>,
    ) -> Result<Self, ServeError> {
        let mut sockets = Vec::new();
        for address in addresses {
            let error = |source| ServeError {
                address: *address,
                source,
            };
            let place = there.iter().position(|(bound, _)| bound == address);
            let socket = match place.map(|place| there.swap_remove(place)) {
                Some((_, socket)) => TcpListener::from_std(socket),
                None => TcpListener::bind(address).await,
            };
            sockets.push((*address, socket.map_err(error)?));
        }
        Ok(Self { sockets })
    }

    /// Of sockets that are bound, with the addresses that were asked for.
    ///
    /// # Errors
    /// When they can not be registered with the runtime.
    pub fn of(sockets: Vec<(SocketAddr, StdTcpListener)>) -> io::Result<Self> {
        let sockets = sockets
            .into_iter()
            .map(|(address, socket)| Ok((address, TcpListener::from_std(socket)?)))
            .collect::<io::Result<_>>()?;
        Ok(Self { sockets })
    }

    /// Other handles of its sockets, with the addresses that were asked for: for serving again
    /// after [`serve`](Self::serve), or for another process.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn sockets(&self) -> io::Result<Vec<(SocketAddr, StdTcpListener)>> {
        let copy = |(address, socket): &(SocketAddr, TcpListener)| {
            Ok((*address, socket.as_fd().try_clone_to_owned()?.into()))
        };
        self.sockets.iter().map(copy).collect()
    }

    /// The addresses that were bound, with the ports that the system chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|(_, socket)| socket.local_addr().ok())
            .collect()
    }

    /// Serves until `stop` says so. Requests that are being answered then are finished.
    pub async fn serve(self, api: Arc<Api>, tls: Option<TlsAcceptor>, stop: watch::Receiver<Stop>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let app = router(Arc::clone(&api));
        let serving: Vec<_> = self
            .sockets
            .into_iter()
            .map(|(_, socket)| {
                tokio::spawn(accept(
                    socket,
                    app.clone(),
                    Arc::clone(&api),
                    tls.clone(),
                    Arc::clone(&places),
                    stop.clone(),
                ))
            })
            .collect();
        for one in serving {
            let _ = one.await;
        }
        // Every connection gives its place back when it ends.
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        let _ = places.acquire_many(all).await;
    }
}

async fn accept(
    socket: TcpListener,
    app: Router,
    api: Arc<Api>,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    mut stop: watch::Receiver<Stop>,
) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let app = app.clone().layer(Extension(Peer(peer.ip().to_canonical())));
                let connection =
                    serve_one(stream, app, Arc::clone(&api), tls.clone(), stop.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the API can not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_one(
    stream: TcpStream,
    app: Router,
    api: Arc<Api>,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<Stop>,
) {
    let _ = stream.set_nodelay(true);
    let limits = **api.limits.load();
    let Some(tls) = tls else {
        return http(stream, app, limits, stop).await;
    };
    let mut first = [0u8; 1];
    match tokio::time::timeout(HANDSHAKE, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first == [TLS_HANDSHAKE_RECORD] => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                http(stream, app, limits, stop).await;
            }
        }
        Ok(Ok(1)) => http(stream, plain_http(), limits, stop).await,
        _ => {}
    }
}

/// What is answered to plain HTTP on the TLS port.
fn plain_http() -> Router {
    Router::new().fallback(|| async {
        let error = ApiError::unsupported_protocol("this port speaks HTTPS".to_owned());
        refuse(StatusCode::BAD_REQUEST, &error)
    })
}

async fn http<S>(stream: S, app: Router, limits: ApiLimits, mut stop: watch::Receiver<Stop>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let url = usize::try_from(limits.url_bytes).unwrap_or(HEADERS);
    let app = app.layer(middleware::from_fn_with_state(stop.clone(), say_close));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(url.saturating_add(HEADERS))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        stop = stopped(&mut stop) => {
            let patience = match stop {
                Stop::Within(patience) => patience,
                Stop::Now | Stop::No => Duration::ZERO,
            };
            match tokio::time::timeout(patience, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an API connection ended early");
    }
}

/// Tells the client that its connection ends with this answer, if it does.
async fn say_close(
    State(stop): State<watch::Receiver<Stop>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if *stop.borrow() != Stop::No {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Waits until it is time to stop, and how; at once when nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<Stop>) -> Stop {
    let told = stop.wait_for(|stop| *stop != Stop::No).await;
    told.map_or(Stop::Now, |stop| *stop)
}
