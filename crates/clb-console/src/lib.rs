//! The console: what the gateway does, for people. It shows and changes nothing.
//!
//! The pages are plain HTML, CSS and ES modules that are part of the program; all they show they ask
//! for under `/console/api/`. A web page in the operator's browser can reach an admin address that
//! nobody else can, so `guard` looks where a request comes from.

mod backends;
mod guard;
mod listeners;
mod overview;
mod pages;
mod parameters;
mod requests;
mod simple;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clb_access_log::AccessLog;
use clb_control::Control;
use clb_monitor::Monitor;
use clb_snapshot::Board;

/// Where the console gets what it shows.
#[derive(Debug)]
pub struct Sources {
    /// Version of this gateway.
    pub version: &'static str,
    /// Objects, tasks and health.
    pub control: Arc<Control>,
    /// Live counters.
    pub board: Arc<Board>,
    /// Requests.
    pub access_log: Arc<AccessLog>,
    /// What was counted before.
    pub monitor: Arc<Monitor>,
    /// `admin.hosts`: names by which a browser may call this address.
    pub hosts: ArcSwap<Vec<String>>,
}

/// The routes under `/console`.
pub fn router(sources: Arc<Sources>) -> Router {
    let guard = from_fn_with_state(Arc::clone(&sources), guard::guard);
    Router::new()
        .route("/console", get(pages::moved))
        .route("/console/", get(pages::index))
        .route("/console/{*file}", get(pages::file))
        .route("/console/api/overview", get(overview::overview))
        .route("/console/api/history", get(overview::history))
        .route("/console/api/listener", get(listeners::listener))
        .route("/console/api/explain", get(listeners::explain))
        .route("/console/api/backends", get(backends::backends))
        .route("/console/api/requests", get(requests::requests))
        .route("/console/api/tasks", get(simple::tasks))
        .route("/console/api/certificates", get(simple::certificates))
        .layer(guard)
        .with_state(sources)
}

/// There is no such object, or there is none any more.
fn gone(what: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("no such {what}\n")).into_response()
}
