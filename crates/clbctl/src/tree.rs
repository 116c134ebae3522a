//! `clbctl get`: everything that a gateway has, as a tree with health.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::client::{CallError, Client};
use crate::table::shown;

/// Instances that one call answers.
const PAGE: usize = 100;
/// Listeners that one call answers.
const LISTENERS: usize = 1000;

/// Reads everything: an array of instances, each with its `listeners`, each of these with `backends`
/// or `rules`. Classic instances have their backends under every listener, for each has a health
/// of its own.
///
/// # Errors
/// [`CallError`]
pub async fn read(client: &Client) -> Result<Vec<Value>, CallError> {
    let instances = paged(
        client,
        "DescribeLoadBalancers",
        "loadBalancerSet",
        PAGE,
        &[("forward", "-1"), ("orderType", "0")],
    )
    .await?;
    let mut tree = Vec::new();
    for instance in instances {
        let id = text(&instance, "loadBalancerId");
        let listeners = match number(&instance, "forward") {
            0 => classic(client, &id).await?,
            _ => application(client, &id).await?,
        };
        let mut instance = instance.as_object().cloned().unwrap_or_default();
        instance.insert("listeners".to_owned(), Value::Array(listeners));
        tree.push(Value::Object(instance));
    }
    Ok(tree)
}

/// All rows of a list.
async fn paged(
    client: &Client,
    action: &str,
    set: &str,
    page: usize,
    parameters: &[(&str, &str)],
) -> Result<Vec<Value>, CallError> {
    let mut rows = Vec::new();
    loop {
        let mut pairs = owned(parameters);
        pairs.push(("offset".to_owned(), rows.len().to_string()));
        pairs.push(("limit".to_owned(), page.to_string()));
        let answer = client.call(action, &pairs).await?.value;
        let found = array(&answer, set);
        let is_last = found.len() < page;
        rows.extend(found);
        if is_last {
            return Ok(rows);
        }
    }
}

async fn classic(client: &Client, id: &str) -> Result<Vec<Value>, CallError> {
    let own = [("loadBalancerId", id)];
    let listeners = paged(
        client,
        "DescribeLoadBalancerListeners",
        "listenerSet",
        LISTENERS,
        &own,
    )
    .await?;
    let backends = client
        .call("DescribeLoadBalancerBackends", &owned(&own))
        .await?
        .value;
    let backends = array(&backends, "backendSet");
    let health = client
        .call("DescribeLBHealthStatus", &owned(&own))
        .await?
        .value;
    let health: HashMap<(String, i64), Value> = array(&health, "data")
        .into_iter()
        .map(|row| ((text(&row, "ip"), number(&row, "vport")), row))
        .collect();
    let with_backends = |listener: Value| {
        let vport = number(&listener, "loadBalancerPort");
        let of_listener = backends.iter().map(|backend| {
            let state = health.get(&(text(backend, "lanIp"), vport));
            let mut backend = backend.as_object().cloned().unwrap_or_default();
            let port = number(&listener, "instancePort");
            backend.insert("port".to_owned(), port.into());
            let status = state.map(|row| number(row, "healthStatus"));
            backend.insert("healthStatus".to_owned(), status.into());
            Value::Object(backend)
        });
        let backends = of_listener.collect();
        let mut listener = listener.as_object().cloned().unwrap_or_default();
        listener.insert("backends".to_owned(), Value::Array(backends));
        Value::Object(listener)
    };
    Ok(listeners.into_iter().map(with_backends).collect())
}

