//! Serves the Action API: transport and dispatch. The language itself is `clb-actions`.

mod answers;
mod application;
mod audit;
mod certificate_answers;
mod certificates;
mod classic;
mod common;
mod errors;
mod forward_answers;
mod handlers;
mod instance_answers;
mod listeners;
pub mod logs;
mod monitor;
pub mod patterns;
mod redirects;
mod rules;
mod server;
mod targets;
mod view;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use clb_actions::Caller;
use clb_actions::params::Params;
use clb_actions::request::{Admitted, Gatekeeper, Received};
use clb_actions::table::{ActionSpec, Kind};
use clb_actions::{ApiError, envelope};
use clb_model::{Command, LbId, Nonce, UnixMillis};
use clb_snapshot::Board;
use clb_store::AuditEntry;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use crate::Records;
use crate::certificates::Expiry;
use crate::clock::Clock;
use crate::engine::EngineHandle;
use certificates::Uploads;
use errors::{from_execute, from_wait};
use handlers::{Ask, Handler, Row};
use view::View;

pub use server::{ApiServer, ServeError, Stop};
pub use view::Prices;

/// Path of the API, and the path that is signed.
const PATH: &str = "/v2/index.php";

/// Limits of the transport that may change while it serves.
#[derive(Debug, Clone, Copy)]
pub struct ApiLimits {
    /// `limits.api_url_bytes`; 0 is no limit of ours (hyper's is 65,534).
    pub url_bytes: u64,
    /// `limits.api_body_bytes`; 0 is no limit.
    pub body_bytes: u64,
}

/// What the API needs to answer.
#[derive(Debug)]
pub struct Api {
    /// Admits requests.
    pub gatekeeper: Gatekeeper,
    /// Executes commands.
    pub engine: EngineHandle,
    /// Live health.
    pub board: Arc<Board>,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// Limits of the transport.
    pub limits: ArcSwap<ApiLimits>,
    /// `[prices]`
    pub prices: ArcSwap<Prices>,
    /// Time zone of answers.
    pub zone: TimeZone,
    /// Set when the gateway stops: nothing more is changed.
    pub stopping: AtomicBool,
    /// Requests answered, by outcome.
    pub answered: Answered,
    /// What was recorded.
    pub records: Arc<Records>,
    /// Answers that are read from records at once: [`RECORD_READERS`].
    pub reading: Semaphore,
}

/// Answers that are read from records at the same time: they take a thread each and most of a core.
pub const RECORD_READERS: usize = 2;

/// Counts of API answers for the metrics.
#[derive(Debug, Default)]
pub struct Answered {
    /// Code 0.
    pub succeeded: AtomicU64,
    /// Any other code.
    pub failed: AtomicU64,
}

impl Answered {
    /// Code 0, and the others.
    #[must_use]
    pub fn figures(&self) -> (u64, u64) {
        (
            self.succeeded.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        )
    }
}

