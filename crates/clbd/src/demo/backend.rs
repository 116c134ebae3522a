//! The demo's backends: each says its name.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves HTTP on an address for as long as the future is polled.
///
/// # Errors
/// When the address can not be bound.
pub async fn serve(address: SocketAddr, name: &'static str) -> std::io::Result<Infallible> {
    let socket = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, name, "a demo backend can not accept");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let answer = service_fn(move |request: Request<hyper::body::Incoming>| async move {
            let text = format!(
                "hello from {name}: {} {}\n",
                request.method(),
                request.uri().path()
            );
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        });
        tokio::spawn(async move {
            // The balancer's health checks come and go without a word.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
