//! What a load balancer lacks to be what is declared, and the Actions that bring it there.

use std::collections::{BTreeSet, HashMap};

use clb_actions::form::Pair;
use clb_model::{Family, Protocol};

use crate::fields::{Absent, Field, Kinds, LISTENER, LOAD_BALANCER, RULE};
use crate::order;
use crate::shape::{
    Backend, Listener, LoadBalancer, Place, Redirect, Rule, RuleKey, Settings, protocol_word,
};

/// One difference, and the call that removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it is declared.
    pub place: Place,
    /// `+` is made, `-` is deleted, `~` is changed.
    pub sign: char,
    /// What, in words.
    pub what: String,
    /// What is called; none while an id is not known that the call needs: the object it belongs
    /// to is made first.
    pub call: Option<Call>,
}

/// A call of an Action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The Action.
    pub action: &'static str,
    /// Parameters that say what it is about.
    pub fixed: Vec<Pair>,
    /// One element of the Action's array: calls that differ in it alone can be made as one. A
    /// field without a name is the element itself.
    pub element: Option<(&'static str, Vec<Pair>)>,
}

impl Call {
    fn new(action: &'static str, fixed: &[(&str, &str)]) -> Self {
        Self {
            action,
            fixed: pairs(fixed),
            element: None,
        }
    }

    fn with(mut self, array: &'static str, element: Vec<Pair>) -> Self {
        self.element = Some((array, element));
        self
    }
}

fn pairs(of: &[(&str, &str)]) -> Vec<Pair> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    of.iter().map(owned).collect()
}

/// All that is different, in the order in which it is to be done. What can not be called yet can be
/// once the rest is done and what runs is looked at again.
#[must_use]
pub fn plan(running: Option<&LoadBalancer>, wanted: &LoadBalancer) -> Vec<Step> {
    let name = format!("load balancer {:?}", wanted.name);
    let mut plan = Plan {
        wanted,
        lb: running.map(|lb| lb.id.as_str()),
        steps: Vec::new(),
        last: Vec::new(),
    };
    match running {
        Some(running) => match new_needed(running, wanted) {
            Some(why) => {
                plan.step(
                    '-',
                    wanted.place,
                    format!("{name} ({why})"),
                    deletion(&running.id),
                );
                plan.lb = None;
                plan.create(&name);
            }
            None => plan.change(running, &name),
        },
        None => plan.create(&name),
    }
    plan.steps.append(&mut plan.last);
    plan.steps
}

/// What deletes a load balancer that is no longer declared.
#[must_use]
pub fn plan_deletion(name: &str, id: &str) -> Step {
    Step {
        place: Place::default(),
        sign: '-',
        what: format!("load balancer {name:?}"),
        call: deletion(id),
    }
}

fn deletion(id: &str) -> Option<Call> {
    let call = Call::new("DeleteLoadBalancers", &[]);
    Some(call.with("loadBalancerIds", pairs(&[("", id)])))
}

/// What no Action changes of a load balancer.
fn new_needed(running: &LoadBalancer, wanted: &LoadBalancer) -> Option<String> {
    if running.network != wanted.network {
        return Some("another type means a new one".to_owned());
    }
    if running.family != wanted.family {
        return Some("another forward means a new one".to_owned());
    }
    if wanted.vip.is_some() && running.vip != wanted.vip {
        return Some("another vip means a new one".to_owned());
    }
    let fixed = LOAD_BALANCER.iter().find(|field| {
        matches!(field.absent, Absent::Is(_))
            && running.settings.get(field.api) != wanted.settings.get(field.api)
    });
    fixed.map(|field| format!("another {} means a new one", field.key))
}

struct Plan<'a> {
    wanted: &'a LoadBalancer,
    /// Its id, once it is there.
    lb: Option<&'a str>,
    steps: Vec<Step>,
    /// What is deleted because nobody wants it any more comes after what takes its place.
    last: Vec<Step>,
}

