//! Signed calls of the Action API, one connection each.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clb_actions::form::Pair;
use clb_actions::signature::{Algorithm, sign, string_to_sign};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::pin::{BadPin, client_config};
use crate::settings::Settings;

const PATH: &str = "/v2/index.php";
/// Longest answer, in octets: 20,000 rules take some 10 MB.
const ANSWER: usize = 256 * 1024 * 1024;
/// For a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a task is asked for.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// A call that brought no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API refused.
    #[error("{action}: {code} {desc}: {message}")]
    Refused {
        /// The Action.
        action: String,
        /// `code`
        code: i64,
        /// `codeDesc`
        desc: String,
        /// `message`
        message: String,
    },
    /// The change was taken back.
    #[error("{action}: task {task} failed: {reason}")]
    Failed {
        /// The Action.
        action: String,
        /// The task.
        task: i64,
        /// Why.
        reason: String,
    },
    /// The task has not ended in time; it goes on.
    #[error("{action}: task {task} has not ended within {} s; it goes on", .patience.as_secs())]
    Slow {
        /// The Action.
        action: String,
        /// The task.
        task: i64,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Of several calls not all brought what was wanted; says what was done, and what was not.
    #[error("{0}")]
    Incomplete(String),
    /// The endpoint is no address.
    #[error("endpoint {0}: must be https://HOST:PORT or http://HOST:PORT")]
    Endpoint(String),
    /// TLS can not be set up.
    #[error(transparent)]
    Pin(#[from] BadPin),
    /// Nobody there, or not who it should be.
    #[error("{endpoint}: {reason}")]
    Connection {
        /// The endpoint.
        endpoint: String,
        /// Why.
        reason: String,
    },
}

/// An answer: its text, and the same read.
#[derive(Debug, Clone)]
pub struct Answer {
    /// As it came.
    pub text: String,
    /// Keys in the order in which they came.
    pub value: Value,
}

/// A gateway, and who calls it.
pub struct Client {
    settings: Settings,
    host: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`CallError::Endpoint`], [`CallError::Pin`]
    pub fn new(settings: Settings) -> Result<Self, CallError> {
        let bad = || CallError::Endpoint(settings.endpoint.clone());
        let (scheme, rest) = settings.endpoint.split_once("://").ok_or_else(bad)?;
        let host = rest.trim_end_matches('/');
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(bad());
        }
        let (tls, port) = match scheme {
            "https" => {
                let certificate = settings.certificate.as_deref();
                let config = client_config(certificate, settings.fingerprint.as_deref())?;
                (Some(Arc::new(config)), 443)
            }
            "http" => (None, 80),
            _ => return Err(bad()),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
            port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']'))
        });
        let host = match has_port {
            true => host.to_owned(),
            false => format!("{host}:{port}"),
        };
        Ok(Self {
            settings,
            host,
            tls,
        })
    }

    /// Calls an Action.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call(&self, action: &str, parameters: &[Pair]) -> Result<Answer, CallError> {
        let body = self.signed(action, parameters);
        let text = timeout(PATIENCE, self.send(body))
            .await
            .map_err(|_| self.lost(format!("no answer within {} s", PATIENCE.as_secs())))??;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| self.lost(format!("an answer that is no JSON: {error}")))?;
        let word = |name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match value.get("code").and_then(Value::as_i64) {
            Some(0) => Ok(Answer { text, value }),
            Some(code) => Err(CallError::Refused {
                action: action.to_owned(),
                code,
                desc: word("codeDesc"),
                message: word("message"),
            }),
            None => Err(self.lost("an answer without a code".to_owned())),
        }
    }

    /// Waits until the task of an answer has ended; one that has none is over.
    ///
    /// # Errors
    /// [`CallError::Failed`], [`CallError::Slow`], and those of [`Client::call`].
    pub async fn wait(
        &self,
        action: &str,
        answer: &Answer,
        patience: Duration,
    ) -> Result<(), CallError> {
        let Some(task) = answer.value.get("requestId").and_then(Value::as_i64) else {
            return Ok(());
        };
        let ended = async {
            loop {
                let asked = [("requestId".to_owned(), task.to_string())];
                let found = self.call("DescribeLoadBalancersTaskResult", &asked).await?;
                let data = found.value.get("data");
                let field = |name: &str| data.and_then(|data| data.get(name));
                match field("status").and_then(Value::as_i64) {
                    Some(0) => return Ok(()),
                    Some(1) => {
                        let reason = field("message").and_then(Value::as_str);
                        return Err(CallError::Failed {
                            action: action.to_owned(),
                            task,
                            reason: reason.unwrap_or_default().to_owned(),
                        });
                    }
                    _ => sleep(POLL).await,
                }
            }
        };
        timeout(patience, ended).await.unwrap_or_else(|_| {
            Err(CallError::Slow {
                action: action.to_owned(),
                task,
                patience,
            })
        })
    }

    /// The body of a call.
    fn signed(&self, action: &str, parameters: &[Pair]) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut pairs = parameters.to_vec();
        let common = [
            ("Action", action.to_owned()),
            ("Timestamp", now.as_secs().to_string()),
            ("Nonce", rand::random::<u64>().to_string()),
            ("SecretId", self.settings.secret_id.clone()),
            ("SignatureMethod", "HmacSHA256".to_owned()),
            (
                "RequestClient",
                concat!("clbctl_", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
        ];
        pairs.extend(common.map(|(name, value)| (name.to_owned(), value)));
        if let Some(region) = &self.settings.region {
            pairs.push(("Region".to_owned(), region.clone()));
        }
        let text = string_to_sign("POST", &self.host, PATH, &pairs);
        let signature = sign(self.settings.secret_key.expose(), Algorithm::Sha256, &text);
        pairs.push(("Signature".to_owned(), signature));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    }

    async fn send(&self, body: String) -> Result<String, CallError> {
        let socket = TcpStream::connect(&self.host)
            .await
            .map_err(|error| self.lost(error.to_string()))?;
        let Some(tls) = &self.tls else {
            return self.exchange(socket, body).await;
        };
        let (name, _) = self.host.rsplit_once(':').unwrap_or((&self.host, ""));
        let name = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| CallError::Endpoint(self.settings.endpoint.clone()))?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, socket)
            .await
            .map_err(|error| self.lost(format!("TLS: {error}")))?;
        self.exchange(stream, body).await
    }

    async fn exchange<S>(&self, stream: S, body: String) -> Result<String, CallError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let lost = |error: hyper::Error| self.lost(error.to_string());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.lost(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(lost)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        let body = body
            .map_err(|error| self.lost(error.to_string()))?
            .to_bytes();
        connection.abort();
        let text = String::from_utf8_lossy(&body).into_owned();
        match status {
            StatusCode::OK => Ok(text),
            status => Err(self.lost(format!("{status}: {text}"))),
        }
    }

    fn lost(&self, reason: String) -> CallError {
        CallError::Connection {
            endpoint: self.settings.endpoint.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn client(endpoint: &str) -> Result<Client, CallError> {
        Client::new(Settings {
            endpoint: endpoint.to_owned(),
            secret_id: "a".to_owned(),
            secret_key: Secret::new("b".to_owned()),
            certificate: None,
            fingerprint: Some("0f".repeat(32)),
            region: None,
        })
    }

    #[test]
    fn endpoints_have_a_scheme_a_host_and_a_port() {
        for (endpoint, host) in [
            ("https://127.0.0.1:8443", "127.0.0.1:8443"),
            ("http://gateway/", "gateway:80"),
            ("https://[::1]:1", "[::1]:1"),
            ("https://[::1]", "[::1]:443"),
        ] {
            assert_eq!(client(endpoint).map(|client| client.host).unwrap(), host);
        }
        for bad in [
            "",
            "gateway:8443",
            "ftp://a",
            "https://",
            "http://a/b",
            "http://u@a",
        ] {
            assert!(matches!(client(bad), Err(CallError::Endpoint(_))), "{bad}");
        }
    }
}
