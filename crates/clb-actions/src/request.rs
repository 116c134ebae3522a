//! From a received request to an Action with checked parameters (actions.md A.11, steps 1 to 5).

use std::hint::black_box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::caller::Caller;
use crate::common::{self, Credentials};
use crate::echo::echo;
use crate::error::ApiError;
use crate::form::{Pair, check_duplicates, decode_form, split_raw};
use crate::key::{Access, Key, KeyRing};
use crate::multipart::{boundary_of, decode_multipart};
use crate::params::Params;
use crate::rate::RateLimiter;
use crate::replay::{ReplayMemory, WINDOW_SECONDS, in_window};
use crate::signature::{canonical_parameters, verify, with_prefix};
use crate::suggest::nearest;
use crate::table::{ACTIONS, ActionSpec, OF_OTHER_PRODUCTS};

/// How a request was sent; other methods are answered by HTTP alone (actions.md A.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Parameters in the query string.
    Get,
    /// Parameters in the body; the query string is ignored whole.
    Post,
}

impl Method {
    /// As it stands in the string to sign.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// What of a received HTTP request counts.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    /// GET or POST.
    pub method: Method,
    /// The Host field as received, with its port if it has one.
    pub host: &'a str,
    /// The path of the target.
    pub path: &'a str,
    /// The query string of the target, without its `?`.
    pub query: &'a [u8],
    /// The Content-Type field, if there is one.
    pub content_type: Option<&'a str>,
    /// The whole body.
    pub body: Bytes,
}

/// What makes a request unique (actions.md A.7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Triple {
    /// The caller's key.
    pub secret_id: String,
    /// The request's Timestamp, Unix seconds.
    pub timestamp: u64,
    /// The request's Nonce.
    pub nonce: u64,
}

/// A request that may be carried out, as far as the request alone can tell.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The Action it calls.
    pub action: &'static ActionSpec,
    /// The Action's parameters, checked.
    pub params: Params,
    /// The SecretId of the caller.
    pub key_id: String,
    /// To be stored in the same transaction as the change that the request makes.
    pub triple: Triple,
    /// RequestClient, else RequestSource, else empty: for the log.
    pub request_client: String,
}

/// Bounds of `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `api_nonces`: most remembered requests; 0 for no limit.
    pub nonces: usize,
    /// `api_requests_per_second`, for each key; 0 for no limit.
    pub requests_per_second: u32,
}

/// What SIGHUP may replace; requests in progress keep what they began with.
#[derive(Debug, Default)]
struct Settings {
    keys: KeyRing,
    hosts: Vec<String>,
    region: String,
}

/// Decides which requests get through. Shared by all connections: `&self` everywhere, locks are
/// held for a few map operations, never while a signature is computed.
#[derive(Debug)]
pub struct Gatekeeper {
    settings: Mutex<Arc<Settings>>,
    limits: Mutex<Limits>,
    // Locked in this order.
    memory: Mutex<ReplayMemory>,
    limiter: Mutex<RateLimiter>,
    /// Verified against when a SecretId is unknown, so that the time tells nothing.
    nobody: Key,
}

/// A request whose signature has verified.
struct Verified {
    pairs: Vec<Pair>,
    key: Key,
    timestamp: u64,
    nonce: u64,
}

impl Gatekeeper {
    /// A gatekeeper that has seen nothing yet. `region` is `[api] region`, `hosts` `[api] hosts`.
    #[must_use]
    pub fn new(keys: Vec<Key>, region: &str, hosts: Vec<String>, limits: Limits) -> Self {
        Self {
            settings: Mutex::new(Arc::new(Settings {
                keys: KeyRing::new(keys),
                hosts,
                region: region.to_owned(),
            })),
            limits: Mutex::new(limits),
            memory: Mutex::new(ReplayMemory::default()),
            limiter: Mutex::new(RateLimiter::default()),
            nobody: Key::new("", "no-key-has-this-secret-key-00000", Access::ReadOnly),
        }
    }

    /// Replaces keys, region and extra hosts. What was seen of keys that stay is kept.
    pub fn set_keys(&self, keys: Vec<Key>, region: &str, hosts: Vec<String>) {
        let settings = Arc::new(Settings {
            keys: KeyRing::new(keys),
            hosts,
            region: region.to_owned(),
        });
        lock(&self.limiter).retain(|key| settings.keys.get(key).is_some());
        *lock(&self.settings) = settings;
    }

    /// `[api] region`
    #[must_use]
    pub fn region(&self) -> String {
        lock(&self.settings).region.clone()
    }

