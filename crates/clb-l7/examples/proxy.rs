//! An HTTP listener without a control plane, for profiling: `proxy LISTEN BACKEND... [workers=N]`.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clb_model::{BindingId, LbId, ListenerId, Protocol, Scheduler, Weight};
use clb_snapshot::{
    Board, HttpSettings, ListenSockets, Listener, Live, Member, MemberHealth, PlaneSettings, Pool,
    PoolKey, PoolView, Service, Snapshot, Stickiness,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut workers = 1;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("workers=") {
            Some(count) => workers = count.parse()?,
            None => addresses.push(argument.parse()?),
        }
    }
    let Some((&addr, backends)) = addresses.split_first() else {
        return Err("usage: proxy LISTEN BACKEND... [workers=N]".into());
    };
    let settings = PlaneSettings {
        backend_connect: Duration::from_secs(3),
        tcp_idle: Duration::from_secs(900),
        max_connections: u64::MAX,
        http: HttpSettings::default(),
        passive_health: true,
    };
    let board = Arc::new(Board::new(workers, settings, 1_000));
    let threads: Vec<_> = (0..workers)
        .map(|index| clb_l4::spawn_worker(index, Arc::clone(&board), clb_l7::start))
        .collect::<Result<_, _>>()?;
    let members = (1..)
        .zip(backends)
        .map(|(number, &addr)| {
            Ok(Member {
                binding: BindingId(number),
                addr,
                weight: Weight::try_from(10)?,
                health: MemberHealth::Off,
                live: Arc::new(Live::new(workers)),
            })
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    let id = ListenerId::from_number(1);
    let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, members);
    let listener = Listener {
        id,
        lb: LbId::from_number(1),
        addr,
        protocol: Protocol::Http,
        service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(id), view))),
        live: Arc::new(Live::new(workers)),
        requests: Arc::new(clb_snapshot::RuleLive::new(workers)),
        tls: None,
        sockets: Arc::new(ListenSockets::tcp(clb_net::bind_listeners(addr, workers)?)),
    };
    board.publish(Snapshot::new().insert(Arc::new(listener)));
    println!("{addr}");
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}
