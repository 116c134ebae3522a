//! Runs a gateway: starts the parts in order, reacts to signals, stops them in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use clb_access_log::AccessLog;
use clb_config::{ApiTls, Config, StoreKey};
use clb_control::api::{ApiServer, Stop};
use clb_control::clock::SystemClock;
use clb_control::{Control, Records, tls};
use clb_l4::worker::{Running as Served, Worker};
use clb_model::Protocol;
use clb_monitor::Monitor;
use clb_observe::{Admin, ControlFigures, Metrics};
use clb_snapshot::{Board, Listener};
use clb_store::StateLock;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::api_service::ApiService;
use crate::logging::{self, LevelHandle};
use crate::memory;
use crate::running::{End, Reload, Running, Signals, Wish, readiness, turned_true};
use crate::settings::{self, plane_settings};
use crate::upgrade::Inheritance;

/// Threads of the control plane's runtime: the API's answers and handshakes, the admin address.
const CONTROL_THREADS: usize = 2;

/// Where a gateway that is ready can be reached.
pub struct Ready {
    /// The API's first address.
    pub api: SocketAddr,
    /// The admin address.
    pub admin: SocketAddr,
    /// The state folder.
    pub state_dir: PathBuf,
    /// The API's own certificate, when it made one.
    pub certificate: Option<PathBuf>,
}

/// What to do once the gateway is ready; an error stops it.
pub type ReadyHook =
    Box<dyn FnOnce(Ready) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send>;

/// Runs until SIGTERM or SIGINT, or until a successor has taken over; `version` is what a
/// predecessor is told.
///
/// # Errors
/// When a part can not start.
pub fn run(config: Config, version: &str, hook: Option<ReadyHook>) -> anyhow::Result<()> {
    let level = logging::start(config.log.level, config.log.format)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    clb_net::forbid_core_files().context("RLIMIT_CORE")?;
    let descriptors = clb_net::raise_nofile_limit().context("RLIMIT_NOFILE")?;
    // Before there are threads, for then it costs nothing.
    clb_net::reserve_descriptors(descriptors).context("the table of descriptors")?;
    create_state_dir(&config.state_dir)?;
    let (lock, inherited) = match Inheritance::receive(version).context("upgrade")? {
        Some((inherited, lock)) => {
            inherited.check_folder(&config.state_dir)?;
            (lock, Some(inherited))
        }
        None => (StateLock::take(&config.state_dir)?, None),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("clb-control")
        .enable_all()
        .build()
        .context("the control plane's threads can not be started")?;
    let beginning = Beginning {
        descriptors,
        level,
        hook,
        lock,
        inherited,
    };
    let result = runtime.block_on(serve(config, beginning));
    // Idle keep-alive connections of the API and the admin address end here.
    runtime.shutdown_background();
    result
}

fn create_state_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("state_dir {}", dir.display()))
}

fn tls_acceptor(
    config: &Config,
    listen: &[SocketAddr],
) -> anyhow::Result<(Option<TlsAcceptor>, Option<PathBuf>)> {
    match &config.api.tls {
        ApiTls::Off => Ok((None, None)),
        ApiTls::Files { cert, key } => Ok((Some(tls::acceptor(cert, key)?), None)),
        ApiTls::SelfSigned => {
            let (cert, key) = tls::ensure_own(&config.state_dir, listen, &config.api.hosts)?;
            Ok((Some(tls::acceptor(&cert, &key)?), Some(cert)))
        }
    }
}

/// Panics are counted and logged, wherever they are. What they end besides is up to who meets them:
/// a task's ends its connection, a worker's the worker.
fn report_panics(board: &Arc<Board>) {
    let board = Arc::clone(board);
    std::panic::set_hook(Box::new(move |panic| {
        board.count_panic();
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("no message");
        tracing::error!(
            thread = thread.name(),
            place,
            message,
            "a fault of clbd: please report it"
        );
    }));
}

/// Starts what serves a listener on a worker, by its protocol.
fn start_listener(worker: &Worker, listener: Arc<Listener>, log: &AccessLog) -> io::Result<Served> {
    match listener.protocol {
        Protocol::Tcp => clb_l4::tcp::start(worker, listener),
        Protocol::Udp => clb_l4::udp::start(worker, listener),
        Protocol::Http | Protocol::Https => clb_l7::start_logging(worker, listener, Some(log)),
    }
}

fn start_workers(board: &Arc<Board>, log: &Arc<AccessLog>) -> anyhow::Result<Vec<JoinHandle<()>>> {
    (0..board.workers().len())
        .map(|index| {
            let log = Arc::clone(log);
            let start = move |worker: &Worker, listener| start_listener(worker, listener, &log);
            clb_l4::spawn_worker(index, Arc::clone(board), start)
                .with_context(|| format!("worker {index} can not be started"))
        })
        .collect()
}

