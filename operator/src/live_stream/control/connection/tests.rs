//! Exchanges with a pod that answers well, in pieces, too much, too little and not in HTTP.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

/// Somebody who answers the first request with these pieces, and ends the connection or leaves it open.
async fn answering(pieces: &'static [&'static str], ends: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        if !ends {
            std::future::pending::<()>().await;
        }
    });
    address
}

/// What comes of a request to them: status, body and whether the connection can be used again.
async fn exchanged(
    pieces: &'static [&'static str],
    ends: bool,
) -> Result<(u16, String, bool), String> {
    let address = answering(pieces, ends).await;
    let connection = Connection::open(address).await.unwrap();
    let request = request(&Method::GET, address, "/", &[]);
    let exchange = timeout(Duration::from_secs(10), connection.exchange(request, 8));
    let exchanged = exchange.await.expect("bounded wait");
    let (Answer { status, body }, again) = exchanged.map_err(|error| error.to_string())?;
    let body = String::from_utf8(body).unwrap();
    Ok((status.as_u16(), body, again.is_some()))
}

#[tokio::test]
async fn an_answer_is_read_whole_and_no_further() {
    type Case = (&'static [&'static str], bool, (u16, &'static str, bool));
    let cases: [Case; 8] = [
        (
            &["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody"],
            false,
            (200, "body", true),
        ),
        (
            &[
                "HTTP/1.1 200 OK\r\ncont",
                "ent-length: 8\r\n\r",
                "\nin pi",
                "ece",
            ],
            false,
            (200, "in piece", true),
        ),
        (
            &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"],
            false,
            (200, "body", false),
        ),
        (
            &["HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nbody"],
            false,
            (200, "body", false),
        ),
        (&["HTTP/1.1 204 No Content\r\n\r\n"], false, (204, "", true)),
        (
            &["HTTP/1.1 200 OK\r\n\r\nto the", " e"],
            true,
            (200, "to the e", false),
        ),
        (
            &["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nnot asked"],
            false,
            (200, "", false),
        ),
        (
            &["HTTP/1.1 421 Misdirected Request\r\ncontent-length: 99\r\n\r\n{"],
            false,
            (421, "", false),
        ),
    ];
    for (pieces, ends, (status, body, again)) in cases {
        let expected = Ok((status, body.to_owned(), again));
        assert_eq!(exchanged(pieces, ends).await, expected, "{pieces:?}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let cut_off = "the connection ended within the answer";
    let cases: [(&'static [&'static str], &str); 7] = [
        (&[], cut_off),
        (&["HTTP/1.1 200 OK\r\n"], cut_off),
        (
            &["HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf"],
            cut_off,
        ),
        (
            &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"],
            "it is too long",
        ),
        (
            &["HTTP/1.1 200 OK\r\n\r\nendless, endless"],
            "it is too long",
        ),
        (
            &["HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"],
            "it has no length",
        ),
        (
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"],
            "it comes in pieces",
        ),
    ];
    for (pieces, expected) in cases {
        assert_eq!(
            exchanged(pieces, true).await,
            Err(expected.to_owned()),
            "{pieces:?}"
        );
    }
    assert!(exchanged(&["SSH-2.0-OpenSSH_9.2\r\n"], true).await.is_err());
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let head = format!("HTTP/1.1 200 OK\r\nheader: {}", "x".repeat(2 * HEAD_BYTES));
    let pieces: &'static [&'static str] = Vec::leak(vec![&*head.leak()]);
    let refused = exchanged(pieces, false).await;
    assert_eq!(refused, Err("its head is too long".to_owned()));
}

#[test]
fn a_request_says_what_it_carries() {
    let host = "[fd00::7]:8080".parse().unwrap();
    let text = |method, body| String::from_utf8(request(&method, host, "/a", body)).unwrap();
    for (case, expected) in [
        (
            text(Method::GET, &[]),
            "GET /a HTTP/1.1\r\nhost: [fd00::7]:8080\r\n\r\n",
        ),
        (
            text(Method::POST, &[]),
            "POST /a HTTP/1.1\r\nhost: [fd00::7]:8080\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            text(Method::POST, b"{}"),
            "POST /a HTTP/1.1\r\nhost: [fd00::7]:8080\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}",
        ),
    ] {
        assert_eq!(case, expected);
    }
}
