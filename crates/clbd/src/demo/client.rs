//! A small client of the Action API: signs, sends, waits for tasks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clb_actions::signature::{Algorithm, sign, string_to_sign};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::credentials::Credentials;

const PATH: &str = "/v2/index.php";
/// Between two looks at a task.
const POLL: Duration = Duration::from_millis(20);
/// A task that is not over by then has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Speaks to one gateway.
pub struct Client {
    address: SocketAddr,
    credentials: Credentials,
    tls: TlsConnector,
}

impl Client {
    /// A client that trusts the gateway's own certificate.
    ///
    /// # Errors
    /// When the certificate can not be read.
    pub fn new(
        address: SocketAddr,
        credentials: Credentials,
        certificate: &std::path::Path,
    ) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for one in CertificateDer::pem_file_iter(certificate)? {
            roots.add(one?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            credentials,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Calls an Action and returns its answer.
    ///
    /// # Errors
    /// When it can not be sent, or the answer's code is not 0.
    pub async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let host = self.address.to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut all: Vec<(String, String)> = [
            ("Action", action),
            ("Nonce", &rand::random::<u32>().to_string()),
            ("RequestClient", "clbd-demo"),
            ("SecretId", &self.credentials.secret_id),
            ("SignatureMethod", "HmacSHA256"),
            ("Timestamp", &now.to_string()),
        ]
        .iter()
        .chain(parameters)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
        let text = string_to_sign("POST", &host, PATH, &all);
        let signature = sign(&self.credentials.secret_key, Algorithm::Sha256, &text);
        all.push(("Signature".to_owned(), signature));
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(all)
            .finish();
        let answer = self
            .send(&host, body)
            .await
            .with_context(|| action.to_owned())?;
        match answer.get("code").and_then(Value::as_i64) {
            Some(0) => Ok(answer),
            _ => bail!("{action}: {}", answer.get("message").unwrap_or(&answer)),
        }
    }

    /// Calls an asynchronous Action and waits until it is in force.
    ///
    /// # Errors
    /// As [`Client::call`]; also when the task fails.
    pub async fn change(&self, action: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let answer = self.call(action, parameters).await?;
        let task = answer
            .get("requestId")
            .and_then(Value::as_u64)
            .ok_or_else(|| anyhow!("{action}: the answer has no requestId"))?
            .to_string();
        let waited = async {
            loop {
                let result = self
                    .call("DescribeLoadBalancersTaskResult", &[("requestId", &task)])
                    .await?;
                match result.pointer("/data/status").and_then(Value::as_i64) {
                    Some(0) => return Ok(answer),
                    Some(2) => tokio::time::sleep(POLL).await,
                    _ => bail!(
                        "{action}: {}",
                        result.pointer("/data/message").unwrap_or(&result)
                    ),
                }
            }
        };
        tokio::time::timeout(PATIENCE, waited)
            .await
            .context("the task does not end")?
    }

    async fn send(&self, host: &str, body: String) -> anyhow::Result<Value> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        let stream = self.tls.connect(name, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::post(PATH)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}
