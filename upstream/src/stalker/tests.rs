//! Portals as they refuse, and what a box says to them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use api::condition::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::egress::EgressPolicy;
use crate::input::Piece;
use crate::provider::Target;
use crate::source::Patience;

const LOCAL: EgressPolicy = EgressPolicy {
    allow_private: false,
    allow_loopback: true,
};
const HANDSHAKE: &str = r#"{"js":{"token":"T1","not_valid":0}}"#;
const PROFILE: &str = r#"{"js":{"status":"0","watchdog_timeout":2}}"#;
const BOUND: Duration = Duration::from_secs(30);

type Answers = Box<dyn Fn(&str, usize, SocketAddr) -> String + Send>;

/// Answers by action and by how often it was asked for that.
struct Site {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn start(answers: impl Fn(&str, usize, SocketAddr) -> String + Send + 'static) -> Self {
        let answers: Answers = Box::new(answers);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let name = action(&head);
                let count = {
                    let mut seen = seen.lock().unwrap();
                    let before: &Vec<String> = &seen;
                    let count = before.iter().filter(|head| action(head) == name).count();
                    seen.push(head);
                    count + 1
                };
                let answer = answers(&name, count, address);
                socket.write_all(answer.as_bytes()).await.unwrap();
                if name == "stream" {
                    open.push(socket);
                }
            }
        });
        Self { address, heads }
    }

    fn channel(&self) -> Channel {
        Channel {
            base: Url::parse(&format!("http://{}/c/", self.address)).unwrap(),
            command: "ffrt http://localhost/ch/7_".to_owned(),
            identity: Identity {
                mac: "00:1A:79:AA:BB:CC".to_owned(),
                serial: Some("5E21A1".to_owned()),
                device_id: None,
                device_id2: None,
                signature: None,
                login: None,
            },
            user_agent: Some("Box/1".to_owned()),
            headers: Vec::new(),
        }
    }

    async fn open(&self, channel: Channel) -> Result<Playing, SourceFailure> {
        let opener = Opener::new(LOCAL, Patience::default()).unwrap();
        Playing::open(&opener, Target::Stalker(channel), &Wish::default()).await
    }

    async fn failure(&self) -> SourceFailure {
        self.open(self.channel()).await.err().unwrap()
    }

    fn heads(&self, wanted: &str) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let of_action = heads.iter().filter(|head| action(head) == wanted);
        of_action.cloned().collect()
    }

    async fn asked(&self, wanted: &str, times: usize) {
        let asked = async {
            while self.heads(wanted).len() < times {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, asked).await.unwrap();
    }
}

fn action(head: &str) -> String {
    let query = head.split("action=").nth(1);
    let action = query.and_then(|rest| rest.split(['&', ' ']).next());
    action.unwrap_or("stream").to_owned()
}

