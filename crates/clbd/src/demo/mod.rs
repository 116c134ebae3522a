//! `clbd demo`: three small backends and a gateway before them, with nothing to prepare.

mod backend;
mod client;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::gateway::{self, Ready};
use crate::{credentials, tell};
use client::Client;

struct Backend {
    id: &'static str,
    name: &'static str,
    address: Ipv4Addr,
    weight: &'static str,
}

const BACKENDS: [Backend; 3] = [
    Backend {
        id: "ins-web1",
        name: "web-1",
        address: Ipv4Addr::new(127, 20, 0, 1),
        weight: "10",
    },
    Backend {
        id: "ins-web2",
        name: "web-2",
        address: Ipv4Addr::new(127, 20, 0, 2),
        weight: "6",
    },
    Backend {
        id: "ins-web3",
        name: "web-3",
        address: Ipv4Addr::new(127, 20, 0, 3),
        weight: "4",
    },
];

/// The first address of the demo's pool of VIPs.
const FIRST_VIP: Ipv4Addr = Ipv4Addr::new(127, 10, 0, 1);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// How far from the preferred port a free one is looked for.
const PORTS_TRIED: u16 = 200;

/// Ports that the first run chose; a later one in the same folder keeps them.
#[derive(Clone, Copy)]
struct Ports {
    /// Of the backends.
    backends: u16,
    /// Of the load balancer.
    listener: u16,
}

/// Writes what is needed into the folder, then does exactly what `clbd --config` does.
pub fn run(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let ports = prepare(dir)?;
    let config_path = dir.join("clb.toml");
    let config =
        clb_config::load(&config_path).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    start_backends(ports)?;
    let hook: gateway::ReadyHook =
        Box::new(move |ready| Box::pin(async move { set_up(ready, ports, &config_path).await }));
    gateway::run(config, crate::VERSION, Some(hook))
}

fn free_port(addresses: &[Ipv4Addr], preferred: u16) -> anyhow::Result<u16> {
    let is_free = |port: &u16| {
        addresses
            .iter()
            .all(|address| TcpListener::bind((*address, *port)).is_ok())
    };
    (preferred..preferred.saturating_add(PORTS_TRIED))
        .find(is_free)
        .with_context(|| format!("no port from {preferred} on is free on {addresses:?}"))
}

/// Writes clb.toml and remembers the demo's ports, unless an earlier run has.
fn prepare(dir: &Path) -> anyhow::Result<Ports> {
    let memory = dir.join("demo.json");
    if let Ok(text) = fs::read_to_string(&memory) {
        let known: Value =
            serde_json::from_str(&text).with_context(|| memory.display().to_string())?;
        let port = |name: &str| {
            known
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|port| u16::try_from(port).ok())
                .with_context(|| format!("{}: {name} is no port", memory.display()))
        };
        return Ok(Ports {
            backends: port("backends")?,
            listener: port("listener")?,
        });
    }
    let ports = Ports {
        backends: free_port(&BACKENDS.map(|backend| backend.address), 9001)?,
        listener: free_port(&[FIRST_VIP], 8080)?,
    };
    let config = config_text(free_port(&[LOOPBACK], 8443)?, free_port(&[LOOPBACK], 9180)?);
    let path = dir.join("clb.toml");
    fs::write(&path, config).with_context(|| path.display().to_string())?;
    let text = json!({ "backends": ports.backends, "listener": ports.listener });
    fs::write(&memory, format!("{text}\n")).with_context(|| memory.display().to_string())?;
    Ok(ports)
}

fn config_text(api: u16, admin: u16) -> String {
    let mut text = format!(
        "# Made by `clbd demo`. Change what you like; `clbd --config` runs it too.\n\
         # Everything that is not named here has its default: see docs/configuration.md.\n\
         \n\
         # The embedded database, and the API's generated certificate and key pair.\n\
         state_dir = \"clb-state\"\n\
         \n\
         # The Action API, over TLS with a generated certificate.\n\
         [api]\n\
         listen = [\"{LOOPBACK}:{api}\"]\n\
         \n\
         # For operators: /healthz /readyz /metrics\n\
         [admin]\n\
         listen = \"{LOOPBACK}:{admin}\"\n\
         \n\
         # Each load balancer gets an address of its own. All of 127.0.0.0/8 is there already.\n\
         [vips]\n\
         public = [\"127.10.0.0/16\"]\n\
         private = [\"127.11.0.0/16\"]\n\
         \n\
         # The machines behind the gateway; the demo runs these itself.\n"
    );
    for backend in &BACKENDS {
        let entry = format!(
            "[[instances]]\nid = \"{}\"\nip = \"{}\"\nname = \"{}\"\n\n",
            backend.id, backend.address, backend.name
        );
        text.push_str(&entry);
    }
    text
}