    /// Replaces the limits.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.limits) = limits;
    }

    /// Takes over a request that was seen before a restart. It counts towards the limit of
    /// nonces, but is never turned away by it: the store keeps no more than were admitted.
    pub fn remember(&self, triple: Triple) {
        lock(&self.memory).insert(&triple.secret_id, triple.timestamp, triple.nonce);
    }

    /// How many requests are remembered, for the metrics.
    #[must_use]
    pub fn remembered(&self) -> usize {
        lock(&self.memory).len()
    }

    /// Checks a request as actions.md A.11 says, steps 1 to 5. `now_unix_ms` is the gateway's
    /// clock in milliseconds since 1970.
    ///
    /// # Errors
    /// The first error in the documented order.
    pub fn admit(&self, received: &Received<'_>, now_unix_ms: u64) -> Result<Admitted, ApiError> {
        self.authenticate(received, now_unix_ms)?.check()
    }

    /// Checks who a request is from and that it is new (actions.md A.11, steps 1 to 3), and that
    /// its Action is known (step 4).
    ///
    /// A request that is genuine is remembered at once, whatever becomes of it afterwards.
    ///
    /// # Errors
    /// The first error in the documented order.
    pub fn authenticate(
        &self,
        received: &Received<'_>,
        now_unix_ms: u64,
    ) -> Result<Caller, ApiError> {
        let settings = Arc::clone(&lock(&self.settings));
        let verified = self.verify_readings(&settings, received)?;
        self.admit_once(&verified, now_unix_ms)?;
        let request_client = ["RequestClient", "RequestSource"]
            .iter()
            .find_map(|name| common::value(&verified.pairs, name))
            .unwrap_or_default()
            .to_owned();
        let key_id = verified.key.secret_id().to_owned();
        Ok(Caller {
            action: find_action(&verified.pairs)?,
            access: verified.key.access(),
            triple: Triple {
                secret_id: key_id.clone(),
                timestamp: verified.timestamp,
                nonce: verified.nonce,
            },
            region: settings.region.clone(),
            pairs: verified.pairs,
            key_id,
            request_client,
        })
    }

    /// Steps 1 to 3 up to the signature, for each reading of the parameters (actions.md A.2).
    /// When none verifies, the first one's error is answered.
    fn verify_readings(
        &self,
        settings: &Settings,
        received: &Received<'_>,
    ) -> Result<Verified, ApiError> {
        let refusal = match first_reading(received)
            .and_then(|pairs| self.verify_pairs(settings, received, pairs))
        {
            Ok(verified) => return Ok(verified),
            Err(refusal) => refusal,
        };
        match second_reading(received) {
            Some(pairs) => self
                .verify_pairs(settings, received, pairs)
                .map_err(|_| refusal),
            None => Err(refusal),
        }
    }

    fn verify_pairs(
        &self,
        settings: &Settings,
        received: &Received<'_>,
        pairs: Vec<Pair>,
    ) -> Result<Verified, ApiError> {
        if received.method == Method::Post {
            refuse_file_uploads(&pairs)?;
        }
        check_duplicates(&pairs)?;
        common::text(&pairs, "Action")?;
        let credentials = common::credentials(&pairs)?;
        let known = settings.keys.get(credentials.secret_id);
        let key = known.unwrap_or(&self.nobody);
        let is_genuine = black_box(is_signed_by(key, settings, received, &pairs, &credentials));
        if known.is_none() {
            return Err(ApiError::secret_id_not_found(credentials.secret_id));
        }
        if !is_genuine {
            return Err(wrong_signature(&credentials));
        }
        Ok(Verified {
            key: key.clone(),
            timestamp: credentials.timestamp,
            nonce: credentials.nonce,
            pairs,
        })
    }

    /// Step 3 after the signature: the window, whether the request was seen, the rate. Only a
    /// request that passes all of them is remembered: one key that calls without pause cannot
    /// fill the memory for all others faster than its rate.
    fn admit_once(&self, verified: &Verified, now_unix_ms: u64) -> Result<(), ApiError> {
        let now = now_unix_ms / 1000;
        let (timestamp, nonce) = (verified.timestamp, verified.nonce);
        if !in_window(timestamp, now) {
            return Err(ApiError::replay(format!(
                "Timestamp={timestamp}: must lie within {WINDOW_SECONDS} seconds of the gateway's clock, which shows {now}"
            )));
        }
        let limits = *lock(&self.limits);
        let id = verified.key.shared_id();
        let mut memory = lock(&self.memory);
        memory.forget_expired(now);
        if memory.has_forgotten(timestamp) {
            return Err(ApiError::replay(format!(
                "Timestamp={timestamp}: the gateway's clock was set back to {now} and requests of that time are no longer remembered"
            )));
        }
        if memory.contains(id, timestamp, nonce) {
            return Err(ApiError::replay(format!(
                "Timestamp={timestamp} with Nonce={nonce}: this request was received before; sign each request anew"
            )));
        }
        if !lock(&self.limiter).take(id, limits.requests_per_second, now_unix_ms) {
            return Err(ApiError::request_limit_exceeded(format!(
                "more than {} requests per second with this key",
                limits.requests_per_second
            )));
        }
        if limits.nonces != 0 && memory.len() >= limits.nonces {
            return Err(ApiError::request_limit_exceeded(format!(
                "{} requests are remembered against replay, which is the limit (api_nonces)",
                memory.len()
            )));
        }
        memory.insert(id, timestamp, nonce);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in the critical sections leaves its data half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parameters, decoded as the request says.
fn first_reading(received: &Received<'_>) -> Result<Vec<Pair>, ApiError> {
    match (received.method, body_type(received)) {
        (Method::Get, _) => decode_form(received.query),
        (Method::Post, BodyType::Form) => decode_form(&received.body),
        (Method::Post, BodyType::Multipart(content_type)) => {
            decode_multipart(&boundary_of(content_type)?, &received.body)
        }
        (Method::Post, BodyType::Other(content_type)) => Err(ApiError::invalid(format!(
            "Content-Type {}: must be application/x-www-form-urlencoded or multipart/form-data",
            echo(content_type)
        ))),
    }
}

/// The parameters of an urlencoded body as sent, if that differs from the first reading.
fn second_reading(received: &Received<'_>) -> Option<Vec<Pair>> {
    let applies = received.method == Method::Post
        && matches!(body_type(received), BodyType::Form)
        && received
            .body
            .iter()
            .any(|octet| matches!(octet, b'%' | b'+'));
    applies.then(|| split_raw(&received.body).ok()).flatten()
}

enum BodyType<'a> {
    Form,
    Multipart(&'a str),
    Other(&'a str),
}

fn body_type<'a>(received: &Received<'a>) -> BodyType<'a> {
    let content_type = received.content_type.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() || essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        BodyType::Form
    } else if essence.eq_ignore_ascii_case("multipart/form-data") {
        BodyType::Multipart(content_type)
    } else {
        BodyType::Other(content_type)
    }
}

