//! Calls what brings a load balancer to what is declared, and looks again, until nothing differs.

use std::collections::HashSet;
use std::future::Future;

use clb_actions::form::Pair;
use clb_actions::table::{ActionSpec, Kind};
use serde_json::Value;

use crate::observe::{self, Target};
use crate::plan::{Call, Step, creation, deletion, new_needed, plan};
use crate::shape::{LoadBalancer, Place};

/// Elements that one call takes.
const ELEMENTS: usize = 100;
/// An instance, its listeners, their rules, those's backends, redirects: each in a round of its own
/// at worst, and as many again where something is made anew.
const ROUNDS: usize = 12;

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The gateway refuses it, or took it back.
    Refused(String),
    /// The gateway can not be asked, or stops: nothing more can be done.
    Lost(String),
}

impl Refusal {
    /// In words.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Refused(message) | Self::Lost(message) => message,
        }
    }
}

/// A gateway.
pub trait Calls: Sync {
    /// Calls an Action, and answers what it answers.
    fn call(
        &self,
        action: &str,
        parameters: Vec<Pair>,
    ) -> impl Future<Output = Result<Value, Refusal>> + Send;

    /// Waits until a task has ended.
    fn wait(&self, task: u64) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Hears what was done.
    fn done(&self, step: &Step);
}

/// What became of a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The load balancer's id, when there is one.
    pub id: Option<String>,
    /// Steps that were done.
    pub steps: usize,
    /// What was not reached, and why.
    pub problems: Vec<(Place, String)>,
    /// Whether the gateway could no longer be asked.
    pub is_lost: bool,
}

/// What it takes to bring a load balancer to what is declared.
///
/// # Errors
/// [`Refusal`]
pub async fn differences(calls: &impl Calls, target: Target<'_>) -> Result<Vec<Step>, Refusal> {
    let running = observe::one(calls, target).await?;
    Ok(plan(running.as_ref(), target.wanted))
}

/// Brings a load balancer to what is declared.
///
/// What is refused is told and the rest is done nevertheless.
pub async fn reconcile(calls: &impl Calls, target: Target<'_>) -> Outcome {
    let wanted = target.wanted;
    let mut rounds = Rounds {
        outcome: Outcome::default(),
        failed: HashSet::new(),
    };
    let mut known = target.known.map(str::to_owned);
    for _ in 0..ROUNDS {
        let known_now = Target {
            known: known.as_deref(),
            ..target
        };
        let running = match observe::one(calls, known_now).await {
            Ok(running) => running,
            Err(refusal) => {
                rounds.problem(
                    wanted.place,
                    &format!("load balancer {:?}", wanted.name),
                    &refusal,
                );
                return rounds.outcome;
            }
        };
        rounds.outcome.id = running.as_ref().map(|lb| lb.id.clone());
        known.clone_from(&rounds.outcome.id);
        if let Some(running) = &running
            && let Some(why) = new_needed(running, wanted)
        {
            match rounds.replace(calls, running, wanted, &why).await {
                Some(id) => known = Some(id),
                None => return rounds.outcome,
            }
            continue;
        }
        let steps = plan(running.as_ref(), wanted);
        let left: Vec<&Step> = steps
            .iter()
            .filter(|step| step.call.is_some() && !rounds.failed.contains(&step.key()))
            .collect();
        if left.is_empty() {
            // What waits for something that failed is told with that.
            if rounds.outcome.problems.is_empty() {
                rounds.unreached(&steps);
            }
            return rounds.outcome;
        }
        rounds.run(calls, &left).await;
        if rounds.outcome.is_lost {
            return rounds.outcome;
        }
    }
    let what = format!("load balancer {:?}", wanted.name);
    let refusal = Refusal::Refused(format!(
        "differs still after {ROUNDS} rounds; is it changed by somebody else?"
    ));
    rounds.problem(wanted.place, &what, &refusal);
    rounds.outcome
}

/// Calls one step alone, and waits for it; the id of the load balancer that it made, if it did.
///
/// # Errors
/// [`Refusal`]
pub async fn run_one(calls: &impl Calls, step: &Step) -> Result<Option<String>, Refusal> {
    let Some(call) = &step.call else {
        return Ok(None);
    };
    let answer = answered(calls, call, &[step]).await?;
    if let Some(task) = task_of(call, &answer) {
        calls.wait(task).await?;
    }
    calls.done(step);
    let made = answer.get("unLoadBalancerIds").and_then(Value::as_object);
    let id = made.and_then(|made| made.values().next()?.get(0)?.as_str());
    Ok(id.map(str::to_owned))
}

/// What the gateway would say of the call alone.
fn check(step: &Step) -> Result<(), String> {
    let call = step.call.as_ref();
    let spec = call.and_then(|call| ActionSpec::find(call.action));
    match call.zip(spec) {
        Some((call, spec)) => {
            let checked = spec.check(call.fixed.clone());
            checked.map(drop).map_err(|error| error.full_message())
        }
        None => Ok(()),
    }
}

struct Rounds {
    outcome: Outcome,
    /// What is not tried again.
    failed: HashSet<(char, String)>,
}

impl Rounds {
    fn problem(&mut self, place: Place, what: &str, refusal: &Refusal) {
        self.outcome.is_lost |= matches!(refusal, Refusal::Lost(_));
        let message = format!("{what}: {}", refusal.message());
        self.outcome.problems.push((place, message));
    }

    fn unreached(&mut self, steps: &[Step]) {
        for step in steps {
            let message = format!("{}: what it belongs to is not there", step.what);
            self.outcome.problems.push((step.place, message));
        }
    }

