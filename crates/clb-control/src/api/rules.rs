//! Rules of application-based layer-7 listeners.

use clb_actions::ApiError;
use clb_actions::params::{Element, Params};
use clb_model::{
    ApplicationCommand, CheckDomain, CheckPath, Command, HealthCheck, HttpCheck, NewRule,
    PoolSettings, ProbeMethod, RuleId, RulePatch, RuleSelection, Scheduler,
};

use super::listeners::{
    HEALTH_NUM, HTTP_CODE, INTERVAL_TIME, TIME_OUT, check_path, session_expire,
};
use super::patterns;
use super::view::{View, checked, optional};

/// Domains and urls of CreateForwardLBListenerRules.
pub(super) fn check_new_patterns(params: &Params) -> Result<(), ApiError> {
    for rule in params.elements("rules") {
        let text = |field: &str| rule.text(field).unwrap_or_default();
        patterns::domain(&rule.name("domain"), text("domain"))?;
        patterns::url(&rule.name("url"), text("url"))?;
        check_domain(&rule.name("httpCheckDomain"), rule.text("httpCheckDomain"))?;
    }
    Ok(())
}

/// The new domain of ModifyForwardLBRulesDomain.
pub(super) fn check_new_domain(params: &Params) -> Result<(), ApiError> {
    let text = params.text("newDomain").unwrap_or_default();
    patterns::domain("newDomain", text).map(drop)
}

/// The url of ModifyLoadBalancerRulesProbe, if it has one.
pub(super) fn check_changed_patterns(params: &Params) -> Result<(), ApiError> {
    if let Some(text) = params.text("url") {
        patterns::url("url", text)?;
    }
    check_domain("httpCheckDomain", params.text("httpCheckDomain")).map(drop)
}

fn check_domain(name: &str, text: Option<&str>) -> Result<Option<CheckDomain>, ApiError> {
    let parse = |text: &str| {
        CheckDomain::parse(text).map_err(|error| {
            ApiError::parameter(format!("{name}={}: {error}", clb_actions::echo::echo(text)))
        })
    };
    text.map(parse).transpose()
}

fn change(
    view: &View<'_>,
    params: &Params,
    command: ApplicationCommand,
) -> Result<Command, ApiError> {
    Ok(Command::Application {
        load_balancer: view.application(params)?.id,
        command,
    })
}

/// CreateForwardLBListenerRules
pub(super) fn create(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let listener = view.application_listener(params)?.id;
    let rules = params
        .elements("rules")
        .iter()
        .map(new_rule)
        .collect::<Result<Vec<_>, _>>()?;
    change(
        view,
        params,
        ApplicationCommand::CreateRules { listener, rules },
    )
}

fn new_rule(rule: &Element<'_>) -> Result<NewRule, ApiError> {
    let number = |name: &str, default: i64| rule.int(name).unwrap_or(default);
    let text = |field: &str| rule.text(field).unwrap_or_default();
    let scheduler = rule.text("httpHash").and_then(Scheduler::from_name);
    let method = rule
        .text("httpCheckMethod")
        .and_then(ProbeMethod::from_name);
    Ok(NewRule {
        // The engine draws the id when it executes the command.
        id: RuleId::from_number(0),
        domain: patterns::parse_domain(&rule.name("domain"), text("domain"))?,
        url: patterns::parse_url(&rule.name("url"), text("url"))?,
        settings: PoolSettings {
            scheduler: scheduler.unwrap_or(Scheduler::Wrr),
            session_expire: session_expire(number("sessionExpire", 0))?,
            health: HealthCheck {
                enabled: number("healthSwitch", 1) == 1,
                time_out: checked("timeOut", number("timeOut", TIME_OUT))?,
                interval_time: checked("intervalTime", number("intervalTime", INTERVAL_TIME))?,
                health_num: checked("healthNum", number("healthNum", HEALTH_NUM))?,
                unhealth_num: checked("unhealthNum", number("unhealthNum", HEALTH_NUM))?,
                http: Some(HttpCheck {
                    code: checked("httpCode", number("httpCode", HTTP_CODE))?,
                    path: check_path(rule.text("httpCheckPath"))?.unwrap_or_default(),
                    domain: check_domain("httpCheckDomain", rule.text("httpCheckDomain"))?,
                    method,
                }),
            },
        },
    })
}

/// What a rule has that is created with a domain and a url alone.
pub(super) fn default_settings() -> Result<PoolSettings, ApiError> {
    Ok(PoolSettings {
        scheduler: Scheduler::Wrr,
        session_expire: None,
        health: HealthCheck {
            enabled: true,
            time_out: checked("timeOut", TIME_OUT)?,
            interval_time: checked("intervalTime", INTERVAL_TIME)?,
            health_num: checked("healthNum", HEALTH_NUM)?,
            unhealth_num: checked("unhealthNum", HEALTH_NUM)?,
            http: Some(HttpCheck {
                code: checked("httpCode", HTTP_CODE)?,
                path: CheckPath::default(),
                domain: None,
                method: None,
            }),
        },
    })
}

/// ModifyForwardLBRulesDomain
pub(super) fn rename_domain(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let listener = view.application_listener(params)?.id;
    let new_domain = params.text("newDomain").unwrap_or_default();
    let command = ApplicationCommand::RenameDomain {
        listener,
        domain: params.text("domain").unwrap_or_default().to_owned(),
        new_domain: patterns::parse_domain("newDomain", new_domain)?,
    };
    change(view, params, command)
}

/// ModifyLoadBalancerRulesProbe
pub(super) fn modify(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let listener = view.application_listener(params)?.id;
    let rule = view.rule(listener, params.text("locationId").unwrap_or_default())?;
    let method = params.text("httpCheckMethod");
    let url = params
        .text("url")
        .map(|text| patterns::parse_url("url", text));
    let patch = RulePatch {
        url: url.transpose()?,
        session_expire: params
            .int("sessionExpire")
            .map(session_expire)
            .transpose()?,
        health_enabled: params.int("healthSwitch").map(|switch| switch == 1),
        interval_time: optional(params, "intervalTime")?,
        health_num: optional(params, "healthNum")?,
        unhealth_num: optional(params, "unhealthNum")?,
        scheduler: params.text("httpHash").and_then(Scheduler::from_name),
        http_code: optional(params, "httpCode")?,
        check_path: check_path(params.text("httpCheckPath"))?,
        check_domain: check_domain("httpCheckDomain", params.text("httpCheckDomain"))?,
        check_method: method.and_then(ProbeMethod::from_name),
        time_out: optional(params, "timeOut")?,
    };
    let command = ApplicationCommand::ModifyRule {
        listener,
        rule: rule.id,
        patch: Box::new(patch),
    };
    change(view, params, command)
}

/// DeleteForwardLBListenerRules
pub(super) fn delete(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let listener = view.application_listener(params)?.id;
    let rules = selection(view, listener, params)?;
    change(
        view,
        params,
        ApplicationCommand::DeleteRules { listener, rules },
    )
}

/// What `locationIds`, `domain` and `url` say. An id that is none, or another listener's, is
/// refused here, with the text that was sent.
pub(super) fn selection(
    view: &View<'_>,
    listener: clb_model::ListenerId,
    params: &Params,
) -> Result<RuleSelection, ApiError> {
    let rules = params
        .texts("locationIds")
        .into_iter()
        .map(|text| view.rule(listener, text).map(|rule| rule.id))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RuleSelection {
        rules,
        domain: params.text("domain").map(ToOwned::to_owned),
        url: params.text("url").map(ToOwned::to_owned),
    })
}
