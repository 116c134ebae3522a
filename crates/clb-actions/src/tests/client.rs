//! A client that signs requests as the client libraries do.

use bytes::Bytes;

use crate::form::Pair;
use crate::signature::{Algorithm, sign, string_to_sign};
use crate::{Access, Admitted, ApiError, Gatekeeper, Key, Limits, Method, Received};

pub(super) const SECRET_ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";
pub(super) const SECRET_KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";
pub(super) const READER_ID: &str = "AKIDreader";
const READER_KEY: &str = "reader-secret";
pub(super) const HOST: &str = "127.0.0.1:8443";
pub(super) const PATH: &str = "/v2/index.php";
/// The gateway's clock in these stories.
pub(super) const NOW: u64 = 1_465_750_149;

pub(super) fn gatekeeper_with(limits: Limits) -> Gatekeeper {
    Gatekeeper::new(
        vec![
            Key::new(SECRET_ID, SECRET_KEY, Access::Full),
            Key::new(READER_ID, READER_KEY, Access::ReadOnly),
        ],
        "ap-guangzhou",
        vec!["lb.api.qcloud.com".to_owned()],
        limits,
    )
}

pub(super) fn gatekeeper() -> Gatekeeper {
    gatekeeper_with(Limits {
        nonces: 0,
        requests_per_second: 0,
    })
}

pub(super) fn pairs(list: &[(&str, &str)]) -> Vec<Pair> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub(super) fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|octet| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(octet).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

pub(super) fn form(pairs: &[Pair]) -> String {
    let parts: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    parts.join("&")
}

/// A request as its client sees it, before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) host: String,
    /// The host that the client believes it talks to.
    pub(super) signed_host: String,
    pub(super) secret_key: String,
    pub(super) params: Vec<Pair>,
}

impl Call {
    pub(super) fn new(action: &str, own: &[(&str, &str)]) -> Self {
        let mut params = pairs(&[
            ("Action", action),
            ("Timestamp", &NOW.to_string()),
            ("Nonce", "46364"),
            ("SecretId", SECRET_ID),
        ]);
        params.extend(pairs(own));
        Self {
            method: Method::Get,
            host: HOST.to_owned(),
            signed_host: HOST.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            params,
        }
    }

    pub(super) fn post(mut self) -> Self {
        self.method = Method::Post;
        self
    }

    pub(super) fn by_reader(mut self) -> Self {
        self.secret_key = READER_KEY.to_owned();
        self.with("SecretId", READER_ID)
    }

    pub(super) fn signed_for(mut self, host: &str) -> Self {
        self.signed_host = host.to_owned();
        self
    }

    pub(super) fn sent_to(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// Sets a parameter, or adds it.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        match self.params.iter_mut().find(|(given, _)| given == name) {
            Some(pair) => pair.1 = value.to_owned(),
            None => self.params.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.params.retain(|(given, _)| given != name);
        self
    }

    /// The parameters with their signature.
    pub(super) fn signed(&self) -> Vec<Pair> {
        let method = self
            .params
            .iter()
            .find(|(name, _)| name == "SignatureMethod")
            .map(|(_, value)| value.as_str());
        let text = string_to_sign(self.method.as_str(), &self.signed_host, PATH, &self.params);
        let signature = sign(
            &self.secret_key,
            Algorithm::from_method_param(method),
            &text,
        );
        let mut params = self.params.clone();
        params.push(("Signature".to_owned(), signature));
        params
    }

    /// Signs and sends it.
    pub(super) fn send(&self, gatekeeper: &Gatekeeper) -> Result<Admitted, ApiError> {
        self.send_at(gatekeeper, NOW * 1000)
    }

    pub(super) fn send_at(
        &self,
        gatekeeper: &Gatekeeper,
        now_ms: u64,
    ) -> Result<Admitted, ApiError> {
        self.send_text(gatekeeper, &form(&self.signed()), None, now_ms)
    }

    /// Sends this text in the place of the encoded parameters.
    pub(super) fn send_text(
        &self,
        gatekeeper: &Gatekeeper,
        text: &str,
        content_type: Option<&str>,
        now_ms: u64,
    ) -> Result<Admitted, ApiError> {
        let (query, body) = match self.method {
            Method::Get => (text.as_bytes(), Bytes::new()),
            Method::Post => (
                &b"Action=ignored&x=%zz"[..],
                Bytes::copy_from_slice(text.as_bytes()),
            ),
        };
        gatekeeper.admit(
            &Received {
                method: self.method,
                host: &self.host,
                path: PATH,
                query,
                content_type,
                body,
            },
            now_ms,
        )
    }
}

/// What the gatekeeper says of an Action's own parameters.
pub(super) fn call(action: &str, own: &[(&str, &str)]) -> Result<Admitted, ApiError> {
    Call::new(action, own).send(&gatekeeper())
}

/// The message of the 4000 (9003) that the parameters are refused with.
pub(super) fn refused(action: &str, own: &[(&str, &str)]) -> String {
    let error = call(action, own).expect_err(&format!("{action} {own:?}"));
    assert_eq!((error.code, error.module), (4000, Some(9003)), "{error}");
    error.message
}
