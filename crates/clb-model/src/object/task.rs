//! Tasks, the counters behind every number, and requests that must not come twice.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Change;
use crate::command::Command;
use crate::id::{LbId, TaskId, scramble};
use crate::types::UnixMillis;

/// A signed request that changed something: refused when it comes a second time, also after a
/// restart (actions.md A.7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nonce {
    /// Unix seconds. First, so that sets of nonces begin with the ones that expire first.
    pub timestamp: u64,
    /// The request's random number.
    pub nonce: u64,
    /// The key's id.
    pub secret_id: String,
}

/// Numbers that only rise. They are never taken back, so that nothing is given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Scrambles the numbers behind `lb-` and `lbl-` ids; drawn once for the life of the store.
    pub id_key: u64,
    /// Next number for an `lb-` or `lbl-` id.
    pub next_id: u64,
    /// Next [`BindingId`](crate::BindingId).
    pub next_binding: u64,
    /// Next [`TaskId`].
    pub next_task: u64,
    /// Next order of a listener or freed VIP.
    pub next_order: u64,
    /// Next number of a network's name.
    pub next_network: u64,
}

impl Counters {
    /// The counters of a new store.
    #[must_use]
    pub const fn new(id_key: u64) -> Self {
        Self {
            id_key,
            next_id: 0,
            next_binding: 1,
            next_task: 1,
            next_order: 1,
            next_network: 1,
        }
    }

    /// Draws the number behind a new id.
    pub fn draw_id(&mut self) -> u64 {
        scramble(self.take(|counters| &mut counters.next_id), self.id_key)
    }

    /// Takes the next value of the counter that `field` names.
    pub fn take(&mut self, field: impl FnOnce(&mut Self) -> &mut u64) -> u64 {
        let counter = field(self);
        let value = *counter;
        *counter = value.saturating_add(1);
        value
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TaskState {
    /// Durable, not yet in force. What it needs to be taken up again, or taken back, is kept.
    Pending {
        /// What was asked for; executed anew when an earlier task of the instance is taken back.
        command: Box<Command>,
        /// What it changed.
        changes: Arc<[Change]>,
    },
    /// In force on every worker.
    Succeeded,
    /// Taken back whole.
    Failed {
        /// Why.
        message: String,
    },
}

/// An asynchronous Action's task (actions.md C.8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The API's `requestId`.
    pub id: TaskId,
    /// Instances it concerns; tasks that share one run in the order of their ids.
    pub load_balancers: Vec<LbId>,
    /// When it was answered.
    pub created: UnixMillis,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// How far it is.
    #[serde(flatten)]
    pub state: TaskState,
}
