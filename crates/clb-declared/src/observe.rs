//! From a gateway's answers to what runs.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use clb_model::{DomainPattern, Family, LoadBalancerType, Port, Protocol, UrlPattern, Weight};
use serde_json::Value;

use crate::fields::{Absent, Field, Kinds, LISTENER, RULE};
use crate::reconcile::{Calls, Refusal};
use crate::shape::{Backend, Listener, LoadBalancer, Place, Redirect, Rule, Settings};

/// Rows of one answer: instances, and listeners.
const INSTANCES: usize = 100;
const LISTENERS: usize = 1000;

/// Everything that runs, the oldest first.
///
/// # Errors
/// [`Refusal`]
pub async fn all(calls: &impl Calls) -> Result<Vec<LoadBalancer>, Refusal> {
    let asked = [("forward", "-1"), ("orderType", "0")];
    let rows = paged(
        calls,
        "DescribeLoadBalancers",
        "loadBalancerSet",
        INSTANCES,
        &asked,
    )
    .await?;
    let mut found = Vec::new();
    for row in &rows {
        found.push(whole(calls, row).await?);
    }
    Ok(found)
}

/// Whom a declaration is about.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// What is declared.
    pub wanted: &'a LoadBalancer,
    /// The id that it had the last time.
    pub known: Option<&'a str>,
    /// What other declarations are about.
    pub others: &'a Others,
}

/// Load balancers that are not taken over for having the name of another declaration.
#[derive(Debug, Clone, Default)]
pub struct Others {
    /// Declared VIPs.
    pub vips: HashSet<IpAddr>,
    /// Ids of declarations that were applied before.
    pub ids: HashSet<String>,
}

/// The instance that a declaration is about: the one with its VIP, else with the known id, else with
/// its name.
///
/// # Errors
/// [`Refusal`], also when several have the name.
pub async fn one(calls: &impl Calls, target: Target<'_>) -> Result<Option<LoadBalancer>, Refusal> {
    let wanted = target.wanted;
    let vip = wanted.vip.map(|vip| vip.to_string());
    let by_id = target.known.map(|id| ("loadBalancerIds.0", id));
    let by_vip = vip.as_deref().map(|vip| ("loadBalancerVips.0", vip));
    // The VIP first: a kill may have come between the new one with that and the end of the old one.
    for filter in by_vip.into_iter().chain(by_id) {
        if let [row] = &*instances(calls, filter).await? {
            return whole(calls, row).await.map(Some);
        }
    }
    // The filter is taken as a part of the name.
    let mut named = instances(calls, ("loadBalancerName", &wanted.name)).await?;
    named.retain(|row| {
        let is_other = vip_of(row).is_some_and(|vip| target.others.vips.contains(&vip))
            || target.others.ids.contains(text(row, "loadBalancerId"));
        text(row, "loadBalancerName") == wanted.name && !is_other
    });
    match &*named {
        [] => Ok(None),
        [row] => whole(calls, row).await.map(Some),
        rows => Err(Refusal::Refused(format!(
            "{} load balancers are called {:?}; vip must say which one is meant",
            rows.len(),
            wanted.name
        ))),
    }
}

fn vip_of(row: &Value) -> Option<IpAddr> {
    let vips = row.get("loadBalancerVips")?;
    vips.get(0)?.as_str()?.parse().ok()
}

async fn instances(calls: &impl Calls, filter: (&str, &str)) -> Result<Vec<Value>, Refusal> {
    let asked = [("forward", "-1"), filter];
    paged(
        calls,
        "DescribeLoadBalancers",
        "loadBalancerSet",
        INSTANCES,
        &asked,
    )
    .await
}

/// All rows of a list.
async fn paged(
    calls: &impl Calls,
    action: &str,
    set: &str,
    page: usize,
    parameters: &[(&str, &str)],
) -> Result<Vec<Value>, Refusal> {
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let mut pairs = owned(parameters);
        pairs.push(("offset".to_owned(), rows.len().to_string()));
        pairs.push(("limit".to_owned(), page.to_string()));
        let mut answer = calls.call(action, pairs).await?;
        let found = taken(&mut answer, set);
        let is_last = found.len() < page;
        rows.extend(found);
        if is_last {
            return Ok(rows);
        }
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(text).collect()
}

async fn whole(calls: &impl Calls, row: &Value) -> Result<LoadBalancer, Refusal> {
    let id = text(row, "loadBalancerId").to_owned();
    let own = [("loadBalancerId", id.as_str())];
    let family =
        Family::from_number(number(row, "forward")).ok_or_else(|| unreadable("forward"))?;
    let (listeners, backends) = match family {
        Family::Classic => {
            let action = "DescribeLoadBalancerListeners";
            let listeners = paged(calls, action, "listenerSet", LISTENERS, &own).await?;
            let bound = calls
                .call("DescribeLoadBalancerBackends", owned(&own))
                .await?;
            let read = |row: &Value| listener(row, family, &HashMap::new());
            let listeners = listeners.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            (listeners, backends(&bound, "backendSet")?)
        }
        Family::Application => {
            let action = "DescribeForwardLBListeners";
            let listeners = paged(calls, action, "listenerSet", LISTENERS, &own).await?;
            let bound = calls.call("DescribeForwardLBBackends", owned(&own)).await?;
            let pools = pools(&bound)?;
            let read = |row: &Value| listener(row, family, &pools);
            let mut read = listeners.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            redirects(&listeners, &mut read);
            (read, Vec::new())
        }
    };
    let network = LoadBalancerType::from_number(number(row, "loadBalancerType"));
    Ok(LoadBalancer {
        place: Place::default(),
        name: text(row, "loadBalancerName").to_owned(),
        network: network.ok_or_else(|| unreadable("loadBalancerType"))?,
        family,
        vip: vip_of(row),
        settings: instance_settings(row),
        listeners,
        backends,
        id,
    })
}