/// Who records spans, if that is wanted.
#[cfg(feature = "otel")]
fn spans(config: &Config) -> anyhow::Result<Option<clb_access_log::Observer>> {
    let Some(collector) = config.tracing.otlp else {
        return Ok(None);
    };
    let spans = clb_otel::Spans::start(collector, env!("CARGO_PKG_VERSION"))?;
    Ok(Some(Box::new(move |row| spans.take(row))))
}

/// As it is without the feature: wanting it is refused.
#[cfg(not(feature = "otel"))]
fn spans(config: &Config) -> anyhow::Result<Option<clb_access_log::Observer>> {
    anyhow::ensure!(
        config.tracing.otlp.is_none(),
        "tracing.otlp: this clbd was built without the feature otel (cargo build --features otel)"
    );
    Ok(None)
}

/// The access log of the state folder, not opened yet.
fn start_access_log(config: &Config, board: &Arc<Board>) -> anyhow::Result<Arc<AccessLog>> {
    let (host, names) = (rustix::system::uname(), Arc::clone(&board.rule_names));
    let log = AccessLog::start(
        &config.state_dir.join("access-log"),
        settings::access_log(config),
        board.workers().len(),
        Box::new(move |number| names.find(number)),
        spans(config)?,
        clb_control::api::logs::rule_name,
        &host.nodename().to_string_lossy(),
    )?;
    Ok(Arc::new(log))
}

fn metrics(board: &Arc<Board>, control: &Control, access_log: &Arc<AccessLog>) -> Metrics {
    let log = Arc::clone(access_log);
    let (stats, api) = (Arc::clone(control.stats()), Arc::clone(control.api()));
    Metrics::new(env!("CARGO_PKG_VERSION"), Arc::clone(board), move || {
        let view = stats.view();
        let health = &view.health;
        let rows = log.figures();
        let mut probe_results = vec![
            ("succeeded", health.succeeded),
            ("local_error", health.local),
        ];
        probe_results.extend(health.failed());
        ControlFigures {
            revision: stats.revision(),
            tasks: stats.tasks(),
            tasks_pending: view.pending,
            applies: stats.applies(),
            listeners_unbound: view.unbound,
            backends_unconfigured: api.unconfigured_backends().len(),
            health_members: view.members,
            health_probes: view.probes,
            probe_time: health.took,
            probe_results,
            health_transitions: health.transitions,
            api_answers: api.answered.figures(),
            api_nonces: api.gatekeeper.remembered(),
            access_log: (
                rows.written,
                [
                    ("ring", rows.dropped_ring),
                    ("disk", rows.dropped_disk),
                    ("target", rows.dropped_target),
                ],
            ),
            access_log_kept: (rows.bytes, rows.rows),
            certificate_ends: api
                .expiries()
                .into_iter()
                .map(|expiry| (expiry.id, expiry.not_after))
                .collect(),
        }
    })
}

/// What there is before anything runs.
struct Beginning {
    descriptors: u64,
    level: LevelHandle,
    hook: Option<ReadyHook>,
    /// Of the state folder.
    lock: StateLock,
    /// What a predecessor hands over.
    inherited: Option<Inheritance>,
}

/// How many workers there are: as many as have sockets, if those are inherited.
fn workers(config: &Config, inherited: Option<&Inheritance>) -> usize {
    let wanted = settings::workers(config);
    match inherited {
        Some(inherited) if inherited.workers != wanted => {
            let workers = inherited.workers;
            tracing::warn!(
                workers,
                wanted,
                "upgrade: another workers.count takes a restart"
            );
            workers
        }
        _ => wanted,
    }
}

