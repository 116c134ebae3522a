//! What one session goes through; all of them at once are in `simulation`.

use super::model::{Counted, Model, backend, client};
use super::*;

const IDLE: u64 = 90_000;

type Tested = Sessions<Counted, Counted>;

fn new(backends: u16) -> (Tested, Model) {
    (Sessions::new(IDLE), Model::new(backends))
}

fn port(sessions: &Tested, number: u32) -> u16 {
    sessions.get(number).unwrap().to.port()
}

fn socket(sessions: &Tested, number: u32) -> u32 {
    sessions.get(number).unwrap().socket
}

#[test]
fn a_client_stays_with_its_backend_and_gets_its_answers() {
    let (mut sessions, mut world) = new(3);
    let one = sessions.datagram(0, client(1), None, &mut world).unwrap();
    let two = sessions.datagram(0, client(2), None, &mut world).unwrap();
    assert_ne!(port(&sessions, one), port(&sessions, two));
    for now in 1..10 {
        assert_eq!(sessions.datagram(now, client(1), None, &mut world), Ok(one));
    }
    assert_eq!(world.stayed, 9);
    let (socket, from) = (socket(&sessions, one), backend(port(&sessions, one)));
    assert_eq!(sessions.answer(10, socket, from), Some(one));
    assert_eq!(sessions.get(one).unwrap().client, client(1));
    // From another address, or to another socket, it is nobody's.
    assert_eq!(sessions.answer(10, socket, backend(99)), None);
    assert_eq!(sessions.answer(10, socket + 1, from), None);
}

#[test]
fn either_way_keeps_it_alive_and_silence_ends_it() {
    let (mut sessions, mut world) = new(1);
    let number = sessions.datagram(0, client(1), None, &mut world).unwrap();
    let (first, from) = (socket(&sessions, number), backend(1));
    assert_eq!(sessions.answer(IDLE - 1, first, from), Some(number));
    sessions.sweep(2 * IDLE - 2, &mut world);
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions.answer(2 * IDLE - 1, first, from), None);
    assert_eq!(sessions.len(), 0);
    // Its socket is kept from the next client as long again.
    let number = sessions.datagram(2 * IDLE, client(2), None, &mut world);
    assert_ne!(socket(&sessions, number.unwrap()), first);
    // Unused for as long, it is closed.
    sessions.sweep(3 * IDLE - 1, &mut world);
    assert_eq!((sessions.len(), sessions.sockets()), (1, 1));
    sessions.sweep(3 * IDLE, &mut world);
    assert_eq!((sessions.len(), sessions.sockets()), (0, 1));
    sessions.sweep(4 * IDLE, &mut world);
    assert_eq!(sessions.sockets(), 0);
}

#[test]
fn it_moves_when_its_backend_is_no_longer_eligible_or_moves_itself() {
    let (mut sessions, mut world) = new(2);
    let number = sessions.datagram(0, client(1), None, &mut world).unwrap();
    let (first, old) = (port(&sessions, number), socket(&sessions, number));
    world.set_eligible(first, false);
    assert_eq!(
        sessions.datagram(1, client(1), None, &mut world),
        Ok(number)
    );
    let second = port(&sessions, number);
    assert_ne!(second, first);
    // What the old one still sends is for nobody, and the session stays where it is.
    assert_eq!(sessions.answer(2, old, backend(first)), None);
    world.set_eligible(first, true);
    assert_eq!(
        sessions.datagram(3, client(1), None, &mut world),
        Ok(number)
    );
    assert_eq!(port(&sessions, number), second);

    world.change(BindingId(second.into()), |moved| {
        moved.addr = backend(1_000)
    });
    assert_eq!(
        sessions.datagram(4, client(1), None, &mut world),
        Ok(number)
    );
    assert!([first, 1_000].contains(&port(&sessions, number)));
}

#[test]
fn the_datagram_after_a_failure_goes_to_another_backend_if_there_is_one() {
    let (mut sessions, mut world) = new(2);
    let number = sessions.datagram(0, client(1), None, &mut world).unwrap();
    let (first, old) = (port(&sessions, number), socket(&sessions, number));
    assert!(sessions.failed(old, backend(77)).is_none());
    assert!(sessions.failed(old, backend(first)).is_some());
    assert!(sessions.has_failed(number));
    sessions.datagram(1, client(1), None, &mut world).unwrap();
    assert_ne!(port(&sessions, number), first);
    // A report about the old one comes late.
    assert!(sessions.failed(old, backend(first)).is_none());
    assert!(!sessions.has_failed(number));

    world.set_eligible(first, false);
    let (second, new) = (port(&sessions, number), socket(&sessions, number));
    assert!(sessions.failed(new, backend(second)).is_some());
    // Nobody else is there, so it is tried again.
    sessions.datagram(2, client(1), None, &mut world).unwrap();
    assert_eq!(port(&sessions, number), second);
    assert_eq!(socket(&sessions, number), new);
    assert!(!sessions.has_failed(number));
}

