//! Rules across parameters that need the request only (actions.md D, "Rules").
//!
//! What depends on the stored instance or listener (private instances, protocols of existing
//! listeners, ports that are taken) is decided where the state is known.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::echo::echo;
use crate::error::ApiError;
use crate::params::{Element, Params};

/// timeOut of a new listener, in seconds.
pub(crate) const DEFAULT_TIME_OUT: i64 = 2;
/// intervalTime of a new listener, in seconds.
pub(crate) const DEFAULT_INTERVAL_TIME: i64 = 5;

const HTTP: i64 = 1;
const HTTPS: i64 = 4;

/// What only TCP and UDP listeners have.
const LAYER_4_ONLY: &[&str] = &["scheduler", "timeOut"];
/// What only HTTP and HTTPS listeners have.
const LAYER_7_ONLY: &[&str] = &["httpHash", "httpCode", "httpCheckPath"];
/// What only HTTPS listeners have.
const HTTPS_ONLY: &[&str] = &[
    "SSLMode",
    "certId",
    "certCaId",
    "certCaContent",
    "certCaName",
    "certContent",
    "certKey",
    "certName",
];
const CA_PARAMETERS: &[&str] = &["certCaId", "certCaContent", "certCaName"];

type Checked = Result<(), ApiError>;

/// Parameters that describe one listener: an array's element, or the request itself.
trait Listener {
    fn int(&self, name: &str) -> Option<i64>;
    fn text(&self, name: &str) -> Option<&str>;
    fn is_given(&self, name: &str) -> bool;
    fn refuse(&self, name: &str, reason: &str) -> ApiError;
}

impl Listener for Element<'_> {
    fn int(&self, name: &str) -> Option<i64> {
        Element::int(self, name)
    }
    fn text(&self, name: &str) -> Option<&str> {
        Element::text(self, name)
    }
    fn is_given(&self, name: &str) -> bool {
        Element::is_given(self, name)
    }
    fn refuse(&self, name: &str, reason: &str) -> ApiError {
        Element::refuse(self, name, reason)
    }
}

impl Listener for Params {
    fn int(&self, name: &str) -> Option<i64> {
        Params::int(self, name)
    }
    fn text(&self, name: &str) -> Option<&str> {
        Params::text(self, name)
    }
    fn is_given(&self, name: &str) -> bool {
        Params::is_given(self, name)
    }
    fn refuse(&self, name: &str, reason: &str) -> ApiError {
        Params::refuse(self, name, reason)
    }
}

/// domainPrefix belongs to classic public instances.
pub(crate) fn create_load_balancer(params: &Params) -> Checked {
    if params.int("loadBalancerType") == Some(3) {
        refuse_given(
            params,
            &["domainPrefix"],
            "private instances (loadBalancerType=3) have no domain name",
        )?;
    }
    if params.int("forward") == Some(1) {
        refuse_given(
            params,
            &["domainPrefix"],
            "application-based instances (forward=1) have no domain name",
        )?;
    }
    if params.int("number").is_some_and(|number| number > 1) {
        refuse_given(
            params,
            &["vip"],
            "each instance has a VIP of its own (number > 1)",
        )?;
    }
    Ok(())
}

pub(crate) fn create_load_balancer_listeners(params: &Params) -> Checked {
    let listeners = params.elements("listeners");
    let https = listeners
        .iter()
        .find(|listener| listener.int("protocol") == Some(HTTPS));
    if let Some(https) = https
        && listeners.len() > 1
    {
        return Err(https.refuse(
            "protocol",
            "an HTTPS listener must be the only one in the request",
        ));
    }
    listeners.iter().try_for_each(new_listener)
}

fn new_listener(listener: &Element<'_>) -> Checked {
    let protocol = listener.int("protocol");
    if matches!(protocol, Some(HTTP | HTTPS)) {
        refuse_given(
            listener,
            &["timeOut"],
            "cannot be set on an HTTP or HTTPS listener, which probes with 2 seconds",
        )?;
        refuse_given(
            listener,
            &["scheduler"],
            "is for TCP and UDP listeners; HTTP and HTTPS ones have httpHash",
        )?;
    } else {
        refuse_given(
            listener,
            &["httpHash"],
            "is for HTTP and HTTPS listeners; TCP and UDP ones have scheduler",
        )?;
        refuse_given(listener, LAYER_7_ONLY, "is for HTTP and HTTPS listeners")?;
    }
    if protocol != Some(HTTPS) {
        refuse_given(listener, HTTPS_ONLY, "is for HTTPS listeners (protocol=4)")?;
    }
    let time_out = listener.int("timeOut").unwrap_or(DEFAULT_TIME_OUT);
    let interval = listener
        .int("intervalTime")
        .unwrap_or(DEFAULT_INTERVAL_TIME);
    probe_times(listener, time_out, interval)?;
    persistence(listener)?;
    certificates(listener)?;
    if protocol == Some(HTTPS) {
        new_https_listener(listener)?;
    }
    Ok(())
}

