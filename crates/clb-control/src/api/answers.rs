//! Answers, with names and key order of the examples (actions.md A.10).

use std::collections::BTreeMap;
use std::net::IpAddr;

use clb_model::{
    Binding, Env, Family, Listener, LoadBalancer, LoadBalancerType, Protocol, TaskId, TaskState,
    UnixMillis,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::certificate_answers::TlsRow;

/// `YYYY-MM-DD HH:MM:SS` in the time zone of the gateway's host (actions.md C.9).
pub(super) fn local_time(time: UnixMillis, zone: &TimeZone) -> String {
    Timestamp::from_millisecond(time.0)
        .map(|time| {
            time.to_zoned_datetime(zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        })
        .unwrap_or_default()
}

/// The domain of a classic public instance, else empty.
pub(super) fn domain(lb: &LoadBalancer, env: &Env) -> String {
    match (&lb.domain_prefix, lb.family, lb.network_type) {
        (Some(prefix), Family::Classic, LoadBalancerType::Public) => {
            format!("{prefix}.{}", env.domain_suffix)
        }
        _ => String::new(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Price {
    pub price: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    pub request_id: TaskId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancersCreated {
    request_id: TaskId,
    deal_ids: [String; 1],
    un_load_balancer_ids: BTreeMap<String, Vec<String>>,
}

impl LoadBalancersCreated {
    pub(super) fn new(task: TaskId, ids: impl Iterator<Item = String>) -> Self {
        Self {
            request_id: task,
            deal_ids: [task.to_string()],
            un_load_balancer_ids: BTreeMap::from([(task.to_string(), ids.collect())]),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListenersCreated {
    pub request_id: TaskId,
    pub listener_ids: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct TaskResult {
    data: TaskData,
}

#[derive(Serialize)]
struct TaskData {
    status: u8,
    message: String,
}

impl From<&TaskState> for TaskResult {
    fn from(state: &TaskState) -> Self {
        let (status, message) = match state {
            TaskState::Succeeded => (0, ""),
            TaskState::Failed { message } => (1, message.as_str()),
            TaskState::Pending { .. } => (2, ""),
        };
        Self {
            data: TaskData {
                status,
                message: message.to_owned(),
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancerSet {
    pub load_balancer_set: Vec<LoadBalancerRow>,
    pub total_count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancerRow {
    load_balancer_id: String,
    un_load_balancer_id: String,
    load_balancer_name: String,
    load_balancer_type: i64,
    domain: String,
    load_balancer_vips: [IpAddr; 1],
    status: i64,
    create_time: String,
    status_time: String,
    vpc_id: u64,
    uniq_vpc_id: String,
    subnet_id: u64,
    project_id: i64,
    forward: i64,
    snat: bool,
    open_bgp: i64,
    isolation: i64,
    log: &'static str,
    /// Beside what the documents have, where it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<&'static str>,
}

impl LoadBalancerRow {
    pub(super) fn new(lb: &LoadBalancer, env: &Env, zone: &TimeZone) -> Self {
        Self {
            load_balancer_id: lb.id.to_string(),
            un_load_balancer_id: lb.id.to_string(),
            load_balancer_name: lb.name.clone(),
            load_balancer_type: lb.network_type.number(),
            domain: domain(lb, env),
            load_balancer_vips: [lb.vip],
            status: lb.status.number(),
            create_time: local_time(lb.created, zone),
            status_time: local_time(lb.status_time, zone),
            vpc_id: lb.vpc.number,
            uniq_vpc_id: lb.vpc.name.clone(),
            subnet_id: lb.subnet.number,
            project_id: lb.project_id,
            forward: lb.family.number(),
            snat: false,
            open_bgp: 0,
            isolation: 0,
            log: "",
            client_ip: (!lb.client_ip.is_gateway()).then(|| lb.client_ip.word()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListenerSet {
    pub listener_set: Vec<ListenerRow>,
    pub total_count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListenerRow {
    listener_id: String,
    load_balancer_port: u16,
    instance_port: u16,
    protocol: i64,
    status: i64,
    listener_name: String,
    un_listener_id: String,
    session_expire: u16,
    health_switch: u8,
    time_out: u8,
    interval_time: u16,
    health_num: u8,
    unhealth_num: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_check_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_hash: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<&'static str>,
    #[serde(flatten)]
    tls: Option<TlsRow>,
}

impl ListenerRow {
    /// None for a listener that is no classic one.
    pub(super) fn new(listener: &Listener) -> Option<Self> {
        let settings = listener.settings()?;
        let health = &settings.health;
        let scheduler = settings.scheduler.name();
        let layer7 = listener.protocol.is_layer7();
        let http = health.http.as_ref();
        Some(Self {
            listener_id: listener.id.to_string(),
            load_balancer_port: listener.port.get(),
            instance_port: listener.instance_port()?.get(),
            protocol: listener.protocol.number(),
            status: listener.status.number(),
            listener_name: listener.name.clone(),
            un_listener_id: listener.id.to_string(),
            session_expire: settings
                .session_expire
                .map_or(0, clb_model::SessionExpire::get),
            health_switch: u8::from(health.enabled),
            time_out: health.time_out.get(),
            interval_time: health.interval_time.get(),
            health_num: health.health_num.get(),
            unhealth_num: health.unhealth_num.get(),
            http_code: http.map(|http| http.code.get()),
            http_check_path: http.map(|http| http.path.to_string()),
            http_hash: layer7.then_some(scheduler),
            scheduler: (!layer7).then_some(scheduler),
            tls: listener.tls.map(TlsRow::from),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendSet {
    pub total_count: usize,
    pub backend_set: Vec<BackendRow>,
}

/// `instanceStatus`: running; clbd does not manage the machines.
pub(super) const INSTANCE_RUNNING: i64 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendRow {
    instance_id: String,
    un_instance_id: String,
    instance_name: String,
    lan_ip: IpAddr,
    wan_ip_set: Vec<IpAddr>,
    instance_status: i64,
    weight: u8,
}

impl BackendRow {
    pub(super) fn new(binding: &Binding, env: &Env) -> Self {
        let entry = env.instances.get(&*binding.instance);
        Self {
            instance_id: binding.instance.to_string(),
            un_instance_id: binding.instance.to_string(),
            instance_name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
            lan_ip: binding.address,
            wan_ip_set: entry.map(|entry| entry.wan_ips.clone()).unwrap_or_default(),
            instance_status: INSTANCE_RUNNING,
            weight: binding.weight.get(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct HealthRows {
    pub data: Vec<HealthRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthRow {
    ip: IpAddr,
    protocol: String,
    port: u16,
    vport: u16,
    health_status: u8,
}

impl HealthRow {
    pub(super) fn new(listener: &Listener, binding: &Binding, healthy: bool) -> Self {
        let protocol: Protocol = listener.protocol;
        Self {
            ip: binding.address,
            protocol: protocol.to_string(),
            port: listener.instance_port().map_or(0, clb_model::Port::get),
            vport: listener.port.get(),
            health_status: u8::from(healthy),
        }
    }
}