/// Several client libraries leave such parameters out of what they sign (actions.md A.6).
fn refuse_file_uploads(pairs: &[Pair]) -> Result<(), ApiError> {
    match pairs.iter().find(|(_, value)| value.starts_with('@')) {
        Some((name, _)) => Err(ApiError::invalid(format!(
            "{}: its value begins with '@', which means a file to some clients, but no Action takes a file",
            echo(name)
        ))),
        None => Ok(()),
    }
}

/// Tries the Host field, the Host field without its port, and the configured hosts.
fn is_signed_by(
    key: &Key,
    settings: &Settings,
    received: &Received<'_>,
    pairs: &[Pair],
    credentials: &Credentials<'_>,
) -> bool {
    // A certKey is in it.
    let canonical = Zeroizing::new(canonical_parameters(pairs));
    let bare = without_port(received.host);
    let own = [Some(received.host), (bare != received.host).then_some(bare)];
    own.into_iter()
        .flatten()
        .chain(settings.hosts.iter().map(String::as_str))
        .any(|host| {
            let text = with_prefix(received.method.as_str(), host, received.path, &canonical);
            let text = Zeroizing::new(text);
            verify(
                key.secret_key(),
                credentials.algorithm,
                &text,
                credentials.signature,
            )
        })
}

/// `host:port` without its port; an IPv6 address keeps its brackets (RFC 3986 section 3.2.2).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|octet| octet.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn wrong_signature(credentials: &Credentials<'_>) -> ApiError {
    ApiError::auth_failure(if credentials.signature.contains(' ') {
        "Signature: does not match; it contains a blank, so its '+' was not encoded as %2B"
    } else {
        "Signature: does not match the request and the key"
    })
}

/// Step 4: the Action is known (6100).
fn find_action(pairs: &[Pair]) -> Result<&'static ActionSpec, ApiError> {
    let name = common::value(pairs, "Action").unwrap_or_default();
    ActionSpec::find(name).ok_or_else(|| unknown_action(name))
}

fn unknown_action(name: &str) -> ApiError {
    if OF_OTHER_PRODUCTS.contains(&name) {
        return ApiError::not_supported(format!(
            "Action={name}: belongs to another product, this gateway serves load balancers only"
        ));
    }
    let hint = nearest(name, ACTIONS.iter().map(|action| action.name))
        .map(|nearest| format!("; the nearest known one is {nearest}"))
        .unwrap_or_default();
    ApiError::not_supported(format!("Action={}: no such Action{hint}", echo(name)))
}
