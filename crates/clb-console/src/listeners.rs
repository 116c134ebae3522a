//! One listener's rules, and why a request meets which.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use clb_model::ListenerId;
use clb_routing::RouteError;
use clb_snapshot::{Listener, Rule, Service};
use serde_json::{Value, json};

use crate::Sources;
use crate::parameters::Parameters;

fn find(sources: &Sources, id: &str) -> Option<Arc<Listener>> {
    let id = ListenerId::parse(id).ok()?;
    sources.board.snapshot().get(id).cloned()
}

/// The rules, each an array: with ten thousand of them names would be most of the answer.
pub(crate) async fn listener(State(sources): State<Arc<Sources>>, asked: Parameters) -> Response {
    let Some(listener) = find(&sources, asked.get("id")) else {
        return crate::gone("listener");
    };
    let name = sources.control.read(|state| {
        state
            .listener(listener.id)
            .map(|listener| listener.name.clone())
    });
    let answer = tokio::task::spawn_blocking(move || {
        let rules: Vec<Value> = match &listener.service {
            Service::Rules(router) => router.iter().map(|route| row(route.value.rule())).collect(),
            Service::Pool(_) => Vec::new(),
        };
        json!({
            "id": listener.id,
            "lb": listener.lb,
            "name": name,
            "address": listener.addr.to_string(),
            "protocol": format!("{:?}", listener.protocol).to_uppercase(),
            "hasRules": matches!(listener.service, Service::Rules(_)),
            "columns": ["id", "domain", "url", "redirected", "requests", "errors", "meanMs", "backends", "up"],
            "rules": rules,
        })
    })
    .await;
    answer.map_or_else(
        |_| crate::gone("listener"),
        |answer| Json(answer).into_response(),
    )
}

fn row(rule: &Rule) -> Value {
    let outcomes = rule.pool.requests().outcomes();
    let count: u64 = outcomes.classes.iter().sum();
    let [.., errors, _] = outcomes.classes;
    let mean = outcomes.took.as_secs_f64() * 1e3 / (count.max(1) as f64);
    let view = rule.pool.view();
    let members = view.members();
    let up = members.iter().filter(|member| member.health.may_serve());
    json!([
        rule.id,
        rule.domain.to_string(),
        rule.url.to_string(),
        rule.redirect.is_some(),
        count,
        errors,
        (mean * 100.0).round() / 100.0,
        members.len(),
        up.count(),
    ])
}

pub(crate) async fn explain(State(sources): State<Arc<Sources>>, asked: Parameters) -> Response {
    let Some(listener) = find(&sources, asked.get("listener")) else {
        return crate::gone("listener");
    };
    let Service::Rules(router) = &listener.service else {
        return Json(json!({
            "rule": null,
            "reasons": ["the listener has no rules: all of its requests go to the same backends"],
            "pool": listener.id,
        }))
        .into_response();
    };
    let explanation = router.explain(asked.get("host").as_bytes(), asked.get("path").as_bytes());
    let found = explanation.rule.as_ref().ok().and_then(|(domain, url)| {
        router
            .iter()
            .map(|route| route.value.rule())
            .find(|rule| rule.domain == *domain && rule.url == *url)
    });
    let answer = json!({
        "rule": found.map(|rule| json!({
            "id": rule.id,
            "domain": rule.domain.to_string(),
            "url": rule.url.to_string(),
            "redirected": rule.redirect.is_some(),
        })),
        "status": explanation.rule.as_ref().err().map(RouteError::status),
        "reasons": explanation.reasons,
    });
    Json(answer).into_response()
}
