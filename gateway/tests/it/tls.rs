//! TLS for viewers, with certificates of the tests' own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gateway::edge::tls::{CertificateFiles, Certificates};
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::playlists;
use crate::support::server::{Server, in_time, with_tls};
use crate::support::transcoder::Pod;
use crate::support::world::World;

/// A new certificate in the files of a directory.
fn issue(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = pem("CERTIFICATE", cert.der());
    std::fs::write(directory.join("tls.crt"), certificate).unwrap();
    let key = pem("PRIVATE KEY", &signing_key.serialize_der());
    std::fs::write(directory.join("tls.key"), key).unwrap();
    cert.der().clone()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn open(directory: &Path) -> Arc<Certificates> {
    let files = CertificateFiles {
        certificate: directory.join("tls.crt"),
        key: directory.join("tls.key"),
    };
    Arc::new(Certificates::open(files).unwrap())
}

async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    testkit::tls::choose_provider();
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let name = "localhost".try_into().unwrap();
    in_time(connector.connect(name, server.connect().await)).await
}

fn page() -> Request<Body> {
    let request = Request::get("https://localhost/").header("host", "localhost");
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn viewers_come_by_http_2_and_by_http_1() {
    let (world, directory) = (World::start().await, tempfile::tempdir().unwrap());
    let trusted = issue(directory.path());
    let limits = with_tls(&open(directory.path()));
    let server = Server::start(world.gateway.clone(), limits).await;

    let stream = connect(&server, &trusted, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let asked = (0..20).map(|_| client.send_request(page()));
    for answer in futures::future::join_all(asked).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"<!doctype html>start");
    }

    let stream = connect(&server, &trusted, b"http/1.1").await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(client.send_request(page()).await.unwrap().status(), 200);
    server.end().await;
}

#[tokio::test]
async fn a_changed_certificate_is_taken_over_and_a_broken_one_is_not() {
    let (world, directory) = (World::start().await, tempfile::tempdir().unwrap());
    let first = issue(directory.path());
    let certificates = open(directory.path());
    let server = Server::start(world.gateway.clone(), with_tls(&certificates)).await;
    connect(&server, &first, b"h2").await.unwrap();
    let second = issue(directory.path());
    certificates.refresh();
    connect(&server, &second, b"h2").await.unwrap();
    assert!(connect(&server, &first, b"h2").await.is_err());
    std::fs::write(directory.path().join("tls.crt"), "half of it").unwrap();
    certificates.refresh();
    connect(&server, &second, b"h2").await.unwrap();
    // The certificate of one and the key of another.
    let key = std::fs::read(directory.path().join("tls.key")).unwrap();
    issue(directory.path());
    std::fs::write(directory.path().join("tls.key"), key).unwrap();
    certificates.refresh();
    connect(&server, &second, b"h2").await.unwrap();
    let third = issue(directory.path());
    certificates.refresh();
    connect(&server, &third, b"h2").await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told_without_the_key() {
    let directory = tempfile::tempdir().unwrap();
    issue(directory.path());
    let key = directory.path().join("tls.key");
    let text = std::fs::read_to_string(&key).unwrap();
    let broken = text.replace("-----BEGIN", "----BEGIN");
    std::fs::write(&key, &broken).unwrap();
    let files = CertificateFiles {
        certificate: directory.path().join("tls.crt"),
        key,
    };
    let message = Certificates::open(files).unwrap_err().to_string();
    assert!(message.contains("tls.key") && message.contains("private key"));
    let secret = text.lines().nth(1).unwrap();
    assert!(!message.contains(secret), "{message}");
}

#[tokio::test]
async fn whoever_says_nothing_loses_its_connection() {
    let (world, directory) = (World::start().await, tempfile::tempdir().unwrap());
    let trusted = issue(directory.path());
    let mut limits = with_tls(&open(directory.path()));
    limits.serve.head_timeout = Duration::from_millis(200);
    let server = Server::start(world.gateway.clone(), limits).await;
    let mut silent = server.connect().await;
    assert_eq!(in_time(silent.read(&mut [0; 64])).await.unwrap_or(0), 0);
    // One that has agreed on HTTP/2, and asks nothing more after a while.
    let stream = connect(&server, &trusted, b"h2").await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(client.send_request(page()).await.unwrap().status(), 200);
    let ended = in_time(connection).await.unwrap();
    assert!(ended.is_ok(), "told that it ends: {ended:?}");
    server.end().await;
}

#[tokio::test]
async fn whoever_takes_nothing_by_http_2_loses_its_connection() {
    let (world, directory) = (World::start().await, tempfile::tempdir().unwrap());
    let pod = Pod::start().await;
    let uid = world.running("news-one", 3, &pod);
    pod.publish(playlists(&uid, 3, 1, 10..16));
    world.write("news-one", 3, "source/3-10.ts", &vec![7; 4 << 20]);
    let variants = world.master("news-one").await.uris();
    let segment = world.get(&variants[0]).await.uris().remove(0);
    let trusted = issue(directory.path());
    let mut limits = with_tls(&open(directory.path()));
    limits.serve.head_timeout = Duration::from_millis(200);
    let server = Server::start(world.gateway.clone(), limits).await;
    let stream = connect(&server, &trusted, b"h2").await.unwrap();
    let handshake = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(4096)
        .handshake(TokioIo::new(stream));
    let (mut client, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("https://localhost{segment}"));
    let request = request.body(Body::empty()).unwrap();
    let greedy = client.send_request(request).await.unwrap();
    assert_eq!(greedy.status(), 200);
    let _ = in_time(connection).await.unwrap();
    let cut = greedy.into_body().collect().await;
    assert!(cut.is_err(), "it was not sent to the end");
    server.end().await;
}
