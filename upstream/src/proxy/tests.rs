//! Proxies as they are asked, and that nothing refused is ever asked of one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpListener;

use super::*;
use crate::egress::{Names, Scope};
use crate::source::{Opener, Patience, SourceRequest, Terms};

const LOCAL: EgressPolicy = EgressPolicy {
    allow_private: false,
    allow_loopback: true,
};

/// What a proxy was asked, and whatever it was sent before.
type Asked = Arc<Mutex<Vec<String>>>;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A source that says to whom it was asked for, or sends elsewhere.
async fn target(location: Option<&'static str>) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut first = [0];
            socket.peek(&mut first).await.unwrap();
            // Whoever wants TLS is left alone.
            if first != *b"G" {
                continue;
            }
            let head = head_of(&mut socket).await.to_lowercase();
            let host = head.split("host: ").nth(1).unwrap().lines().next().unwrap();
            let answer = match location {
                None => format!("HTTP/1.1 200 OK\r\n\r\n{host}"),
                Some(location) => format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n"),
            };
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

async fn head_of(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A proxy that connects to one target whatever it is asked for.
async fn http_proxy(target: SocketAddr) -> (SocketAddr, Asked) {
    let (listener, address) = listen().await;
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let head = head_of(&mut socket).await;
            let may = !head.contains("Basic") || head.contains("Basic dXNlcjpwYXNz");
            seen.lock().unwrap().push(head.clone());
            let mut onward = TcpStream::connect(target).await.unwrap();
            match (may, head.starts_with("CONNECT ")) {
                (false, _) => socket.write_all(b"HTTP/1.1 407 Login\r\n\r\n").await,
                (true, true) => socket.write_all(b"HTTP/1.1 200 Yes\r\n\r\n").await,
                (true, false) => onward.write_all(head.as_bytes()).await,
            }
            .unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut socket, &mut onward).await });
        }
    });
    (address, asked)
}

/// The same as SOCKS5 (RFC 1928) with a login (RFC 1929).
async fn socks_proxy(target: SocketAddr) -> (SocketAddr, Asked) {
    let (listener, address) = listen().await;
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let what = socks_of(&mut socket).await;
            seen.lock().unwrap().push(what);
            let bound = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            socket.write_all(&bound).await.unwrap();
            let mut onward = TcpStream::connect(target).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut socket, &mut onward).await });
        }
    });
    (address, asked)
}