/// Names that only the instances' answer has.
fn instance_settings(row: &Value) -> Settings {
    let network = match text(row, "uniqVpcId") {
        "" => number(row, "vpcId").to_string(),
        name => name.to_owned(),
    };
    let client_ip = match text(row, "clientIp") {
        // Nothing is said of what is usual.
        "" => "gateway",
        client_ip => client_ip,
    };
    let mut settings = Settings::from([
        ("projectId", number(row, "projectId").to_string()),
        ("vpcId", network),
        ("clientIp", client_ip.to_owned()),
    ]);
    if let Some((prefix, _)) = text(row, "domain").split_once('.') {
        settings.insert("domainPrefix", prefix.to_owned());
    }
    settings
}

fn settings(row: &Value, fields: &[Field], kind: Option<Kinds>) -> Settings {
    let fields = fields
        .iter()
        .filter(|field| kind.is_none_or(|kind| field.is_for(kind)));
    let set = fields.filter_map(|field| {
        let value = match row.get(field.api)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // Nothing to be seen is nothing that is set.
        let is_set = !value.is_empty() || matches!(field.absent, Absent::Is(""));
        is_set.then_some((field.api, value))
    });
    set.collect()
}

/// Backends by the id of their listener or rule.
type Pools = HashMap<String, Vec<Backend>>;

fn pools(answer: &Value) -> Result<Pools, Refusal> {
    let mut pools = Pools::new();
    for listener in rows(answer, "data") {
        pools.insert(
            text(listener, "listenerId").to_owned(),
            backends(listener, "backends")?,
        );
        for rule in rows(listener, "rules") {
            pools.insert(
                text(rule, "locationId").to_owned(),
                backends(rule, "backends")?,
            );
        }
    }
    Ok(pools)
}

fn backends(answer: &Value, set: &str) -> Result<Vec<Backend>, Refusal> {
    rows(answer, set).iter().map(backend).collect()
}

fn backend(row: &Value) -> Result<Backend, Refusal> {
    let by_address = text(row, "targetType") == "ENI";
    let name = match by_address {
        true => "lanIp",
        false => "unInstanceId",
    };
    let port = row.get("port").and_then(Value::as_i64).map(Port::try_from);
    Ok(Backend {
        place: Place::default(),
        instance: text(row, name).to_owned(),
        by_address,
        port: port.transpose().map_err(|_| unreadable("port"))?,
        weight: Weight::try_from(number(row, "weight")).map_err(|_| unreadable("weight"))?,
    })
}

fn listener(row: &Value, family: Family, pools: &Pools) -> Result<Listener, Refusal> {
    let id = text(row, "listenerId").to_owned();
    let protocol =
        Protocol::from_number(number(row, "protocol")).ok_or_else(|| unreadable("protocol"))?;
    let rules = rows(row, "rules").iter().map(|row| rule(row, pools));
    let port = number(row, "loadBalancerPort");
    Ok(Listener {
        place: Place::default(),
        protocol,
        port: Port::try_from(port).map_err(|_| unreadable("loadBalancerPort"))?,
        settings: settings(row, LISTENER, Some(Kinds::of(family, protocol))),
        rules: rules.collect::<Result<_, _>>()?,
        backends: pools.get(&id).cloned().unwrap_or_default(),
        id,
    })
}

fn rule(row: &Value, pools: &Pools) -> Result<Rule, Refusal> {
    let id = text(row, "locationId").to_owned();
    Ok(Rule {
        place: Place::default(),
        domain: DomainPattern::parse(text(row, "domain")).map_err(|_| unreadable("domain"))?,
        url: UrlPattern::parse(text(row, "url")).map_err(|_| unreadable("url"))?,
        settings: settings(row, RULE, None),
        redirect: None,
        backends: pools.get(&id).cloned().unwrap_or_default(),
        id,
    })
}

/// Rules name the ids of what they are redirected to.
fn redirects(rows_read: &[Value], listeners: &mut [Listener]) {
    let mut places = HashMap::new();
    for listener in listeners.iter() {
        for rule in &listener.rules {
            let redirect = Redirect {
                port: listener.port,
                domain: rule.domain.clone(),
                url: rule.url.clone(),
            };
            places.insert(rule.id.clone(), redirect);
        }
    }
    let redirected: HashMap<&str, &str> = rows_read
        .iter()
        .flat_map(|listener| rows(listener, "rules"))
        .map(|rule| (text(rule, "locationId"), text(rule, "targetuLocationId")))
        .filter(|(_, target)| !target.is_empty())
        .collect();
    for rule in listeners
        .iter_mut()
        .flat_map(|listener| &mut listener.rules)
    {
        let target = redirected.get(rule.id.as_str());
        rule.redirect = target.and_then(|target| places.get(*target)).cloned();
    }
}

fn unreadable(field: &str) -> Refusal {
    Refusal::Lost(format!("the answer's {field} can not be understood"))
}

fn rows<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    let found = value.get(name).and_then(Value::as_array);
    found.map(Vec::as_slice).unwrap_or_default()
}

fn taken(value: &mut Value, name: &str) -> Vec<Value> {
    match value.get_mut(name).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}
