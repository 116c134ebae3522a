//! Pools: who is in them, who is checked and how, and which view they have.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clb_health::{Check, HttpMethod, HttpProbe, ProbeKind, Thresholds};
use clb_model::{
    Binding, BindingId, Change, DomainPattern, HealthCheck, HttpCheck, Object, Owner, PoolKey,
    PoolSettings, Port, ProbeMethod, Protocol, Scheduler,
};
use clb_snapshot::{Live, Member, MemberLive, Pool, PoolView, Stickiness};

use super::Plane;
use crate::applier::ProbeSettings;
use crate::applier::health::Health;

/// A member whose pool's health check is on.
pub(in crate::applier) struct CheckedMember {
    pub pool: PoolKey,
    pub binding: BindingId,
    pub check: Check,
}

/// What a pool is compiled from.
struct Spec<'a> {
    settings: &'a PoolSettings,
    protocol: Protocol,
    owner: Owner,
    /// Classic: where all members serve this listener.
    instance_port: Option<Port>,
    /// A rule's domain: the Host of its probes when it is a plain one and the check names none.
    domain: Option<&'a DomainPattern>,
}

impl Spec<'_> {
    fn address(&self, bound: &Binding) -> SocketAddr {
        let port = bound.port().or(self.instance_port);
        SocketAddr::new(bound.address, port.map_or(0, Port::get))
    }
}

pub(super) fn empty_view() -> PoolView {
    PoolView::build(Scheduler::Wrr, Stickiness::Off, Vec::new())
}

impl Plane {
    /// Every pool of the state, whether it is served or not.
    pub(super) fn all_pools(&self) -> Vec<PoolKey> {
        let listeners = self.state.listeners();
        let own = listeners.filter(|listener| listener.settings().is_some());
        let rules = self.state.rules().map(|rule| PoolKey::Rule(rule.id));
        own.map(|listener| PoolKey::Listener(listener.id))
            .chain(rules)
            .collect()
    }

