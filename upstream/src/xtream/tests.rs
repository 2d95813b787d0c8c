//! Panels as they refuse: with a status, with a page, with nothing; and what they say when they are asked why.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use api::condition::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::egress::EgressPolicy;
use crate::input::Piece;
use crate::provider::Target;
use crate::source::Patience;

const LOCAL: EgressPolicy = EgressPolicy {
    allow_private: false,
    allow_loopback: true,
};

/// Answers channels with one text and the API with another.
struct Panel {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Panel {
    async fn start(channel: &'static str, api: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let answer = match path.contains("/player_api.php") {
                    true => api.as_str(),
                    false => channel,
                };
                seen.lock().unwrap().push(path);
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn channel(&self) -> Channel {
        Channel {
            base: Url::parse(&format!("http://{}/panel/", self.address)).unwrap(),
            stream_id: "48681".to_owned(),
            login: Login {
                username: "us/er".to_owned(),
                password: "s3cr&t word".to_owned(),
            },
            output: Output::Ts,
            user_agent: None,
            headers: Vec::new(),
        }
    }

    async fn open(&self) -> Result<Playing, SourceFailure> {
        let opener = Opener::new(LOCAL, Patience::default()).unwrap();
        Playing::open(&opener, Target::Xtream(self.channel()), &Wish::default()).await
    }

    async fn failure(&self) -> SourceFailure {
        self.open().await.err().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn account(user: &str) -> String {
    answer("200 OK", &format!(r#"{{"user_info":{user}}}"#))
}

const GOOD: &str = r#"{"auth":1,"status":"Active","active_cons":"0","max_connections":"1"}"#;
const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_channel_is_asked_for_under_the_login_and_nothing_else_is_asked() {
    let panel = Panel::start("HTTP/1.1 200 OK\r\n\r\nGmedia", account(GOOD)).await;
    let mut playing = panel.open().await.unwrap();
    assert_eq!(playing.next().await.unwrap(), Piece::Bytes("Gmedia".into()));
    assert_eq!(
        panel.asked(),
        ["/panel/live/us%2Fer/s3cr&t%20word/48681.ts"]
    );
}

#[tokio::test]
async fn a_refusal_is_explained_by_what_the_panel_says_of_the_account() {
    for (user, reason, told) in [
        (
            r#"{"auth":0}"#,
            Reason::AccountRefused,
            "correct username and password",
        ),
        (
            r#"{"auth":1,"status":"Expired","exp_date":"1700000000"}"#,
            Reason::AccountRefused,
            "it expired on 2023-11-14: renew it",
        ),
        (
            r#"{"auth":1,"status":"Banned"}"#,
            Reason::AccountRefused,
            "its status is Banned",
        ),
        (
            r#"{"auth":1,"status":"Active","active_cons":1,"max_connections":"1"}"#,
            Reason::NoFreeConnection,
            "1 of 1 are in use",
        ),
        (GOOD, Reason::HttpError, "HTTP status 403"),
    ] {
        let panel = Panel::start(REFUSED, account(user)).await;
        let failure = panel.failure().await;
        assert_eq!(failure.reason(), reason, "{user}");
        let message = failure.to_string();
        assert!(message.contains(told), "{message}");
        assert!(message.contains(&panel.address.to_string()), "{message}");
        let shown = format!("{message} {failure:?}");
        assert!(
            !shown.contains("s3cr") && !shown.contains("us/er"),
            "{shown}"
        );
        assert_eq!(
            panel.asked().last().unwrap(),
            "/panel/player_api.php?username=us%2Fer&password=s3cr%26t+word"
        );
    }
}

#[tokio::test]
async fn a_page_or_nothing_with_status_200_is_a_refusal_too() {
    let banned = || account(r#"{"auth":1,"status":"Banned"}"#);
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n\r\n<html></html>";
    let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (channel, of_good) in [(page, "a web page"), (empty, "nothing at all")] {
        let explained = Panel::start(channel, banned()).await.failure().await;
        assert_eq!(explained.reason(), Reason::AccountRefused);
        let told = Panel::start(channel, account(GOOD)).await.failure().await;
        assert!(told.to_string().contains(of_good), "{told}");
    }
}

#[tokio::test]
async fn a_panel_that_explains_nothing_leaves_the_refusal_as_it_is() {
    for api in [
        answer("200 OK", "<html>"),
        answer("500 Broken", ""),
        "nonsense\r\n\r\n".to_owned(),
    ] {
        let panel = Panel::start("HTTP/1.1 458 Full\r\nRetry-After: 9\r\n\r\n", api).await;
        let failure = panel.failure().await;
        assert!(
            matches!(failure, SourceFailure::HttpStatus { status: 458, .. }),
            "{failure}"
        );
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(9)));
    }
    let panel = Panel::start(REFUSED, answer("401 Unauthorized", "")).await;
    assert_eq!(panel.failure().await.reason(), Reason::AccountRefused);
}

#[tokio::test]
async fn a_panel_that_cannot_be_reached_is_not_asked_why() {
    let panel = Panel::start(
        "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n",
        account(GOOD),
    )
    .await;
    let failure = panel.failure().await;
    assert_eq!(failure.reason(), Reason::EgressRefused);
    assert_eq!(panel.asked().len(), 1);
}

#[test]
fn a_login_that_would_be_another_path_is_refused() {
    let channel = |username: &str, stream_id: &str| Channel {
        base: Url::parse("http://panel.example").unwrap(),
        stream_id: stream_id.to_owned(),
        login: Login {
            username: username.to_owned(),
            password: "..%2f".to_owned(),
        },
        output: Output::M3u8,
        user_agent: None,
        headers: Vec::new(),
    };
    for bad in [channel("..", "1"), channel("", "1"), channel("a", ".")] {
        assert!(bad.live().is_err());
    }
    let url = channel("../admin", "7/..?x").live().unwrap();
    assert_eq!(
        url.as_str(),
        "http://panel.example/live/..%2Fadmin/..%252f/7%2F..%3Fx.m3u8"
    );
}