/// Differences of settings: what to send, and in words.
fn differences(
    fields: &[Field],
    kind: Option<Kinds>,
    running: &Settings,
    wanted: &Settings,
) -> (Vec<Pair>, String) {
    let (mut sent, mut words) = (Vec::new(), Vec::new());
    for field in fields {
        if kind.is_some_and(|kind| !field.is_for(kind)) {
            continue;
        }
        let Some(value) = wanted.get(field.api) else {
            continue;
        };
        let before = running
            .get(field.api)
            .map(String::as_str)
            .unwrap_or_default();
        if before != value {
            words.push(format!("{} {before:?} -> {value:?}", field.key));
            // What is not set is not sent: the mode without client CAs drops them.
            if !value.is_empty() {
                sent.push((field.api.to_owned(), value.clone()));
            }
        }
    }
    (sent, words.join(", ").replace('"', ""))
}

/// What a new object is made with: defaults are left to the API.
fn given(fields: &[Field], settings: &Settings) -> Vec<Pair> {
    let set = fields.iter().filter_map(|field| {
        let value = settings.get(field.api)?;
        let is_default = matches!(field.absent, Absent::Is(default) if default == value);
        (!is_default).then(|| (field.api.to_owned(), value.clone()))
    });
    set.collect()
}

impl<'a> Plan<'a> {
    fn step(&mut self, sign: char, place: Place, what: String, call: Option<Call>) {
        self.steps.push(Step {
            place,
            sign,
            what,
            call,
        });
    }

    fn step_last(&mut self, what: String, call: Option<Call>) {
        self.last.push(Step {
            place: self.wanted.place,
            sign: '-',
            what,
            call,
        });
    }

    fn create(&mut self, name: &str) {
        let wanted = self.wanted;
        let network = wanted.network.number().to_string();
        let family = wanted.family.number().to_string();
        let mut call = Call::new(
            "CreateLoadBalancer",
            &[
                ("loadBalancerType", &network),
                ("forward", &family),
                ("loadBalancerName", &wanted.name),
            ],
        );
        let vip = wanted.vip.map(|vip| ("vip".to_owned(), vip.to_string()));
        call.fixed.extend(vip);
        call.fixed.extend(given(LOAD_BALANCER, &wanted.settings));
        // Where it was deleted for, it is made when that has been done.
        let first = self.steps.is_empty().then_some(call);
        self.step('+', wanted.place, name.to_owned(), first);
        for listener in &wanted.listeners {
            self.create_listener(name, listener);
        }
        self.backends(name, &[], &wanted.backends, None);
        self.redirects(name, &[]);
    }

    fn change(&mut self, running: &'a LoadBalancer, name: &str) {
        let wanted = self.wanted;
        self.attributes(running, name);
        self.redirects_removed(running, name);
        let mut pairs: Vec<(&Listener, &Listener)> = Vec::new();
        for old in &running.listeners {
            let place = |new: &&Listener| new.same_port(old, wanted.family);
            let new = wanted.listeners.iter().find(place);
            match new {
                Some(new) if is_same(old, new) => pairs.push((old, new)),
                Some(new) => {
                    let what = format!("{name}: {}", words(old));
                    let call = self.delete_listener(old);
                    self.step('-', new.place, what, call);
                }
                None => {
                    let what = format!("{name}: {}", words(old));
                    let call = self.delete_listener(old);
                    self.step_last(what, call);
                }
            }
        }
        for new in &wanted.listeners {
            if !pairs.iter().any(|(_, paired)| std::ptr::eq(*paired, new)) {
                self.create_listener(name, new);
            }
        }
        for (old, new) in &pairs {
            self.change_listener(name, old, new);
        }
        if wanted.family == Family::Classic {
            let pool = Some(Pool::Classic);
            self.backends(name, &running.backends, &wanted.backends, pool);
        }
        self.redirects(name, &running.listeners);
    }