fn new_https_listener(listener: &Element<'_>) -> Checked {
    require(
        listener,
        "SSLMode",
        "required for HTTPS listeners; must be one of unidirectional, mutual",
    )?;
    if !listener.is_given("certId") && !listener.is_given("certContent") {
        return Err(listener.refuse(
            "certId",
            "required for HTTPS listeners, or certContent, certKey and certName in its place",
        ));
    }
    if listener.text("SSLMode") == Some("mutual")
        && !listener.is_given("certCaId")
        && !listener.is_given("certCaContent")
    {
        return Err(listener.refuse(
            "certCaId",
            "required for SSLMode=mutual, or certCaContent and certCaName in its place",
        ));
    }
    Ok(())
}

/// The rules of creation, as far as they can be told without the stored listener.
pub(crate) fn modify_load_balancer_listener(params: &Params) -> Checked {
    if params.is_given("scheduler") {
        refuse_given(
            params,
            &["httpHash"],
            "cannot be given together with scheduler: no listener has both",
        )?;
    }
    if let Some(layer_4) = LAYER_4_ONLY.iter().find(|name| params.is_given(name)) {
        let reason = format!(
            "cannot be given together with {layer_4}, which only TCP and UDP listeners have"
        );
        refuse_given(params, LAYER_7_ONLY, &reason)?;
        refuse_given(params, HTTPS_ONLY, &reason)?;
    }
    if let (Some(time_out), Some(interval)) = (params.int("timeOut"), params.int("intervalTime")) {
        probe_times(params, time_out, interval)?;
    }
    persistence(params)?;
    certificates(params)
}

/// The same backend may be named once in a request.
pub(crate) fn distinct_backends(params: &Params) -> Checked {
    let mut first_named = HashMap::new();
    for backend in params.elements("backends") {
        let Some(instance) = backend.text("instanceId") else {
            continue;
        };
        if let Some(first) = first_named.insert(instance, backend.index) {
            return Err(ApiError::parameter(format!(
                "{}={}: the same instance as backends.{first}.instanceId, it may be named once in a request",
                backend.name("instanceId"),
                echo(instance)
            )));
        }
    }
    Ok(())
}

/// SSLMode and certificates belong to HTTPS listeners.
pub(crate) fn create_seventh_listeners(params: &Params) -> Checked {
    for listener in params.elements("listeners") {
        if listener.int("protocol") != Some(HTTPS) {
            refuse_given(&listener, HTTPS_ONLY, "is for HTTPS listeners (protocol=4)")?;
            continue;
        }
        certificates(&listener)?;
        new_https_listener(&listener)?;
    }
    Ok(())
}

pub(crate) fn modify_seventh_listener(params: &Params) -> Checked {
    certificates(params)
}

/// The new certificate is stored already, or comes along with its name.
pub(crate) fn replace_cert(params: &Params) -> Checked {
    if !params.is_given("newCertId") && !params.is_given("newCertContent") {
        return Err(params.refuse(
            "newCertId",
            "required, or newCertContent and newCertName in its place, but both are absent or empty",
        ));
    }
    if !params.is_given("newCertContent") {
        refuse_given(
            params,
            &["newCertKey"],
            "belongs to an uploaded certificate, but newCertContent is absent",
        )?;
    }
    upload(params, "newCertId", "newCertContent", &["newCertName"])
}

pub(crate) fn delete_forward_listener(params: &Params) -> Checked {
    one_of_two(params, "listenerId", "listenerId", "listenerIds")
}

pub(crate) fn forward_health_status(params: &Params) -> Checked {
    one_of_two(
        params,
        "loadBalancerIds.0",
        "loadBalancerId",
        "loadBalancerIds",
    )
}

/// An id or a list of them: one is required, both are too much.
fn one_of_two(params: &Params, missing: &str, one: &str, list: &str) -> Checked {
    match (params.is_given(one), params.is_given(list)) {
        (true, false) | (false, true) => Ok(()),
        (false, false) => Err(params.refuse(missing, "required, but absent or empty")),
        (true, true) => Err(params.refuse(
            one,
            &format!("cannot be given together with {list}.n: it means one of them"),
        )),
    }
}

/// The rules that a new forwarding rule has alone: its probe and its persistence.
pub(crate) fn create_rules(params: &Params) -> Checked {
    params.elements("rules").iter().try_for_each(new_pool)
}

