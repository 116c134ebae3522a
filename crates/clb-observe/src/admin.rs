//! The admin address: plain HTTP for operators.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::metrics::Metrics;

/// Connections that are served at once; more wait in the listening socket's queue.
const CONNECTIONS: usize = 256;
/// A request's head is complete after this time; also the longest pause between two requests.
const HEAD: Duration = Duration::from_secs(60);
/// The priority of a scrape (nice(2)): a tenth of a core where a worker wants all of it.
const PRIORITY: i32 = 10;

/// The admin address can not be used.
#[derive(Debug, thiserror::Error)]
#[error("admin.listen {address}: {source}")]
pub struct AdminError {
    address: SocketAddr,
    source: io::Error,
}

/// The admin address, bound and ready to serve.
#[derive(Debug)]
pub struct Admin {
    socket: TcpListener,
    address: SocketAddr,
}

#[derive(Clone)]
struct Sources {
    metrics: Arc<Metrics>,
    ready: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    scrapes: Arc<Semaphore>,
}

impl Admin {
    /// Binds the address, unless its socket is `there`.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn bind(
        address: SocketAddr,
        there: Option<StdTcpListener>,
    ) -> Result<Self, AdminError> {
        let error = |source| AdminError { address, source };
        let socket = match there {
            Some(socket) => TcpListener::from_std(socket),
            None => TcpListener::bind(address).await,
        };
        let socket = socket.map_err(error)?;
        let address = socket.local_addr().map_err(error)?;
        Ok(Self { socket, address })
    }

    /// The address that was bound, with the port that the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another handle of its socket, for another process.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn socket(&self) -> io::Result<StdTcpListener> {
        Ok(self.socket.as_fd().try_clone_to_owned()?.into())
    }

    /// Serves until `leave` turns true, when all connections end after their answers: another
    /// process has the socket. `more` are routes beside those of this crate.
    /// `/readyz` says no until `ready` is true and again once `stop` is.
    pub async fn serve(
        self,
        metrics: Arc<Metrics>,
        more: Router,
        ready: watch::Receiver<bool>,
        stop: watch::Receiver<bool>,
        mut leave: watch::Receiver<bool>,
    ) {
        let app = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(scrape))
            .with_state(Sources {
                metrics,
                ready,
                stop,
                scrapes: Arc::new(Semaphore::new(1)),
            })
            .merge(more);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = told(&mut leave) => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin address can not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
            let mut leave = leave.clone();
            tokio::spawn(async move {
                let mut connection = std::pin::pin!(connection);
                // An operator's browser that goes away is no event.
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = told(&mut leave) => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
                drop(place);
            });
        }
    }
}

/// Waits until it is true; for ever when nobody is left to say so.
async fn told(value: &mut watch::Receiver<bool>) {
    if value.wait_for(|value| *value).await.is_err() {
        std::future::pending().await
    }
}

async fn readyz(State(sources): State<Sources>) -> Response {
    if *sources.stop.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else if *sources.ready.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response()
    }
}

async fn scrape(State(sources): State<Sources>) -> Response {
    // One after the other, so that a second scraper does not take a second core from the workers.
    let _turn = sources.scrapes.acquire().await;
    let metrics = sources.metrics;
    match aside(move || metrics.text()).await {
        Ok(Ok(text)) => {
            let form = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, form)], text).into_response()
        }
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Runs something long in a thread of its own that leaves the core to a worker who wants it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    // Of its own, for a thread can lower its priority and not raise it again.
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            // It fails only where priorities are not allowed at all.
            let _ = setpriority_process(Some(gettid()), PRIORITY);
            // Whoever asked may have gone.
            let _ = done.send(work());
        })?;
    result.await.map_err(io::Error::other)
}