    fn attributes(&mut self, running: &LoadBalancer, name: &str) {
        let (mut sent, mut words) = differences(
            LOAD_BALANCER,
            None,
            &running.settings,
            &self.wanted.settings,
        );
        if running.name != self.wanted.name {
            sent.push(("loadBalancerName".to_owned(), self.wanted.name.clone()));
            words = format!("name {} -> {} {words}", running.name, self.wanted.name);
        }
        if sent.is_empty() {
            return;
        }
        let action = match self.wanted.family {
            Family::Classic => "ModifyLoadBalancerAttributes",
            Family::Application => "ModifyForwardLBName",
        };
        let mut call = Call::new(action, &[("loadBalancerId", &running.id)]);
        call.fixed.extend(sent);
        self.step(
            '~',
            self.wanted.place,
            format!("{name}: {}", words.trim()),
            Some(call),
        );
    }

    fn delete_listener(&self, listener: &Listener) -> Option<Call> {
        let action = match self.wanted.family {
            Family::Classic => "DeleteLoadBalancerListeners",
            Family::Application => "DeleteForwardLBListener",
        };
        let call = Call::new(action, &[("loadBalancerId", self.lb?)]);
        Some(call.with("listenerIds", pairs(&[("", &listener.id)])))
    }

    fn create_listener(&mut self, name: &str, listener: &Listener) {
        let action = match (self.wanted.family, listener.protocol.is_layer7()) {
            (Family::Classic, _) => "CreateLoadBalancerListeners",
            (Family::Application, true) => "CreateForwardLBSeventhLayerListeners",
            (Family::Application, false) => "CreateForwardLBFourthLayerListeners",
        };
        let mut element = pairs(&[
            ("loadBalancerPort", &listener.port.to_string()),
            ("protocol", &listener.protocol.number().to_string()),
        ]);
        element.extend(given(LISTENER, &listener.settings));
        let fixed = self
            .lb
            .map(|lb| Call::new(action, &[("loadBalancerId", lb)]));
        let mut call = fixed.map(|call| call.with("listeners", element));
        // Several at once only if none of them is an HTTPS one, on classic load balancers; each in
        // a call of its own, a port that can not be bound fails alone.
        if let Some(call) = &mut call
            && let Some((array, element)) = call.element.take()
        {
            let indexed = element
                .into_iter()
                .map(|(field, value)| (format!("{array}.0.{field}"), value));
            call.fixed.extend(indexed);
        }
        let what = format!("{name}: {}", words(listener));
        self.step('+', listener.place, what.clone(), call);
        for rule in &listener.rules {
            self.create_rule(&what, None, rule);
        }
        self.backends(&what, &[], &listener.backends, None);
    }

    fn change_listener(&mut self, name: &str, old: &Listener, new: &Listener) {
        let what = format!("{name}: {}", words(new));
        let kind = Kinds::of(self.wanted.family, new.protocol);
        let (sent, changed) = differences(LISTENER, Some(kind), &old.settings, &new.settings);
        if !changed.is_empty() {
            let action = match (self.wanted.family, new.protocol.is_layer7()) {
                (Family::Classic, _) => "ModifyLoadBalancerListener",
                (Family::Application, true) => "ModifyForwardLBSeventhListener",
                (Family::Application, false) => "ModifyForwardLBFourthListener",
            };
            let call = self.lb.map(|lb| {
                let mut call =
                    Call::new(action, &[("loadBalancerId", lb), ("listenerId", &old.id)]);
                call.fixed.extend(sent);
                call
            });
            self.step('~', new.place, format!("{what}: {changed}"), call);
        }
        self.rules(&what, old, new);
        self.backends(
            &what,
            &old.backends,
            &new.backends,
            Some(Pool::Listener(&old.id)),
        );
    }

