//! What two processes say to each other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clb_balance::Remembered;
use clb_model::{BindingId, ListenerId, PoolKey};
use clb_net::Channel;
use clb_snapshot::{TicketKey, UdpSession};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Raised when messages change so that an older program would take them for something else.
pub(super) const PROTOCOL: u32 = 2;

/// First octet of a message that is rows of the access log; all others are JSON.
const ROWS: u8 = 0;

/// Things that one message has at most; the longest of them takes some 250 octets.
pub(super) const AT_ONCE: usize = 200;

/// From the old process to the new one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Handover {
    /// With the lock's file, the admin address's socket and those of the API.
    Start {
        /// The folder that the lock is of.
        state_dir: PathBuf,
        workers: usize,
        /// As they were asked for.
        admin: SocketAddr,
        api: Vec<SocketAddr>,
    },
    /// Listeners whose sockets will come.
    Listeners(Vec<ToldListener>),
    /// Keys of session tickets of listeners that were named.
    Tickets(Vec<(ListenerId, Vec<ToldTicketKey>)>),
    /// All listeners were named, and the state is at rest.
    Begin,
    /// Layer-4 clients and their backends.
    Clients(Vec<ToldClient>),
    /// Listening sockets, in this order with the message: whose, and of which worker.
    Sockets(Vec<(ListenerId, usize)>),
    /// Sockets towards UDP backends, in this order with the message: hops, and what they are
    /// connected to.
    Towards(ListenerId, usize, Vec<(u8, Option<SocketAddr>)>),
    /// UDP sessions; their sockets are places among those of all such messages before.
    Sessions(ListenerId, usize, Vec<ToldSession>),
    /// Everything is there.
    Go,
    /// The old process has no listening socket any more.
    Closed,
}

/// From the new process to the old one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It runs and its configuration is good.
    Hello { protocol: u32, version: String },
    /// Everything is compiled; the sockets can come.
    Prepared,
    /// It serves.
    Serving,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToldListener {
    pub id: ListenerId,
    pub addr: SocketAddr,
    pub is_udp: bool,
}

/// A key of session tickets: its name, itself, its age in milliseconds.
#[derive(Serialize, Deserialize)]
pub(super) struct ToldTicketKey([u8; 8], Zeroizing<[u8; 32]>, u64);

impl std::fmt::Debug for ToldTicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ToldTicketKey([redacted])")
    }
}

impl From<TicketKey> for ToldTicketKey {
    fn from(key: TicketKey) -> Self {
        let age = u64::try_from(key.age.as_millis()).unwrap_or(u64::MAX);
        Self(key.name, key.secret, age)
    }
}