    /// Makes a new load balancer in the place of one; its id, or `None` when that is refused. What
    /// can be known beforehand is, and where the address lets it the new one is made first: what is
    /// refused must not cost the old one.
    async fn replace(
        &mut self,
        calls: &impl Calls,
        running: &LoadBalancer,
        wanted: &LoadBalancer,
        why: &str,
    ) -> Option<String> {
        let name = format!("load balancer {:?}", wanted.name);
        let create = Step {
            place: wanted.place,
            sign: '+',
            what: name.clone(),
            call: Some(creation(wanted)),
        };
        let delete = Step {
            place: wanted.place,
            sign: '-',
            what: format!("{name} ({why})"),
            call: deletion(&running.id),
        };
        let keeps_vip = wanted.vip.is_some() && wanted.vip == running.vip;
        if keeps_vip {
            let fits = match running.network == wanted.network {
                true => check(&create),
                false => Err("its vip belongs to the other type".to_owned()),
            };
            if let Err(message) = fits {
                self.fail(&create, &Refusal::Refused(message));
                return None;
            }
            if !self.alone(calls, &delete).await {
                return None;
            }
        }
        let made = match run_one(calls, &create).await {
            Ok(made) => made,
            Err(refusal) => {
                self.fail(&create, &refusal);
                return None;
            }
        };
        self.outcome.steps += 1;
        self.outcome.id.clone_from(&made);
        if !keeps_vip && !self.alone(calls, &delete).await {
            return None;
        }
        made
    }

    /// Calls one step alone; false when it is refused.
    async fn alone(&mut self, calls: &impl Calls, step: &Step) -> bool {
        match run_one(calls, step).await {
            Ok(_) => self.outcome.steps += 1,
            Err(ref refusal) => {
                self.fail(step, refusal);
                return false;
            }
        }
        true
    }

    fn fail(&mut self, step: &Step, refusal: &Refusal) {
        self.failed.insert(step.key());
        self.problem(step.place, &step.what, refusal);
    }

    /// Calls all, then waits for all: the gateway keeps the order.
    async fn run(&mut self, calls: &impl Calls, steps: &[&Step]) {
        let mut tasks: Vec<(u64, Vec<&Step>)> = Vec::new();
        for together in groups(steps) {
            let Some(call) = together.first().and_then(|step| step.call.as_ref()) else {
                continue;
            };
            match send(calls, call, &together).await {
                Ok(task) => self.sent(calls, task, together, &mut tasks),
                Err(refusal @ Refusal::Lost(_)) => {
                    for step in together {
                        self.fail(step, &refusal);
                    }
                    return;
                }
                // One that is wrong must not keep the others back.
                Err(_) if together.len() > 1 => {
                    for step in together {
                        let Some(call) = &step.call else {
                            continue;
                        };
                        match send(calls, call, &[step]).await {
                            Ok(task) => self.sent(calls, task, vec![step], &mut tasks),
                            Err(refusal) => self.fail(step, &refusal),
                        }
                    }
                }
                Err(refusal) => {
                    for step in together {
                        self.fail(step, &refusal);
                    }
                }
            }
        }
        for (task, steps) in tasks {
            let ended = calls.wait(task).await;
            for step in steps {
                match &ended {
                    Ok(()) => self.done(calls, step),
                    Err(refusal) => self.fail(step, refusal),
                }
            }
        }
    }

    fn sent<'s>(
        &mut self,
        calls: &impl Calls,
        task: Option<u64>,
        steps: Vec<&'s Step>,
        tasks: &mut Vec<(u64, Vec<&'s Step>)>,
    ) {
        match task {
            Some(task) => tasks.push((task, steps)),
            None => steps.iter().for_each(|step| self.done(calls, step)),
        }
    }

    fn done(&mut self, calls: &impl Calls, step: &Step) {
        self.outcome.steps += 1;
        calls.done(step);
    }
}

/// Neighbours that one call can do.
fn groups<'s>(steps: &[&'s Step]) -> Vec<Vec<&'s Step>> {
    let mut groups: Vec<Vec<&Step>> = Vec::new();
    for step in steps {
        let joins = groups.last().is_some_and(|group| {
            let first = group.first().and_then(|first| first.call.as_ref());
            group.len() < ELEMENTS
                && first.zip(step.call.as_ref()).is_some_and(|(a, b)| {
                    let array = |call: &Call| call.element.as_ref().map(|(array, _)| *array);
                    a.action == b.action
                        && a.fixed == b.fixed
                        && array(a).is_some()
                        && array(a) == array(b)
                })
        });
        match groups.last_mut() {
            Some(group) if joins => group.push(step),
            _ => groups.push(vec![step]),
        }
    }
    groups
}

/// The task of a call that is done later; none when it is done.
async fn send(calls: &impl Calls, call: &Call, steps: &[&Step]) -> Result<Option<u64>, Refusal> {
    let answer = answered(calls, call, steps).await?;
    Ok(task_of(call, &answer))
}

fn task_of(call: &Call, answer: &Value) -> Option<u64> {
    let is_task = ActionSpec::find(call.action).is_some_and(|action| action.kind == Kind::Async);
    let task = answer.get("requestId").and_then(Value::as_u64);
    task.filter(|_| is_task)
}

async fn answered(calls: &impl Calls, call: &Call, steps: &[&Step]) -> Result<Value, Refusal> {
    let mut parameters = call.fixed.clone();
    let elements = steps
        .iter()
        .filter_map(|step| step.call.as_ref()?.element.as_ref());
    for (index, (array, element)) in elements.enumerate() {
        for (field, value) in element {
            let name = match field.as_str() {
                "" => format!("{array}.{index}"),
                field => format!("{array}.{index}.{field}"),
            };
            parameters.push((name, value.clone()));
        }
    }
    calls.call(call.action, parameters).await
}
