//! Sources as they behave and misbehave, on a server of one script per connection.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::egress::{Refused, Scope};

use rustls::crypto::ring;

use super::*;

const LOCAL: EgressPolicy = EgressPolicy {
    allow_private: false,
    allow_loopback: true,
};
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(5),
    silence: Duration::from_secs(5),
};

/// A server that answers each connection with the next script, and shows the heads it was sent.
struct Server {
    address: SocketAddr,
    heads: mpsc::UnboundedReceiver<String>,
}

/// What the server does after its bytes.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Hold,
}

impl Server {
    async fn start(scripts: Vec<(String, Then)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut open = Vec::new();
            for (script, then) in scripts {
                let (mut socket, _) = listener.accept().await.unwrap();
                seen.send(read_head(&mut socket).await).unwrap();
                socket.write_all(script.as_bytes()).await.unwrap();
                if then == Then::Hold {
                    open.push(socket);
                }
            }
            std::future::pending::<()>().await;
        });
        Self { address, heads }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }
}

async fn read_head(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn request(url: Url) -> SourceRequest {
    SourceRequest {
        url,
        user_agent: None,
        headers: Vec::new(),
    }
}

fn redirect_to(location: &str) -> (String, Then) {
    (
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"),
        Then::Close,
    )
}

fn endless(body: &str) -> (String, Then) {
    (format!("HTTP/1.1 200 OK\r\n\r\n{body}"), Then::Hold)
}

async fn failure_of(policy: EgressPolicy, patience: Patience, url: Url) -> SourceFailure {
    let opener = Opener::new(policy, patience).unwrap();
    match opener.open(&request(url)).await {
        Err(failure) => failure,
        Ok(mut stream) => loop {
            if let Err(failure) = stream.next().await {
                break failure;
            }
        },
    }
}

#[tokio::test]
async fn redirects_are_followed_with_the_agent_and_the_headers_of_the_source() {
    let mut server = Server::start(vec![redirect_to("/b?token=1"), endless("media")]).await;
    let opener = Opener::new(LOCAL, PATIENCE).unwrap();
    let mut stream = opener
        .open(&SourceRequest {
            url: server.url("/a"),
            user_agent: Some("Box/1".to_owned()),
            headers: vec![("X-Device".to_owned(), "7".to_owned())],
        })
        .await
        .unwrap();
    assert_eq!(stream.next().await.unwrap(), "media");
    assert_eq!(stream.origin(), format!("http://{}", server.address));
    for path in ["/a", "/b?token=1"] {
        let head = server.heads.recv().await.unwrap().to_lowercase();
        assert!(head.starts_with(&format!("get {path} http/1.1")), "{head}");
        assert!(head.contains("user-agent: box/1\r\n"), "{head}");
        assert!(head.contains("x-device: 7\r\n"), "{head}");
        assert!(
            head.contains(&format!("host: {}\r\n", server.address)),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_login_in_the_address_is_sent_as_basic_authentication_and_never_shown() {
    let mut server = Server::start(vec![(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
        Then::Close,
    )])
    .await;
    let mut url = server.url("/live/user/secret/1.ts?token=hidden");
    url.set_username("user").unwrap();
    url.set_password(Some("secret")).unwrap();
    let failure = failure_of(LOCAL, PATIENCE, url).await;
    let origin = format!("http://{}", server.address);
    assert_eq!(
        failure.to_string(),
        format!("{origin} answered with HTTP status 403")
    );
    let head = server.heads.recv().await.unwrap().to_lowercase();
    assert!(
        head.contains("authorization: basic dxnlcjpzzwnyzxq="),
        "{head}"
    );
}

#[tokio::test]
async fn redirects_without_end_are_given_up() {
    let server = Server::start(vec![redirect_to("/again"); REDIRECTS_MAXIMUM + 1]).await;
    let failure = failure_of(LOCAL, PATIENCE, server.url("/again")).await;
    assert_eq!(
        failure,
        SourceFailure::BadAnswer {
            origin: format!("http://{}", server.address),
            detail: "more than 10 redirects".to_owned()
        }
    );
}

#[tokio::test]
async fn a_redirect_to_a_refused_address_is_not_followed() {
    let server = Server::start(vec![redirect_to("http://169.254.169.254/latest/")]).await;
    let failure = failure_of(LOCAL, PATIENCE, server.url("/")).await;
    assert_eq!(
        failure,
        SourceFailure::EgressRefused {
            origin: "http://169.254.169.254".to_owned(),
            refused: Refused {
                host: "169.254.169.254".to_owned(),
                scope: Scope::Forbidden
            }
        }
    );
}

#[tokio::test]
async fn a_name_whose_addresses_are_all_refused_is_not_connected_to() {
    let server = Server::start(vec![endless("media")]).await;
    let mut url = server.url("/");
    url.set_host(Some("localhost")).unwrap();
    let strict = EgressPolicy {
        allow_loopback: false,
        ..LOCAL
    };
    let failure = failure_of(strict, PATIENCE, url.clone()).await;
    assert_eq!(
        failure,
        SourceFailure::EgressRefused {
            origin: redirect::origin(&url),
            refused: Refused {
                host: "localhost".to_owned(),
                scope: Scope::Loopback
            }
        }
    );
}

#[tokio::test]
async fn an_http_error_carries_its_status_and_retry_after() {
    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(vec![(busy.to_owned(), Then::Close)]).await;
    let failure = failure_of(LOCAL, PATIENCE, server.url("/")).await;
    assert_eq!(
        failure,
        SourceFailure::HttpStatus {
            origin: format!("http://{}", server.address),
            status: 503,
            retry_after: Some(Duration::from_secs(7))
        }
    );
}

#[tokio::test]
async fn the_end_of_a_live_source_is_a_failure_however_it_ends() {
    let bodies = [
        "HTTP/1.1 200 OK\r\n\r\nmedia",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nmedia",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmedia\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmed",
    ];
    for (index, body) in bodies.into_iter().enumerate() {
        let server = Server::start(vec![(body.to_owned(), Then::Close)]).await;
        let failure = failure_of(LOCAL, PATIENCE, server.url("/")).await;
        let SourceFailure::EndOfStream { origin, detail } = failure else {
            panic!("{index}: {failure}");
        };
        assert_eq!(origin, format!("http://{}", server.address));
        assert_eq!(detail.is_some(), index == 3, "{index}: {detail:?}");
    }
}

#[tokio::test]
async fn silence_before_and_after_the_first_byte_is_named() {
    let short = Patience {
        first_byte: Duration::from_millis(150),
        silence: Duration::from_millis(100),
        ..PATIENCE
    };
    let scripts = [
        String::new(),
        "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\n\r\nmedia".to_owned(),
    ];
    for (index, script) in scripts.into_iter().enumerate() {
        let server = Server::start(vec![(script, Then::Hold)]).await;
        let failure = failure_of(LOCAL, short, server.url("/")).await;
        assert!(
            matches!(failure, SourceFailure::Silent { .. }),
            "{index}: {failure}"
        );
    }
}

#[tokio::test]
async fn a_slow_reader_is_not_taken_for_a_silent_source() {
    let short = Patience {
        silence: Duration::from_millis(300),
        ..PATIENCE
    };
    let server = Server::start(vec![endless("media")]).await;
    let opener = Opener::new(LOCAL, short).unwrap();
    let mut stream = opener.open(&request(server.url("/"))).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), "media");
    tokio::time::sleep(short.silence * 2).await;
    let asked = Instant::now();
    assert!(matches!(
        stream.next().await,
        Err(SourceFailure::Silent { .. })
    ));
    assert!(asked.elapsed() >= short.silence);
}

#[tokio::test]
async fn a_connection_that_is_refused_says_so() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = Url::parse(&format!("http://{address}/live/user/secret/1.ts")).unwrap();
    let failure = failure_of(LOCAL, PATIENCE, url).await;
    let SourceFailure::ConnectFailed { origin, detail } = failure else {
        panic!("{failure}");
    };
    assert_eq!(origin, format!("http://{address}"));
    assert!(detail.starts_with("Connection refused"), "{detail}");
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_named() {
    let server = Server::start(vec![("nonsense\r\n\r\n".to_owned(), Then::Close)]).await;
    let failure = failure_of(LOCAL, PATIENCE, server.url("/")).await;
    assert!(
        matches!(failure, SourceFailure::BadAnswer { .. }),
        "{failure}"
    );
}

#[tokio::test]
async fn requests_that_cannot_be_made_are_refused_without_showing_values() {
    let opener = Opener::new(LOCAL, PATIENCE).unwrap();
    let url = Url::parse("http://127.0.0.1:1/").unwrap();
    let with = |name: &str, value: &str| SourceRequest {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..request(url.clone())
    };
    for (bad, named) in [
        (with("X Y", "secret"), "header 1 has no valid name"),
        (with("X-Key", "sec\nret"), "header x-key has no valid value"),
        (with("Host", "secret"), "header host cannot be set"),
        (
            request(Url::parse("ftp://a.example/").unwrap()),
            "not http or https",
        ),
    ] {
        let message = opener.open(&bad).await.unwrap_err().to_string();
        assert!(
            message.contains(named) && !message.contains("secret"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_certificate_is_checked_against_the_name_that_was_asked_for() {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let root = signed.cert.der().clone();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![root.clone()],
            rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut socket) = acceptor.accept(socket).await {
                serve_once(&mut socket).await;
            }
        }
    });
    let opener = Opener::with_roots(LOCAL, PATIENCE, vec![root]).unwrap();
    let ask = |host: &str| request(Url::parse(&format!("https://{host}:{port}/")).unwrap());
    let mut stream = opener.open(&ask("localhost")).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), "media");
    let failure = opener.open(&ask("127.0.0.1")).await.unwrap_err();
    assert!(
        matches!(&failure, SourceFailure::ConnectFailed { detail, .. } if detail.contains("certificate")),
        "{failure}"
    );
}

async fn serve_once(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    read_head(socket).await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nmedia";
    socket.write_all(answer).await.unwrap();
    socket.shutdown().await.unwrap();
}

#[tokio::test]
async fn sockets_end_when_told_whatever_their_reader_does_and_are_counted_until_then() {
    let script = "HTTP/1.1 200 OK\r\n\r\nmedia".to_owned();
    let server = Server::start(vec![(script.clone(), Then::Hold), (script, Then::Hold)]).await;
    let opener = Opener::new(LOCAL, PATIENCE).unwrap();
    let mut stream = opener.open(&request(server.url("/"))).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), "media");
    let sockets = opener.sockets().clone();
    let soon = Duration::from_millis(50);
    assert!(timeout(soon, sockets.none_left()).await.is_err());
    sockets.end();
    // The stream is there still, and nobody looks at it.
    timeout(PATIENCE.silence, sockets.none_left())
        .await
        .unwrap();
    stream.next().await.unwrap_err();
    opener.open(&request(server.url("/"))).await.unwrap_err();
    sockets.none_left().await;
    sockets.allow();
    let mut stream = opener.open(&request(server.url("/"))).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), "media");
    drop(stream);
    timeout(PATIENCE.silence, sockets.none_left())
        .await
        .unwrap();
}
