//! A load run: connections, their pace, and the window that is measured.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::connection::{Connection, Phase, Progress, Scratch};
use crate::exchange::{self, Exchange};
use crate::pace::Pace;
use crate::report::{Findings, print};
use crate::tls::{self, Client};
use crate::{Measured, cpu};

/// What both kinds of load need.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    #[command(flatten)]
    exchange: exchange::Options,
    #[command(flatten)]
    tls: tls::Options,
    /// How many connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[command(flatten)]
    measured: Measured,
}

/// A connection whose last one failed is opened again after this.
const REST: Duration = Duration::from_millis(5);
/// What a fixed rate still waits for its last answers.
const GRACE: Duration = Duration::from_secs(1);
/// The longest wait in one turn, so that the window ends in time.
const TURN: Duration = Duration::from_millis(50);

/// Runs the load and prints what was found. `rate`: requests a second, `None` for as fast as it goes.
pub(crate) fn run(options: &Options, rate: Option<u32>, renew: bool) -> anyhow::Result<()> {
    ensure!(options.connections > 0, "--connections 0: at least 1");
    ensure!(
        !options.measured.seconds.is_zero(),
        "--seconds 0: more than 0"
    );
    let client = options.tls.client()?;
    let exchange = Exchange::new(&options.exchange, renew)?;
    ensure!(
        client.is_none() || exchange.body == 0,
        "--body {}: not with --tls",
        exchange.body
    );
    if let Some(client) = &client {
        // The first key takes the library 60 ms, which the schedule must not lose.
        client.hello()?;
    }
    let start = Instant::now();
    let begin = start + options.measured.warm_up;
    let end = begin + options.measured.seconds;
    let pace = match rate {
        Some(rate) => Pace::open(
            start,
            options.measured.warm_up + options.measured.seconds,
            rate,
        ),
        None => Pace::Closed { end },
    };
    let mut load = Run {
        poll: Poll::new()?,
        options,
        exchange,
        scratch: Scratch::new(),
        pace,
        renew,
        connections: (0..options.connections).map(|_| None).collect(),
        clients: (0..options.connections)
            .map_while(|_| client.as_ref().map(|client| (client.slot(), false)))
            .collect(),
        free: VecDeque::new(),
        resting: VecDeque::new(),
        asked: 0,
        begin: (rate.is_some()).then_some(begin),
        counting: false,
        found: Findings::new()?,
    };
    load.go(begin, end)
}

struct Run<'a> {
    poll: Poll,
    options: &'a Options,
    exchange: Exchange,
    scratch: Scratch,
    pace: Pace,
    /// One request a connection.
    renew: bool,
    /// By token.
    connections: Vec<Option<Connection>>,
    /// By token: how its TLS sessions begin, and whether it has had one. Empty without TLS.
    clients: Vec<(Client, bool)>,
    /// Connections that wait for a request to be due, or slots that wait to open one.
    free: VecDeque<usize>,
    /// Slots whose connection failed, and when they may try again.
    resting: VecDeque<(Instant, usize)>,
    asked: usize,
    /// At a fixed rate: only requests that were due from here on have their time taken.
    begin: Option<Instant>,
    /// The window is open: answers are counted.
    counting: bool,
    found: Findings,
}

