//! Listeners of classic instances.

use std::collections::HashSet;

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::{Element, Params};
use clb_model::{
    CheckCount, Command, HealthCheck, IntervalTime, Listener, ListenerId, ListenerPatch,
    NewListener, Port, Protocol, Scheduler, SessionExpire, TimeOut,
};

use super::answers::{ListenerRow, ListenerSet};
use super::view::{View, checked, page};

/// Rows of a list that nothing narrows (the document's first page: "the default number (20)").
const DEFAULT_LIMIT: i64 = 20;

/// Defaults of creation (document).
const TIME_OUT: i64 = 2;
const INTERVAL_TIME: i64 = 5;
const HEALTH_NUM: i64 = 3;

/// Parameters of ModifyLoadBalancerListener that only HTTP and HTTPS listeners have.
const LAYER7_PARAMETERS: &[&str] = &[
    "httpHash",
    "httpCode",
    "httpCheckPath",
    "SSLMode",
    "certId",
    "certCaId",
    "certCaContent",
    "certCaName",
    "certContent",
    "certKey",
    "certName",
];

fn session_expire(seconds: i64) -> Result<Option<SessionExpire>, ApiError> {
    match seconds {
        0 => Ok(None),
        seconds => checked("sessionExpire", seconds).map(Some),
    }
}

/// CreateLoadBalancerListeners
pub(super) fn create(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let lb = view.classic(params)?;
    let listeners = params
        .elements("listeners")
        .iter()
        .map(new_listener)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Command::CreateListeners {
        load_balancer: lb.id,
        listeners,
    })
}

fn new_listener(element: &Element<'_>) -> Result<NewListener, ApiError> {
    let number = |name: &str, default: i64| element.int(name).unwrap_or(default);
    let protocol = Protocol::from_number(number("protocol", 0))
        .ok_or_else(|| ApiError::parameter("protocol: must be 1, 2, 3 or 4".to_owned()))?;
    let scheduler = if protocol.is_layer7() {
        "httpHash"
    } else {
        "scheduler"
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
            enabled: number("healthSwitch", 1) == 1,
            time_out: checked::<TimeOut>("timeOut", number("timeOut", TIME_OUT))?,
            interval_time: checked::<IntervalTime>(
                "intervalTime",
                number("intervalTime", INTERVAL_TIME),
            )?,
            health_num: checked::<CheckCount>("healthNum", number("healthNum", HEALTH_NUM))?,
            unhealth_num: checked::<CheckCount>("unhealthNum", number("unhealthNum", HEALTH_NUM))?,
        },
    })
}

/// ModifyLoadBalancerListener
pub(super) fn modify(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let lb = view.classic(params)?;
    let listener = view.listener(lb.id, params.text("listenerId").unwrap_or_default())?;
    fn number<T>(params: &Params, name: &str) -> Result<Option<T>, ApiError>
    where
        T: TryFrom<i64>,
        T::Error: std::fmt::Display,
    {
        params
            .int(name)
            .map(|value| checked(name, value))
            .transpose()
    }
    let patch = ListenerPatch {
        name: params.text("listenerName").map(ToOwned::to_owned),
        session_expire: params
            .int("sessionExpire")
            .map(session_expire)
            .transpose()?,
        health_enabled: params.int("healthSwitch").map(|switch| switch == 1),
        time_out: number(params, "timeOut")?,
        interval_time: number(params, "intervalTime")?,
        health_num: number(params, "healthNum")?,
        unhealth_num: number(params, "unhealthNum")?,
        scheduler: params.text("scheduler").and_then(Scheduler::from_name),
        layer7_parameter: LAYER7_PARAMETERS
            .iter()
            .find(|name| params.is_given(name))
            .map(|name| (*name).to_owned()),
    };
    Ok(Command::ModifyListener {
        load_balancer: lb.id,
        listener: listener.id,
        patch,
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
    let rows = found().map(|listener| ListenerRow::from(&**listener));
    let listener_set = page(rows, params.int("offset").unwrap_or(0), limit);
    let total_count = found().count();
    Ok(envelope::success(&ListenerSet {
        listener_set,
        total_count,
    }))
}