#[test]
fn at_the_limit_new_ones_are_denied_and_old_ones_go_on() {
    let (mut sessions, mut world) = new(1);
    world.most_sessions = 2;
    let one = sessions.datagram(0, client(1), None, &mut world).unwrap();
    sessions.datagram(0, client(2), None, &mut world).unwrap();
    let denied = sessions.datagram(1, client(3), None, &mut world);
    assert_eq!(denied, Err(Denied::NoRoom(Refusal::UdpSessions)));
    assert_eq!(sessions.datagram(1, client(1), None, &mut world), Ok(one));
    assert_eq!(world.sessions.get(), 2);
    // The other one's time is over first.
    sessions.sweep(IDLE, &mut world);
    assert_eq!((sessions.len(), world.sessions.get()), (1, 1));
    assert!(sessions.datagram(IDLE, client(3), None, &mut world).is_ok());

    world.most_sessions = 100;
    world.most_sockets = world.open.len();
    // The second client's socket must still wait, but there is no other.
    assert!(sessions.datagram(IDLE, client(4), None, &mut world).is_ok());
    let denied = sessions.datagram(IDLE, client(5), None, &mut world);
    assert_eq!(denied, Err(Denied::Sockets));
    assert_eq!(world.sessions.get(), sessions.len());
}

#[test]
fn without_a_backend_there_is_no_session_and_an_old_one_waits_for_one() {
    let (mut sessions, mut world) = new(1);
    let number = sessions.datagram(0, client(1), None, &mut world).unwrap();
    world.set_eligible(1, false);
    for client in [client(1), client(2)] {
        let denied = sessions.datagram(1, client, None, &mut world);
        assert_eq!(denied, Err(Denied::NoBackend));
    }
    assert_eq!((sessions.len(), world.sessions.get()), (1, 1));
    world.set_eligible(1, true);
    assert_eq!(
        sessions.datagram(2, client(1), None, &mut world),
        Ok(number)
    );
}

#[test]
fn what_went_through_too_many_gateways_begins_no_session() {
    let (mut sessions, mut world) = new(1);
    let denied = sessions.datagram(0, client(1), Some(8), &mut world);
    assert_eq!(denied, Err(Denied::Hops));
    let number = sessions.datagram(0, client(1), Some(64), &mut world);
    let number = number.unwrap();
    let kind = sessions.paths.kind(socket(&sessions, number));
    assert_eq!(kind.map(|kind| kind.hops), Some(56));
    // Later ones of the session are what its first one was.
    assert_eq!(
        sessions.datagram(1, client(1), Some(8), &mut world),
        Ok(number)
    );
}

#[test]
fn ending_all_leaves_nothing() {
    let (mut sessions, mut world) = new(3);
    for number in 0..100 {
        let begun = sessions.datagram(0, client(number), None, &mut world);
        assert!(begun.is_ok());
    }
    sessions.clear(&mut world);
    assert_eq!((sessions.len(), sessions.sockets()), (0, 0));
    assert!(world.open.is_empty());
    assert_eq!(world.sessions.get(), 0);
    assert!(sessions.datagram(1, client(1), None, &mut world).is_ok());
}

#[test]
fn memory_of_a_flood_is_given_back() {
    let (mut sessions, mut world) = new(100);
    for number in 0..10_000 {
        let begun = sessions.datagram(0, client(number), None, &mut world);
        assert!(begun.is_ok());
    }
    let before = sessions.entries.capacity();
    let stays = sessions.datagram(IDLE - 1, client(0), None, &mut world);
    assert!(stays.is_ok());
    sessions.sweep(IDLE, &mut world);
    assert_eq!(sessions.len(), 1);
    assert!(sessions.entries.capacity() < before / 4);
    assert!(sessions.by_client.capacity() < 100 && sessions.by_path.capacity() < 100);
    assert_eq!(sessions.datagram(IDLE, client(0), None, &mut world), stays);
}
