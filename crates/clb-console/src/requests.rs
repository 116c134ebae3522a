//! The slowest and the failing requests.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use clb_access_log::{Number, Page, Shown};
use clb_control::api::logs::rule_name;
use clb_model::{LbId, ListenerId};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::Sources;

/// How far back slow ones are looked for.
const MINUTES: u64 = 15;

pub(crate) async fn requests(State(sources): State<Arc<Sources>>) -> Response {
    let answer = tokio::task::spawn_blocking(move || {
        let zone = TimeZone::system();
        json!({
            "enabled": sources.access_log.is_enabled(),
            "minutes": MINUTES,
            "slowest": rows(&sources.access_log.slowest(MINUTES), &zone),
            "failing": rows(&sources.access_log.failing(), &zone),
        })
    });
    let answer = answer.await;
    answer.map_or_else(
        |_| crate::gone("requests"),
        |answer| Json(answer).into_response(),
    )
}

fn rows(page: &Page, zone: &TimeZone) -> Vec<Map<String, Value>> {
    let rows = page.rows().map(|row| {
        let mut object = Shown::new(&row, zone).full_object(rule_name);
        let lb = LbId::from_bits(row.number(Number::Lb));
        let listener = ListenerId::from_bits(row.number(Number::Listener));
        object.insert("at".to_owned(), (row.number(Number::Time) / 1_000).into());
        object.insert("lb".to_owned(), json!(lb));
        object.insert("listener".to_owned(), json!(listener));
        object
    });
    rows.collect()
}
