//! Serves the Action API, runs commands through the store, compiles and publishes snapshots,
//! keeps tasks.
//!
//! A change takes one road, whoever asks for it: [`engine`] executes the command and makes it
//! durable, the store's change feed tells [`applier`], which compiles, binds and publishes it, and
//! reports the task's end to the engine. The API only asks and answers.

pub mod api;
pub mod applier;
pub mod certificates;
pub mod clock;
pub mod declared;
pub mod engine;
mod handover;
pub mod rehearsal;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use clb_access_log::AccessLog;
use clb_actions::{Gatekeeper, Key, Limits, Triple};
use clb_balance::CookieKey;
use clb_declared::{LoadBalancer, Step};
use clb_model::{Command, Env, PoolKey, State};
use clb_monitor::Monitor;
use clb_snapshot::Board;
use clb_store::{LiveStore, SqliteStore, Store as _, StoreError};
use jiff::tz::TimeZone;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio_rustls::TlsAcceptor;

use api::{Answered, Api, ApiLimits, ApiServer, Prices, RECORD_READERS, Stop};
use applier::{Applier, ApplierParts, ApplierSettings, MemberReport, Order, Stats, Succession};
use clock::Clock;
use engine::{AfterRest, Engine, EngineHandle, ExecuteError};

/// What clb.toml says to the control plane.
#[derive(Debug)]
pub struct Settings {
    /// What commands are checked against.
    pub env: Env,
    /// `[[api.keys]]`
    pub keys: Vec<Key>,
    /// `[api] region`
    pub region: String,
    /// `[api] hosts`
    pub hosts: Vec<String>,
    /// `limits.api_nonces` and `limits.api_requests_per_second`
    pub gate: Limits,
    /// `store.audit_entries`; taken at the start only
    pub audit_entries: u64,
    /// `limits.api_url_bytes` and `limits.api_body_bytes`
    pub api_limits: ApiLimits,
    /// `[prices]`
    pub prices: Prices,
    /// `timeouts.drain` and `timeouts.task`
    pub applier: ApplierSettings,
}

/// What the data plane has recorded.
#[derive(Debug, Default)]
pub struct Records {
    /// Requests of HTTP and HTTPS listeners; none: there are none to be asked for.
    pub access_log: Option<Arc<AccessLog>>,
    /// Series of what was counted.
    pub monitor: Option<Arc<Monitor>>,
}

/// The control plane can not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread or its runtime.
    #[error("a thread can not be started: {0}")]
    Thread(#[from] io::Error),
}

/// The running control plane.
#[derive(Debug)]
pub struct Control {
    api: Arc<Api>,
    engine: EngineHandle,
    orders: mpsc::UnboundedSender<Order>,
    ready: watch::Receiver<bool>,
    declaring: Mutex<()>,
    stats: Arc<Stats>,
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
    /// Wakes the engine from the rest that it has while another process may take over.
    rest: std::sync::Mutex<Option<std::sync::mpsc::Sender<AfterRest>>>,
}