impl Api {
    /// When each stored certificate ends.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        self.engine.shared.read(crate::certificates::expiries)
    }

    /// Bound machines that are in no `[[instances]]` any more: they stay bound at their last
    /// address (semantics.md 1).
    #[must_use]
    pub fn unconfigured_backends(&self) -> Vec<String> {
        let env = self.engine.shared.env.load();
        self.engine.shared.read(|state| {
            // Once for each instance, however many of its rules the machine is bound to.
            let found: BTreeSet<(&str, LbId, IpAddr)> = state
                .bindings()
                .filter(|bound| {
                    !bound.by_address
                        && !env.instances.contains_key(&*bound.instance)
                        && bound.instance.parse::<IpAddr>().is_err()
                })
                .map(|bound| (&*bound.instance, bound.load_balancer, bound.address))
                .collect();
            found
                .into_iter()
                .map(|(instance, lb, address)| format!("{instance} (bound to {lb} at {address})"))
                .collect()
        })
    }

    async fn act(&self, received: &Received<'_>, peer: Option<IpAddr>) -> Result<String, ApiError> {
        let now = self.clock.unix();
        let caller = self
            .gatekeeper
            .authenticate(received, u64::try_from(now.0).unwrap_or(0))?;
        let mut audit = caller
            .changes()
            .then(|| audit::accepted(&caller, now, peer));
        let answer = self.carry_out(caller, now, &mut audit).await;
        if let (Err(error), Some(audit)) = (&answer, audit) {
            self.engine.refused(audit::refused(audit, error)).await;
        }
        answer
    }

    /// Does what a genuine request asks for; `audit` is written with the change that it makes, and
    /// left if it makes none.
    async fn carry_out(
        &self,
        caller: Caller,
        now: UnixMillis,
        audit: &mut Option<AuditEntry>,
    ) -> Result<String, ApiError> {
        let admitted = caller.check()?;
        let wish = Wish {
            action: admitted.action.name,
            params: &admitted.params,
            nonce: Some(nonce(&admitted)),
            key: &admitted.key_id,
            client: &admitted.request_client,
        };
        self.perform(wish, now, audit).await
    }

    /// Does what is asked for by clb.toml, as if it came from a client.
    ///
    /// # Errors
    /// [`ApiError`], as a client would get it.
    pub async fn act_for_file(
        &self,
        action: &str,
        parameters: Vec<(String, String)>,
    ) -> Result<String, ApiError> {
        let now = self.clock.unix();
        let action = ActionSpec::find(action)
            .ok_or_else(|| ApiError::parameter(format!("Action={action}: there is none")))?;
        let told = || audit::of_file(action.name, &parameters, now);
        let mut audit = (action.kind != Kind::Read).then(told);
        let answer = match action.check(parameters) {
            Ok(params) => {
                let wish = Wish {
                    action: action.name,
                    params: &params,
                    nonce: None,
                    key: audit::FILE,
                    client: "",
                };
                self.perform(wish, now, &mut audit).await
            }
            Err(error) => Err(error),
        };
        if let (Err(error), Some(audit)) = (&answer, audit) {
            self.engine.refused(audit::refused(audit, error)).await;
        }
        answer
    }

    async fn perform(
        &self,
        wish: Wish<'_>,
        now: UnixMillis,
        audit: &mut Option<AuditEntry>,
    ) -> Result<String, ApiError> {
        let params = wish.params;
        let row = handlers::find(wish.action).ok_or_else(|| {
            ApiError::not_supported(format!("{}: not available yet", wish.action))
        })?;
        (row.check)(params)?;
        let uploads = (row.uploads)(params)?;
        match &row.handler {
            Handler::Read(handler) => self.view(now, row, &uploads, |view| handler(view, params)),
            Handler::ReadMuch(handler) => {
                let write = self.view(now, row, &uploads, |view| handler(view, params))?;
                Ok(write())
            }
            Handler::Recorded(handler) => {
                let ask = self.view(now, row, &uploads, |view| handler(view, params))?;
                self.read_records(ask).await
            }
            Handler::TaskResult => common::task_result(&self.engine, params).await,
            Handler::Change {
                command,
                wait,
                answer,
            } => {
                if self.stopping.load(Ordering::Relaxed) {
                    return Err(ApiError::unavailable("the gateway is stopping".to_owned()));
                }
                let command = self.view(now, row, &uploads, |view| command(view, params))?;
                let executed = self
                    .engine
                    .execute(command, wish.nonce, audit.clone())
                    .await
                    .map_err(|error| from_execute(error, row.instead))?;
                *audit = None;
                tracing::info!(
                    action = wish.action,
                    lb = load_balancers(params, &executed.command),
                    listener = params.text("listenerId"),
                    rule = params.text("locationId"),
                    key = %wish.key,
                    client = (!wish.client.is_empty()).then_some(wish.client),
                    task = %executed.task,
                    "change accepted"
                );
                uploads.warn(now);
                if *wait {
                    let ended = self.engine.wait_ended(executed.task).await;
                    ended.map_err(from_wait)?;
                }
                Ok(answer(&executed))
            }
        }
    }

    async fn read_records(&self, ask: Ask) -> Result<String, ApiError> {
        // A panic, which is in the log.
        let failed = |_| ApiError::internal("the panic");
        let place = self.reading.acquire().await;
        let records = Arc::clone(&self.records);
        let reading = tokio::task::spawn_blocking(move || ask(&records));
        let answer = reading.await.map_err(failed)?;
        drop(place);
        answer
    }

    fn view<R>(
        &self,
        now: UnixMillis,
        row: &Row,
        uploads: &Uploads,
        look: impl FnOnce(&View<'_>) -> R,
    ) -> R {
        let shared = &self.engine.shared;
        let env = shared.env.load_full();
        let prices = **self.prices.load();
        let region = self.gatekeeper.region();
        shared.read(|state| {
            let board = &self.board;
            look(&View {
                state,
                env: &env,
                board,
                zone: &self.zone,
                prices,
                now,
                region: &region,
                instead: row.instead,
                uploads,
            })
        })
    }
}

