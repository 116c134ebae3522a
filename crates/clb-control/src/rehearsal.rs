//! What would be done with clb.toml's declarations, without doing it: the same engine and the same
//! Actions over a copy of the state in memory, whose tasks all end well.
//!
//! What only the data plane can tell, such as a port that another program holds, is not found.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use clb_actions::Gatekeeper;
use clb_declared::{LoadBalancer, Place, Step};
use clb_model::{Key, Kind, Object, TaskId, TaskState};
use clb_snapshot::Board;
use clb_store::{Committed, Revision, Store, StoreError, Transaction, Watch};
use jiff::tz::TimeZone;
use tokio::sync::{Semaphore, mpsc};

use crate::Settings;
use crate::api::{Answered, Api, RECORD_READERS};
use crate::clock::SystemClock;
use crate::declared::declare;
use crate::engine::{self, Engine, EngineHandle};

/// What would be done.
#[derive(Debug, Default)]
pub struct Rehearsed {
    /// Each step in words, `+` made, `-` deleted, `~` changed.
    pub steps: Vec<String>,
    /// What would be refused, and why.
    pub problems: Vec<(Place, String)>,
}

/// Tells what [`declare`] would do with these objects.
///
/// # Errors
/// When a thread can not be started.
pub async fn rehearse(
    objects: Vec<Object>,
    settings: Settings,
    board: Arc<Board>,
    wanted: &[LoadBalancer],
) -> io::Result<Rehearsed> {
    let stage = Stage::start(objects, settings, board)?;
    crate::follow_file(&stage.api).await;
    let steps = Mutex::new(Vec::new());
    let told = |step: &Step| {
        if let Ok(mut steps) = steps.lock() {
            steps.push(format!("{} {}", step.sign, step.what));
        }
    };
    let report = declare(&stage.api, wanted, &told).await;
    stage.end().await;
    Ok(Rehearsed {
        steps: steps.into_inner().unwrap_or_default(),
        problems: report.problems,
    })
}

/// A gateway that has no data plane.
struct Stage {
    api: Api,
    thread: JoinHandle<()>,
    ending: tokio::task::JoinHandle<()>,
}

impl Stage {
    fn start(objects: Vec<Object>, settings: Settings, board: Arc<Board>) -> io::Result<Self> {
        let mut store = MemoryStore::default();
        for object in objects {
            store.objects.insert(place_of(&object.key()), object);
        }
        let unreachable = |error: StoreError| io::Error::other(error.to_string());
        let loaded = engine::load(&mut store).map_err(unreachable)?;
        let feed = store.watch(store.revision()).map_err(unreachable)?;
        let pending: Vec<TaskId> = loaded.state.pending_tasks().map(|task| task.id).collect();
        let clock = Arc::new(SystemClock);
        let (writer, engine) = Engine::new(loaded, settings.env, Box::new(store), clock.clone());
        let thread = std::thread::Builder::new()
            .name("clb-rehearsal".to_owned())
            .spawn(|| writer.run())?;
        for task in pending {
            engine.ended(task, Ok(()));
        }
        let ending = tokio::spawn(end_well(feed, engine.clone()));
        let api = Api {
            gatekeeper: Gatekeeper::new(Vec::new(), &settings.region, Vec::new(), settings.gate),
            engine,
            board,
            clock,
            limits: ArcSwap::from_pointee(settings.api_limits),
            prices: ArcSwap::from_pointee(settings.prices),
            zone: TimeZone::system(),
            stopping: AtomicBool::new(false),
            answered: Answered::default(),
            records: Arc::default(),
            reading: Semaphore::new(RECORD_READERS),
        };
        Ok(Self {
            api,
            thread,
            ending,
        })
    }

    async fn end(self) {
        self.api.engine.stop();
        self.ending.abort();
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

/// The data plane that never fails.
async fn end_well(mut feed: Watch, engine: EngineHandle) {
    while let Some(committed) = feed.recv().await {
        for change in committed.changes.iter() {
            if let Some(Object::Task(task)) = &change.after
                && matches!(task.state, TaskState::Pending { .. })
            {
                engine.ended(task.id, Ok(()));
            }
        }
    }
}

/// A store that ends with the program.
#[derive(Debug, Default)]
struct MemoryStore {
    objects: BTreeMap<(Kind, String), Object>,
    revision: u64,
    watchers: Vec<mpsc::UnboundedSender<Committed>>,
}

fn place_of(key: &Key) -> (Kind, String) {
    (key.kind(), key.id())
}

impl Store for MemoryStore {
    fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    fn is_outdated(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn load(&mut self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.first(kind, usize::MAX)
    }

    fn get(&mut self, key: &Key) -> Result<Option<Object>, StoreError> {
        Ok(self.objects.get(&place_of(key)).cloned())
    }

    fn first(&mut self, kind: Kind, limit: usize) -> Result<Vec<Object>, StoreError> {
        let all = self.objects.range((kind, String::new())..);
        let of_kind = all.take_while(|((found, _), _)| *found == kind);
        Ok(of_kind
            .take(limit)
            .map(|(_, object)| object.clone())
            .collect())
    }

    fn commit(&mut self, transactions: Vec<Transaction>) -> Result<Revision, StoreError> {
        for transaction in transactions {
            self.revision += 1;
            for change in &transaction.changes {
                let Some(key) = change.key() else {
                    continue;
                };
                match &change.after {
                    Some(after) => drop(self.objects.insert(place_of(&key), after.clone())),
                    None => drop(self.objects.remove(&place_of(&key))),
                }
            }
            let committed = Committed {
                revision: Revision(self.revision),
                changes: transaction.changes.into(),
            };
            self.watchers
                .retain(|watcher| watcher.send(committed.clone()).is_ok());
        }
        Ok(self.revision())
    }

    fn watch(&mut self, _from: Revision) -> Result<Watch, StoreError> {
        let (sender, watch) = mpsc::unbounded_channel();
        self.watchers.push(sender);
        Ok(watch)
    }
}
