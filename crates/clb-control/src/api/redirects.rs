//! Redirects between rules of application-based instances.

use std::collections::HashSet;
use std::sync::Arc;

use clb_actions::ApiError;
use clb_actions::envelope;
use clb_actions::params::Params;
use clb_model::{
    ApplicationCommand, AutoRedirect, Command, LbId, Listener, ListenerId, Rule, RuleId, RulePair,
};

use super::forward_answers::{RewriteData, RewriteRow, Rewrites};
use super::handlers::Write;
use super::rules::default_settings;
use super::view::View;

/// DescribeRewrite
pub(super) fn describe(view: &View<'_>, params: &Params) -> Result<Write, ApiError> {
    let lbs = filter(params, "loadBalancerIds", LbId::parse);
    let listeners = filter(params, "listenerIds", ListenerId::parse);
    let is_wanted = |rule: &&Arc<Rule>| {
        let of = |lbs: &HashSet<_>| lbs.contains(&rule.load_balancer);
        let at = |listeners: &HashSet<_>| listeners.contains(&rule.listener);
        lbs.as_ref().is_none_or(of) && listeners.as_ref().is_none_or(at)
    };
    let redirects: Vec<&Arc<Rule>> = match filter(params, "locationIds", RuleId::parse) {
        None => view.state.redirects().filter(is_wanted).collect(),
        Some(ids) => {
            let rules = ids.iter().filter_map(|id| view.state.rule(*id));
            rules.filter(is_wanted).collect()
        }
    };
    let mut rows: Vec<(Arc<Listener>, Arc<Rule>, Arc<Rule>)> = redirects
        .into_iter()
        .filter_map(|source| {
            let target = view.state.rule(source.redirect_to?)?;
            let listener = view.state.listener(source.listener)?;
            Some((Arc::clone(listener), Arc::clone(source), Arc::clone(target)))
        })
        .collect();
    Ok(Box::new(move || {
        rows.sort_unstable_by_key(|(listener, source, _)| {
            (listener.load_balancer, listener.order, source.order)
        });
        let rewrite_set = rows
            .iter()
            .map(|(_, source, target)| RewriteRow::new(source, target))
            .collect();
        let data = RewriteData { rewrite_set };
        envelope::success(&Rewrites { data })
    }))
}

/// The ids of a filter, if it was given; what is no id selects nothing.
fn filter<T: std::hash::Hash + Eq, E>(
    params: &Params,
    name: &str,
    parse: fn(&str) -> Result<T, E>,
) -> Option<HashSet<T>> {
    let texts = params.texts(name);
    let ids = texts.iter().filter_map(|text| parse(text).ok());
    (!texts.is_empty()).then(|| ids.collect())
}

/// ManualRewrite
pub(super) fn create(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let Named {
        load_balancer,
        from,
        to,
        rules,
    } = named(view, params, "rewriteInfo")?;
    Ok(Command::Application {
        load_balancer,
        command: ApplicationCommand::Redirect { from, to, rules },
    })
}

/// DeleteRewrite
pub(super) fn delete(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let Named {
        load_balancer,
        from,
        to,
        rules,
    } = named(view, params, "delRewriteInfo")?;
    Ok(Command::Application {
        load_balancer,
        command: ApplicationCommand::DeleteRedirects { from, to, rules },
    })
}

/// What a request names: two listeners, and pairs of their rules.
struct Named {
    load_balancer: LbId,
    from: ListenerId,
    to: ListenerId,
    rules: Vec<RulePair>,
}

fn named(view: &View<'_>, params: &Params, array: &str) -> Result<Named, ApiError> {
    let lb = view.application(params)?.id;
    let listener = |name| seventh_listener(view, params, lb, name);
    let (from, to) = (
        listener("sourceuListenerId")?,
        listener("targetuListenerId")?,
    );
    let rules = params
        .elements(array)
        .iter()
        .map(|pair| {
            let text = |field| pair.text(field).unwrap_or_default();
            Ok(RulePair {
                source: view.rule(from, text("sourceLocation"))?.id,
                target: view.rule(to, text("targetLocation"))?.id,
            })
        })
        .collect::<Result<Vec<_>, ApiError>>()?;
    Ok(Named {
        load_balancer: lb,
        from,
        to,
        rules,
    })
}

/// The layer-7 listener that a parameter names: one of layer 4 has no rules that could be asked for.
fn seventh_listener(
    view: &View<'_>,
    params: &Params,
    lb: LbId,
    name: &str,
) -> Result<ListenerId, ApiError> {
    let listener = view.listener(lb, params.text(name).unwrap_or_default())?;
    if listener.protocol.is_layer7() {
        return Ok(listener.id);
    }
    Err(ApiError::parameter(format!(
        "{name}={}: it is a {} listener (layer 4), which has no rules; only rules of HTTP and HTTPS listeners can be redirected",
        listener.id, listener.protocol
    )))
}

/// AutoRewrite
pub(super) fn create_automatically(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let listener = view.application_listener(params)?;
    // The engine draws the ids when it executes the command, and uses those that it needs.
    let new_rules = view.state.rules_of(listener.id).map(|target| RulePair {
        source: RuleId::from_number(0),
        target: target.id,
    });
    let redirect = AutoRedirect {
        now: view.now,
        listener: listener.id,
        domains: params
            .texts("domains")
            .into_iter()
            .map(str::to_owned)
            .collect(),
        new_listener: ListenerId::from_number(0),
        new_rules: new_rules.collect(),
        settings: default_settings()?,
    };
    Ok(Command::Application {
        load_balancer: listener.load_balancer,
        command: ApplicationCommand::AutoRedirect(Box::new(redirect)),
    })
}