impl Control {
    /// Loads the state and starts to bring it into force. The caller holds the folder's lock.
    /// `store_key` is what `[store] key_file` holds; `records` is what the API answers from besides;
    /// `succession` is there when another process hands over what it serves.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(
        state_dir: &Path,
        store_key: Option<&[u8; 32]>,
        settings: Settings,
        board: Arc<Board>,
        clock: Arc<dyn Clock>,
        records: Records,
        succession: Option<Succession>,
    ) -> Result<Self, StartError> {
        let mut store =
            SqliteStore::open(state_dir, store_key)?.with_audit_entries(settings.audit_entries);
        let live = LiveStore::open(state_dir)?;
        let loaded = engine::load(&mut store)?;
        let revision = store.revision();
        let feed = store.watch(revision)?;
        let gatekeeper = Gatekeeper::new(
            settings.keys,
            &settings.region,
            settings.hosts,
            settings.gate,
        );
        for nonce in &loaded.nonces {
            gatekeeper.remember(Triple {
                secret_id: nonce.secret_id.clone(),
                timestamp: nonce.timestamp,
                nonce: nonce.nonce,
            });
        }
        board.set_cookie_key(CookieKey::new(&loaded.session_key.0));
        let state = loaded.state.clone();
        let (writer, engine) =
            Engine::new(loaded, settings.env, Box::new(store), Arc::clone(&clock));
        let (orders, orders_in) = mpsc::unbounded_channel();
        let (applier, stats) = Applier::new(ApplierParts {
            engine: engine.clone(),
            board: Arc::clone(&board),
            feed,
            orders: orders_in,
            clock: Arc::clone(&clock),
            live,
            state,
            settings: settings.applier,
            succession,
        });
        let (ready_in, ready) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let threads = vec![
            std::thread::Builder::new()
                .name("clb-engine".to_owned())
                .spawn(|| writer.run())?,
            std::thread::Builder::new()
                .name("clb-applier".to_owned())
                .spawn(move || runtime.block_on(applier.run(ready_in)))?,
        ];
        let api = Arc::new(Api {
            gatekeeper,
            engine: engine.clone(),
            board,
            clock,
            limits: ArcSwap::from_pointee(settings.api_limits),
            prices: ArcSwap::from_pointee(settings.prices),
            zone: TimeZone::system(),
            stopping: AtomicBool::new(false),
            answered: Answered::default(),
            records: Arc::new(records),
            reading: Semaphore::new(RECORD_READERS),
        });
        Ok(Self {
            api,
            engine,
            orders,
            ready,
            declaring: Mutex::new(()),
            stats,
            threads: std::sync::Mutex::new(threads),
            rest: std::sync::Mutex::default(),
        })
    }

    /// Turns true once every listener of the stored state is served or was reported.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// The API's parts, for the metrics.
    #[must_use]
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The control plane's figures.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// What is known of the health of a pool's members.
    pub async fn health(&self, pool: PoolKey) -> Vec<MemberReport> {
        let (reply, report) = oneshot::channel();
        let asked = self.orders.send(Order::Health(pool, reply));
        match asked {
            Ok(()) => report.await.unwrap_or_default(),
            // The applier has ended.
            Err(_) => Vec::new(),
        }
    }

    /// Reads the state; changes wait meanwhile, so be brief.
    pub fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        self.engine.shared.read(read)
    }

    /// Serves the API until `stop` says so.
    pub async fn serve_api(
        &self,
        server: ApiServer,
        tls: Option<TlsAcceptor>,
        stop: watch::Receiver<Stop>,
    ) {
        server.serve(Arc::clone(&self.api), tls, stop).await;
    }

    /// Brings what clb.toml says of stored objects into the state: certificates, then the addresses
    /// of bound machines. What can not be followed is logged.
    pub async fn follow_file(&self) {
        follow_file(&self.api).await;
    }

    /// Brings load balancers to what `[[load_balancers]]` declares. One call after the other: the
    /// newest file is the one that counts in the end.
    pub async fn declare(&self, wanted: &[LoadBalancer]) -> declared::Report {
        let _turn = self.declaring.lock().await;
        let told = |step: &Step| tracing::info!("declared: {} {}", step.sign, step.what);
        declared::declare(&self.api, wanted, &told).await
    }

    /// Logs which certificates in use end within 30 days, or have ended.
    pub fn warn_of_expiry(&self) {
        let now = self.api.clock.unix();
        let shared = &self.engine.shared;
        for warning in shared.read(|state| certificates::expiry_warnings(state, now)) {
            tracing::warn!("{warning}");
        }
    }

    /// Takes new settings over, without dropping anything.
    pub fn reload(&self, settings: Settings) {
        self.engine.shared.env.store(Arc::new(settings.env));
        self.api
            .gatekeeper
            .set_keys(settings.keys, &settings.region, settings.hosts);
        self.api.gatekeeper.set_limits(settings.gate);
        self.api.limits.store(Arc::new(settings.api_limits));
        self.api.prices.store(Arc::new(settings.prices));
        let _ = self.orders.send(Order::Settings(settings.applier));
    }

    /// Refuses changes from now on; reads are still answered.
    pub fn refuse_changes(&self) {
        self.api.stopping.store(true, Ordering::Relaxed);
    }

    /// Stops accepting connections and drains the data plane, then stops the engine. Everything
    /// that was answered is durable before this is called.
    pub async fn stop(&self) {
        self.refuse_changes();
        let (done, drained) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).is_ok() {
            let _ = drained.await;
        }
        self.engine.stop();
        self.wake_engine(AfterRest::End);
        let threads = {
            let threads = self.threads.lock();
            std::mem::take(&mut *threads.unwrap_or_else(std::sync::PoisonError::into_inner))
        };
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a control-plane thread panicked");
                }
            }
        });
        let _ = joined.await;
    }
}

/// Lets stored certificates become what `[[certificates]]` says, and bound machines follow the
/// addresses that `[[instances]]` gives them, by tasks like any other change; none is made when
/// nothing differs.
pub(crate) async fn follow_file(api: &Api) {
    if let Err(error) = follow_certificates(api).await {
        tracing::error!(%error, "stored certificates can not follow [[certificates]]");
    }
    if let Err(error) = follow_instances(api).await {
        tracing::error!(%error, "bound machines can not follow [[instances]]");
    }
}

async fn follow_instances(api: &Api) -> Result<(), ExecuteError> {
    let env = api.engine.shared.env.load_full();
    let has_moved = api.engine.shared.read(|state| {
        clb_model::apply(state, &env, &Command::FollowInstances)
            .is_ok_and(|applied| !applied.changes.is_empty())
    });
    if has_moved {
        api.engine
            .execute(Command::FollowInstances, None, None)
            .await?;
    }
    Ok(())
}

async fn follow_certificates(api: &Api) -> Result<(), ExecuteError> {
    let env = api.engine.shared.env.load_full();
    let now = api.clock.unix();
    let command = Command::FollowCertificates { now };
    let (conflicts, differs) = api.engine.shared.read(|state| {
        let applied = clb_model::apply(state, &env, &command);
        (
            clb_model::certificate_conflicts(state, &env),
            applied.is_ok_and(|applied| !applied.changes.is_empty()),
        )
    });
    for conflict in conflicts {
        tracing::error!("{conflict}");
    }
    if differs {
        api.engine.execute(command, None, None).await?;
    }
    Ok(())
}

/// Names the API's own sockets, which may not be backends.
#[must_use]
pub fn own_sockets(api: &[SocketAddr], admin: SocketAddr) -> Vec<SocketAddr> {
    api.iter().copied().chain([admin]).collect()
}
