//! The header that tells a backend who its client is (PROXY protocol 1 and 2, its specification's
//! sections 2.1 and 2.2).

use std::net::SocketAddr;

use clb_model::ClientIp;

/// What begins a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection on behalf of another.
const VERSION_COMMAND: u8 = 0x21;
/// A stream over IPv4, over IPv6.
const STREAM_V4: u8 = 0x11;
const STREAM_V6: u8 = 0x21;

/// The header for a connection from `client` to `own`, the address at which the gateway took it;
/// `None` when backends are not told.
pub(crate) fn header(client_ip: ClientIp, client: SocketAddr, own: SocketAddr) -> Option<Vec<u8>> {
    match client_ip {
        ClientIp::ProxyV1 => Some(version_1(client, own)),
        ClientIp::ProxyV2 => Some(version_2(client, own)),
        ClientIp::Gateway | ClientIp::Transparent => None,
    }
}

fn version_1(client: SocketAddr, own: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), own.ip());
    let (from_port, to_port) = (client.port(), own.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

fn version_2(client: SocketAddr, own: SocketAddr) -> Vec<u8> {
    let (family, addresses) = match (client, own) {
        (SocketAddr::V4(client), SocketAddr::V4(own)) => (
            STREAM_V4,
            [client.ip().octets(), own.ip().octets()].concat(),
        ),
        _ => (STREAM_V6, [octets_v6(client), octets_v6(own)].concat()),
    };
    let ports = [client.port().to_be_bytes(), own.port().to_be_bytes()].concat();
    let length = u16::try_from(addresses.len() + ports.len()).unwrap_or(u16::MAX);
    let mut header = SIGNATURE.to_vec();
    header.extend([VERSION_COMMAND, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header.extend(ports);
    header
}

fn octets_v6(addr: SocketAddr) -> [u8; 16] {
    match addr {
        SocketAddr::V4(addr) => addr.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(addr) => addr.ip().octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client_ip: ClientIp, client: &str, own: &str) -> Option<Vec<u8>> {
        header(client_ip, client.parse().unwrap(), own.parse().unwrap())
    }

    #[test]
    fn version_1_is_one_line() {
        let v4 = of(ClientIp::ProxyV1, "192.0.2.7:56324", "198.51.100.1:443");
        let line = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
        assert_eq!(v4.unwrap(), line.as_bytes());
        let v6 = of(ClientIp::ProxyV1, "[2001:db8::7]:1", "[2001:db8::1]:65535");
        let line = "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n";
        assert_eq!(v6.unwrap(), line.as_bytes());
    }

    #[test]
    fn version_2_is_binary() {
        let head = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21];
        let v4 = of(ClientIp::ProxyV2, "192.0.2.7:258", "198.51.100.1:443").unwrap();
        assert_eq!(v4[..13], head);
        assert_eq!(v4[13..16], [0x11, 0, 12]);
        assert_eq!(v4[16..], [192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 1, 187]);
        let v6 = of(ClientIp::ProxyV2, "[2001:db8::7]:1", "[2001:db8::1]:2").unwrap();
        assert_eq!(v6[13..20], [0x21, 0, 36, 0x20, 1, 0x0d, 0xb8]);
        assert_eq!((v6.len(), &v6[48..]), (52, &[0, 1, 0, 2][..]));
    }

    #[test]
    fn otherwise_there_is_none() {
        for client_ip in [ClientIp::Gateway, ClientIp::Transparent] {
            assert_eq!(of(client_ip, "192.0.2.7:1", "192.0.2.1:1"), None);
        }
    }
}
