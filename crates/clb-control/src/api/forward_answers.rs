//! Answers of the Actions of application-based instances, with names and key order of the examples
//! (actions.md A.10).

use std::net::IpAddr;
use std::sync::Arc;

use clb_model::{Binding, Env, HealthCheck, Listener, PoolSettings, Port, ProbeMethod, Rule};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::answers::{INSTANCE_RUNNING, local_time};
use super::certificate_answers::TlsRow;

/// An answer of the envelope alone.
#[derive(Serialize)]
pub(super) struct Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForwardListenersCreated {
    pub listener_ids: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForwardListeners {
    pub listener_set: Vec<ForwardListenerRow>,
    pub total_count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForwardListenerRow {
    load_balancer_port: u16,
    protocol: i64,
    protocol_type: &'static str,
    listener_id: String,
    #[serde(flatten)]
    tls: Option<TlsRow>,
    listener_name: String,
    #[serde(flatten)]
    own: Option<OwnSettings>,
    add_timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Vec<RuleRow>>,
}

/// What layer-4 listeners have in the place of rules.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnSettings {
    session_expire: u16,
    health_switch: u8,
    time_out: u8,
    interval_time: u16,
    health_num: u8,
    unhealth_num: u8,
    scheduler: &'static str,
}

/// A rule, and the one that it is redirected to.
pub(super) type ListedRule = (Arc<Rule>, Option<Arc<Rule>>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleRow {
    location_id: String,
    domain: String,
    url: String,
    http_hash: &'static str,
    session_expire: u16,
    health_switch: u8,
    time_out: u8,
    interval_time: u16,
    health_num: u8,
    unhealth_num: u8,
    http_code: u8,
    http_check_path: String,
    http_check_domain: String,
    http_check_method: &'static str,
    #[serde(flatten)]
    redirect: Option<RedirectTo>,
}

/// Where a rule is redirected to.
#[derive(Serialize)]
pub(super) struct RedirectTo {
    #[serde(rename = "targetuListenerId")]
    listener: String,
    #[serde(rename = "targetuLocationId")]
    location: String,
    #[serde(rename = "bAutoCreated")]
    auto_created: u8,
}

impl RedirectTo {
    fn new(source: &Rule, target: &Rule) -> Self {
        Self {
            listener: target.listener.to_string(),
            location: target.id.to_string(),
            auto_created: u8::from(source.auto_created),
        }
    }
}

fn expire(settings: &PoolSettings) -> u16 {
    settings
        .session_expire
        .map_or(0, clb_model::SessionExpire::get)
}

impl ForwardListenerRow {
    /// `method` is what rules probe with that do not say it themselves.
    pub(super) fn new(
        listener: &Listener,
        rules: &[ListedRule],
        method: ProbeMethod,
        zone: &TimeZone,
    ) -> Self {
        let layer7 = listener.protocol.is_layer7();
        let rows = || {
            rules
                .iter()
                .map(|(rule, target)| RuleRow::new(rule, target.as_deref(), method))
                .collect()
        };
        Self {
            load_balancer_port: listener.port.get(),
            protocol: listener.protocol.number(),
            protocol_type: listener.protocol.word(),
            listener_id: listener.id.to_string(),
            tls: listener.tls.map(TlsRow::from),
            listener_name: listener.name.clone(),
            own: listener.settings().map(OwnSettings::new),
            add_timestamp: local_time(listener.created, zone),
            rules: layer7.then(rows),
        }
    }
}

impl OwnSettings {
    fn new(settings: &PoolSettings) -> Self {
        let HealthCheck {
            enabled,
            time_out,
            interval_time,
            health_num,
            unhealth_num,
            ..
        } = &settings.health;
        Self {
            session_expire: expire(settings),
            health_switch: u8::from(*enabled),
            time_out: time_out.get(),
            interval_time: interval_time.get(),
            health_num: health_num.get(),
            unhealth_num: unhealth_num.get(),
            scheduler: settings.scheduler.name(),
        }
    }
}

impl RuleRow {
    fn new(rule: &Rule, target: Option<&Rule>, method: ProbeMethod) -> Self {
        let health = &rule.settings.health;
        let http = health.http.as_ref();
        let domain = http.and_then(|http| http.domain.as_ref());
        let method = http.and_then(|http| http.method).unwrap_or(method);
        Self {
            location_id: rule.id.to_string(),
            domain: rule.domain.to_string(),
            url: rule.url.to_string(),
            http_hash: rule.settings.scheduler.name(),
            session_expire: expire(&rule.settings),
            health_switch: u8::from(health.enabled),
            time_out: health.time_out.get(),
            interval_time: health.interval_time.get(),
            health_num: health.health_num.get(),
            unhealth_num: health.unhealth_num.get(),
            http_code: http.map_or(0, |http| http.code.get()),
            http_check_path: http.map(|http| http.path.to_string()).unwrap_or_default(),
            http_check_domain: domain.map(ToString::to_string).unwrap_or_default(),
            http_check_method: method.name(),
            redirect: target.map(|target| RedirectTo::new(rule, target)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ForwardBackends {
    pub data: Vec<ListenerBackends>,
}

/// A listener's backends: its own, or those of its rules.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ListenerPools {
    Rules(Vec<RuleBackends>),
    Backends(Vec<ForwardBackendRow>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListenerBackends {
    load_balancer_port: u16,
    protocol: i64,
    protocol_type: &'static str,
    listener_id: String,
    #[serde(flatten)]
    pools: ListenerPools,
}

impl ListenerBackends {
    pub(super) fn new(listener: &Listener, pools: ListenerPools) -> Self {
        Self {
            load_balancer_port: listener.port.get(),
            protocol: listener.protocol.number(),
            protocol_type: listener.protocol.word(),
            listener_id: listener.id.to_string(),
            pools,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleBackends {
    pub location_id: String,
    pub backends: Vec<ForwardBackendRow>,
    pub domain: String,
    pub url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForwardBackendRow {
    instance_name: String,
    lan_ip: IpAddr,
    wan_ip_set: Vec<IpAddr>,
    instance_status: i64,
    port: u16,
    weight: u8,
    un_instance_id: String,
    add_timestamp: String,
    target_type: &'static str,
}

impl ForwardBackendRow {
    pub(super) fn new(binding: &Binding, env: &Env, zone: &TimeZone) -> Self {
        let named = (!binding.by_address).then_some(&*binding.instance);
        let entry = named.and_then(|id| env.instances.get(id));
        Self {
            instance_name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
            lan_ip: binding.address,
            wan_ip_set: entry.map(|entry| entry.wan_ips.clone()).unwrap_or_default(),
            instance_status: INSTANCE_RUNNING,
            port: binding.port().map_or(0, Port::get),
            weight: binding.weight.get(),
            un_instance_id: named.unwrap_or_default().to_owned(),
            add_timestamp: local_time(binding.created, zone),
            target_type: if binding.by_address { "ENI" } else { "CVM" },
        }
    }
}

#[derive(Serialize)]
pub(super) struct ForwardHealth {
    pub data: Vec<ForwardHealthRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForwardHealthRow {
    pub load_balancer_name: String,
    pub un_load_balancer_id: String,
    pub listener: Vec<HealthListenerRow>,
}

/// The health of a listener's own backends, or of those of its rules.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum HealthPools {
    Rules(Vec<HealthRuleRow>),
    Backends(Vec<HealthMemberRow>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthListenerRow {
    listener_id: String,
    listener_name: String,
    protocol: i64,
    load_balancer_port: u16,
    #[serde(flatten)]
    pools: HealthPools,
}

impl HealthListenerRow {
    pub(super) fn new(listener: &Listener, pools: HealthPools) -> Self {
        Self {
            listener_id: listener.id.to_string(),
            listener_name: listener.name.clone(),
            protocol: listener.protocol.number(),
            load_balancer_port: listener.port.get(),
            pools,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthRuleRow {
    pub location_id: String,
    pub domain: String,
    pub url: String,
    pub backends: Vec<HealthMemberRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthMemberRow {
    pub ip: IpAddr,
    pub port: u16,
    pub health_status: u8,
}

#[derive(Serialize)]
pub(super) struct Rewrites {
    pub data: RewriteData,
}

#[derive(Serialize)]
pub(super) struct RewriteData {
    #[serde(rename = "RewriteSet")]
    pub rewrite_set: Vec<RewriteRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RewriteRow {
    u_listener_id: String,
    u_location_id: String,
    domain: String,
    url: String,
    http_gzip: bool,
    http_hash: &'static str,
    #[serde(rename = "keep_time")]
    keep_time: u16,
    #[serde(flatten)]
    to: RedirectTo,
    health: RewriteHealth,
}

/// The source rule's health check, under names that only DescribeRewrite has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RewriteHealth {
    health_num: u8,
    http_check_path: String,
    http_code: u8,
    interval_time: u16,
    switch: u8,
    time_out: u8,
    unhealth_num: u8,
}

impl RewriteRow {
    pub(super) fn new(source: &Rule, target: &Rule) -> Self {
        let health = &source.settings.health;
        let http = health.http.as_ref();
        Self {
            u_listener_id: source.listener.to_string(),
            u_location_id: source.id.to_string(),
            domain: source.domain.to_string(),
            url: source.url.to_string(),
            http_gzip: false,
            http_hash: source.settings.scheduler.name(),
            keep_time: expire(&source.settings),
            to: RedirectTo::new(source, target),
            health: RewriteHealth {
                health_num: health.health_num.get(),
                http_check_path: http.map(|http| http.path.to_string()).unwrap_or_default(),
                http_code: http.map_or(0, |http| http.code.get()),
                interval_time: health.interval_time.get(),
                switch: u8::from(health.enabled),
                time_out: health.time_out.get(),
                unhealth_num: health.unhealth_num.get(),
            },
        }
    }
}
