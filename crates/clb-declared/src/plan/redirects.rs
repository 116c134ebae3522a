//! Redirects between rules.

use std::collections::HashMap;

use clb_model::Protocol;

use super::{Call, Plan, pairs};
use crate::shape::{Listener, LoadBalancer, Redirect, Rule, RuleKey};

impl Plan<'_> {
    /// Redirects that are wanted no more, or lead elsewhere, go before what they lead to does.
    pub(super) fn redirects_removed(&mut self, running: &LoadBalancer, name: &str) {
        let wanted: HashMap<(u16, RuleKey), &Redirect> = by_place(&self.wanted.listeners);
        for (place, rule, old) in sources(&running.listeners) {
            let is_kept = wanted
                .get(&place)
                .is_some_and(|new| new.port == old.port && new.key() == old.key());
            if is_kept {
                continue;
            }
            let call = self.redirect_call(
                "DeleteRewrite",
                "delRewriteInfo",
                &running.listeners,
                &place,
                old,
            );
            let what = format!("{name}: {}", redirect_words(place.0, rule, old));
            self.step('-', self.wanted.place, what, call);
        }
    }

    pub(super) fn redirects(&mut self, name: &str, running: &[Listener]) {
        let there: HashMap<(u16, RuleKey), &Redirect> = by_place(running);
        let listeners = &self.wanted.listeners;
        for (place, rule, new) in sources(listeners) {
            let is_there = there
                .get(&place)
                .is_some_and(|old| new.port == old.port && new.key() == old.key());
            if is_there {
                continue;
            }
            let call = self.redirect_call("ManualRewrite", "rewriteInfo", running, &place, new);
            let what = format!("{name}: {}", redirect_words(place.0, rule, new));
            self.step('+', rule.place, what, call);
        }
    }

    fn redirect_call(
        &self,
        action: &'static str,
        array: &'static str,
        running: &[Listener],
        source: &(u16, RuleKey),
        to: &Redirect,
    ) -> Option<Call> {
        let (from_listener, from) = find(running, source.0, &source.1)?;
        let (to_listener, to) = find(running, to.port.get(), &to.key())?;
        let ids = [&from_listener.id, &from.id, &to_listener.id, &to.id];
        if ids.iter().any(|id| self.anew.contains(id.as_str())) {
            return None;
        }
        let fixed = [
            ("loadBalancerId", self.lb?),
            ("sourceuListenerId", from_listener.id.as_str()),
            ("targetuListenerId", to_listener.id.as_str()),
        ];
        let element = [
            ("sourceLocation", from.id.as_str()),
            ("targetLocation", to.id.as_str()),
        ];
        Some(Call::new(action, &fixed).with(array, pairs(&element)))
    }
}

/// The rules that are redirected, each with where to.
fn sources(listeners: &[Listener]) -> impl Iterator<Item = ((u16, RuleKey), &Rule, &Redirect)> {
    let layer7 = listeners
        .iter()
        .filter(|listener| listener.protocol.is_layer7());
    layer7.flat_map(|listener| {
        listener.rules.iter().filter_map(|rule| {
            let to = rule.redirect.as_ref()?;
            Some(((listener.port.get(), rule.key()), rule, to))
        })
    })
}

fn by_place(listeners: &[Listener]) -> HashMap<(u16, RuleKey), &Redirect> {
    sources(listeners)
        .map(|(place, _, to)| (place, to))
        .collect()
}

/// A rule by its place.
pub(crate) fn find<'l>(
    listeners: &'l [Listener],
    port: u16,
    key: &RuleKey,
) -> Option<(&'l Listener, &'l Rule)> {
    let listener = listeners
        .iter()
        .find(|listener| listener.port.get() == port && listener.protocol != Protocol::Udp)?;
    let rule = listener.rules.iter().find(|rule| rule.key() == *key)?;
    Some((listener, rule))
}

fn redirect_words(port: u16, source: &Rule, to: &Redirect) -> String {
    format!(
        "redirect of {} {} at port {port} to {} {} at port {}",
        source.domain.as_str(),
        source.url.as_str(),
        to.domain.as_str(),
        to.url.as_str(),
        to.port
    )
}
