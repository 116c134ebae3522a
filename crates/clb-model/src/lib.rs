//! The objects, their checked types, commands, and `apply(state, command) -> changes`; no I/O.

mod apply;
mod check_path;
mod command;
mod env;
mod error;
mod id;
mod object;
mod path_map;
mod pattern;
mod state;
mod types;

pub use apply::{Applied, apply, certificate_conflicts, fail, succeed};
pub use check_path::{BadCheckPath, CHECK_PATH_CHARS, CheckPath};
pub use command::{
    ApplicationCommand, AutoRedirect, BackendWeight, CertificateChoice, Command,
    CreateLoadBalancers, HealthTimes, ListenerChange, ListenerPatch, NetworkChoice,
    NewApplicationListener, NewListener, NewRule, NewTls, PortMove, RulePair, RulePatch,
    RuleSelection, Target, TargetWeight, TlsPatch, Upload,
};
pub use env::{Env, FileCertificate, Instance, Limits};
pub use error::ModelError;
pub use id::{
    BadId, BindingId, CertificateId, ID_SPACE, LbId, ListenerId, RuleId, TaskId, scramble,
};
pub use object::{
    BadCheckDomain, Binding, BoundTo, Certificate, CertificateContent, CertificateKind, Change,
    CheckDomain, Counters, Declared, Der, Fingerprint, FreedVip, HealthCheck, HttpCheck, Key,
    KeyForm, Kind, Listener, ListenerService, ListenerTls, LoadBalancer, NetworkName, NetworkRef,
    Nonce, Object, Origin, Owner, PoolKey, PoolSettings, PrivateKey, ProbeMethod, Rule, SessionKey,
    Status, Task, TaskState,
};
pub use path_map::PathMap;
pub use pattern::{BadPattern, DomainKind, DomainPattern, PATTERN_CHARS, UrlModifier, UrlPattern};
pub use state::{ENDED_TASKS_IN_MEMORY, State};
pub use types::{
    CheckCount, ClientIp, Family, HttpCodeMask, IntervalTime, LoadBalancerType, OutOfRange, Port,
    Protocol, Scheduler, SessionExpire, SslMode, TimeOut, UnixMillis, Weight,
};