    fn rules(&mut self, name: &str, old: &Listener, new: &Listener) {
        let there: HashMap<RuleKey, &Rule> =
            old.rules.iter().map(|rule| (rule.key(), rule)).collect();
        let unset: BTreeSet<RuleKey> = new
            .rules
            .iter()
            .filter(|rule| {
                there
                    .get(&rule.key())
                    .is_some_and(|old| is_unset(old, rule))
            })
            .map(Rule::key)
            .collect();
        let kept: Vec<Rule> = old
            .rules
            .iter()
            .filter(|rule| !unset.contains(&rule.key()))
            .cloned()
            .collect();
        let late = order::made_anew(&kept, &new.rules);
        let anew = |key: &RuleKey| unset.contains(key) || late.contains(key);
        let wanted: BTreeSet<RuleKey> = new.rules.iter().map(Rule::key).collect();
        for rule in &old.rules {
            let key = rule.key();
            let call = self.delete_rule(&old.id, rule);
            if anew(&key) && wanted.contains(&key) {
                let why = match unset.contains(&key) {
                    true => "no Action takes its http_check_domain back",
                    false => "its place in the order",
                };
                let what = format!("{name}: {} ({why})", rule_words(rule));
                self.step('-', new.place, what, call);
            } else if !wanted.contains(&key) {
                self.step_last(format!("{name}: {}", rule_words(rule)), call);
            }
        }
        for rule in &new.rules {
            match there.get(&rule.key()) {
                Some(old_rule) if !anew(&rule.key()) => {
                    self.change_rule(name, &old.id, old_rule, rule);
                }
                _ => self.create_rule(name, Some(&old.id), rule),
            }
        }
    }

    fn delete_rule(&self, listener: &str, rule: &Rule) -> Option<Call> {
        let fixed = [("loadBalancerId", self.lb?), ("listenerId", listener)];
        let call = Call::new("DeleteForwardLBListenerRules", &fixed);
        Some(call.with("locationIds", pairs(&[("", &rule.id)])))
    }

    fn create_rule(&mut self, name: &str, listener: Option<&str>, rule: &Rule) {
        let mut element = pairs(&[("domain", rule.domain.as_str()), ("url", rule.url.as_str())]);
        element.extend(given(RULE, &rule.settings));
        let call = self.lb.zip(listener).map(|(lb, listener)| {
            let fixed = [("loadBalancerId", lb), ("listenerId", listener)];
            Call::new("CreateForwardLBListenerRules", &fixed).with("rules", element)
        });
        let what = format!("{name}: {}", rule_words(rule));
        self.step('+', rule.place, what.clone(), call);
        self.backends(&what, &[], &rule.backends, None);
    }

    fn change_rule(&mut self, name: &str, listener: &str, old: &Rule, new: &Rule) {
        let what = format!("{name}: {}", rule_words(new));
        let (sent, changed) = differences(RULE, None, &old.settings, &new.settings);
        if !sent.is_empty() {
            let call = self.lb.map(|lb| {
                let fixed = [
                    ("loadBalancerId", lb),
                    ("listenerId", listener),
                    ("locationId", old.id.as_str()),
                ];
                let mut call = Call::new("ModifyLoadBalancerRulesProbe", &fixed);
                call.fixed.extend(sent);
                call
            });
            self.step('~', new.place, format!("{what}: {changed}"), call);
        }
        let pool = Pool::Rule(listener, &old.id);
        self.backends(&what, &old.backends, &new.backends, Some(pool));
    }