fn whole(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn link(address: SocketAddr) -> String {
    whole(&format!(
        r#"{{"js":{{"cmd":"ffmpeg http://{address}/play/7?token=L1"}}}}"#
    ))
}

/// A portal at which nothing is wrong.
fn well(action: &str, address: SocketAddr) -> String {
    match action {
        "handshake" => whole(HANDSHAKE),
        "get_profile" => whole(PROFILE),
        "create_link" => link(address),
        "stream" => "HTTP/1.1 200 OK\r\n\r\nGmedia".to_owned(),
        _ => whole(r#"{"js":{}}"#),
    }
}

#[tokio::test]
async fn a_box_introduces_itself_and_plays_the_link_it_is_given() {
    let site = Site::start(|action, _, address| well(action, address)).await;
    let mut playing = site.open(site.channel()).await.unwrap();
    assert_eq!(playing.next().await.unwrap(), Piece::Bytes("Gmedia".into()));
    let hands = site.heads("handshake").remove(0).to_lowercase();
    let start = "get /server/load.php?type=stb&action=handshake&token=&jshttprequest=1-xml ";
    assert!(hands.starts_with(start), "{hands}");
    assert!(!hands.contains("authorization"), "{hands}");
    let asked = site.heads("create_link").remove(0);
    for (header, value) in [
        (
            "cookie",
            "mac=00:1A:79:AA:BB:CC; stb_lang=en; timezone=UTC".to_owned(),
        ),
        ("authorization", "Bearer T1".to_owned()),
        ("x-user-agent", "Model: MAG250; Link: WiFi".to_owned()),
        ("referer", format!("http://{}/c/", site.address)),
        ("user-agent", "Box/1".to_owned()),
    ] {
        assert!(asked.contains(&format!("{header}: {value}\r\n")), "{asked}");
    }
    assert!(
        asked.contains("cmd=ffrt+http%3A%2F%2Flocalhost%2Fch%2F7_"),
        "{asked}"
    );
    assert!(site.heads("get_profile")[0].contains("sn=5E21A1"));
    let stream = site.heads("stream").remove(0).to_lowercase();
    assert!(
        !stream.contains("cookie") && !stream.contains("bearer"),
        "{stream}"
    );
}

#[tokio::test]
async fn the_session_is_kept_while_it_plays_and_made_anew_when_its_token_dies() {
    let site = Site::start(|action, count, address| match (action, count) {
        ("get_events", 1) => whole("Authorization failed."),
        _ => well(action, address),
    })
    .await;
    let playing = site.open(site.channel()).await.unwrap();
    site.asked("get_events", 2).await;
    assert_eq!(site.heads("handshake").len(), 2);
    assert_eq!(site.heads("stream").len(), 1, "the channel goes on");
    drop(playing);
}

#[tokio::test]
async fn a_portal_with_another_address_is_found() {
    let site = Site::start(|action, count, address| match (action, count) {
        ("handshake", 1) => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => well(action, address),
    })
    .await;
    site.open(site.channel()).await.unwrap();
    assert!(site.heads("handshake")[1].starts_with("GET /portal.php?"));
    assert!(site.heads("create_link")[0].starts_with("GET /portal.php?"));
}

/// What goes wrong, what is answered then, and what is said of it.
const REFUSALS: [(&str, &str, Reason, &str); 10] = [
    (
        "handshake",
        "Authorization failed.",
        Reason::AccountRefused,
        "correct mac",
    ),
    (
        "get_profile",
        r#"{"js":{"status":1}}"#,
        Reason::AccountRefused,
        "has blocked the device",
    ),
    (
        "get_profile",
        r#"{"js":{"status":2}}"#,
        Reason::AccountRefused,
        "add username and password",
    ),
    (
        "create_link",
        r#"{"js":{"error":"limit"}}"#,
        Reason::NoFreeConnection,
        "all are in use",
    ),
    (
        "create_link",
        r#"{"js":{"cmd":""}}"#,
        Reason::HttpError,
        "no link for the channel",
    ),
    (
        "create_link",
        r#"{"js":{"cmd":"x file:///etc/passwd"}}"#,
        Reason::HttpError,
        "not http",
    ),
    (
        "create_link",
        r#"{"js":{"cmd":"x http://10.0.0.1/"}}"#,
        Reason::EgressRefused,
        "10.0.0.1",
    ),
    (
        "create_link",
        "Authorization failed.",
        Reason::AccountRefused,
        "correct mac",
    ),
    ("handshake", "<html>", Reason::HttpError, "not answer like"),
    ("stream", " <html>", Reason::HttpError, "a web page"),
];

#[tokio::test]
async fn refusals_are_named_and_show_no_secret() {
    for (wrong, answer, reason, told) in REFUSALS {
        let site = Site::start(move |action, _, address| match action == wrong {
            true => whole(answer),
            false => well(action, address),
        })
        .await;
        let failure = site.failure().await;
        let shown = format!("{failure} {failure:?}");
        assert_eq!(failure.reason(), reason, "{wrong}: {shown}");
        assert!(shown.contains(told), "{wrong}: {shown}");
        for secret in ["00:1A", "5E21A1", "T1", "L1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_portal_that_asks_for_a_login_gets_it() {
    let site = Site::start(|action, count, address| match (action, count) {
        ("get_profile", 1) => whole(r#"{"js":{"status":2}}"#),
        ("do_auth", _) => whole(r#"{"js":true}"#),
        _ => well(action, address),
    })
    .await;
    let mut channel = site.channel();
    channel.identity.login = Some(Login {
        username: "user".to_owned(),
        password: "pass".to_owned(),
    });
    site.open(channel).await.unwrap();
    assert!(site.heads("do_auth")[0].contains("login=user&password=pass"));
    assert!(site.heads("get_profile")[1].contains("auth_second_step=1"));
}
