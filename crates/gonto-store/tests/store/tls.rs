//! HTTPS with a certificate authority of the tests' own, which is made known to a process of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::tempdir;

use crate::child::Fetcher;
use crate::server::{Behaviour, Server};
use crate::{files, only_the_image, skipped};

/// A certificate authority, and a web server with a certificate of its own for `name`.
fn server(name: &str, behaviour: Behaviour) -> (Server, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (Server::start_tls(config, behaviour, b"over TLS"), authority.pem())
}

/// Fetches in a process that trusts the authority whose certificate is `pem`, and nobody else.
fn outcome(repository: &str, pem: &str) -> Option<(String, Vec<String>)> {
    if cfg!(windows) {
        skipped("the verifier of Windows cannot be told to trust the certificate of a file");
        return None;
    }
    let folder = tempdir().unwrap();
    let certificates = folder.path().join("authorities.pem");
    fs::write(&certificates, pem).unwrap();
    Some(outcome_with(repository, &certificates))
}

fn outcome_with(repository: &str, certificates: &Path) -> (String, Vec<String>) {
    let cache = tempdir().unwrap();
    let reports = tempdir().unwrap();
    let mut fetcher = Fetcher::new(cache.path(), repository, &reports.path().join("report"));
    fetcher.command().env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", certificates);
    (fetcher.outcome(), files(cache.path()))
}

#[test]
fn a_certificate_of_a_known_authority_is_accepted() {
    let (server, authority) = server("127.0.0.1", Behaviour::Good);
    let Some((outcome, files)) = outcome(&server.url(), &authority) else {
        return;
    };
    assert_eq!(outcome, "ok");
    assert_eq!(files, only_the_image());
}

#[test]
fn a_certificate_of_an_unknown_authority_or_another_host_is_refused() {
    let (server_here, _) = server("127.0.0.1", Behaviour::Good);
    let (server_elsewhere, authority) = server("elsewhere.example", Behaviour::Good);
    for server in [&server_here, &server_elsewhere] {
        let Some((outcome, files)) = outcome(&server.url(), &authority) else {
            return;
        };
        assert!(outcome.contains("no secure connection") && outcome.contains("SSL_CERT_FILE"), "{outcome}");
        assert!(files.is_empty());
        assert!(server.requests().is_empty(), "nothing is said to a server that cannot be trusted");
    }
}

#[test]
fn a_machine_without_certificates_says_so() {
    let (server, _) = server("127.0.0.1", Behaviour::Good);
    let Some((outcome, files)) = outcome(&server.url(), "") else {
        return;
    };
    assert!(outcome.contains("no secure connection") && outcome.contains("ca-certificates"), "{outcome}");
    assert!(files.is_empty());
}

#[test]
fn a_server_without_tls_is_refused() {
    // What an ordinary web server says to a client that talks TLS to it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        while connection.read(&mut [0; 1000]).is_ok_and(|count| count > 0) {}
    });
    let (_server, authority) = server("127.0.0.1", Behaviour::Good);
    let Some((outcome, files)) = outcome(&url, &authority) else {
        return;
    };
    assert!(outcome.contains("no secure connection"), "{outcome}");
    assert!(files.is_empty());
}

#[test]
fn nobody_is_led_from_https_to_http() {
    let plain = Server::start(Behaviour::Good, b"from anybody");
    let (server, authority) =
        server("127.0.0.1", Behaviour::Redirect(format!("http://{}/x.vhd", plain.address())));
    let Some((outcome, files)) = outcome(&server.url(), &authority) else {
        return;
    };
    assert!(outcome.contains("leads to an address without https"), "{outcome}");
    assert!(files.is_empty());
    assert!(plain.requests().is_empty());
}

#[test]
fn http_may_lead_to_https() {
    let (secure, authority) = server("127.0.0.1", Behaviour::Good);
    let plain = Server::start(Behaviour::Redirect(format!("{}/x.vhd", secure.url())), b"");
    let Some((outcome, files)) = outcome(&plain.url(), &authority) else {
        return;
    };
    assert_eq!(outcome, "ok");
    assert_eq!(files, only_the_image());
}

#[test]
fn a_body_that_is_cut_off_is_noticed() {
    let (server, authority) = server("127.0.0.1", Behaviour::CloseMidBody);
    let Some((outcome, files)) = outcome(&server.url(), &authority) else {
        return;
    };
    assert!(outcome.contains("4 bytes came where 8 were expected"), "{outcome}");
    assert!(files.is_empty());
}
