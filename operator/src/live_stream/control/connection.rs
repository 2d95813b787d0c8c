//! A connection to a pod, HTTP/1.1, for one exchange after the other. While an answer is awaited it holds a socket and no buffer: there is one for
//! every running stream, and nearly always it waits. Never reads more than it is asked to, and is never used again unless all that came was asked for.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use http::{Method, StatusCode};
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What is taken from the socket at once at the most.
const TAKEN: usize = 8 << 10;
/// Longest head of an answer.
const HEAD_BYTES: usize = 8 << 10;
/// Most headers of an answer.
const HEADERS: usize = 64;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(transparent)]
    Lost(#[from] io::Error),
    #[error("{0}")]
    Malformed(String),
}

/// What was answered. Of a refusal the body is left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// A connection on which nothing is under way.
#[derive(Debug)]
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Whether the other side leaves it open, and has said nothing that nobody asked for.
    pub(crate) fn is_idle(&self) -> bool {
        let said = self.0.try_read(&mut [0]);
        said.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Asks and waits for the answer; with it the connection, where it can be used again. A body is read up to this length.
    pub(super) async fn exchange(
        mut self,
        request: Vec<u8>,
        longest: usize,
    ) -> Result<(Answer, Option<Self>), NoAnswer> {
        self.0.write_all(&request).await?;
        drop(request);
        let mut received = Vec::new();
        let head = loop {
            if let Some(head) = Head::parse(&received)? {
                break head;
            }
            if received.len() > HEAD_BYTES {
                return Err(NoAnswer::Malformed("its head is too long".to_owned()));
            }
            if self.take(&mut received).await? == 0 {
                return Err(cut_off());
            }
        };
        let mut body = received.split_off(head.bytes);
        match head.status.is_success() {
            true => self.read_body(&mut body, head.length, longest).await?,
            false => body.clear(),
        }
        let ends_there = head.length == Some(body.len());
        body.truncate(head.length.unwrap_or(usize::MAX));
        let answer = Answer {
            status: head.status,
            body,
        };
        Ok((answer, (head.stays_open && ends_there).then_some(self)))
    }

    /// Reads the rest of a body; without a length it goes on to the end of the connection.
    async fn read_body(
        &self,
        body: &mut Vec<u8>,
        length: Option<usize>,
        longest: usize,
    ) -> Result<(), NoAnswer> {
        loop {
            if length.unwrap_or(body.len()) > longest {
                return Err(NoAnswer::Malformed("it is too long".to_owned()));
            }
            if length.is_some_and(|length| body.len() >= length) {
                return Ok(());
            }
            if self.take(body).await? == 0 {
                return length.map_or(Ok(()), |_| Err(cut_off()));
            }
        }
    }

    /// Takes what comes next; nothing at the end. Until something has come there is no room for it.
    async fn take(&self, received: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            match take_now(&self.0, received) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                taken => return taken,
            }
        }
    }
}

fn take_now(stream: &TcpStream, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut room = [0; TAKEN];
    let taken = stream.try_read(&mut room)?;
    received.extend_from_slice(&room[..taken]);
    Ok(taken)
}

fn cut_off() -> NoAnswer {
    let message = "the connection ended within the answer";
    NoAnswer::Lost(io::Error::new(ErrorKind::UnexpectedEof, message))
}

/// A request as it is written; the path must need no escapes.
pub(super) fn request(method: &Method, host: SocketAddr, path: &str, body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    if *method != Method::GET {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    if !body.is_empty() {
        head.push_str("content-type: application/json\r\n");
    }
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    request
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Its own length.
    bytes: usize,
    status: StatusCode,
    /// The body's; `None` where it goes on to the end of the connection.
    length: Option<usize>,
    stays_open: bool,
}

impl Head {
    /// `None` while it is not all there.
    fn parse(received: &[u8]) -> Result<Option<Self>, NoAnswer> {
        let malformed = |reason: &str| NoAnswer::Malformed(reason.to_owned());
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut response = Response::new(&mut headers);
        let parsed = response.parse(received);
        let parsed = parsed.map_err(|error| NoAnswer::Malformed(error.to_string()))?;
        let Status::Complete(bytes) = parsed else {
            return Ok(None);
        };
        let status = StatusCode::from_u16(response.code.unwrap_or_default());
        let status = status.map_err(|_| malformed("it has no status"))?;
        let mut head = Self {
            bytes,
            status,
            length: (status == StatusCode::NO_CONTENT).then_some(0),
            stays_open: response.version == Some(1),
        };
        for header in response.headers.iter() {
            let value = header.value.trim_ascii();
            match header.name.to_ascii_lowercase().as_str() {
                "connection" => head.stays_open &= !value.eq_ignore_ascii_case(b"close"),
                "content-length" => {
                    let length = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    head.length = Some(length.ok_or_else(|| malformed("it has no length"))?);
                }
                "transfer-encoding" => return Err(malformed("it comes in pieces")),
                _ => {}
            }
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests;
