//! Every Action with its parameters (actions.md D), as data.
//!
//! Adding an Action is adding a row to [`ACTIONS`] with its parameter rows, and a handler in the
//! control plane.

mod actions;
mod application;
mod classic;
mod common;
mod kind;
mod pattern;
mod recorded;

pub use actions::ACTIONS;
pub use kind::{DefaultValue, ParamKind, ParamSpec, Presence, Shape};
pub(crate) use kind::{has_characters, is_clean};
pub use pattern::Pattern;

use std::fmt;

use crate::check;
use crate::error::ApiError;
use crate::form::Pair;
use crate::params::Params;

/// For which load balancer instances an Action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both kinds, or none in particular.
    Common,
    /// `forward` 0.
    Classic,
    /// `forward` 1.
    Application,
}

/// What an Action does to the state and when it has done it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Changes nothing; a read-only key may call it.
    Read,
    /// Has taken effect when it answers.
    Sync,
    /// Answers the requestId of a task.
    Async,
}

/// Another name under which a parameter is taken; both together are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// The other name; `n` stands for an index.
    pub name: &'static str,
    /// The table's name; `n` stands for the same index, a number for that one.
    pub target: &'static str,
}

/// A parameter that clients send needlessly and that is taken without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerated {
    /// Its name; `n` stands for an index.
    pub name: &'static str,
    /// The only value that is taken, if not every one is.
    pub only: Option<&'static str>,
}

/// One Action.
#[derive(Clone, Copy)]
pub struct ActionSpec {
    /// Its exact name.
    pub name: &'static str,
    /// For which instances it is.
    pub family: Family,
    /// What it does.
    pub kind: Kind,
    /// Its parameters, in the order in which they are checked.
    pub params: &'static [ParamSpec],
    /// Other names of its parameters.
    pub aliases: &'static [Alias],
    /// What is taken without effect.
    pub tolerated: &'static [Tolerated],
    /// The rules across parameters that need the request only.
    pub cross: fn(&Params) -> Result<(), ApiError>,
    /// What to call for an instance of the other family, if there is something.
    pub counterpart: Option<&'static str>,
}

impl ActionSpec {
    /// The row of the Action named `name`; names are compared exactly.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ACTIONS.iter().find(|action| action.name == name)
    }

    /// Checks an Action's own parameters as actions.md A.11 step 5 says: unknown names, then each
    /// row of the table (required, type, range), then the rules across parameters. The common
    /// parameters (actions.md A.3) must have been taken out.
    ///
    /// # Errors
    /// The first error: 4000 (9003).
    pub fn check(&self, received: Vec<Pair>) -> Result<Params, ApiError> {
        let params = check::check(self, received)?;
        (self.cross)(&params)?;
        Ok(params)
    }

    /// 4000 (9003) for an instance of the other family; names the Action to use instead.
    #[must_use]
    pub fn wrong_family(&self, load_balancer_id: &str) -> ApiError {
        let (is, needed) = match self.family {
            Family::Classic => ("application-based (forward=1)", "classic (forward=0)"),
            Family::Application | Family::Common => {
                ("classic (forward=0)", "application-based (forward=1)")
            }
        };
        let instead = self
            .counterpart
            .map(|action| format!("; use {action}"))
            .unwrap_or_default();
        ApiError::parameter(format!(
            "loadBalancerId={}: the instance is {is}, {} is for {needed} ones{instead}",
            crate::echo::echo(load_balancer_id),
            self.name
        ))
    }

    pub(crate) const fn served(
        name: &'static str,
        family: Family,
        kind: Kind,
        params: &'static [ParamSpec],
    ) -> Self {
        Self {
            name,
            family,
            kind,
            params,
            aliases: match family {
                Family::Common => &[],
                Family::Classic | Family::Application => &[LOAD_BALANCE_ID],
            },
            tolerated: &[],
            cross: no_cross_rules,
            counterpart: None,
        }
    }

    pub(crate) const fn with_cross(mut self, cross: fn(&Params) -> Result<(), ApiError>) -> Self {
        self.cross = cross;
        self
    }

    pub(crate) const fn with_aliases(mut self, aliases: &'static [Alias]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(crate) const fn with_tolerated(mut self, tolerated: &'static [Tolerated]) -> Self {
        self.tolerated = tolerated;
        self
    }

    pub(crate) const fn with_counterpart(mut self, counterpart: &'static str) -> Self {
        self.counterpart = Some(counterpart);
        self
    }
}

impl fmt::Debug for ActionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionSpec")
            .field("name", &self.name)
            .field("family", &self.family)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// qcloudcli, an official sample and an official page's example write it so.
const LOAD_BALANCE_ID: Alias = Alias {
    name: "loadBalanceId",
    target: "loadBalancerId",
};

fn no_cross_rules(_: &Params) -> Result<(), ApiError> {
    Ok(())
}

/// Actions that the product document names, of other products.
pub(crate) const OF_OTHER_PRODUCTS: &[&str] = &[
    "DescribeInstances",
    "DescribeAvailabilityZones",
    "DescribeProject",
];

#[cfg(test)]
mod tests;
