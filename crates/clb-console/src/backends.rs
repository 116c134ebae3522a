//! The backends of one rule, or of one listener without rules.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use clb_control::applier::MemberReport;
use clb_model::{BindingId, PoolKey};
use clb_snapshot::{Listener, Pool, Service};
use serde_json::{Value, json};

use crate::Sources;
use crate::overview::Requests;
use crate::parameters::Parameters;

/// The listener and the pool with this key, and what it is called.
fn find(sources: &Sources, key: PoolKey) -> Option<(Arc<Listener>, Arc<Pool>, String)> {
    let snapshot = sources.board.snapshot();
    if let PoolKey::Listener(id) = key {
        let listener = snapshot.get(id)?;
        let pool = listener.service.pool()?;
        return Some((
            Arc::clone(listener),
            Arc::clone(pool),
            listener.addr.to_string(),
        ));
    }
    let PoolKey::Rule(id) = key else { return None };
    let listener = sources
        .control
        .read(|state| state.rule(id).map(|rule| rule.listener))?;
    let listener = snapshot.get(listener)?;
    let Service::Rules(router) = &listener.service else {
        return None;
    };
    let mut rules = router.iter().map(|route| route.value.rule());
    let rule = rules.find(|rule| rule.id == id)?;
    let name = format!("{} {}", rule.domain, rule.url);
    Some((Arc::clone(listener), Arc::clone(&rule.pool), name))
}

pub(crate) async fn backends(State(sources): State<Arc<Sources>>, asked: Parameters) -> Response {
    let Ok(key) = PoolKey::parse(asked.get("pool")) else {
        return crate::gone("rule or listener");
    };
    let Some((listener, pool, name)) = find(&sources, key) else {
        return crate::gone("rule or listener");
    };
    let reports = sources.control.health(key).await;
    let reports: HashMap<BindingId, MemberReport> = reports
        .into_iter()
        .map(|report| (report.binding, report))
        .collect();
    let view = pool.view();
    let machines: HashMap<BindingId, Arc<str>> = sources.control.read(|state| {
        let bound = view
            .members()
            .iter()
            .filter_map(|member| state.binding_by_id(member.binding));
        bound
            .map(|binding| (binding.id, Arc::clone(&binding.instance)))
            .collect()
    });
    let members = view.members().iter().map(|member| {
        let totals = member.live.totals();
        let outcomes = member.live.outcomes();
        json!({
            "address": member.addr.to_string(),
            "instance": machines.get(&member.binding).map(|name| name.to_string()),
            "weight": member.weight.get(),
            "state": member.health.word(),
            "health": reports.get(&member.binding).map(report),
            "active": member.live.active(),
            "opened": totals.opened,
            "failed": totals.failed,
            "bytesIn": totals.bytes_in,
            "bytesOut": totals.bytes_out,
            "classes": outcomes.classes,
            "timeouts": outcomes.timeouts,
            "took": outcomes.took.as_secs_f64(),
        })
    });
    let members: Vec<Value> = members.collect();
    let is_layer7 = listener.protocol.is_layer7();
    Json(json!({
        "pool": asked.get("pool"),
        "name": name,
        "lb": listener.lb,
        "listener": listener.id,
        "isHttp": is_layer7,
        "now": crate::overview::now_ms(),
        "requests": is_layer7.then(|| Requests::from(&pool.requests().totals())),
        "members": members,
    }))
    .into_response()
}

fn report(report: &MemberReport) -> Value {
    let changes: Vec<Value> = report
        .changes
        .iter()
        .map(|(at, from, to, why)| json!({"at": at.0, "from": from, "to": to, "why": why}))
        .collect();
    json!({
        "since": report.since.0,
        "last": report.last.as_ref().map(|(at, what)| json!({"at": at.0, "what": what})),
        "successes": report.results.0,
        "failures": report.results.1,
        "changes": changes,
    })
}
