//! Routers of layer-7 listeners: a change makes new ones that share all rules but those it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use clb_model::{Change, ListenerId, Object, PathMap, PoolKey, Rule as Model, RuleId};
use clb_routing::{PatternError, Router};
use clb_snapshot::{Listener, Pool, Redirect, Routed, Rule, Service};

use super::{Plane, pools};
use crate::applier::health::Health;

/// What a task's changes make of the rules.
#[derive(Default)]
pub(super) struct Routes {
    routers: BTreeMap<ListenerId, Router<Routed>>,
    /// New values; none for a rule that is gone.
    rules: Vec<(RuleId, Option<Arc<Rule>>)>,
}

/// A changed rule, before and after.
type Moved<'c> = (Option<&'c Arc<Model>>, Option<&'c Arc<Model>>);

/// A rule whose place in the router changes, or its redirect; other settings are the pool's alone.
fn moved(change: &Change) -> Option<Moved<'_>> {
    let before = as_rule(change.before.as_ref());
    let after = as_rule(change.after.as_ref());
    match (before, after) {
        (None, None) => None,
        (Some(old), Some(new))
            if old.domain == new.domain
                && old.url == new.url
                && old.redirect_to == new.redirect_to =>
        {
            None
        }
        moved => Some(moved),
    }
}

fn as_rule(object: Option<&Object>) -> Option<&Arc<Model>> {
    match object {
        Some(Object::Rule(rule)) => Some(rule),
        _ => None,
    }
}

impl Plane {
    /// Compiles the routers that the changes ask for, without putting them in place. Listeners
    /// that the changes remove, and those that are not served, need none.
    pub(super) fn compile_rules(&self, changes: &[Change]) -> Result<Routes, String> {
        let mut routes = Routes::default();
        let mut moved: Vec<Moved<'_>> = changes.iter().filter_map(moved).collect();
        let redirected = self.redirected_to_moved(&moved);
        moved.extend(redirected);
        // Old places first, so that it does not matter in which order rules change places.
        for (before, after) in &moved {
            let Some(before) = before else { continue };
            if let Some(router) = self.router_of(before.listener, &mut routes.routers) {
                *router = router.without(&before.domain, &before.url);
            }
            if after.is_none() {
                routes.rules.push((before.id, None));
            }
        }
        for after in moved.iter().filter_map(|(_, after)| *after) {
            let Some(router) = self.router_of(after.listener, &mut routes.routers) else {
                continue;
            };
            let rule = self.compile_rule(after);
            *router = with(router, after, &rule)
                .map_err(|error| format!("{} can not be served: {error}", after.id))?;
            routes.rules.push((after.id, Some(rule)));
        }
        Ok(routes)
    }

    /// The rules that are redirected to one whose url changes: their requests get another address.
    fn redirected_to_moved<'s>(&'s self, moved: &[Moved<'_>]) -> Vec<Moved<'s>> {
        let with_new_url = moved.iter().filter_map(|moved| match moved {
            (Some(old), Some(new)) if old.url != new.url => Some(new.id),
            _ => None,
        });
        with_new_url
            .flat_map(|target| self.state.redirected_to(target))
            .map(|source| (None, Some(source)))
            .collect()
    }

    /// A router to be changed: as it is served, or empty for a listener that the same task makes.
    fn router_of<'r>(
        &self,
        listener: ListenerId,
        routers: &'r mut BTreeMap<ListenerId, Router<Routed>>,
    ) -> Option<&'r mut Router<Routed>> {
        if self.state.listener(listener).is_none() || self.unbound.contains_key(&listener) {
            return None;
        }
        let router = routers.entry(listener).or_insert_with(|| {
            let served = self.snapshot.get(listener).map(|served| &served.service);
            match served {
                Some(Service::Rules(router)) => router.clone(),
                Some(Service::Pool(_)) | None => Router::new(),
            }
        });
        Some(router)
    }

    /// A rule's new value, with the pool and counts that it has already. A new pool is empty until
    /// it is refreshed.
    fn compile_rule(&self, rule: &Model) -> Arc<Rule> {
        let pool = match self.rules.get(&rule.id) {
            Some(known) => Arc::clone(&known.pool),
            None => {
                let workers = self.board.workers().len();
                let key = PoolKey::Rule(rule.id);
                Arc::new(Pool::new(key, pools::empty_view(), workers))
            }
        };
        Arc::new(Rule {
            id: rule.id,
            domain: rule.domain.clone(),
            url: rule.url.clone(),
            redirect: self.redirect(rule).map(Box::new),
            pool,
            name: self.board.rule_names.add(&rule.domain.to_string()),
        })
    }

    fn redirect(&self, source: &Model) -> Option<Redirect> {
        let target = self.state.rule(source.redirect_to?)?;
        let listener = self.state.listener(target.listener)?;
        Some(Redirect {
            protocol: listener.protocol,
            port: listener.port,
            path: PathMap::of(&source.url, &target.url),
        })
    }

    /// Puts compiled routers in place.
    pub(super) fn route(&mut self, routes: Routes) {
        for (id, rule) in routes.rules {
            match rule {
                Some(rule) => drop(self.rules.insert(id, rule)),
                None => drop(self.rules.remove(&id)),
            }
        }
        for (id, router) in routes.routers {
            let Some(served) = self.snapshot.get(id) else {
                continue;
            };
            let listener = Listener {
                service: Service::Rules(router),
                ..Listener::clone(served)
            };
            self.snapshot = self.snapshot.insert(Arc::new(listener));
            self.is_changed = true;
        }
    }

    /// Routes all rules of a listener that is new in the snapshot. One that does not compile is
    /// reported and left out: it was accepted by an engine that took it.
    pub(super) fn serve_rules(&mut self, listener: ListenerId, health: &mut Health) {
        let rules: Vec<Arc<Model>> = self.state.rules_of(listener).cloned().collect();
        if rules.is_empty() {
            return;
        }
        let mut routes = Routes::default();
        let mut router = Router::new();
        for rule in &rules {
            let compiled = self.compile_rule(rule);
            match with(&router, rule, &compiled) {
                Ok(with) => {
                    router = with;
                    routes.rules.push((rule.id, Some(compiled)));
                }
                Err(error) => {
                    tracing::error!(rule = %rule.id, %listener, %error, "the rule is not served");
                }
            }
        }
        routes.routers.insert(listener, router);
        self.route(routes);
        for rule in rules {
            self.refresh_view(PoolKey::Rule(rule.id), health);
        }
    }
}

fn with(
    router: &Router<Routed>,
    rule: &Model,
    value: &Arc<Rule>,
) -> Result<Router<Routed>, PatternError> {
    router.with(
        &rule.domain,
        &rule.url,
        rule.order,
        Arc::clone(value).into(),
    )
}