async fn serve(config: Config, beginning: Beginning) -> anyhow::Result<()> {
    let Beginning {
        descriptors,
        level,
        hook,
        mut lock,
        inherited,
    } = beginning;
    // Before anything else, so that an early SIGTERM is not lost.
    let mut signals = Signals::new().context("signals can not be received")?;
    let workers = workers(&config, inherited.as_ref());
    let (own, inherited) = OwnSockets::bind(&config, inherited).await?;
    let (api_addresses, admin_address) = (own.api.addresses(), own.admin.address());
    let (acceptor, certificate) = tls_acceptor(&config, &api_addresses)?;
    let own_sockets = clb_control::own_sockets(&api_addresses, admin_address);
    let settings = settings::control(&config, own_sockets.clone())?;
    let board = Arc::new(Board::new(
        workers,
        plane_settings(&config, descriptors),
        settings::persistence_entries(&config),
    ));
    report_panics(&board);
    if let Err(error) = memory::watch(Arc::clone(&board)) {
        // A folder without /proc, as some have for a root: nobody has asked for a limit there.
        anyhow::ensure!(
            config.limits.memory == 0,
            "limits.memory: memory can not be watched: {error}"
        );
        tracing::warn!(%error, "memory can not be watched, limits.memory has no effect");
    }
    let access_log = start_access_log(&config, &board)?;
    let (succession, heir) = match inherited {
        Some(inherited) => {
            let (succession, heir) = inherited.take_over(&board, &access_log)?;
            (Some(succession), Some(heir))
        }
        None => {
            access_log.open()?;
            (None, None)
        }
    };
    let monitor = Arc::new(Monitor::start(&config.state_dir, Arc::clone(&board))?);
    let records = Records {
        access_log: Some(Arc::clone(&access_log)),
        monitor: Some(Arc::clone(&monitor)),
    };
    let control = Arc::new(Control::start(
        &config.state_dir,
        config.store.key.as_ref().map(StoreKey::expose),
        settings,
        Arc::clone(&board),
        Arc::new(SystemClock),
        records,
        succession,
    )?);
    let workers = start_workers(&board, &access_log)?;
    if let Some(mut heir) = heir {
        heir.come().await.context("upgrade")?;
        turned_true(&mut control.ready()).await;
        heir.serving().await.context("upgrade")?;
        lock.sign().context("the lock of the state folder")?;
    }
    let (stop, stopping) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    for backend in control.api().unconfigured_backends() {
        tracing::warn!(backend, "bound, but no longer in [[instances]]");
    }
    control.follow_file().await;
    let mut declaring = JoinSet::new();
    let is_ready = readiness(&control, &config, &mut declaring);
    let metrics = Arc::new(metrics(&board, &control, &access_log));
    metrics.set_settings(settings::metrics(&config));
    let console = Arc::new(clb_console::Sources {
        version: env!("CARGO_PKG_VERSION"),
        control: Arc::clone(&control),
        board: Arc::clone(&board),
        access_log: Arc::clone(&access_log),
        monitor: Arc::clone(&monitor),
        hosts: ArcSwap::from_pointee(config.admin.hosts.clone()),
    });
    let admin_socket = own.admin.socket().context("the admin address")?;
    let serving_admin = tokio::spawn(own.admin.serve(
        Arc::clone(&metrics),
        clb_console::router(Arc::clone(&console)),
        is_ready.clone(),
        stopping,
        leaving,
    ));
    let mut api = ApiService::start_with(&own.api, &control, acceptor).context("the API")?;
    drop(own.api);
    let ready = Ready {
        api: api_addresses
            .first()
            .copied()
            .context("[api] listen is empty")?,
        admin: admin_address,
        state_dir: config.state_dir.clone(),
        certificate,
    };
    let mut running = Running {
        is_demo: hook.is_some(),
        reload: Reload {
            declaring,
            config: &config,
            own_sockets,
            board: &board,
            descriptors,
            level,
            access_log: &access_log,
            metrics: &metrics,
            console: &console,
        },
        lock: &lock,
        api: &mut api,
        admin_socket: &admin_socket,
        control: &control,
    };
    let result = running
        .until_stopped(ready, is_ready, hook, &mut signals)
        .await;
    // What is not applied by now is at the next start.
    running.reload.declaring.shutdown().await;
    if matches!(result, Ok(End::Replaced)) {
        // The successor has them; its own would be in vain as long as these are open.
        drop(admin_socket);
        api.leave();
        monitor.leave();
        let _ = leave.send(true);
        tracing::info!("replaced: connections have until timeouts.drain to end");
    } else {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        tracing::info!("stopping: connections have until timeouts.drain to end");
    }
    // A second signal stops at once.
    tokio::spawn(async move {
        while !matches!(signals.next().await, Wish::Stop) {}
        std::process::exit(0);
    });
    let _ = stop.send(true);
    control.refuse_changes();
    api.stop(Stop::Now).await;
    control.stop().await;
    serving_admin.abort();
    for worker in workers {
        if worker.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
    // Nothing more is counted now.
    access_log.stop();
    monitor.stop();
    tracing::info!("stopped");
    result.map(drop)
}

/// The sockets of the API and of the admin address.
struct OwnSockets {
    api: ApiServer,
    admin: Admin,
}

impl OwnSockets {
    /// Binds those that are not inherited.
    async fn bind(
        config: &Config,
        mut inherited: Option<Inheritance>,
    ) -> anyhow::Result<(Self, Option<Inheritance>)> {
        let (mut there, mut admin) = (Vec::new(), None);
        if let Some(inherited) = &mut inherited {
            there = std::mem::take(&mut inherited.api);
            admin = inherited
                .admin
                .take()
                .filter(|(address, _)| *address == config.admin.listen);
        }
        let own = Self {
            api: ApiServer::bind(&config.api.listen, there).await?,
            admin: Admin::bind(config.admin.listen, admin.map(|(_, socket)| socket)).await?,
        };
        Ok((own, inherited))
    }
}