/// What is asked for, after the checks of the request alone.
struct Wish<'a> {
    action: &'static str,
    params: &'a Params,
    nonce: Option<Nonce>,
    key: &'a str,
    client: &'a str,
}

/// Which load balancers a change is about, for the log.
fn load_balancers(params: &Params, command: &Command) -> String {
    if let Command::CreateLoadBalancers(made) = command {
        let ids: Vec<String> = made.ids.iter().map(ToString::to_string).collect();
        return ids.join(" ");
    }
    match params.text("loadBalancerId") {
        Some(id) => id.to_owned(),
        None => params.texts("loadBalancerIds").join(" "),
    }
}

/// What is stored with a change, so that the request can not come again after a restart.
fn nonce(admitted: &Admitted) -> Nonce {
    let triple = &admitted.triple;
    Nonce {
        timestamp: triple.timestamp,
        nonce: triple.nonce,
        secret_id: triple.secret_id.clone(),
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
struct Peer(IpAddr);

/// The routes of the API.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route(PATH, any(index))
        .fallback(not_found)
        .with_state(api)
}

async fn not_found() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        &ApiError::invalid(format!("only {PATH} is served")),
    )
}

fn json(status: StatusCode, text: String) -> Response {
    let content_type = HeaderValue::from_static("application/json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// A refusal of the transport, which uses an HTTP status (actions.md A.1).
fn refuse(status: StatusCode, error: &ApiError) -> Response {
    json(status, envelope::failure(error))
}

async fn index(Extract(api): Extract<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let limits = **api.limits.load();
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if exceeds(target, limits.url_bytes) {
        let message = format!("the target has more than {} bytes", limits.url_bytes);
        return refuse(StatusCode::URI_TOO_LONG, &ApiError::invalid(message));
    }
    let method = match parts.method {
        Method::GET => clb_actions::request::Method::Get,
        Method::POST => clb_actions::request::Method::Post,
        _ => {
            let error = ApiError::invalid("only GET and POST are served".to_owned());
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, &error);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            return response;
        }
    };
    let body = match collect(body, limits.body_bytes).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    if parts.method == Method::GET && !body.is_empty() {
        let error = ApiError::invalid("a GET request has no body".to_owned());
        return refuse(StatusCode::BAD_REQUEST, &error);
    }
    let host = match host(
        &parts.headers,
        parts.uri.authority().map(|authority| authority.as_str()),
    ) {
        Ok(host) => host,
        Err(response) => return *response,
    };
    let received = Received {
        method,
        host: &host,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default().as_bytes(),
        content_type: parts
            .headers
            .get(header::CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or("(not ASCII)")),
        body,
    };
    match api.act(&received, peer).await {
        Ok(text) => {
            api.answered.succeeded.fetch_add(1, Ordering::Relaxed);
            json(StatusCode::OK, text)
        }
        Err(error) => {
            api.answered.failed.fetch_add(1, Ordering::Relaxed);
            json(StatusCode::OK, envelope::failure(&error))
        }
    }
}

fn exceeds(bytes: usize, limit: u64) -> bool {
    limit != 0 && u64::try_from(bytes).unwrap_or(u64::MAX) > limit
}

async fn collect(body: Body, limit: u64) -> Result<Bytes, Box<Response>> {
    let too_large = || {
        let message = format!("the body has more than {limit} bytes");
        Box::new(refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            &ApiError::invalid(message),
        ))
    };
    // A length that is announced is enough; nobody waits for the bytes.
    if limit != 0 && body.size_hint().lower() > limit {
        return Err(too_large());
    }
    let most = match limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => {
            let error = ApiError::invalid("the body can not be read".to_owned());
            Err(Box::new(refuse(StatusCode::BAD_REQUEST, &error)))
        }
    }
}

/// The host that the client signed: the Host field as received, with its port (actions.md A.6).
fn host(headers: &HeaderMap, authority: Option<&str>) -> Result<String, Box<Response>> {
    let mut fields = headers.get_all(header::HOST).iter();
    let bad = |message: &str| {
        let error = ApiError::invalid(message.to_owned());
        Box::new(refuse(StatusCode::BAD_REQUEST, &error))
    };
    match (fields.next(), fields.next()) {
        (Some(host), None) => match host.to_str() {
            Ok(host) => Ok(host.to_owned()),
            Err(_) => Err(bad("the Host field is not ASCII")),
        },
        (None, _) => authority
            .map(ToOwned::to_owned)
            .ok_or_else(|| bad("Host is missing")),
        (Some(_), Some(_)) => Err(bad("more than one Host field")),
    }
}
