//! What handshakes and records of HTTPS listeners are computed with (ADR 17).

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CipherSuiteCommon, CryptoProvider, aws_lc_rs, ring};
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

/// One for all listeners: which ciphers and groups there are does not depend on the certificate.
pub(crate) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(provider(is_faster_with_ring())));

/// All by aws-lc-rs; `gcm_by_ring`: but for the AES-GCM of records.
///
/// AES-128-GCM comes first, as browsers want it: its hash is SHA-256, which processors have
/// instructions for, and a handshake hashes some thirty times.
fn provider(gcm_by_ring: bool) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        suite
            .suite()
            .as_str()
            .is_some_and(|name| !name.contains("AES_128_GCM"))
    });
    if gcm_by_ring {
        for suite in &mut provider.cipher_suites {
            *suite = with_gcm_by_ring(*suite);
        }
    }
    provider
}

/// Whether ring encrypts with AES-GCM about twice as fast as aws-lc-rs does: on processors that
/// compute two blocks with one instruction (VAES, VPCLMULQDQ), such as AMD's Zen 3. aws-lc 0.47 uses
/// that only where there is AVX-512 as well; there it is the faster one.
#[cfg(target_arch = "x86_64")]
fn is_faster_with_ring() -> bool {
    use std::arch::is_x86_feature_detected as has;
    let has_wide_aes = has!("vaes") && has!("vpclmulqdq") && has!("avx2");
    let has_avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    has_wide_aes && !has_avx512
}

/// Not measured on other processors.
#[cfg(not(target_arch = "x86_64"))]
fn is_faster_with_ring() -> bool {
    false
}

/// The same cipher suite with ring's AES-GCM; as it is, when it has none. What is left in memory for
/// good is there once in a process.
fn with_gcm_by_ring(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let name = suite.suite();
    if !name.as_str().is_some_and(|name| name.contains("GCM")) {
        return suite;
    }
    let mut rings = ring::ALL_CIPHER_SUITES.iter();
    match (suite, rings.find(|suite| suite.suite() == name)) {
        (SupportedCipherSuite::Tls13(suite), Some(SupportedCipherSuite::Tls13(rings))) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: rings.aead_alg,
                quic: None,
            })))
        }
        (SupportedCipherSuite::Tls12(suite), Some(SupportedCipherSuite::Tls12(rings))) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: rings.aead_alg,
            })))
        }
        _ => suite,
    }
}