impl Run<'_> {
    fn go(&mut self, begin: Instant, mut end: Instant) -> anyhow::Result<()> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let timer_token = Token(self.connections.len());
        self.poll.registry().register(
            &mut SourceFd(&timer.as_raw_fd()),
            timer_token,
            Interest::READABLE,
        )?;
        for slot in 0..self.connections.len() {
            if self.renew {
                self.free.push_back(slot);
            } else {
                self.open(slot, Instant::now());
            }
        }
        let mut events = Events::with_capacity(1024);
        let mut window = None;
        let mut measured = None;
        loop {
            let now = Instant::now();
            if window.is_none() && now >= begin {
                let used = (cpu::of(&self.options.measured.cpu_of)?, cpu::own()?);
                self.found = Findings::new()?;
                let since = Instant::now();
                window = Some((since, used));
                self.counting = true;
                // A machine that gives us no time may begin late; the window has its length all the same.
                if let Pace::Closed { end: last } = &mut self.pace {
                    end = since + self.options.measured.seconds;
                    *last = end;
                }
            }
            if let Some((since, (others, own))) = window
                && measured.is_none()
                && now >= end
            {
                let used = cpu::of(&self.options.measured.cpu_of)?.saturating_sub(others);
                let own = cpu::own()?.saturating_sub(own);
                measured = Some((since.elapsed(), used, own));
                self.counting = false;
            }
            if measured.is_some() && self.finished(now, end) {
                break;
            }
            self.wake(now);
            self.start_due();
            if let (Some(due), false) = (self.pace.due(now), self.free.is_empty()) {
                arm(&timer, due.saturating_duration_since(Instant::now()))?;
            }
            let wait = if self.resting.is_empty() {
                TURN.min(
                    end.saturating_duration_since(now)
                        .max(Duration::from_millis(1)),
                )
            } else {
                REST
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
            for event in events.iter().filter(|event| event.token() != timer_token) {
                self.event(event);
            }
        }
        let Some((took, used, own)) = measured else {
            return Ok(());
        };
        for _ in self.connections.iter().flatten().filter(|connection| {
            self.begin.is_some_and(|begin| connection.started >= begin)
                && connection.phase == Phase::Busy
        }) {
            self.found.failed("no answer");
        }
        print(&self.found.json(took, used, own, self.pace.left()))?;
        Ok(())
    }

    /// Slots that have rested try again.
    fn wake(&mut self, now: Instant) {
        while let Some((until, slot)) = self.resting.pop_front() {
            if until > now {
                self.resting.push_front((until, slot));
                return;
            }
            self.again(slot, now);
        }
    }

    /// Whether there is nothing left to wait for.
    fn finished(&self, now: Instant, end: Instant) -> bool {
        self.begin.is_none()
            || now >= end + GRACE
            || (self.pace.left() == 0
                && !self
                    .connections
                    .iter()
                    .flatten()
                    .any(|connection| connection.phase == Phase::Busy))
    }

    /// Starts requests that are due on connections that are free.
    fn start_due(&mut self) {
        loop {
            let now = Instant::now();
            if self.free.is_empty() {
                return;
            }
            let Some(due) = self.pace.take(now) else {
                return;
            };
            if let Some(slot) = self.free.pop_front() {
                if self.renew {
                    self.open(slot, due);
                } else {
                    self.ask(slot, due);
                }
            }
        }
    }

    fn open(&mut self, slot: usize, started: Instant) {
        let registry = self.poll.registry();
        let to = self.options.exchange.to;
        let client = self.clients.get(slot).map(|(client, _)| client);
        let opened = Connection::open(to, client, registry, Token(slot), started);
        let place = self.connections.get_mut(slot);
        match (opened, place) {
            (Ok(connection), Some(place)) => *place = Some(connection),
            _ => self.fail(slot, "no socket", true),
        }
    }

    fn ask(&mut self, slot: usize, due: Instant) {
        let request = self.asked;
        self.asked += 1;
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let sent = connection.start(request, due, &self.exchange, &self.scratch, &mut self.found);
        if let Err(cause) = sent {
            self.fail(slot, cause, true);
        }
    }

    fn event(&mut self, event: &mio::event::Event) {
        let slot = event.token().0;
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let phase = connection.phase;
        let progress = connection.ready(event, &self.exchange, &mut self.scratch, &mut self.found);
        match progress {
            Ok(Progress::Nothing) => {}
            Ok(Progress::Connected) => {
                let started = connection.started;
                let resumed = connection.resumed();
                if let Err(cause) = self.shook_hands(slot, resumed) {
                    self.fail(slot, cause, true);
                } else if self.renew {
                    self.ask(slot, started);
                } else {
                    self.next(slot);
                }
            }
            Ok(Progress::Answered) => {
                let started = connection.started;
                let closing = connection.phase == Phase::Closing;
                self.found.requests += u64::from(self.counting);
                if self.begin.is_none_or(|begin| started >= begin) {
                    self.found.took(started.elapsed());
                }
                if closing {
                    match connection.has_closed(&mut self.scratch) {
                        Ok(true) => self.gone(slot),
                        Ok(false) => {}
                        Err(cause) => self.fail(slot, cause, true),
                    }
                } else if self.renew {
                    self.gone(slot);
                } else {
                    self.next(slot);
                }
            }
            Ok(Progress::Closed) => {
                if phase == Phase::Idle {
                    self.found.closed_idle += 1;
                    self.free.retain(|free| *free != slot);
                }
                self.gone(slot);
            }
            Err(cause) => self.fail(slot, cause, phase != Phase::Idle),
        }
    }

    /// Counts a TLS handshake. A full one where there was a session to resume is a failure.
    fn shook_hands(&mut self, slot: usize, resumed: Option<bool>) -> Result<(), &'static str> {
        let (Some(resumed), Some((client, before))) = (resumed, self.clients.get_mut(slot)) else {
            return Ok(());
        };
        let missed = client.resumes() && *before && !resumed;
        *before = true;
        if self.counting {
            match resumed {
                true => self.found.resumed_handshakes += 1,
                false => self.found.full_handshakes += 1,
            }
        }
        match missed {
            true => Err("session not resumed"),
            false => Ok(()),
        }
    }

    /// The connection is free for the next request.
    fn next(&mut self, slot: usize) {
        match self.pace.take(Instant::now()) {
            Some(due) => self.ask(slot, due),
            None => self.free.push_back(slot),
        }
    }

    /// The connection has ended as it should; the slot goes on.
    fn gone(&mut self, slot: usize) {
        self.close(slot);
        self.again(slot, Instant::now());
    }

    fn fail(&mut self, slot: usize, cause: &'static str, counts: bool) {
        if counts {
            self.found.failed(cause);
        }
        self.free.retain(|free| *free != slot);
        self.close(slot);
        self.resting.push_back((Instant::now() + REST, slot));
    }

    fn close(&mut self, slot: usize) {
        if let Some(place) = self.connections.get_mut(slot) {
            *place = None;
        }
    }

    fn again(&mut self, slot: usize, now: Instant) {
        if !self.renew {
            self.open(slot, now);
        } else if let Some(due) = self.pace.take(now) {
            self.open(slot, due);
        } else {
            self.free.push_back(slot);
        }
    }
}

/// Has the timer fire once, `wait` from now. It is registered edge-triggered, so nobody needs to read it.
fn arm(timer: &rustix::fd::OwnedFd, wait: Duration) -> anyhow::Result<()> {
    let wait = wait.max(Duration::from_nanos(1));
    let spec = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: i64::try_from(wait.as_secs())?,
            tv_nsec: i64::from(wait.subsec_nanos()),
        },
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &spec)?;
    Ok(())
}
