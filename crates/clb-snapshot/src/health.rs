//! A member's health as far as choosing is concerned.

/// What the health check says of a member (semantics.md 2 and 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberHealth {
    /// The pool's health check is off.
    Off,
    /// Not yet decided.
    Detecting {
        /// Bound while the pool had no healthy member, and no probe has failed since.
        founding: bool,
    },
    /// Passed its checks.
    Healthy,
    /// Failed its checks.
    Unhealthy,
}

impl MemberHealth {
    /// What it is called in labels of metrics and in the console.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "unchecked",
            Self::Detecting { founding: true } => "founding",
            Self::Detecting { founding: false } => "detecting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether new sessions may go there, weight aside, while the pool has a choice.
    #[must_use]
    pub const fn may_serve(self) -> bool {
        match self {
            Self::Off | Self::Healthy => true,
            Self::Detecting { founding } => founding,
            Self::Unhealthy => false,
        }
    }
}
