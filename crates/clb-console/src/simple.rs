//! Tasks and certificates.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use clb_model::TaskState;
use serde_json::{Value, json};

use crate::Sources;

/// Tasks that are shown.
const TASKS: usize = 200;

pub(crate) async fn tasks(State(sources): State<Arc<Sources>>) -> Response {
    let tasks: Vec<_> = sources
        .control
        .read(|state| state.latest_tasks().take(TASKS).cloned().collect());
    let rows = tasks.iter().map(|task| {
        let (state, message) = match &task.state {
            TaskState::Pending { .. } => ("pending", ""),
            TaskState::Succeeded => ("succeeded", ""),
            TaskState::Failed { message } => ("failed", message.as_str()),
        };
        json!({
            "id": task.id,
            "loadBalancers": task.load_balancers,
            "created": task.created.0,
            "ended": task.ended.map(|ended| ended.0),
            "state": state,
            "message": message,
        })
    });
    let rows: Vec<Value> = rows.collect();
    Json(json!({"tasks": rows, "most": TASKS})).into_response()
}

pub(crate) async fn certificates(State(sources): State<Arc<Sources>>) -> Response {
    let rows: Vec<Value> = sources.control.read(|state| {
        let certificates = state.certificates().map(|certificate| {
            let users = state.users_of(certificate.id);
            let users: Vec<Value> = users
                .map(|listener| json!({"listener": listener.id, "lb": listener.load_balancer}))
                .collect();
            json!({
                "id": certificate.id,
                "name": certificate.name,
                "notAfter": certificate.content.not_after,
                "users": users,
            })
        });
        certificates.collect()
    });
    Json(json!({"now": crate::overview::now_ms(), "certificates": rows})).into_response()
}