    /// Without a pool nothing is there yet that they could be bound to.
    fn backends(&mut self, name: &str, old: &[Backend], new: &[Backend], pool: Option<Pool<'_>>) {
        let there: HashMap<_, _> = old.iter().map(|backend| (backend.key(), backend)).collect();
        for backend in new {
            let before = there.get(&backend.key()).map(|backend| backend.weight);
            if before == Some(backend.weight) {
                continue;
            }
            // Binding what is bound sets its weight.
            let call = self.lb.zip(pool).map(|(lb, pool)| {
                let mut element = element(backend);
                element.push(("weight".to_owned(), backend.weight.to_string()));
                pool.call(lb, true).with("backends", element)
            });
            let what = format!("{name}: {}", backend_words(backend));
            match before {
                None => self.step(
                    '+',
                    backend.place,
                    format!("{what}, weight {}", backend.weight),
                    call,
                ),
                Some(before) => {
                    let what = format!("{what}: weight {before} -> {}", backend.weight);
                    self.step('~', backend.place, what, call);
                }
            }
        }
        let wanted: BTreeSet<_> = new.iter().map(Backend::key).collect();
        for backend in old
            .iter()
            .filter(|backend| !wanted.contains(&backend.key()))
        {
            let call = self
                .lb
                .zip(pool)
                .map(|(lb, pool)| pool.call(lb, false).with("backends", element(backend)));
            self.step_last(format!("{name}: {}", backend_words(backend)), call);
        }
    }

    /// Redirects that are wanted no more, or lead elsewhere, go before what they lead to does.
    fn redirects_removed(&mut self, running: &LoadBalancer, name: &str) {
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

    fn redirects(&mut self, name: &str, running: &[Listener]) {
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

/// What backends are bound to.
#[derive(Clone, Copy)]
enum Pool<'a> {
    Classic,
    Listener(&'a str),
    Rule(&'a str, &'a str),
}

impl Pool<'_> {
    fn call(self, lb: &str, bind: bool) -> Call {
        match (self, bind) {
            (Self::Classic, true) => Call::new(
                "RegisterInstancesWithLoadBalancer",
                &[("loadBalancerId", lb)],
            ),
            (Self::Classic, false) => Call::new(
                "DeregisterInstancesFromLoadBalancer",
                &[("loadBalancerId", lb)],
            ),
            (Self::Listener(listener), bind) => {
                let action = match bind {
                    true => "RegisterInstancesWithForwardLBFourthListener",
                    false => "DeregisterInstancesFromForwardLBFourthListener",
                };
                Call::new(action, &[("loadBalancerId", lb), ("listenerId", listener)])
            }
            (Self::Rule(listener, rule), bind) => {
                let action = match bind {
                    true => "RegisterInstancesWithForwardLBSeventhListener",
                    false => "DeregisterInstancesFromForwardLB",
                };
                let fixed = [
                    ("loadBalancerId", lb),
                    ("listenerId", listener),
                    ("locationIds.0", rule),
                ];
                Call::new(action, &fixed)
            }
        }
    }
}

fn element(backend: &Backend) -> Vec<Pair> {
    let name = match backend.by_address {
        true => "eniIp",
        false => "instanceId",
    };
    let mut element = pairs(&[(name, &backend.instance)]);
    let port = backend
        .port
        .map(|port| ("port".to_owned(), port.to_string()));
    element.extend(port);
    element
}

/// Whether one listener can become the other; ports and protocols are for life.
fn is_same(old: &Listener, new: &Listener) -> bool {
    let port = |listener: &Listener| listener.settings.get("instancePort").cloned();
    old.protocol == new.protocol && port(old) == port(new)
}

/// Whether something is set that is not to be, and that no Action takes back. The domain of a probe
/// that is the rule's own is as good as none.
fn is_unset(old: &Rule, new: &Rule) -> bool {
    RULE.iter().any(|field| {
        field.absent == Absent::Unset
            && !new.settings.contains_key(field.api)
            && old
                .settings
                .get(field.api)
                .is_some_and(|value| *value != new.domain.key())
    })
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

fn words(listener: &Listener) -> String {
    format!(
        "listener {} {}",
        protocol_word(listener.protocol),
        listener.port
    )
}

fn rule_words(rule: &Rule) -> String {
    format!("rule {} {}", rule.domain.as_str(), rule.url.as_str())
}

fn backend_words(backend: &Backend) -> String {
    let port = backend
        .port
        .map(|port| format!(" port {port}"))
        .unwrap_or_default();
    format!("backend {}{port}", backend.instance)
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
