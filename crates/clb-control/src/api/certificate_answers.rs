//! Answers about certificates, with names and key order of the examples (actions.md A.10).

use std::collections::BTreeMap;

use clb_model::{Listener, ListenerTls};
use serde::Serialize;

/// What every HTTPS listener's row has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TlsRow {
    #[serde(rename = "SSLMode")]
    ssl_mode: &'static str,
    cert_id: String,
    cert_ca_id: String,
}

impl From<ListenerTls> for TlsRow {
    fn from(tls: ListenerTls) -> Self {
        let authority = tls.authority.map(|id| id.to_string());
        Self {
            ssl_mode: tls.mode.name(),
            cert_id: tls.certificate.to_string(),
            cert_ca_id: authority.unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CertificateUsers {
    pub cert_set: BTreeMap<String, Vec<CertificateUser>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CertificateUser {
    #[serde(rename = "LBName")]
    pub lb_name: String,
    pub load_balancer_id: String,
    pub region: String,
    pub listener: Vec<UserListener>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserListener {
    un_listener_id: String,
    listener_name: String,
    load_balancer_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_port: Option<u16>,
    protocol: i64,
    #[serde(flatten)]
    tls: TlsRow,
    #[serde(flatten)]
    own: Option<ClassicSettings>,
}

/// What only a classic listener has of its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClassicSettings {
    session_expire: u16,
    health_switch: u8,
    time_out: u8,
    interval_time: u16,
    health_num: u8,
    unhealth_num: u8,
    http_hash: &'static str,
    http_code: u8,
}

impl UserListener {
    /// None for a listener without certificates.
    pub(super) fn new(listener: &Listener) -> Option<Self> {
        Some(Self {
            un_listener_id: listener.id.to_string(),
            listener_name: listener.name.clone(),
            load_balancer_port: listener.port.get(),
            instance_port: listener.instance_port().map(clb_model::Port::get),
            protocol: listener.protocol.number(),
            tls: listener.tls?.into(),
            own: ClassicSettings::of(listener),
        })
    }
}

impl ClassicSettings {
    fn of(listener: &Listener) -> Option<Self> {
        let settings = listener.settings()?;
        let health = &settings.health;
        let expire = settings.session_expire;
        Some(Self {
            session_expire: expire.map_or(0, clb_model::SessionExpire::get),
            health_switch: u8::from(health.enabled),
            time_out: health.time_out.get(),
            interval_time: health.interval_time.get(),
            health_num: health.health_num.get(),
            unhealth_num: health.unhealth_num.get(),
            http_hash: settings.scheduler.name(),
            http_code: health.http.as_ref().map_or(0, |http| http.code.get()),
        })
    }
}
