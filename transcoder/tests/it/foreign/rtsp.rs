//! As much of an RTSP server (RFC 2326) as a player needs that takes a transport stream over the connection itself.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A transport stream in RTP (RFC 2250).
const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=one\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n";
/// Bytes of a transport stream in one packet.
const PAYLOAD: usize = 7 * 188;

/// Serves the transport stream of an HTTP address to each client, one after the other.
pub(super) async fn serve(stream: String) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            if talk(&mut client).await.is_some() {
                play(&mut client, &stream).await;
            }
        }
    });
    address
}

/// Answers until the client wants to see something.
async fn talk(client: &mut TcpStream) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let number = head.lines().find(|line| line.starts_with("CSeq:"))?;
        let (method, _) = head.split_once(' ')?;
        let (headers, body) = match method {
            "DESCRIBE" => ("Content-Type: application/sdp\r\n", DESCRIPTION),
            "SETUP" => (
                "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                "",
            ),
            _ => ("Session: 1\r\n", ""),
        };
        let length = body.len();
        let answer = format!(
            "RTSP/1.0 200 OK\r\n{number}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        client.write_all(answer.as_bytes()).await.ok()?;
        if method == "PLAY" {
            return Some(());
        }
    }
}

async fn play(client: &mut TcpStream, stream: &str) {
    let mut media = reqwest::get(stream).await.unwrap();
    let (mut waiting, mut number, started) = (Vec::new(), 0_u16, Instant::now());
    while let Ok(Some(chunk)) = media.chunk().await {
        waiting.extend_from_slice(&chunk);
        while waiting.len() >= PAYLOAD {
            let rest = waiting.split_off(PAYLOAD);
            let ticks = started.elapsed().as_millis() * 90;
            let ticks = u32::try_from(ticks).unwrap().to_be_bytes();
            let length = u16::try_from(PAYLOAD + 12).unwrap().to_be_bytes();
            let mut packet = vec![b'$', 0, length[0], length[1], 0x80, 33];
            packet.extend(number.to_be_bytes());
            packet.extend(ticks);
            packet.extend([1, 2, 3, 4]);
            packet.append(&mut waiting);
            if client.write_all(&packet).await.is_err() {
                return;
            }
            (waiting, number) = (rest, number.wrapping_add(1));
        }
    }
}
