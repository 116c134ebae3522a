//! The objects, their checked types, commands, and `apply(state, command) -> changes`; no I/O.

mod apply;
mod check_path;
mod command;
mod env;
mod error;
mod id;
mod object;
mod pattern;
mod state;
mod types;

pub use apply::{Applied, apply, fail, succeed};
pub use check_path::{BadCheckPath, CHECK_PATH_CHARS, CheckPath};
pub use command::{
    BackendWeight, Command, CreateLoadBalancers, ListenerPatch, NetworkChoice, NewListener,
};
pub use env::{Env, Instance, Limits};
pub use error::ModelError;
pub use id::{BadId, BindingId, ID_SPACE, LbId, ListenerId, RuleId, TaskId, scramble};
pub use object::{
    Binding, Change, Counters, FreedVip, HealthCheck, Key, Kind, Listener, LoadBalancer,
    NetworkName, NetworkRef, Nonce, Object, Status, Task, TaskState,
};
pub use pattern::{BadPattern, DomainKind, DomainPattern, PATTERN_CHARS, UrlModifier, UrlPattern};
pub use state::{ENDED_TASKS_IN_MEMORY, State};
pub use types::{
    CheckCount, Family, HttpCodeMask, IntervalTime, LoadBalancerType, OutOfRange, Port, Protocol,
    Scheduler, SessionExpire, TimeOut, UnixMillis, Weight,
};