async fn bytes_of(socket: &mut TcpStream) -> Vec<u8> {
    let length = socket.read_u8().await.unwrap();
    let mut bytes = vec![0; length.into()];
    socket.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn socks_of(socket: &mut TcpStream) -> String {
    assert_eq!(socket.read_u8().await.unwrap(), 5);
    let method = bytes_of(socket).await[0];
    socket.write_all(&[5, method]).await.unwrap();
    let mut login = String::new();
    if method == 2 {
        socket.read_u8().await.unwrap();
        for _ in 0..2 {
            login += &String::from_utf8(bytes_of(socket).await).unwrap();
            login.push(' ');
        }
        socket.write_all(&[1, 0]).await.unwrap();
    }
    let mut start = [0; 4];
    socket.read_exact(&mut start).await.unwrap();
    let host = match start[3] {
        1 => Ipv4Addr::from_bits(socket.read_u32().await.unwrap()).to_string(),
        3 => String::from_utf8(bytes_of(socket).await).unwrap(),
        other => panic!("an address of type {other}"),
    };
    format!("{login}{host}:{}", socket.read_u16().await.unwrap())
}

fn login() -> Option<Login> {
    Some(Login {
        username: "user".to_owned(),
        password: "pass".to_owned(),
    })
}

async fn first(policy: EgressPolicy, proxy: Proxy, url: &str) -> Result<String, SourceFailure> {
    let direct = Opener::new(policy, Patience::default()).unwrap();
    let opener = direct.under(Terms {
        proxy: Some(proxy),
        ..direct.terms()
    });
    let request = SourceRequest {
        url: Url::parse(url).unwrap(),
        user_agent: None,
        headers: Vec::new(),
    };
    let mut stream = opener.unwrap().open(&request).await?;
    Ok(String::from_utf8(stream.next().await?.to_vec()).unwrap())
}

#[tokio::test]
async fn a_proxy_is_given_the_checked_address_and_the_source_its_name() {
    let target = target(None).await;
    let named = format!("localhost:{}", target.port());
    let (address, asked) = http_proxy(target).await;
    let proxy = Proxy::new(&format!("http://{address}"), false, login(), LOCAL).unwrap();
    let got = first(LOCAL, proxy, &format!("http://{named}/"))
        .await
        .unwrap();
    assert_eq!(got, named);
    let head = asked.lock().unwrap().remove(0);
    // Which of its two addresses a name has first is the system's affair.
    let connects = ["127.0.0.1", "[::1]"].map(|ip| format!("CONNECT {ip}:{} ", target.port()));
    assert!(connects.iter().any(|line| head.starts_with(line)), "{head}");
    assert!(
        head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"),
        "{head}"
    );

    let (address, asked) = socks_proxy(target).await;
    let proxy = Proxy::new(&format!("socks5://{address}"), false, login(), LOCAL).unwrap();
    let url = format!("http://127.0.0.1:{}/", target.port());
    first(LOCAL, proxy, &url).await.unwrap();
    let expected = format!("user pass 127.0.0.1:{}", target.port());
    assert_eq!(*asked.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_proxy_that_resolves_is_given_the_name() {
    let target = target(None).await;
    let name = "panel.invalid:8080";
    let (address, asked) = http_proxy(target).await;
    let forwarding = Proxy::new(&format!("http://{address}"), true, login(), LOCAL).unwrap();
    let forwarded = Arc::clone(&asked);
    let got = first(LOCAL, forwarding.clone(), &format!("http://{name}/"))
        .await
        .unwrap();
    assert_eq!(got, name);
    let head = asked.lock().unwrap().remove(0);
    let line = "GET http://panel.invalid:8080/ HTTP/1.1";
    assert!(head.starts_with(line), "{head}");
    assert!(
        head.contains("proxy-authorization: Basic dXNlcjpwYXNz\r\n"),
        "{head}"
    );
    let (address, asked) = socks_proxy(target).await;
    let proxy = Proxy::new(&format!("socks5://{address}"), true, None, LOCAL).unwrap();
    first(LOCAL, proxy, "http://panel.invalid/").await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["panel.invalid:80"]);
    // What is encrypted goes through a tunnel all the same.
    let refused = first(LOCAL, forwarding, "https://panel.invalid:8443/").await;
    assert!(refused.is_err(), "the source speaks no TLS");
    let head = forwarded.lock().unwrap().remove(0);
    assert!(head.starts_with("CONNECT panel.invalid:8443 "), "{head}");
}

/// Addresses in our own network, in every spelling.
const PRIVATE: [&str; 9] = [
    "http://10.0.0.1/",
    "http://0x7f.1/",
    "http://[::1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::a00:1]/",
    "http://[2002:a00:1::1]/",
    "http://[fd12::1]/",
    "http://169.254.169.254/latest/",
    "http://localhost/",
];

#[tokio::test]
async fn nothing_private_is_ever_asked_of_a_proxy() {
    let strict = EgressPolicy::default();
    for scheme in ["http", "socks5"] {
        for url in PRIVATE {
            let (listener, address) = listen().await;
            let resolves = url != "http://localhost/";
            let proxy = Proxy::new(&format!("{scheme}://{address}"), resolves, None, LOCAL);
            let failure = first(strict, proxy.unwrap(), url).await.unwrap_err();
            assert!(
                matches!(failure, SourceFailure::EgressRefused { .. }),
                "{url}: {failure}"
            );
            let nobody = std::future::poll_fn(|context| {
                std::task::Poll::Ready(listener.poll_accept(context).is_pending())
            });
            assert!(nobody.await, "{url}: the proxy was asked");
        }
    }
}

#[tokio::test]
async fn a_redirect_through_a_proxy_is_checked_like_any_other() {
    let target = target(Some("http://[::ffff:10.0.0.1]/")).await;
    let (address, asked) = http_proxy(target).await;
    let proxy = Proxy::new(&format!("http://{address}"), true, None, LOCAL).unwrap();
    let failure = first(EgressPolicy::default(), proxy, "http://panel.invalid/").await;
    let failure = failure.unwrap_err();
    assert!(
        matches!(failure, SourceFailure::EgressRefused { .. }),
        "{failure}"
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_name_whose_answer_changes_is_never_connected_to_where_it_may_not() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let local = target(Some("/again")).await;
    // Allowed at first; then in our own network.
    let names = Names::from_fn(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        let ip = match *count {
            1 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        };
        vec![SocketAddr::new(ip, 0)]
    });
    let opener = Opener::with_names(LOCAL, Patience::default(), names).unwrap();
    let request = SourceRequest {
        url: Url::parse(&format!("http://panel.invalid:{}/", local.port())).unwrap(),
        user_agent: None,
        headers: Vec::new(),
    };
    let failure = opener.open(&request).await.unwrap_err();
    let SourceFailure::EgressRefused { refused, .. } = failure else {
        panic!("{failure}");
    };
    assert_eq!(refused.scope, Scope::Private);
    assert_eq!(*asked.lock().unwrap(), 2, "one lookup a connection");
}

#[tokio::test]
async fn what_is_wrong_with_a_proxy_is_said_of_the_proxy() {
    let (listener, gone) = listen().await;
    drop(listener);
    let proxy = Proxy::new(&format!("socks5://{gone}"), true, None, LOCAL).unwrap();
    let failure = first(LOCAL, proxy, "http://panel.invalid/")
        .await
        .unwrap_err();
    let message = failure.to_string();
    let start = format!(
        "failed to connect to http://panel.invalid: through its proxy {gone}: Connection refused"
    );
    assert!(message.starts_with(&start), "{message}");

    let (address, _) = http_proxy(target(None).await).await;
    let wrong = Some(Login {
        username: "user".to_owned(),
        password: "s3cr3t".to_owned(),
    });
    let proxy = Proxy::new(&format!("http://{address}"), true, wrong, LOCAL).unwrap();
    let shown = format!("{proxy:?}");
    let failure = first(LOCAL, proxy, "http://panel.invalid/")
        .await
        .unwrap_err();
    let message = failure.to_string();
    assert!(message.contains("authorization required"), "{message}");
    assert!(!message.contains("s3cr3t") && !shown.contains("s3cr3t") && !shown.contains("user"));
}

#[test]
fn the_proxys_own_address_is_checked_and_is_nothing_but_an_address() {
    let strict = EgressPolicy::default();
    let inner = EgressPolicy {
        allow_private: true,
        ..strict
    };
    let is_taken = |address: &str, policy| Proxy::new(address, false, None, policy).is_ok();
    assert!(is_taken("http://10.0.0.1:3128", inner));
    assert!(!is_taken("http://10.0.0.1:3128", strict));
    assert!(
        !is_taken("socks5://2130706433", inner),
        "loopback in another spelling"
    );
    for bad in [
        "https://proxy.example",
        "proxy.example:3128",
        "http://user:pass@proxy.example",
        "http://proxy.example/path",
        "socks5://",
    ] {
        assert!(!is_taken(bad, inner), "{bad}");
    }
    let shown = |address| Proxy::new(address, false, None, inner).unwrap().to_string();
    assert_eq!(shown("socks5://proxy.example"), "proxy.example:1080");
    assert_eq!(shown("http://proxy.example:80"), "proxy.example:80");
    assert_eq!(shown("socks5://[fd12::1]:9050/"), "[fd12::1]:9050");
}
