//! Answers of the Actions of 2016 that look at a classic instance as a whole: where a backend is
//! bound, and what is checked how.

use std::net::IpAddr;

use clb_model::{Binding, Env, HealthCheck, LoadBalancer, TaskId};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::answers::{domain, local_time};
use super::listeners::{HEALTH_NUM, INTERVAL_TIME, TIME_OUT};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ByInstance {
    pub total_count: usize,
    pub load_balancer_set: Vec<ByInstanceRow>,
}

/// An instance and one of its backends.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ByInstanceRow {
    load_balancer_id: String,
    un_load_balancer_id: String,
    load_balancer_name: String,
    load_balancer_type: i64,
    domain: String,
    load_balancer_vips: [IpAddr; 1],
    create_time: String,
    status: i64,
    /// Persistence is a matter of listeners.
    session_expire: i64,
    instance_id: String,
    un_instance_id: String,
    instance_name: String,
    backend_lan_ip: IpAddr,
    backend_wan_ip_set: Vec<IpAddr>,
    vpc_id: u64,
    subnet_id: u64,
    project_id: i64,
}

impl ByInstanceRow {
    pub(super) fn new(lb: &LoadBalancer, binding: &Binding, env: &Env, zone: &TimeZone) -> Self {
        let entry = env.instances.get(&*binding.instance);
        Self {
            load_balancer_id: lb.id.to_string(),
            un_load_balancer_id: lb.id.to_string(),
            load_balancer_name: lb.name.clone(),
            load_balancer_type: lb.network_type.number(),
            domain: domain(lb, env),
            load_balancer_vips: [lb.vip],
            create_time: local_time(lb.created, zone),
            status: lb.status.number(),
            session_expire: 0,
            instance_id: binding.instance.to_string(),
            un_instance_id: binding.instance.to_string(),
            instance_name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
            backend_lan_ip: binding.address,
            backend_wan_ip_set: entry.map(|entry| entry.wan_ips.clone()).unwrap_or_default(),
            vpc_id: lb.vpc.number,
            subnet_id: lb.subnet.number,
            project_id: lb.project_id,
        }
    }
}

#[derive(Serialize)]
pub(super) struct HealthTimesOf {
    pub data: [HealthTimesOfOne; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthTimesOfOne {
    pub project_id: i64,
    #[serde(rename = "LBName")]
    pub lb_name: String,
    pub health: HealthTimesRow,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthTimesRow {
    switch: i64,
    time_out: i64,
    interval_time: i64,
    health_num: i64,
    unhealth_num: i64,
}

impl HealthTimesRow {
    pub(super) fn new(check: &HealthCheck) -> Self {
        Self {
            switch: i64::from(check.enabled),
            time_out: check.time_out.get().into(),
            interval_time: check.interval_time.get().into(),
            health_num: check.health_num.get().into(),
            unhealth_num: check.unhealth_num.get().into(),
        }
    }

    /// The defaults of creation.
    pub(super) const fn of_creation() -> Self {
        Self {
            switch: 1,
            time_out: TIME_OUT,
            interval_time: INTERVAL_TIME,
            health_num: HEALTH_NUM,
            unhealth_num: HEALTH_NUM,
        }
    }
}

/// A task under the two names that ModifyLBHealth gives it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthChanged {
    request_id: TaskId,
    data: TaskOf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskOf {
    task_id: TaskId,
}

impl HealthChanged {
    pub(super) const fn new(task: TaskId) -> Self {
        Self {
            request_id: task,
            data: TaskOf { task_id: task },
        }
    }
}