fn common(of: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: of.suite,
        hash_provider: of.hash_provider,
        confidentiality_limit: of.confidentiality_limit,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{
        ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConfig,
        ServerConnection,
    };

    use super::*;

    fn names(provider: &CryptoProvider) -> Vec<String> {
        let suites = provider.cipher_suites.iter();
        suites.map(|suite| format!("{:?}", suite.suite())).collect()
    }

    #[test]
    fn the_ciphers_with_the_cheaper_hash_come_first_and_none_is_lost() {
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        for by_ring in [false, true] {
            let ours = names(&provider(by_ring));
            assert_eq!(
                ours[..4],
                [
                    "TLS13_AES_128_GCM_SHA256",
                    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                    "TLS13_AES_256_GCM_SHA384",
                ]
            );
            let all = sorted(names(&aws_lc_rs::default_provider()));
            assert_eq!(sorted(ours), all);
        }
    }

    #[test]
    fn records_of_aes_gcm_are_rings_and_keys_are_not() {
        use SupportedCipherSuite::{Tls12, Tls13};
        for suite in provider(true).cipher_suites {
            let mut rings = ring::ALL_CIPHER_SUITES.iter();
            let rings = rings.find(|other| other.suite() == suite.suite()).unwrap();
            let (records, hash) = match (suite, *rings) {
                (Tls13(suite), Tls13(rings)) => (
                    std::ptr::addr_eq(suite.aead_alg, rings.aead_alg),
                    std::ptr::addr_eq(suite.hkdf_provider, rings.hkdf_provider),
                ),
                (Tls12(suite), Tls12(rings)) => (
                    std::ptr::addr_eq(suite.aead_alg, rings.aead_alg),
                    std::ptr::addr_eq(suite.prf_provider, rings.prf_provider),
                ),
                _ => panic!("{suite:?}"),
            };
            assert!(!hash, "{suite:?}");
            // Algorithms that need no memory have no address of their own.
            if format!("{:?}", suite.suite()).contains("GCM") {
                assert!(records, "{suite:?}");
            }
        }
    }

    /// A client of aws-lc-rs alone and a server that has `suite` only, after their handshake.
    fn connected(suite: SupportedCipherSuite) -> (ClientConnection, ServerConnection) {
        let name = format!("{:?}", suite.suite());
        let algorithm = match name.contains("_RSA_") {
            true => &PKCS_RSA_SHA256,
            false => &PKCS_ECDSA_P256_SHA256,
        };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let only = CryptoProvider {
            cipher_suites: vec![suite],
            ..aws_lc_rs::default_provider()
        };
        let server = ServerConfig::builder_with_provider(Arc::new(only))
            .with_protocol_versions(&[suite.version()])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = ServerName::try_from("a.example").unwrap();
        let mut client = ClientConnection::new(client.into(), host).unwrap();
        let mut server = ServerConnection::new(server.into()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            carry(&mut client, &mut server);
            carry(&mut server, &mut client);
        }
        (client, server)
    }

    /// Takes what one side has to send to the other.
    fn carry<A, B>(
        from: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<A>>,
        to: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<B>>,
    ) {
        let mut sent = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut sent).unwrap();
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets().unwrap();
        }
    }

    #[test]
    fn what_ring_encrypts_others_decrypt_and_the_other_way() {
        let gcm = |suite: &SupportedCipherSuite| {
            let name = format!("{:?}", suite.suite());
            name.contains("GCM")
        };
        let all = provider(true).cipher_suites;
        let suites: Vec<_> = all.into_iter().filter(gcm).collect();
        assert_eq!(suites.len(), 6);
        for suite in suites {
            let (mut client, mut server) = connected(suite);
            let agreed = server.negotiated_cipher_suite().unwrap();
            assert_eq!(agreed, suite);
            let is_13 = agreed.version().version == ProtocolVersion::TLSv1_3;
            assert_eq!(format!("{:?}", agreed.suite()).starts_with("TLS13"), is_13);
            // Around a block, around as many as are done at once, and a whole record.
            for length in (1..600).chain([4_096, 12_288, 16_383, 16_384]) {
                let text: Vec<_> = (0..length).map(|at| (at * 7 + length) as u8).collect();
                let mut read = vec![0; length];
                server.writer().write_all(&text).unwrap();
                carry(&mut server, &mut client);
                client.reader().read_exact(&mut read).unwrap();
                assert_eq!(read, text, "{suite:?}: {length} octets to the client");
                read.fill(0);
                client.writer().write_all(&text).unwrap();
                carry(&mut client, &mut server);
                server.reader().read_exact(&mut read).unwrap();
                assert_eq!(read, text, "{suite:?}: {length} octets to the server");
            }
        }
    }

    #[test]
    fn what_was_changed_on_its_way_is_refused() {
        for suite in provider(true).cipher_suites {
            let (mut client, mut server) = connected(suite);
            client
                .writer()
                .write_all(b"GET / HTTP/1.1\r\n\r\n")
                .unwrap();
            let mut sent = Vec::new();
            client.write_tls(&mut sent).unwrap();
            *sent.last_mut().unwrap() ^= 1;
            server.read_tls(&mut &sent[..]).unwrap();
            let refused = server.process_new_packets().unwrap_err();
            assert_eq!(refused, rustls::Error::DecryptError, "{suite:?}");
        }
    }
}