async fn application(client: &Client, id: &str) -> Result<Vec<Value>, CallError> {
    let own = [("loadBalancerId", id)];
    let listeners = paged(
        client,
        "DescribeForwardLBListeners",
        "listenerSet",
        LISTENERS,
        &own,
    )
    .await?;
    let backends = client
        .call("DescribeForwardLBBackends", &owned(&own))
        .await?
        .value;
    let health = [("loadBalancerIds.0", id)];
    let health = client
        .call("DescribeForwardLBHealthStatus", &owned(&health))
        .await?
        .value;
    let states = healths(&health);
    // By listener, or by rule.
    let mut bound: HashMap<String, Vec<Value>> = HashMap::new();
    for listener in array(&backends, "data") {
        let of_rules = array(&listener, "rules");
        let rules = of_rules.iter().map(|rule| (text(rule, "locationId"), rule));
        for (pool, row) in rules.chain([(text(&listener, "listenerId"), &listener)]) {
            let backends = array(row, "backends");
            let with_state = backends
                .iter()
                .map(|backend| with_health(&pool, backend, &states));
            bound.insert(pool.clone(), with_state.collect());
        }
    }
    let mut with_backends = |row: &Value, id: &str| {
        let backends = bound.remove(&text(row, id)).unwrap_or_default();
        let mut row = row.as_object().cloned().unwrap_or_default();
        row.insert("backends".to_owned(), Value::Array(backends));
        row
    };
    let mut tree = Vec::new();
    for listener in &listeners {
        tree.push(Value::Object(match listener.get("rules") {
            None => with_backends(listener, "listenerId"),
            Some(_) => {
                let rules = array(listener, "rules");
                let rules = rules
                    .iter()
                    .map(|rule| Value::Object(with_backends(rule, "locationId")));
                let rules = rules.collect();
                let mut listener = listener.as_object().cloned().unwrap_or_default();
                listener.insert("rules".to_owned(), Value::Array(rules));
                listener
            }
        }));
    }
    Ok(tree)
}

/// By pool, address and port.
type States = HashMap<(String, String, i64), i64>;

fn healths(answer: &Value) -> States {
    let mut states = States::new();
    for instance in array(answer, "data") {
        for listener in array(&instance, "listener") {
            let rules = array(&listener, "rules");
            let rules = rules.iter().map(|rule| (text(rule, "locationId"), rule));
            for (pool, row) in rules.chain([(text(&listener, "listenerId"), &listener)]) {
                for member in array(row, "backends") {
                    let place = (pool.clone(), text(&member, "ip"), number(&member, "port"));
                    states.insert(place, number(&member, "healthStatus"));
                }
            }
        }
    }
    states
}

fn with_health(pool: &str, backend: &Value, states: &States) -> Value {
    let place = (
        pool.to_owned(),
        text(backend, "lanIp"),
        number(backend, "port"),
    );
    let mut backend = backend.as_object().cloned().unwrap_or_default();
    backend.insert("healthStatus".to_owned(), json!(states.get(&place)));
    Value::Object(backend)
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(text).collect()
}

pub(crate) fn array(value: &Value, name: &str) -> Vec<Value> {
    let found = value.get(name).and_then(Value::as_array);
    found.cloned().unwrap_or_default()
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    let found = value.get(name).and_then(Value::as_str).unwrap_or_default();
    found.chars().flat_map(shown).collect()
}

pub(crate) fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// The tree for a terminal.
#[must_use]
pub fn render(instances: &[Value]) -> String {
    let mut out = String::new();
    for instance in instances {
        out.push_str(&instance_line(instance));
        out.push('\n');
        branches(&array(instance, "listeners"), "", &mut out, &listener_line);
    }
    if instances.is_empty() {
        out.push_str("no load balancers\n");
    }
    out
}

/// The branches of a tree, each with its own below it.
fn branches(rows: &[Value], indent: &str, out: &mut String, line: &dyn Fn(&Value) -> String) {
    for (index, row) in rows.iter().enumerate() {
        let is_last = index + 1 == rows.len();
        let (arm, below) = match is_last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        out.push_str(&format!("{indent}{arm}{}\n", line(row)));
        let indent = format!("{indent}{below}");
        branches(&array(row, "rules"), &indent, out, &rule_line);
        branches(&array(row, "backends"), &indent, out, &backend_line);
    }
}

pub(crate) fn instance_line(row: &Value) -> String {
    let vips = array(row, "loadBalancerVips");
    let vips: Vec<&str> = vips.iter().filter_map(Value::as_str).collect();
    let family = ["classic", "application-based"];
    let family = family.get(usize::from(number(row, "forward") == 1));
    let network = match number(row, "loadBalancerType") {
        3 => "private",
        _ => "public",
    };
    format!(
        "{} {} {} {network} {}{}",
        text(row, "loadBalancerId"),
        text(row, "loadBalancerName"),
        family.copied().unwrap_or_default(),
        vips.join(" "),
        creating(row)
    )
}

