//! The API's server, which can rest while another process may take over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use clb_control::Control;
use clb_control::api::{ApiServer, Stop};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long requests that are being answered may take to end.
const REQUESTS: Duration = Duration::from_secs(10);

/// See the module.
pub struct ApiService {
    control: Arc<Control>,
    tls: Option<TlsAcceptor>,
    /// With the addresses that were asked for.
    sockets: Vec<(SocketAddr, TcpListener)>,
    serving: Option<(watch::Sender<Stop>, JoinHandle<()>)>,
}

impl ApiService {
    /// Serves with the sockets of this server.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn start_with(
        server: &ApiServer,
        control: &Arc<Control>,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Self> {
        let mut service = Self {
            control: Arc::clone(control),
            tls,
            sockets: server.sockets()?,
            serving: None,
        };
        service.start();
        Ok(service)
    }

    /// Its sockets, with the addresses that were asked for.
    pub fn sockets(&self) -> &[(SocketAddr, TcpListener)] {
        &self.sockets
    }

    /// Serves, unless it does.
    pub fn start(&mut self) {
        if self.serving.is_some() {
            return;
        }
        let copy =
            |(address, socket): &(SocketAddr, TcpListener)| Ok((*address, socket.try_clone()?));
        let sockets: io::Result<Vec<_>> = self.sockets.iter().map(copy).collect();
        let server = match sockets.and_then(ApiServer::of) {
            Ok(server) => server,
            Err(error) => return tracing::error!(%error, "the API can not be served"),
        };
        let (stop, stopping) = watch::channel(Stop::No);
        let (control, tls) = (Arc::clone(&self.control), self.tls.clone());
        let serving = tokio::spawn(async move { control.serve_api(server, tls, stopping).await });
        self.serving = Some((stop, serving));
    }

    /// Accepts no more, and waits for the requests that are being answered. Who connects meanwhile
    /// waits.
    pub async fn stop(&mut self, how: Stop) {
        if let Some((stop, serving)) = self.serving.take() {
            let _ = stop.send(how);
            if tokio::time::timeout(REQUESTS, serving).await.is_err() {
                tracing::warn!("requests to the API are not waited for any longer");
            }
        }
    }

    /// Leaves the sockets to another process.
    pub fn leave(&mut self) {
        self.sockets.clear();
    }
}
