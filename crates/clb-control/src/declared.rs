//! Brings load balancers to what `[[load_balancers]]` of clb.toml declares (semantics.md 8).
//!
//! The file speaks when it changes, the API in between: what was applied last is remembered in the
//! state by its fingerprint, and is left alone until the file says something else.

use std::collections::HashMap;
use std::sync::Arc;

use clb_declared::plan::plan_deletion;
use clb_declared::reconcile::run_one;
use clb_declared::write::fingerprint;
use clb_declared::{Calls, LoadBalancer, Others, Place, Refusal, Step, Target, reconcile};
use clb_model::{Command, Declared, LbId, TaskId};
use serde_json::Value;

use crate::api::Api;
use crate::engine::WaitError;

/// What became of the declarations of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps that were done.
    pub steps: usize,
    /// What was not reached, and why.
    pub problems: Vec<(Place, String)>,
}

/// The gateway itself, called as if by a client.
pub(crate) struct Own<'a> {
    pub(crate) api: &'a Api,
    pub(crate) told: &'a (dyn Fn(&Step) + Sync),
}

impl Calls for Own<'_> {
    async fn call(
        &self,
        action: &str,
        parameters: Vec<(String, String)>,
    ) -> Result<Value, Refusal> {
        let answer = self.api.act_for_file(action, parameters).await;
        let text = answer.map_err(|error| match error.is_unavailable() {
            true => Refusal::Lost(error.full_message()),
            false => Refusal::Refused(error.full_message()),
        })?;
        serde_json::from_str(&text).map_err(|error| Refusal::Lost(error.to_string()))
    }

    async fn wait(&self, task: u64) -> Result<(), Refusal> {
        let ended = self.api.engine.wait_ended(TaskId(task)).await;
        ended.map_err(|error| match error {
            WaitError::Failed(reason) => Refusal::Refused(reason),
            WaitError::Stopped(_) => Refusal::Lost(error.to_string()),
        })
    }

    fn done(&self, step: &Step) {
        (self.told)(step);
    }
}

/// Brings all load balancers to what is declared where that is new or has changed, and deletes
/// those that are declared no more. What was done is told step by step.
pub async fn declare(api: &Api, wanted: &[LoadBalancer], told: &(dyn Fn(&Step) + Sync)) -> Report {
    let own = Own { api, told };
    let mut report = Report::default();
    let remembered: HashMap<String, Arc<Declared>> = api.engine.shared.read(|state| {
        let all = state.all_declared();
        all.map(|declared| (declared.name.clone(), Arc::clone(declared)))
            .collect()
    });
    let mut ids: HashMap<&str, LbId> = HashMap::new();
    for wanted_one in wanted {
        let before = remembered.get(&wanted_one.name);
        let fingerprint = fingerprint(wanted_one);
        if let Some(before) = before
            && before.fingerprint == fingerprint
        {
            ids.insert(&wanted_one.name, before.load_balancer);
            continue;
        }
        let known = before.map(|before| before.load_balancer.to_string());
        let others = others(wanted, wanted_one, &remembered);
        let target = Target {
            wanted: wanted_one,
            known: known.as_deref(),
            others: &others,
        };
        let outcome = reconcile(&own, target).await;
        report.steps += outcome.steps;
        let is_reached = outcome.problems.is_empty();
        report.problems.extend(outcome.problems);
        let id = outcome.id.as_deref().and_then(|id| LbId::parse(id).ok());
        if let Some(load_balancer) = id {
            ids.insert(&wanted_one.name, load_balancer);
            let declared = Declared {
                name: wanted_one.name.clone(),
                load_balancer,
                // What was not reached is tried again the next time.
                fingerprint: if is_reached {
                    fingerprint
                } else {
                    String::new()
                },
            };
            remember(api, Command::Declare(declared), &mut report).await;
        }
        if outcome.is_lost {
            return report;
        }
    }
    for (name, before) in &remembered {
        if wanted.iter().any(|wanted| wanted.name == *name) {
            continue;
        }
        // Under another name it may be declared still.
        let is_taken_over = ids.values().any(|id| *id == before.load_balancer);
        let is_there = api
            .engine
            .shared
            .read(|state| state.load_balancer(before.load_balancer).is_some());
        if is_there && !is_taken_over {
            let step = plan_deletion(name, &before.load_balancer.to_string());
            if let Err(refusal) = run_one(&own, &step).await {
                let message = format!("{}: {}", step.what, refusal.message());
                report.problems.push((Place::default(), message));
                continue;
            }
            report.steps += 1;
        }
        let forget = Command::ForgetDeclared { name: name.clone() };
        remember(api, forget, &mut report).await;
    }
    report
}

/// What is another declaration's, and so not to be taken for having a name.
fn others(
    all: &[LoadBalancer],
    one: &LoadBalancer,
    remembered: &HashMap<String, Arc<Declared>>,
) -> Others {
    let vips = all
        .iter()
        .filter(|other| other.name != one.name)
        .filter_map(|other| other.vip);
    let ids = remembered
        .values()
        .filter(|other| other.name != one.name)
        .map(|other| other.load_balancer.to_string());
    Others {
        vips: vips.collect(),
        ids: ids.collect(),
    }
}

async fn remember(api: &Api, command: Command, report: &mut Report) {
    if let Err(error) = api.engine.execute(command, None, None).await {
        let message = format!("what was applied can not be remembered: {error}");
        report.problems.push((Place::default(), message));
    }
}
