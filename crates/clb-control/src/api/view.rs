//! What a handler sees, and the look-ups that many of them share.

use std::sync::Arc;

use clb_actions::ApiError;
use clb_actions::params::Params;
use clb_model::{
    Env, Family, LbId, Listener, ListenerId, LoadBalancer, ModelError, Rule, RuleId, State,
    UnixMillis,
};
use clb_snapshot::Board;
use jiff::tz::TimeZone;

use super::certificates::Uploads;
use super::errors::from_model;

/// Prices of `[prices]`, in 0.01 CNY per hour.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    /// `loadBalancerType` 2.
    pub public: i64,
    /// `loadBalancerType` 3.
    pub private: i64,
}

/// What there is at the moment of a request.
pub(super) struct View<'a> {
    pub state: &'a State,
    pub env: &'a Arc<Env>,
    pub board: &'a Arc<Board>,
    pub zone: &'a TimeZone,
    pub prices: Prices,
    pub now: UnixMillis,
    /// `[api] region`
    pub region: &'a str,
    /// The request's uploads, checked before the state was looked at.
    pub uploads: &'a Uploads,
    /// What to use instead on an instance of the other family.
    pub instead: &'static str,
}

impl View<'_> {
    /// The instance that `loadBalancerId` names, of the classic family.
    pub(super) fn classic(&self, params: &Params) -> Result<&Arc<LoadBalancer>, ApiError> {
        let text = params.text("loadBalancerId").unwrap_or_default();
        self.of_family(text, Family::Classic)
    }

    /// The instance that `loadBalancerId` names, of the application family.
    pub(super) fn application(&self, params: &Params) -> Result<&Arc<LoadBalancer>, ApiError> {
        let text = params.text("loadBalancerId").unwrap_or_default();
        self.of_family(text, Family::Application)
    }

    /// An instance of a family by its id as sent.
    pub(super) fn of_family(
        &self,
        text: &str,
        wanted: Family,
    ) -> Result<&Arc<LoadBalancer>, ApiError> {
        let lb = self.load_balancer(text)?;
        if lb.family == wanted {
            return Ok(lb);
        }
        let error = ModelError::WrongFamily {
            load_balancer: lb.id,
            family: lb.family,
        };
        Err(from_model(error, self.instead))
    }

    /// The listener of the application-based instance that `loadBalancerId` and `listenerId` name.
    pub(super) fn application_listener(&self, params: &Params) -> Result<&Arc<Listener>, ApiError> {
        let lb = self.application(params)?.id;
        self.listener(lb, params.text("listenerId").unwrap_or_default())
    }

    /// A rule of a listener by its id as sent.
    pub(super) fn rule(&self, listener: ListenerId, text: &str) -> Result<&Arc<Rule>, ApiError> {
        RuleId::parse(text)
            .ok()
            .and_then(|id| self.state.rule(id))
            .filter(|rule| rule.listener == listener)
            .ok_or_else(|| {
                let rule = text.to_owned();
                from_model(ModelError::RuleNotFound { rule, listener }, "")
            })
    }

    /// An instance by its id as sent.
    pub(super) fn load_balancer(&self, text: &str) -> Result<&Arc<LoadBalancer>, ApiError> {
        LbId::parse(text)
            .ok()
            .and_then(|id| self.state.load_balancer(id))
            .ok_or_else(|| from_model(ModelError::LoadBalancerNotFound(text.to_owned()), ""))
    }

    /// A listener of an instance by its id as sent.
    pub(super) fn listener(&self, lb: LbId, text: &str) -> Result<&Arc<Listener>, ApiError> {
        ListenerId::parse(text)
            .ok()
            .and_then(|id| self.state.listener(id))
            .filter(|listener| listener.load_balancer == lb)
            .ok_or_else(|| {
                let listener = text.to_owned();
                from_model(
                    ModelError::ListenerNotFound {
                        listener,
                        load_balancer: lb,
                    },
                    "",
                )
            })
    }
}

/// A number that the parameter table has checked already.
///
/// # Errors
/// 4000 all the same, should table and type ever disagree.
pub(super) fn checked<T>(name: &str, value: i64) -> Result<T, ApiError>
where
    T: TryFrom<i64>,
    T::Error: std::fmt::Display,
{
    T::try_from(value).map_err(|error| ApiError::parameter(format!("{name}={value}: {error}")))
}

/// The part of a list that `offset` and `limit` select.
pub(super) fn page<T>(rows: impl Iterator<Item = T>, offset: i64, limit: Option<i64>) -> Vec<T> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    rows.skip(offset).take(limit).collect()
}

/// A number, if it was given; the parameter table has checked it already.
///
/// # Errors
/// 4000 all the same, should table and type ever disagree.
pub(super) fn optional<T>(params: &Params, name: &str) -> Result<Option<T>, ApiError>
where
    T: TryFrom<i64>,
    T::Error: std::fmt::Display,
{
    params
        .int(name)
        .map(|value| checked(name, value))
        .transpose()
}
