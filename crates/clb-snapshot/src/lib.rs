//! What the workers see: compiled listeners and pools, and the board of live counters; no I/O.
//!
//! Two kinds of state live here, and they are kept apart on purpose:
//!
//! - **Compiled state** ([`Snapshot`], [`Listener`], [`PoolView`]) is immutable. A change makes
//!   new values that share all that did not change.
//! - **Live state** ([`Pool`] with its round-robin cursor, [`MemberLive`], [`ListenerLive`],
//!   [`RuleLive`], the [`Board`]) is shared by successive values of the compiled state through `Arc`s. Whoever
//!   compiles carries the `Arc`s over by stable id (a binding's, a listener's), so that a change of
//!   weight, health or anything else forgets no count, no connection and no session.

mod board;
mod health;
mod http;
mod listener;
mod live;
mod outcomes;
mod passive;
mod pick;
mod pool;
mod provider;
mod redirect;
mod refusal;
mod rule;
mod rule_live;
mod rule_name;
mod snapshot;
mod sources;
mod tickets;
mod tls;
mod tls_live;
mod udp;
mod view;

pub use clb_model::PoolKey;

pub use board::{Board, ConnectionPermit, LogGate, PlaneSettings, SourcePermit, WorkerSlot};
pub use health::MemberHealth;
pub use http::{HttpSettings, Tracing};
pub use listener::{ListenSockets, Listener, Service, UdpSession, UdpSessions, UdpTowards};
pub use live::{Admission, ListenerLive, Live, MemberLive, Totals};
pub use outcomes::OutcomeTotals;
pub use passive::{PASSIVE_FAILURES, PASSIVE_OUT_MS, Passive, Suspects};
pub use pick::{MAX_ATTEMPTS, Pick, TriedSet, Turn};
pub use pool::Pool;
pub use redirect::Redirect;
pub use refusal::{Refusal, Refusals};
pub use rule::{Routed, Rule};
pub use rule_live::{
    DURATION_BOUNDS, FinishedRequest, GATEWAY_STATUSES, HistogramTotals, REQUEST_CLASSES,
    RequestTotals, RuleLive,
};
pub use rule_name::{RuleName, RuleNames};
pub use snapshot::{Change, Snapshot};
pub use tickets::{TicketKey, TicketKeys};
pub use tls::{RECORD_CONTENT, ServerTls, ServerTlsError};
pub use tls_live::{HandshakeFailure, TlsLive};
pub use udp::{UdpDrop, UdpSessionPermit, UdpSettings, UdpSocketPermit, UdpTotals};
pub use view::{Member, PoolView, Stickiness};