fn creating(row: &Value) -> &'static str {
    match row.get("status").and_then(Value::as_i64) {
        Some(0) => " (creating)",
        _ => "",
    }
}

pub(crate) fn listener_line(row: &Value) -> String {
    let protocol = match number(row, "protocol") {
        1 => "HTTP",
        2 => "TCP",
        3 => "UDP",
        _ => "HTTPS",
    };
    let name = text(row, "listenerName");
    let scheduler = match text(row, "scheduler") {
        scheduler if scheduler.is_empty() => text(row, "httpHash"),
        scheduler => scheduler,
    };
    words([
        text(row, "listenerId"),
        format!("{protocol} :{}", number(row, "loadBalancerPort")),
        name,
        scheduler,
        text(row, "SSLMode"),
    ]) + creating(row)
}

pub(crate) fn rule_line(row: &Value) -> String {
    let redirect = match text(row, "targetuLocationId") {
        target if target.is_empty() => String::new(),
        target => format!("→ {target}"),
    };
    words([
        text(row, "locationId"),
        text(row, "domain"),
        text(row, "url"),
        text(row, "httpHash"),
        redirect,
    ])
}

pub(crate) fn backend_line(row: &Value) -> String {
    let address = text(row, "lanIp");
    let id = match text(row, "unInstanceId") {
        id if id == address => String::new(),
        id => id,
    };
    let health = match row.get("healthStatus").and_then(Value::as_i64) {
        Some(1) => "healthy",
        // The API does not tell unhealthy from not yet known.
        Some(_) => "not healthy",
        None => "",
    };
    let place = match address.contains(':') {
        true => format!("[{address}]:{}", number(row, "port")),
        false => format!("{address}:{}", number(row, "port")),
    };
    words([
        place,
        id,
        text(row, "instanceName"),
        format!("weight {}", number(row, "weight")),
        health.to_owned(),
    ])
}

fn words<const N: usize>(words: [String; N]) -> String {
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_all_levels() {
        let backend = json!({"lanIp": "10.0.0.1", "unInstanceId": "ins-a", "instanceName": "web", "port": 80, "weight": 5, "healthStatus": 1});
        let other = json!({"lanIp": "fd00::1", "unInstanceId": "fd00::1", "port": 81, "weight": 0, "healthStatus": 0});
        let rules = json!([
            {"locationId": "loc-a", "domain": "a.example", "url": "/", "httpHash": "wrr", "backends": [backend, other]},
            {"locationId": "loc-b", "domain": "b.example", "url": "/", "httpHash": "wrr", "targetuLocationId": "loc-a", "backends": []},
        ]);
        let instance = json!({
            "loadBalancerId": "lb-a", "loadBalancerName": "name", "forward": 1, "loadBalancerType": 2,
            "loadBalancerVips": ["127.0.0.1"], "status": 1,
            "listeners": [
                {"listenerId": "lbl-a", "protocol": 4, "loadBalancerPort": 443, "SSLMode": "mutual", "rules": rules},
                {"listenerId": "lbl-b", "protocol": 2, "loadBalancerPort": 22, "scheduler": "wrr", "status": 0, "backends": []},
            ],
        });
        assert_eq!(
            render(&[instance]),
            "lb-a name application-based public 127.0.0.1\n\
             ├─ lbl-a HTTPS :443 mutual\n\
             │  ├─ loc-a a.example / wrr\n\
             │  │  ├─ 10.0.0.1:80 ins-a web weight 5 healthy\n\
             │  │  └─ [fd00::1]:81 weight 0 not healthy\n\
             │  └─ loc-b b.example / wrr → loc-a\n\
             └─ lbl-b TCP :22 wrr (creating)\n"
        );
        assert_eq!(render(&[]), "no load balancers\n");
    }
}
