//! What commands are checked against beside the state: the parts of clb.toml that matter to them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::error::ModelError;
use crate::id::CertificateId;
use crate::object::{CertificateContent, ProbeMethod};
use crate::state::State;
use crate::types::{LoadBalancerType, Port};

/// An entry of `[[instances]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its address.
    pub ip: IpAddr,
    /// Answered as `instanceName`.
    pub name: String,
    /// Answered as `wanIpSet`.
    pub wan_ips: Vec<IpAddr>,
}

/// An entry of `[[certificates]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCertificate {
    /// Its name.
    pub name: String,
    /// What its files hold.
    pub content: Arc<CertificateContent>,
}

/// The counts of `[limits]` that commands may not pass; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `load_balancers`
    pub load_balancers: usize,
    /// `listeners_per_load_balancer`
    pub listeners_per_load_balancer: usize,
    /// `rules_per_listener`
    pub rules_per_listener: usize,
    /// `backends_per_pool`
    pub backends_per_pool: usize,
    /// `certificates`
    pub certificates: usize,
}

/// The environment of [`crate::apply`].
#[derive(Debug, Clone)]
pub struct Env {
    /// `[vips] public`
    pub public_vips: Vec<IpNet>,
    /// `[vips] private`
    pub private_vips: Vec<IpNet>,
    /// `[vips] domain_suffix`
    pub domain_suffix: String,
    /// `[[instances]]` by id.
    pub instances: HashMap<String, Instance>,
    /// `[[certificates]]` by id.
    pub certificates: HashMap<CertificateId, FileCertificate>,
    /// `[backends] networks`
    pub backend_networks: Vec<IpNet>,
    /// The API's and the admin's sockets.
    pub own_sockets: Vec<SocketAddr>,
    /// `[health] http_method`, for checks that do not say it themselves.
    pub http_method: ProbeMethod,
    /// `[limits]`
    pub limits: Limits,
}

impl Env {
    /// The VIP pool of a type of instance.
    #[must_use]
    pub fn vip_pool(&self, network_type: LoadBalancerType) -> &[IpNet] {
        match network_type {
            LoadBalancerType::Public => &self.public_vips,
            LoadBalancerType::Private => &self.private_vips,
        }
    }

    /// Resolves what a client named as a backend: an id of `[[instances]]`, else an address
    /// literal (actions.md C.6).
    ///
    /// # Errors
    /// [`ModelError::BackendRefused`] when it is neither, or the address may not be a backend.
    pub fn resolve(&self, state: &State, instance: &str) -> Result<IpAddr, ModelError> {
        let refused = |reason: String| ModelError::BackendRefused {
            instance: instance.to_owned(),
            reason,
        };
        let address = match self.instances.get(instance) {
            Some(entry) => entry.ip,
            None => instance.parse().map_err(|_| {
                refused("neither configured under [[instances]] nor an IP address".to_owned())
            })?,
        };
        self.check_address(state, address).map_err(refused)?;
        Ok(address)
    }

    /// Resolves what `eniIp` names: an address, whatever `[[instances]]` says.
    ///
    /// # Errors
    /// [`ModelError::BackendRefused`] when it is none, or may not be a backend.
    pub fn resolve_address(&self, state: &State, text: &str) -> Result<IpAddr, ModelError> {
        let refused = |reason: String| ModelError::BackendRefused {
            instance: text.to_owned(),
            reason,
        };
        let address = text
            .parse()
            .map_err(|_| refused("not an IP address".to_owned()))?;
        self.check_address(state, address).map_err(refused)?;
        Ok(address)
    }

    fn check_address(&self, state: &State, address: IpAddr) -> Result<(), String> {
        let canonical = address.to_canonical();
        if let Some(what) = forbidden_range(canonical) {
            return Err(format!("{address} is {what}"));
        }
        if !self
            .backend_networks
            .iter()
            .any(|network| network.contains(&canonical))
        {
            return Err(format!("{address} lies outside [backends] networks"));
        }
        if let Some(owner) = state.load_balancer_at(canonical) {
            return Err(format!("{address} is the VIP of {owner}"));
        }
        if state.is_held(canonical) {
            return Err(format!(
                "{address} is the VIP of an instance that is being deleted"
            ));
        }
        Ok(())
    }

    /// Refuses a backend that is one of this gateway's own sockets.
    ///
    /// # Errors
    /// [`ModelError::BackendRefused`] with the reason.
    pub fn check_own_socket(
        &self,
        instance: &str,
        address: IpAddr,
        port: Port,
    ) -> Result<(), ModelError> {
        let address = address.to_canonical();
        let hit = self.own_sockets.iter().find(|own| {
            own.port() == port.get()
                && (own.ip().to_canonical() == address
                    || (own.ip().is_unspecified() && address.is_loopback()))
        });
        match hit {
            None => Ok(()),
            Some(own) => Err(ModelError::BackendRefused {
                instance: instance.to_owned(),
                reason: format!("{own} is this gateway's own socket"),
            }),
        }
    }

    /// The next VIP of the pool: one that was never in use, else the one that is free longest.
    /// Addresses of machines behind the gateway and of its own sockets are passed over.
    #[must_use]
    pub fn next_vip(
        &self,
        state: &State,
        network_type: LoadBalancerType,
        taken: &[IpAddr],
    ) -> Option<IpAddr> {
        let pool = self.vip_pool(network_type);
        let usable = |vip: &IpAddr| !taken.contains(vip) && self.vip_in_use(state, *vip).is_none();
        pool.iter()
            .flat_map(IpNet::hosts)
            .find(|vip| !state.is_freed(*vip) && usable(vip))
            .or_else(|| {
                state
                    .freed_vips()
                    .find(|vip| pool.iter().any(|network| network.contains(vip)) && usable(vip))
            })
    }

    /// Why an address can not become the VIP of a load balancer of this type; none if it can.
    #[must_use]
    pub fn unfit_vip(
        &self,
        state: &State,
        network_type: LoadBalancerType,
        vip: IpAddr,
    ) -> Option<String> {
        let name = match network_type {
            LoadBalancerType::Public => "public",
            LoadBalancerType::Private => "private",
        };
        let pool = self.vip_pool(network_type);
        if !pool.iter().any(|network| network.contains(&vip)) {
            return Some(format!("it is not in [vips] {name}"));
        }
        self.vip_in_use(state, vip).map(str::to_owned)
    }

    /// By what an address is in use, if it is.
    fn vip_in_use(&self, state: &State, vip: IpAddr) -> Option<&'static str> {
        if state.load_balancer_at(vip).is_some() || state.is_held(vip) {
            return Some("it is the VIP of a load balancer");
        }
        if state.is_backend_address(vip)
            || self.instances.values().any(|instance| instance.ip == vip)
        {
            return Some("it is the address of a backend");
        }
        let is_own = self.own_sockets.iter().any(|own| own.ip() == vip);
        is_own.then_some("the gateway itself listens there")
    }
}

/// Why an address can never be a backend (semantics.md 1).
fn forbidden_range(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4 == Ipv4Addr::BROADCAST => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address (169.254.0.0/16)"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address (fe80::/10)"),
        _ => None,
    }
}