    /// None for a listener with rules, and for what is gone.
    fn spec(&self, pool: PoolKey) -> Option<Spec<'_>> {
        match pool {
            PoolKey::Listener(id) => {
                let listener = self.state.listener(id)?;
                let instance_port = listener.instance_port();
                Some(Spec {
                    settings: listener.settings()?,
                    protocol: listener.protocol,
                    owner: match instance_port {
                        Some(_) => Owner::LoadBalancer(listener.load_balancer),
                        None => Owner::Pool(pool),
                    },
                    instance_port,
                    domain: None,
                })
            }
            PoolKey::Rule(id) => {
                let rule = self.state.rule(id)?;
                Some(Spec {
                    settings: &rule.settings,
                    protocol: self.state.listener(rule.listener)?.protocol,
                    owner: Owner::Pool(pool),
                    instance_port: None,
                    domain: Some(&rule.domain),
                })
            }
        }
    }

    /// The pool as it is served.
    fn served(&self, pool: PoolKey) -> Option<&Arc<Pool>> {
        match pool {
            PoolKey::Listener(id) => self.snapshot.get(id)?.service.pool(),
            PoolKey::Rule(id) => self.rules.get(&id).map(|rule| &rule.pool),
        }
    }

    /// Checks a pool's members as its settings say now, and chooses anew among them.
    pub(super) fn refresh(&mut self, pool: PoolKey, health: &mut Health) {
        health.set(self.checked_members(pool), pool);
        self.refresh_view(pool, health);
    }

    /// Chooses anew among a pool's members, for their health has changed.
    pub(in crate::applier) fn refresh_view(&mut self, pool: PoolKey, health: &Health) {
        let Some(view) = self.view(pool, health) else {
            return;
        };
        if let Some(pool) = self.served(pool) {
            pool.set_view(view);
        }
    }

    /// Takes over what probes do that are not told.
    pub(in crate::applier) fn set_probes(&mut self, probes: &ProbeSettings, health: &mut Health) {
        if self.probes == *probes {
            return;
        }
        self.probes = probes.clone();
        for pool in self.all_pools() {
            health.set(self.checked_members(pool), pool);
        }
    }

    /// A member's live state.
    pub(in crate::applier) fn member_live(
        &self,
        member: (PoolKey, BindingId),
    ) -> Option<&Arc<MemberLive>> {
        self.members.get(&member)
    }

    /// Where a member's machine is, for the log.
    pub(in crate::applier) fn member_address(
        &self,
        pool: PoolKey,
        binding: BindingId,
    ) -> Option<SocketAddr> {
        let bound = self.state.binding_by_id(binding)?;
        Some(self.spec(pool)?.address(bound))
    }

    fn view(&mut self, pool: PoolKey, health: &Health) -> Option<PoolView> {
        let workers = self.board.workers().len();
        let spec = self.spec(pool)?;
        let is_checked = spec.settings.health.enabled;
        let (scheduler, expire) = (spec.settings.scheduler, spec.settings.session_expire);
        let stickiness = Stickiness::of(spec.protocol, expire);
        let bound: Vec<(Arc<Binding>, SocketAddr)> = self
            .state
            .bindings_of(spec.owner)
            .map(|bound| (Arc::clone(bound), spec.address(bound)))
            .collect();
        let members = bound
            .into_iter()
            .map(|(bound, addr)| Member {
                binding: bound.id,
                addr,
                weight: bound.weight,
                health: health.of((pool, bound.id), is_checked),
                live: Arc::clone(
                    self.members
                        .entry((pool, bound.id))
                        .or_insert_with(|| Arc::new(Live::new(workers))),
                ),
            })
            .collect();
        Some(PoolView::build(scheduler, stickiness, members))
    }

    /// The members of a pool whose health check is on, with their checks.
    pub(super) fn checked_members(&self, pool: PoolKey) -> Vec<CheckedMember> {
        let Some(spec) = self.spec(pool).filter(|spec| spec.settings.health.enabled) else {
            return Vec::new();
        };
        let health = &spec.settings.health;
        let kind = match &health.http {
            None if spec.protocol.is_udp() => ProbeKind::Udp(Arc::clone(&self.probes.udp_payload)),
            None => ProbeKind::Tcp,
            Some(http) => self.http_probe(http, spec.domain),
        };
        self.state
            .bindings_of(spec.owner)
            .map(|bound| CheckedMember {
                pool,
                binding: bound.id,
                check: check(health, spec.address(bound), kind.clone()),
            })
            .collect()
    }

    fn http_probe(&self, http: &HttpCheck, domain: Option<&DomainPattern>) -> ProbeKind {
        let method = match http.method.unwrap_or(self.probes.http_method) {
            ProbeMethod::Get => HttpMethod::Get,
            ProbeMethod::Head => HttpMethod::Head,
        };
        let probe = HttpProbe::new(method, http.path.clone(), domain, http.code);
        ProbeKind::Http(Arc::new(match &http.domain {
            Some(host) => probe.with_host(host),
            None => probe,
        }))
    }

    /// Pools whose members or settings a change concerns.
    pub(super) fn touched(&self, changes: &[Change]) -> BTreeSet<PoolKey> {
        let mut pools: BTreeSet<PoolKey> = BTreeSet::new();
        let mut instances = BTreeSet::new();
        for change in changes {
            match change.after.as_ref().or(change.before.as_ref()) {
                Some(Object::Binding(binding)) => match binding.to {
                    Some(to) => drop(pools.insert(to.pool)),
                    None => drop(instances.insert(binding.load_balancer)),
                },
                Some(Object::Listener(listener)) if listener.settings().is_some() => {
                    pools.insert(PoolKey::Listener(listener.id));
                }
                Some(Object::Rule(rule)) => drop(pools.insert(PoolKey::Rule(rule.id))),
                _ => {}
            }
        }
        for lb in instances {
            let listeners = self.state.listeners_of(lb);
            pools.extend(listeners.map(|listener| PoolKey::Listener(listener.id)));
        }
        pools
    }
}

fn check(health: &HealthCheck, target: SocketAddr, kind: ProbeKind) -> Check {
    Check {
        target,
        kind,
        interval: Duration::from_secs(health.interval_time.get().into()),
        timeout: Duration::from_secs(health.time_out.get().into()),
        thresholds: Thresholds {
            healthy: health.health_num.get(),
            unhealthy: health.unhealth_num.get(),
        },
    }
}
