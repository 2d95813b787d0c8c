//! A viewer that plays no picture: it asks for what a player asks for, at its own pace.

use reqwest::{Client, StatusCode};

use crate::standalone::Standalone;

pub(crate) struct Viewer {
    client: Client,
    address: String,
    channel: String,
}

/// What a media playlist lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) media_sequence: u64,
    pub(crate) segments: Vec<String>,
    pub(crate) text: String,
}

impl Viewer {
    pub(crate) fn new(standalone: &Standalone, channel: &str) -> Self {
        testkit::tls::choose_provider();
        Self {
            client: Client::builder().no_proxy().build().unwrap(),
            address: standalone.address.clone(),
            channel: channel.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let url = format!("{}{path}", self.address);
        let answer = self.client.get(url).send().await.unwrap();
        let status = answer.status();
        (status, answer.text().await.unwrap())
    }

    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let url = format!("{}{path}", self.address);
        let answer = self.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn master(&self) -> (StatusCode, String) {
        let path = format!("/live/{}/master.m3u8?token=token", self.channel);
        self.get(&path).await
    }

    /// The address of the first media playlist: a session.
    pub(crate) async fn tune_in(&self) -> String {
        let (status, master) = self.master().await;
        assert_eq!(status, StatusCode::OK, "{master}");
        let mut lines = master.lines();
        lines
            .find(|line| !line.starts_with('#'))
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn look(&self, playlist: &str) -> Listed {
        let (status, text) = self.get(playlist).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let number = text
            .lines()
            .find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
        Listed {
            media_sequence: number.unwrap().parse().unwrap(),
            segments: text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(str::to_owned)
                .collect(),
            text,
        }
    }
}
