//! Channel lists from a web server.

use catalog::fetch::{EgressPolicy, FetchError, channel_list};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

const HERE: EgressPolicy = EgressPolicy {
    allow_private: false,
    allow_loopback: true,
};

/// A server that gives one answer to everybody.
async fn server(answer: String) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/list.m3u").parse().unwrap()
}

#[tokio::test]
async fn a_list_is_fetched_whole() {
    let list = "#EXTM3U\n".repeat(10_000);
    let length = list.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let url = server(head + &list).await;
    assert_eq!(channel_list(url, HERE).await.unwrap(), list.into_bytes());
}

#[tokio::test]
async fn a_list_that_was_cut_off_is_no_list() {
    let url = server("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n#EXTM3U\n".to_owned()).await;
    assert!(matches!(
        channel_list(url, HERE).await,
        Err(FetchError::Source(_))
    ));
}

#[tokio::test]
async fn a_refusal_and_a_forbidden_address_are_named() {
    let url = server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let error = channel_list(url.clone(), HERE)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("failed to fetch the channel list: ") && error.contains("404"),
        "{error}"
    );
    let error = channel_list(url, EgressPolicy::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("loopback"), "{error}");
}
