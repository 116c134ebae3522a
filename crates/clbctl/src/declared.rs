//! `clbctl export` and `clbctl apply`: what runs as `[[load_balancers]]`, and back.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use clb_actions::form::Pair;
use clb_declared::{
    Calls, LoadBalancer, Others, Refusal, Step, Target, differences, observe, read, reconcile,
    write,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cli::Failure;
use crate::client::{CallError, Client};

/// The key's requests per second are used up: the code, how long to wait, and how often.
const TOO_MANY: i64 = 4400;
const PAUSE: Duration = Duration::from_millis(100);
const PAUSES: usize = 300;

/// The subcommands.
#[must_use]
pub fn subcommands() -> [Command; 2] {
    [
        Command::new("export")
            .about("What runs, as [[load_balancers]] for clb.toml or for apply; without private keys, which the API never gives out"),
        Command::new("apply")
            .about("Brings load balancers to what a file declares; those that it does not name are left alone")
            .arg(
                Arg::new("file")
                    .short('f')
                    .long("file")
                    .value_name("FILE")
                    .required(true)
                    .value_parser(clap::value_parser!(PathBuf))
                    .value_hint(ValueHint::FilePath)
                    .help("A file of [[load_balancers]]; - is standard input"),
            )
            .arg(
                Arg::new("dry_run")
                    .long("dry-run")
                    .action(ArgAction::SetTrue)
                    .help("Only say what is different"),
            ),
    ]
}

/// A gateway, and what was done there.
struct Gateway<'a> {
    client: &'a Client,
    patience: Duration,
    done: Mutex<Vec<String>>,
}

impl Calls for Gateway<'_> {
    async fn call(&self, action: &str, parameters: Vec<Pair>) -> Result<Value, Refusal> {
        for _ in 0..PAUSES {
            match self.client.call(action, &parameters).await {
                Err(CallError::Refused { code: TOO_MANY, .. }) => sleep(PAUSE).await,
                Ok(answer) => return Ok(answer.value),
                Err(error @ CallError::Refused { .. }) => {
                    return Err(Refusal::Refused(error.to_string()));
                }
                Err(error) => return Err(Refusal::Lost(error.to_string())),
            }
        }
        Err(Refusal::Lost(
            "the key's requests per second are used up by others".to_owned(),
        ))
    }

    async fn wait(&self, task: u64) -> Result<(), Refusal> {
        let end = Instant::now() + self.patience;
        loop {
            let asked = vec![("requestId".to_owned(), task.to_string())];
            let answer = self.call("DescribeLoadBalancersTaskResult", asked).await?;
            let data = answer.get("data");
            let field = |name: &str| data.and_then(|data| data.get(name));
            match field("status").and_then(Value::as_i64) {
                Some(0) => return Ok(()),
                Some(1) => {
                    let reason = field("message").and_then(Value::as_str);
                    return Err(Refusal::Refused(reason.unwrap_or_default().to_owned()));
                }
                _ if Instant::now() > end => {
                    let seconds = self.patience.as_secs();
                    let message = format!("task {task} has not ended within {seconds} s");
                    return Err(Refusal::Lost(message));
                }
                _ => sleep(crate::client::POLL).await,
            }
        }
    }

    fn done(&self, step: &Step) {
        if let Ok(mut done) = self.done.lock() {
            done.push(line(step));
        }
    }
}

fn line(step: &Step) -> String {
    format!("{} {}", step.sign, step.what)
}

/// `clbctl export`
///
/// # Errors
/// [`Failure`]
pub async fn export(client: &Client, patience: Duration) -> Result<String, Failure> {
    let gateway = gateway(client, patience);
    let found = observe::all(&gateway).await.map_err(refused)?;
    Ok(write::to_toml(&found))
}

/// What a file declares.
///
/// # Errors
/// Each problem, a line each.
pub fn wanted(matches: &ArgMatches) -> anyhow::Result<Vec<LoadBalancer>> {
    let path = matches
        .get_one::<PathBuf>("file")
        .cloned()
        .unwrap_or_default();
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.context("standard input can not be read")?;
        text
    } else {
        fs::read_to_string(&path).with_context(|| format!("{}: can not be read", path.display()))?
    };
    read::parse(&text).map_err(|problems| {
        let lines = problems.iter().map(|(place, message)| {
            format!(
                "{}:{}:{}: {message}",
                path.display(),
                place.line,
                place.column
            )
        });
        anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("\n"))
    })
}

/// `clbctl apply`
///
/// # Errors
/// [`Failure`]
pub async fn apply(
    client: &Client,
    matches: &ArgMatches,
    wanted: &[LoadBalancer],
    patience: Duration,
    as_json: bool,
) -> Result<String, Failure> {
    let gateway = gateway(client, patience);
    let is_dry = matches.get_flag("dry_run");
    let mut problems = Vec::new();
    for one in wanted {
        let others = Others {
            vips: others(wanted, one),
            ids: HashSet::new(),
        };
        let target = Target {
            wanted: one,
            known: None,
            others: &others,
        };
        if is_dry {
            let steps = differences(&gateway, target).await.map_err(refused)?;
            steps.iter().for_each(|step| gateway.done(step));
            continue;
        }
        let outcome = reconcile(&gateway, target).await;
        let told = outcome
            .problems
            .into_iter()
            .map(|(place, problem)| format!("line {}: {problem}", place.line));
        problems.extend(told);
        if outcome.is_lost {
            break;
        }
    }
    let done = gateway.done.into_inner().unwrap_or_default();
    let mut text = match (as_json, done.is_empty()) {
        (true, _) => format!("{}\n", json!({ "dryRun": is_dry, "steps": done })),
        (false, true) => "nothing differs\n".to_owned(),
        (false, false) => done.join("\n") + "\n",
    };
    if problems.is_empty() {
        return Ok(text);
    }
    text.push_str(&problems.join("\n"));
    Err(Failure::Call(CallError::Incomplete(text)))
}

fn gateway(client: &Client, patience: Duration) -> Gateway<'_> {
    Gateway {
        client,
        patience,
        done: Mutex::default(),
    }
}

fn others(all: &[LoadBalancer], one: &LoadBalancer) -> HashSet<std::net::IpAddr> {
    let others = all.iter().filter(|other| other.name != one.name);
    others.filter_map(|other| other.vip).collect()
}

fn refused(refusal: Refusal) -> Failure {
    Failure::Call(CallError::Incomplete(refusal.message().to_owned()))
}