/// The backends have a thread of their own, as machines of their own would.
fn start_backends(ports: Ports) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Bound here first, so that a taken port is an error and not a line in the log.
    for backend in &BACKENDS {
        let address = SocketAddr::from((backend.address, ports.backends));
        TcpListener::bind(address).with_context(|| format!("backend {address}"))?;
    }
    std::thread::Builder::new()
        .name("demo-backends".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let mut serving = tokio::task::JoinSet::new();
                for backend in &BACKENDS {
                    let address = SocketAddr::from((backend.address, ports.backends));
                    serving.spawn(backend::serve(address, backend.name));
                }
                while let Some(ended) = serving.join_next().await {
                    tracing::error!(?ended, "a demo backend ended");
                }
            });
        })?;
    Ok(())
}

/// Creates the demo's load balancer through the API, unless an earlier run has.
async fn set_up(ready: Ready, ports: Ports, config: &Path) -> anyhow::Result<()> {
    let credentials = credentials::ensure(&ready.state_dir)?;
    let certificate = ready
        .certificate
        .clone()
        .context("the demo needs [api] tls = \"self-signed\"")?;
    let client = Client::new(ready.api, credentials, &certificate)?;
    let existing = client
        .call("DescribeLoadBalancers", &[("forward", "-1")])
        .await?;
    let id = match existing
        .pointer("/loadBalancerSet/0/loadBalancerId")
        .and_then(Value::as_str)
    {
        Some(id) => id.to_owned(),
        None => create(&client, ports).await?,
    };
    let described = client
        .call("DescribeLoadBalancers", &[("loadBalancerIds.0", &id)])
        .await?;
    let vip = described
        .pointer("/loadBalancerSet/0/loadBalancerVips/0")
        .and_then(Value::as_str)
        .context("the load balancer has no VIP")?;
    let port = ports.listener;
    let url = format!("http://{vip}:{port}/");
    tell(&format!(
        "\nThe load balancer {id} answers at {url}\n\
         behind it: web-1, web-2 and web-3 with the weights 10, 6 and 4.\n\
         \n\
         Try in another terminal:\n\
         \n  curl {url}\n  \
         for i in $(seq 20); do curl -s {url}; done | sort | uniq -c\n  \
         curl http://{admin}/metrics\n\
         \n\
         The Action API:   https://{api}/v2/index.php\n\
         its key pair:     {keys}\n\
         its certificate:  {certificate}\n\
         configuration:    {config}\n\
         \n\
         Ctrl-C ends the demo.",
        admin = ready.admin,
        api = ready.api,
        keys = credentials::path(&ready.state_dir).display(),
        certificate = certificate.display(),
        config = config.display(),
    ));
    Ok(())
}

async fn create(client: &Client, ports: Ports) -> anyhow::Result<String> {
    let created = client
        .change(
            "CreateLoadBalancer",
            &[("loadBalancerType", "2"), ("loadBalancerName", "demo")],
        )
        .await?;
    let id = created
        .get("unLoadBalancerIds")
        .and_then(Value::as_object)
        .and_then(|ids| ids.values().next())
        .and_then(|ids| ids.get(0))
        .and_then(Value::as_str)
        .context("the answer has no instance id")?
        .to_owned();
    let mut backends = vec![("loadBalancerId".to_owned(), id.clone())];
    for (index, backend) in BACKENDS.iter().enumerate() {
        backends.push((
            format!("backends.{index}.instanceId"),
            backend.id.to_owned(),
        ));
        backends.push((
            format!("backends.{index}.weight"),
            backend.weight.to_owned(),
        ));
    }
    let backends: Vec<(&str, &str)> = backends
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    client
        .change("RegisterInstancesWithLoadBalancer", &backends)
        .await?;
    client
        .change(
            "CreateLoadBalancerListeners",
            &[
                ("loadBalancerId", &id),
                ("listeners.0.listenerName", "demo"),
                ("listeners.0.protocol", "2"),
                ("listeners.0.loadBalancerPort", &ports.listener.to_string()),
                ("listeners.0.instancePort", &ports.backends.to_string()),
            ],
        )
        .await?;
    Ok(id)
}
