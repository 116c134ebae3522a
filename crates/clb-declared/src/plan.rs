//! What a load balancer lacks to be what is declared, and the Actions that bring it there.

mod backends;
mod redirects;
mod rules;

use std::collections::HashSet;

use clb_actions::form::Pair;
use clb_model::Family;

use backends::Pool;
pub(crate) use redirects::find;

use crate::fields::{Absent, Field, Kinds, LISTENER, LOAD_BALANCER};
use crate::shape::{Listener, LoadBalancer, Place, Settings};

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

impl Step {
    /// What it is known by from one look to the next.
    pub(crate) fn key(&self) -> (char, String) {
        (self.sign, self.what.clone())
    }
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
        anew: HashSet::new(),
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

pub(crate) fn deletion(id: &str) -> Option<Call> {
    let call = Call::new("DeleteLoadBalancers", &[]);
    Some(call.with("loadBalancerIds", pairs(&[("", id)])))
}

/// What makes a load balancer.
pub(crate) fn creation(wanted: &LoadBalancer) -> Call {
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
    call
}

/// What no Action changes of a load balancer.
pub(crate) fn new_needed(running: &LoadBalancer, wanted: &LoadBalancer) -> Option<String> {
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
    /// The ids of listeners and rules that this plan makes anew: what is called later in it can not
    /// know what they will be.
    anew: HashSet<&'a str>,
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
        let call = creation(wanted);
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
        let mut pairs: Vec<(&'a Listener, &'a Listener)> = Vec::new();
        for old in &running.listeners {
            let place = |new: &&Listener| new.same_port(old, wanted.family);
            let new = wanted.listeners.iter().find(place);
            match new {
                Some(new) if is_same(old, new) => pairs.push((old, new)),
                Some(new) => {
                    let what = format!("{name}: {}", words(old));
                    let call = self.delete_listener(old);
                    self.step('-', new.place, what, call);
                    self.anew.insert(&old.id);
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

    fn change_listener(&mut self, name: &str, old: &'a Listener, new: &'a Listener) {
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
}

/// Whether one listener can become the other; ports and protocols are for life.
fn is_same(old: &Listener, new: &Listener) -> bool {
    let port = |listener: &Listener| listener.settings.get("instancePort").cloned();
    old.protocol == new.protocol && port(old) == port(new)
}

fn words(listener: &Listener) -> String {
    format!("listener {} {}", listener.protocol.word(), listener.port)
}