impl From<ToldTicketKey> for TicketKey {
    fn from(told: ToldTicketKey) -> Self {
        let ToldTicketKey(name, secret, age) = told;
        Self {
            name,
            secret,
            age: Duration::from_millis(age),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToldClient(PoolKey, IpAddr, u64, u64, u64);

impl From<Remembered<PoolKey>> for ToldClient {
    fn from(told: Remembered<PoolKey>) -> Self {
        Self(
            told.pool,
            told.client,
            told.member,
            told.unused_ms,
            told.expire_ms,
        )
    }
}

impl From<ToldClient> for Remembered<PoolKey> {
    fn from(told: ToldClient) -> Self {
        let ToldClient(pool, client, member, unused_ms, expire_ms) = told;
        Self {
            pool,
            client,
            member,
            unused_ms,
            expire_ms,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToldSession(SocketAddr, SocketAddr, BindingId, usize, u64);

impl From<UdpSession> for ToldSession {
    fn from(session: UdpSession) -> Self {
        Self(
            session.client,
            session.to,
            session.binding,
            session.socket,
            session.silent_ms,
        )
    }
}

impl From<ToldSession> for UdpSession {
    fn from(told: ToldSession) -> Self {
        let ToldSession(client, to, binding, socket, silent_ms) = told;
        Self {
            client,
            to,
            binding,
            socket,
            silent_ms,
        }
    }
}

/// What is received.
#[derive(Debug)]
pub(super) enum Received<M> {
    /// A message with its files.
    Message(M, Vec<OwnedFd>),
    /// Rows of the access log.
    Rows(Vec<u8>),
    /// The other process has gone.
    End,
}

/// Sends a message.
///
/// # Errors
/// What the channel gives.
pub(super) fn tell<M: Serialize>(
    channel: &Channel,
    message: &M,
    files: &[BorrowedFd<'_>],
) -> anyhow::Result<()> {
    channel.send(&serde_json::to_vec(message)?, files)?;
    Ok(())
}

/// Sends rows of the access log.
///
/// # Errors
/// What the channel gives.
pub(super) fn tell_rows(channel: &Channel, rows: &[u8]) -> io::Result<()> {
    let mut message = Vec::with_capacity(rows.len() + 1);
    message.push(ROWS);
    message.extend_from_slice(rows);
    channel.send(&message, &[])
}

/// Receives the next message.
///
/// # Errors
/// What the channel gives, and a message that this program does not know.
pub(super) fn hear<M: DeserializeOwned>(channel: &Channel) -> anyhow::Result<Received<M>> {
    let (message, files) = channel.receive()?;
    Ok(match message.split_first() {
        None => Received::End,
        Some((&ROWS, rows)) => Received::Rows(rows.to_vec()),
        Some(_) => {
            let known = serde_json::from_slice(&message).with_context(|| {
                let start = message.get(..100).unwrap_or(&message);
                format!("unknown: {}", String::from_utf8_lossy(start))
            })?;
            Received::Message(known, files)
        }
    })
}

/// Receives the answer that is expected.
///
/// # Errors
/// Another one, or none.
pub(super) fn expect<T>(
    channel: &Channel,
    what: &str,
    wanted: impl FnOnce(Answer) -> Option<T>,
) -> anyhow::Result<T> {
    match hear(channel) {
        Ok(Received::Message(answer, _)) => {
            let said = format!("{answer:?}");
            wanted(answer).with_context(|| format!("it said {said} instead of {what}"))
        }
        Ok(Received::Rows(_)) => bail!("it sent rows instead of saying {what}"),
        Ok(Received::End) => bail!("it ended before it said {what}"),
        Err(error) => Err(error.context(format!("while it was to say {what}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_as_goes_into_one_message_fits() {
        let v6: SocketAddr = "[1111:1111:1111:1111:1111:1111:1111:1111]:65535"
            .parse()
            .unwrap();
        let session = UdpSession {
            client: v6,
            to: v6,
            binding: BindingId(u64::MAX),
            socket: usize::MAX,
            silent_ms: u64::MAX,
        };
        let client = Remembered {
            pool: PoolKey::Listener(ListenerId::LAST),
            client: v6.ip(),
            member: u64::MAX,
            unused_ms: u64::MAX,
            expire_ms: u64::MAX,
        };
        let sessions = (0..AT_ONCE).map(|_| session.into()).collect();
        let clients = (0..AT_ONCE).map(|_| client.into()).collect();
        let (one, other) = Channel::pair().unwrap();
        tell(
            &one,
            &Handover::Sessions(ListenerId::LAST, 9999, sessions),
            &[],
        )
        .unwrap();
        tell(&one, &Handover::Clients(clients), &[]).unwrap();
        let Received::Message(Handover::Sessions(_, _, mut sessions), _) = hear(&other).unwrap()
        else {
            panic!("another message");
        };
        assert_eq!(UdpSession::from(sessions.pop().unwrap()), session);
        let Received::Message(Handover::Clients(mut clients), _) = hear(&other).unwrap() else {
            panic!("another message");
        };
        assert_eq!(Remembered::from(clients.pop().unwrap()), client);
        tell_rows(&one, b"rows").unwrap();
        drop(one);
        assert!(matches!(hear::<Answer>(&other).unwrap(), Received::Rows(rows) if rows == b"rows"));
        assert!(matches!(hear::<Answer>(&other).unwrap(), Received::End));
    }
}
