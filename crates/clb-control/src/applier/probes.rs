//! What results of probes, and failures that traffic meets, do to the pools.

use std::collections::{BTreeMap, BTreeSet};

use clb_health::State as HealthState;
use clb_model::{BindingId, PoolKey};

use super::Applier;
use super::health::ProbeResult;

impl Applier {
    pub(super) fn take_result(&mut self, result: ProbeResult) {
        let transitions = self.health.complete(result);
        for key in self.health.cleared() {
            if let Some(live) = self.plane.member_live(key) {
                tracing::info!(pool = %key.0, binding = %key.1, "the backend answers again");
                live.passive().answered();
            }
        }
        if !transitions.is_empty() {
            // At once, so that a kill right after it does not bring the old state back.
            self.save_health();
        }
        let mut pools: BTreeSet<PoolKey> = BTreeSet::new();
        // One line for a backend, however many rules it serves.
        let mut told: BTreeMap<[String; 4], (HealthState, PoolKey, usize)> = BTreeMap::new();
        for transition in transitions {
            let (pool, binding) = (transition.member.pool, transition.member.binding);
            pools.insert(pool);
            let backend = self.plane.member_address(pool, BindingId(binding));
            let line = [
                backend
                    .map(|address| address.to_string())
                    .unwrap_or_default(),
                transition.from.to_string(),
                transition.to.to_string(),
                transition.reason.to_string(),
            ];
            told.entry(line).or_insert((transition.to, pool, 0)).2 += 1;
        }
        for ([backend, from, to, reason], (state, pool, pools)) in told {
            match state {
                HealthState::Unhealthy => {
                    tracing::warn!(%pool, pools, backend, from, to, reason, "health changed");
                }
                _ => tracing::info!(%pool, pools, backend, from, to, reason, "health changed"),
            }
        }
        for pool in pools {
            self.plane.refresh_view(pool, &self.health);
        }
    }

    /// Traffic has taken members out: they are probed at once.
    pub(super) fn suspect(&mut self, suspects: BTreeSet<(PoolKey, BindingId)>) {
        for (pool, binding) in suspects {
            tracing::warn!(%pool, %binding, "requests failed, the backend is out for a while");
            self.health.suspect((pool, binding));
        }
    }
}