/// The same of new layer-4 listeners of application-based instances.
pub(crate) fn create_fourth_listeners(params: &Params) -> Checked {
    params.elements("listeners").iter().try_for_each(new_pool)
}

fn new_pool(pool: &Element<'_>) -> Checked {
    let time_out = pool.int("timeOut").unwrap_or(DEFAULT_TIME_OUT);
    let interval = pool.int("intervalTime").unwrap_or(DEFAULT_INTERVAL_TIME);
    probe_times(pool, time_out, interval)?;
    persistence(pool)
}

pub(crate) fn modify_health(params: &Params) -> Checked {
    let number = |name| params.int(name).unwrap_or_default();
    probe_times(params, number("timeOut"), number("intervalTime"))
}

/// The same of a rule or layer-4 listener, as far as it can be told without the stored one.
pub(crate) fn modify_pool(params: &Params) -> Checked {
    if let (Some(time_out), Some(interval)) = (params.int("timeOut"), params.int("intervalTime")) {
        probe_times(params, time_out, interval)?;
    }
    persistence(params)
}

/// Each backend has one name, and each (backend, port) is named once in a request.
pub(crate) fn distinct_targets(params: &Params) -> Checked {
    let mut first_named = HashMap::new();
    for backend in params.elements("backends") {
        let name = match (backend.text("instanceId"), backend.text("eniIp")) {
            (Some(instance), None) => instance.to_owned(),
            (None, Some(address)) => canonical(address)
                .ok_or_else(|| backend.refuse("eniIp", "must be an IP address"))?,
            (None, None) => {
                return Err(backend.refuse(
                    "instanceId",
                    "required, or eniIp in its place, but both are absent or empty",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(backend.refuse(
                    "eniIp",
                    "cannot be given together with instanceId: a backend is named by one of them",
                ));
            }
        };
        let port = backend.int("port").unwrap_or_default();
        if let Some(first) = first_named.insert((name, port), backend.index) {
            return Err(backend.refuse(
                "port",
                &format!("the same backend and port as backends.{first}, each may be named once in a request"),
            ));
        }
    }
    Ok(())
}

/// An address as it is always written.
pub(crate) fn canonical(address: &str) -> Option<String> {
    address
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_string())
}

fn probe_times(listener: &impl Listener, time_out: i64, interval: i64) -> Checked {
    if time_out < interval {
        return Ok(());
    }
    Err(listener.refuse(
        "timeOut",
        &format!("must be smaller than intervalTime, which is {interval}"),
    ))
}

/// semantics.md section 3: persistence goes with wrr (and ip_hash, which is its own).
fn persistence(listener: &impl Listener) -> Checked {
    if listener.int("sessionExpire").unwrap_or(0) == 0 {
        return Ok(());
    }
    match ["httpHash", "scheduler"]
        .into_iter()
        .find(|name| listener.text(name) == Some("least_conn"))
    {
        Some(name) => Err(listener.refuse(
            "sessionExpire",
            &format!(
                "session persistence cannot be combined with {name}=least_conn, since a kept client goes to its backend however many connections that has; use wrr, or sessionExpire=0"
            ),
        )),
        None => Ok(()),
    }
}

/// An id or an upload, not both; an upload has its parts; a CA certificate goes with mutual.
fn certificates(listener: &impl Listener) -> Checked {
    if listener.text("SSLMode") == Some("unidirectional") {
        refuse_given(
            listener,
            CA_PARAMETERS,
            "a CA certificate checks the clients of SSLMode=mutual, not of unidirectional",
        )?;
    }
    upload(listener, "certId", "certContent", &["certKey", "certName"])?;
    upload(listener, "certCaId", "certCaContent", &["certCaName"])
}

fn upload(listener: &impl Listener, id: &str, content: &str, with: &[&str]) -> Checked {
    if !listener.is_given(content) {
        return refuse_given(
            listener,
            with,
            &format!("belongs to an uploaded certificate, but {content} is absent"),
        );
    }
    if listener.is_given(id) {
        return Err(listener.refuse(
            id,
            &format!(
                "cannot be given together with {content}: the certificate is one or the other"
            ),
        ));
    }
    with.iter()
        .try_for_each(|name| require(listener, name, &format!("required with {content}")))
}

fn require(listener: &impl Listener, name: &str, reason: &str) -> Checked {
    if listener.is_given(name) {
        Ok(())
    } else {
        Err(listener.refuse(name, reason))
    }
}

/// Refuses the first of `names` that was given.
fn refuse_given(listener: &impl Listener, names: &[&str], reason: &str) -> Checked {
    match names.iter().find(|name| listener.is_given(name)) {
        Some(name) => Err(listener.refuse(name, reason)),
        None => Ok(()),
    }
}
