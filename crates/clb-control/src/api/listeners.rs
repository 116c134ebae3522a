//! Listeners of classic instances.

use std::collections::HashSet;

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::{Element, Params};
use clb_model::{
    CheckCount, CheckPath, Command, HealthCheck, HttpCheck, IntervalTime, Listener, ListenerId,
    ListenerPatch, NewListener, Port, Protocol, Scheduler, SessionExpire, TimeOut,
};

use super::answers::{ListenerRow, ListenerSet};
use super::certificates::Source;
use super::view::{View, checked, optional, page};

/// Rows of a list that nothing narrows (the document's first page: "the default number (20)").
pub(super) const DEFAULT_LIMIT: i64 = 20;

/// Defaults of creation (document).
pub(super) const TIME_OUT: i64 = 2;
pub(super) const INTERVAL_TIME: i64 = 5;
pub(super) const HEALTH_NUM: i64 = 3;
pub(super) const HTTP_CODE: i64 = 31;

/// Parameters of ModifyLoadBalancerListener that only TCP and UDP listeners have.
const LAYER4_PARAMETERS: &[&str] = &["scheduler", "timeOut"];

/// Those that only HTTP and HTTPS listeners have.
const LAYER7_PARAMETERS: &[&str] = &["httpHash", "httpCode", "httpCheckPath"];

/// Those that only HTTPS listeners have.
pub(super) const HTTPS_PARAMETERS: &[&str] = &[
    "SSLMode",
    "certId",
    "certCaId",
    "certCaContent",
    "certCaName",
    "certContent",
    "certKey",
    "certName",
];

/// Which of these parameters is given first.
pub(super) fn first_given(params: &Params, names: &[&str]) -> Option<String> {
    let name = names.iter().find(|name| params.is_given(name));
    name.map(|name| (*name).to_owned())
}

pub(super) fn session_expire(seconds: i64) -> Result<Option<SessionExpire>, ApiError> {
    match seconds {
        0 => Ok(None),
        seconds => checked("sessionExpire", seconds).map(Some),
    }
}

/// `httpCheckPath`, if it was given.
pub(super) fn check_path(text: Option<&str>) -> Result<Option<CheckPath>, ApiError> {
    let parse = |text: &str| {
        CheckPath::parse(text)
            .map_err(|error| ApiError::parameter(format!("httpCheckPath: {error}")))
    };
    text.map(parse).transpose()
}

/// CreateLoadBalancerListeners
pub(super) fn create(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let lb = view.classic(params)?;
    let listeners = params
        .elements("listeners")
        .iter()
        .map(|element| new_listener(view, element))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Command::CreateListeners {
        load_balancer: lb.id,
        now: view.now,
        listeners,
    })
}

fn new_listener(view: &View<'_>, element: &Element<'_>) -> Result<NewListener, ApiError> {
    let number = |name: &str, default: i64| element.int(name).unwrap_or(default);
    let protocol = Protocol::from_number(number("protocol", 0))
        .ok_or_else(|| ApiError::parameter("protocol: must be 1, 2, 3 or 4".to_owned()))?;
    let scheduler = if protocol.is_layer7() {
        "httpHash"
    } else {
        "scheduler"
    };
    let http = if protocol.is_layer7() {
        Some(HttpCheck {
            code: checked("httpCode", number("httpCode", HTTP_CODE))?,
            path: check_path(element.text("httpCheckPath"))?.unwrap_or_default(),
            domain: None,
            method: None,
        })
    } else {
        None
    };
    Ok(NewListener {
        // The engine draws the id when it executes the command.
        id: ListenerId::from_number(0),
        name: element.text("listenerName").unwrap_or_default().to_owned(),
        protocol,
        port: checked::<Port>("loadBalancerPort", number("loadBalancerPort", 0))?,
        instance_port: checked::<Port>("instancePort", number("instancePort", 0))?,
        scheduler: element.text(scheduler).and_then(Scheduler::from_name),
        session_expire: session_expire(number("sessionExpire", 0))?,
        health: HealthCheck {
            http,
            ..health_check(element)?
        },
        tls: Source::Element(*element).new_tls(view)?,
    })
}

