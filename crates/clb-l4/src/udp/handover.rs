//! Sessions that go from one process to the next with their listener's socket.

use std::collections::HashMap;

use clb_snapshot::{Admission, UdpSessions, UdpTowards};

use super::paths::Kind;
use super::plane::{Place, Plane};
use super::sessions::Sessions;

/// All sessions and the sockets that they have. They are still in `sessions`, to be cleared.
pub(super) fn hand_over(
    now: u64,
    sessions: &Sessions<Admission, Place>,
    plane: &mut Plane,
) -> UdpSessions {
    let mut places = HashMap::new();
    let mut sockets = Vec::new();
    for (number, kind, connected) in sessions.used_sockets() {
        if let Some(socket) = plane.release(number) {
            places.insert(number, sockets.len());
            sockets.push(UdpTowards {
                socket,
                hops: kind.hops,
                connected,
            });
        }
    }
    let told = sessions.tell(now).filter_map(|(number, mut session)| {
        session.socket = *places.get(&number)?;
        Some(session)
    });
    UdpSessions {
        sessions: told.collect(),
        sockets,
    }
}

/// Goes on with them. Those whose backend is not to be used now end: their next datagram finds
/// them another.
pub(super) fn take_over(
    inherited: UdpSessions,
    now: u64,
    sessions: &mut Sessions<Admission, Place>,
    plane: &mut Plane,
) {
    let numbers: Vec<Option<u32>> = inherited
        .sockets
        .into_iter()
        .map(|towards| {
            let is_v6 = towards.socket.local_addr().ok()?.is_ipv6();
            let kind = Kind {
                is_v6,
                hops: towards.hops,
            };
            let number = sessions.adopt_socket(kind, towards.connected)?;
            let is_connected = towards.connected.is_some();
            if plane.adopt(number, towards.socket, is_connected) {
                return Some(number);
            }
            sessions.abandon_socket(number);
            None
        })
        .collect();
    for session in &inherited.sessions {
        let Some(Some(number)) = numbers.get(session.socket) else {
            continue;
        };
        if let Some(counts) = plane.go_on(session) {
            sessions.adopt(now, *number, session, counts, 0);
        }
    }
}
