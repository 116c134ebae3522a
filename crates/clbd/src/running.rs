//! A gateway that runs: what signals ask of it, what the file declares, and how it ends.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use clb_access_log::AccessLog;
use clb_config::Config;
use clb_control::Control;
use clb_observe::Metrics;
use clb_snapshot::Board;
use clb_store::StateLock;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api_service::ApiService;
use crate::gateway::{Ready, ReadyHook};
use crate::logging::{self, LevelHandle};
use crate::settings::{self, plane_settings};
use crate::upgrade;

/// How often certificates that end soon are warned of; the first time at the start.
const EXPIRY_WARNINGS: Duration = Duration::from_secs(24 * 3600);

/// What a signal asks for.
pub enum Wish {
    Stop,
    Reload,
    Upgrade,
}

pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    /// # Errors
    /// When they can not be received.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.upgrade.recv() => Wish::Upgrade,
        }
    }
}

/// Brings load balancers to what the file declares, and logs what could not be reached. The gateway
/// serves meanwhile, and afterwards whatever there is.
async fn declare(control: &Control, config: &Config) {
    let report = control.declare(&config.load_balancers).await;
    let path = config.path.display();
    for (place, problem) in &report.problems {
        tracing::error!("{path}:{}:{}: {problem}", place.line, place.column);
    }
    if report.steps > 0 || !report.problems.is_empty() {
        let (steps, problems) = (report.steps, report.problems.len());
        tracing::info!(steps, problems, "declared load balancers");
    }
}

/// Ready when every stored listener is served or was reported, and so is what the file declares.
pub fn readiness(
    control: &Arc<Control>,
    config: &Config,
    declaring: &mut JoinSet<()>,
) -> watch::Receiver<bool> {
    let (ready, readiness) = watch::channel(false);
    let (control, config) = (Arc::clone(control), config.clone());
    declaring.spawn(async move {
        declare(&control, &config).await;
        turned_true(&mut control.ready()).await;
        let _ = ready.send(true);
    });
    readiness
}

/// What a reload needs.
pub struct Reload<'a> {
    /// Declarations that are being applied.
    pub declaring: JoinSet<()>,
    pub config: &'a Config,
    pub own_sockets: Vec<SocketAddr>,
    pub board: &'a Arc<Board>,
    pub descriptors: u64,
    pub level: LevelHandle,
    pub access_log: &'a AccessLog,
    pub metrics: &'a Metrics,
    pub console: &'a clb_console::Sources,
}

/// Why it does not go on.
pub enum End {
    Stopped,
    Replaced,
}

/// What signals are about.
pub struct Running<'a> {
    pub is_demo: bool,
    pub reload: Reload<'a>,
    pub lock: &'a StateLock,
    pub api: &'a mut ApiService,
    pub admin_socket: &'a TcpListener,
    pub control: &'a Arc<Control>,
}

impl Running<'_> {
    /// Does what signals ask for, until it ends.
    ///
    /// # Errors
    /// The hook's.
    pub async fn until_stopped(
        &mut self,
        ready: Ready,
        mut is_ready: watch::Receiver<bool>,
        mut hook: Option<ReadyHook>,
        signals: &mut Signals,
    ) -> anyhow::Result<End> {
        let mut announced = false;
        let mut expiry = tokio::time::interval(EXPIRY_WARNINGS);
        let mut ready = Some(ready);
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Stop => return Ok(End::Stopped),
                    Wish::Reload => self.reload.run(self.control).await,
                    Wish::Upgrade => if self.upgrade().await {
                        return Ok(End::Replaced);
                    },
                },
                _ = expiry.tick() => self.control.warn_of_expiry(),
                () = turned_true(&mut is_ready), if !announced => {
                    announced = true;
                    tracing::info!("ready");
                    let _ = sd_notify::notify(&[NotifyState::Ready]);
                    if let (Some(hook), Some(ready)) = (hook.take(), ready.take()) {
                        hook(ready).await?;
                    }
                }
            }
        }
    }

    /// Has a successor take over; whether it has.
    async fn upgrade(&mut self) -> bool {
        if self.is_demo {
            tracing::error!("SIGUSR2: clbd demo can not be replaced, its backends are in it");
            return false;
        }
        // What the file declares is applied by one process.
        while self.reload.declaring.join_next().await.is_some() {}
        let config = self.reload.config;
        let parts = upgrade::Parts {
            lock: self.lock,
            state_dir: &config.state_dir,
            admin: (config.admin.listen, self.admin_socket),
            api: self.api,
            control: self.control,
            board: self.reload.board,
            access_log: self.reload.access_log,
        };
        match upgrade::replace(parts).await {
            Ok(process) => {
                tracing::info!(process, "upgrade: done");
                let _ = sd_notify::notify(&[NotifyState::MainPid(process)]);
                true
            }
            Err(error) => {
                tracing::error!("SIGUSR2: this process goes on: {error:#}");
                false
            }
        }
    }
}

/// Waits for true; forever when nobody is left to say it.
pub async fn turned_true(value: &mut watch::Receiver<bool>) {
    if value.wait_for(|value| *value).await.is_err() {
        std::future::pending().await
    }
}

impl Reload<'_> {
    /// Takes over what a changed clb.toml says and may say while the gateway runs.
    async fn run(&mut self, control: &Arc<Control>) {
        let path = &self.config.path;
        let config = match clb_config::load(path) {
            Ok(config) => config,
            Err(problems) => {
                tracing::error!("SIGHUP: nothing is changed, the file has problems:\n{problems}");
                return;
            }
        };
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        for key in settings::needs_restart(self.config, &config) {
            tracing::warn!(
                key,
                "SIGHUP: a new value needs a restart, or SIGUSR2; the old one stays"
            );
        }
        let settings = match settings::control(&config, self.own_sockets.clone()) {
            Ok(settings) => settings,
            Err(error) => {
                tracing::error!("SIGHUP: nothing is changed: {error:#}");
                return;
            }
        };
        logging::set_level(&self.level, config.log.level);
        self.board
            .set_settings(plane_settings(&config, self.descriptors));
        control.reload(settings);
        self.access_log.reload(settings::access_log(&config));
        self.metrics.set_settings(settings::metrics(&config));
        self.console
            .hosts
            .store(Arc::new(config.admin.hosts.clone()));
        control.follow_file().await;
        for backend in control.api().unconfigured_backends() {
            tracing::warn!(backend, "bound, but no longer in [[instances]]");
        }
        // Other signals do not wait for it.
        let control = Arc::clone(control);
        self.declaring.spawn(async move {
            declare(&control, &config).await;
            tracing::info!("SIGHUP: {} is in force", config.path.display());
        });
    }
}