/// The health check of a new listener, without what HTTP probes have beside it.
pub(super) fn health_check(element: &Element<'_>) -> Result<HealthCheck, ApiError> {
    let number = |name: &str, default: i64| element.int(name).unwrap_or(default);
    Ok(HealthCheck {
        enabled: number("healthSwitch", 1) == 1,
        time_out: checked::<TimeOut>("timeOut", number("timeOut", TIME_OUT))?,
        interval_time: checked::<IntervalTime>(
            "intervalTime",
            number("intervalTime", INTERVAL_TIME),
        )?,
        health_num: checked::<CheckCount>("healthNum", number("healthNum", HEALTH_NUM))?,
        unhealth_num: checked::<CheckCount>("unhealthNum", number("unhealthNum", HEALTH_NUM))?,
        http: None,
    })
}

/// ModifyLoadBalancerListener
pub(super) fn modify(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let lb = view.classic(params)?;
    let listener = view.listener(lb.id, params.text("listenerId").unwrap_or_default())?;
    let given = |names| first_given(params, names);
    let patch = ListenerPatch {
        http_code: optional(params, "httpCode")?,
        check_path: check_path(params.text("httpCheckPath"))?,
        tls: Source::Request(params).tls_patch(view, listener.protocol)?,
        layer4_parameter: given(LAYER4_PARAMETERS),
        layer7_parameter: given(LAYER7_PARAMETERS),
        https_parameter: given(HTTPS_PARAMETERS),
        ..pool_patch(params)?
    };
    Ok(Command::ModifyListener {
        load_balancer: lb.id,
        listener: listener.id,
        patch,
    })
}

/// What listeners of any layer and family are changed by.
pub(super) fn pool_patch(params: &Params) -> Result<ListenerPatch, ApiError> {
    let scheduler = params.text("scheduler").or(params.text("httpHash"));
    Ok(ListenerPatch {
        name: params.text("listenerName").map(ToOwned::to_owned),
        session_expire: params
            .int("sessionExpire")
            .map(session_expire)
            .transpose()?,
        health_enabled: params.int("healthSwitch").map(|switch| switch == 1),
        time_out: optional(params, "timeOut")?,
        interval_time: optional(params, "intervalTime")?,
        health_num: optional(params, "healthNum")?,
        unhealth_num: optional(params, "unhealthNum")?,
        scheduler: scheduler.and_then(Scheduler::from_name),
        ..ListenerPatch::default()
    })
}

/// DeleteLoadBalancerListeners
pub(super) fn delete(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let lb = view.classic(params)?;
    let listeners = params
        .texts("listenerIds")
        .into_iter()
        .map(|text| view.listener(lb.id, text).map(|listener| listener.id))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Command::DeleteListeners {
        load_balancer: lb.id,
        listeners,
    })
}

/// DescribeLoadBalancerListeners
pub(super) fn describe(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    let lb = view.classic(params)?;
    let ids: HashSet<ListenerId> = params
        .texts("listenerIds")
        .into_iter()
        .filter_map(|text| ListenerId::parse(text).ok())
        .collect();
    let by_id = !params.texts("listenerIds").is_empty();
    let protocol = params.int("protocol");
    let port = params.int("loadBalancerPort");
    // Ignored when ids are given (document).
    let status = params.int("status").filter(|_| !by_id);
    let matches = |listener: &Listener| {
        (!by_id || ids.contains(&listener.id))
            && protocol.is_none_or(|protocol| protocol == listener.protocol.number())
            && port.is_none_or(|port| port == i64::from(listener.port))
            && status.is_none_or(|status| status == listener.status.number())
    };
    let is_narrowed = by_id || protocol.is_some() || port.is_some() || status.is_some();
    let limit = params
        .int("limit")
        .or((!is_narrowed).then_some(DEFAULT_LIMIT));
    let found = || {
        view.state
            .listeners_of(lb.id)
            .filter(|listener| matches(listener))
    };
    let rows = found().filter_map(|listener| ListenerRow::new(listener));
    let listener_set = page(rows, params.int("offset").unwrap_or(0), limit);
    let total_count = found().count();
    Ok(envelope::success(&ListenerSet {
        listener_set,
        total_count,
    }))
}
