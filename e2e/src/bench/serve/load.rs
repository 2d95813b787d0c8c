//! A client of our own that throws answers away: the kernel drops their bodies (recv with MSG_TRUNC), so that what is measured is the server.
//! All its connections are on one thread. Judges nothing.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Result as IoResult};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, LocalSet};

use crate::machine::processor;

/// Bytes of a body that are dropped at once.
const AT_ONCE: usize = 1 << 20;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// Longest head of an answer.
const HEAD: usize = 4096;

/// The same for all connections of a thread: the kernel writes nothing to it.
pub(crate) type Scratch = Rc<RefCell<Vec<u8>>>;

/// What a request says.
fn request(address: SocketAddr, target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes()
}

/// One for each target.
pub(crate) fn requests(address: SocketAddr, targets: &[String]) -> Vec<Vec<u8>> {
    let targets = targets.iter();
    targets.map(|target| request(address, target)).collect()
}

/// One connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    scratch: Scratch,
}

impl Connection {
    /// Connects; `receive_buffer` is the kernel's, where it is not to grow.
    pub(crate) async fn open(
        address: SocketAddr,
        scratch: &Scratch,
        receive_buffer: Option<u32>,
    ) -> Result<Self> {
        let socket = TcpSocket::new_v4().context("failed to make a socket")?;
        // Thousands of them come and go: none is to linger.
        socket.set_zero_linger()?;
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        let stream = socket.connect(address).await;
        let stream = stream.with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            scratch: scratch.clone(),
        })
    }

    /// Asks, and throws the answer away; `got` is told how many bytes of it came, each time that some do.
    pub(crate) async fn fetch(&mut self, request: &[u8], mut got: impl FnMut(usize)) -> Result<()> {
        self.ask(request).await?;
        let mut head = [0; HEAD];
        let mut length = 0;
        let mut rest = loop {
            let more = self.stream.read(&mut head[length..]).await?;
            ensure!(more > 0, "the connection was closed before an answer");
            length += more;
            got(more);
            if let Some(head) = read_head(&head[..length])? {
                break (head.length + head.body).checked_sub(length);
            }
            ensure!(length < HEAD, "the head of an answer has no end");
        };
        while let Some(left) = rest.filter(|left| *left > 0) {
            let dropped = self.drop_some(left).await?;
            got(dropped);
            rest = left.checked_sub(dropped);
        }
        ensure!(rest.is_some(), "more came than was announced");
        Ok(())
    }

    /// Asks, and reads nothing yet.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request).await?)
    }

    /// Waits until there is something to read.
    pub(crate) async fn is_answered(&self) -> Result<()> {
        Ok(self.stream.readable().await?)
    }

    /// Whether nothing came that nobody asked for, not even the end.
    pub(crate) fn is_idle(&self) -> bool {
        let mut byte = [0];
        let read = self.stream.try_read(&mut byte);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    async fn drop_some(&self, most: usize) -> Result<usize> {
        loop {
            self.stream.readable().await?;
            let dropped = self.stream.try_io(Interest::READABLE, || {
                let mut scratch = self.scratch.borrow_mut();
                let room = most.min(scratch.len());
                let (_, dropped) = recv(&self.stream, &mut scratch[..room], RecvFlags::TRUNC)?;
                IoResult::Ok(dropped)
            });
            match dropped {
                Ok(0) => bail!("the connection was closed in an answer"),
                Ok(dropped) => return Ok(dropped),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What the kernel drops goes through no memory, and this is it.
pub(crate) fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; AT_ONCE]))
}

/// The head of an answer: its own length and that of the body.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    length: usize,
    body: usize,
}

/// `None` while it is not complete.
fn read_head(bytes: &[u8]) -> Result<Option<Head>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).context("the head of an answer is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 200"), "answered {status:?}");
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.trim().parse().ok());
    Ok(Some(Head {
        length: end + 4,
        body: length.context("an answer does not say how long it is")?,
    }))
}

/// Who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The processes that all its own have come from.
    pub(crate) pids: Vec<u32>,
}

/// What is asked, and how hard.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) server: Server,
    pub(crate) targets: Vec<String>,
    pub(crate) connections: usize,
    pub(crate) window: Duration,
}

/// What came in the window.
#[derive(Debug, Clone)]
pub(crate) struct Drained {
    /// Bytes of answers, heads included.
    pub(crate) bytes: f64,
    /// Seconds from each request to its complete answer.
    pub(crate) latencies: Vec<f64>,
    /// What the server used.
    pub(crate) processor: Duration,
}

/// What connections of a thread count together.
#[derive(Debug, Default)]
struct Tally {
    is_counting: Cell<bool>,
    bytes: Cell<usize>,
    latencies: RefCell<Vec<f64>>,
}

/// Runs work that stays on one thread, on a thread of its own.
pub(crate) async fn on_a_thread<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("failed to start a thread of the load")?;
        LocalSet::new().block_on(&runtime, work())
    });
    thread.await.context("a thread of the load failed")?
}

/// As fast as it goes: each connection asks for the targets one after the other, without a pause.
pub(crate) async fn drain(load: Load) -> Result<Drained> {
    on_a_thread(move || drain_here(load)).await
}

async fn drain_here(load: Load) -> Result<Drained> {
    let (scratch, tally) = (scratch(), Rc::new(Tally::default()));
    let address = load.server.address;
    let requests = Rc::new(requests(address, &load.targets));
    let mut asking = JoinSet::new();
    for first in 0..load.connections {
        let connection = Connection::open(address, &scratch, None).await?;
        asking.spawn_local(ask_on(connection, requests.clone(), first, tally.clone()));
    }
    let window = async {
        tokio::time::sleep(WARM_UP).await;
        let before = processor(&load.server.pids)?;
        tally.is_counting.set(true);
        tokio::time::sleep(load.window).await;
        tally.is_counting.set(false);
        anyhow::Ok(processor(&load.server.pids)?.saturating_sub(before))
    };
    tokio::select! {
        Some(ended) = asking.join_next() => {
            ended??;
            bail!("a connection came to its end")
        }
        used = window => Ok(Drained {
            bytes: tally.bytes.get() as f64,
            latencies: tally.latencies.take(),
            processor: used?,
        }),
    }
}

async fn ask_on(
    mut connection: Connection,
    requests: Rc<Vec<Vec<u8>>>,
    first: usize,
    tally: Rc<Tally>,
) -> Result<()> {
    for request in requests.iter().cycle().skip(first % requests.len()) {
        let begun = Instant::now();
        let count = |more| {
            if tally.is_counting.get() {
                tally.bytes.set(tally.bytes.get() + more);
            }
        };
        connection.fetch(request, count).await?;
        if tally.is_counting.get() {
            let took = begun.elapsed().as_secs_f64();
            tally.latencies.borrow_mut().push(took);
        }
    }
    bail!("there is nothing to ask for")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_head_says_how_much_follows_and_that_all_is_well() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nbody";
        let expected = Head {
            length: head.len() - 4,
            body: 12,
        };
        assert_eq!(read_head(head).unwrap(), Some(expected));
        assert_eq!(read_head(&head[..30]).unwrap(), None);
        for bad in ["HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(read_head(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// Answers every request on one connection with a body of so many bytes.
    async fn serve(listener: TcpListener, body: usize) -> Result<()> {
        let (mut stream, _) = listener.accept().await?;
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {body}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + body, b'x');
        let mut request = [0; HEAD];
        while stream.read(&mut request).await? > 0 {
            stream.write_all(&answer).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_is_taken_to_its_end_and_not_beyond() {
        for body in [0, 10, 3_000_000] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = tokio::spawn(serve(listener, body));
            let scratch = scratch();
            let mut connection = Connection::open(address, &scratch, None).await.unwrap();
            for _ in 0..3 {
                let mut bytes = 0;
                let request = request(address, "/");
                let fetched = connection.fetch(&request, |more| bytes += more);
                fetched.await.unwrap();
                assert!(bytes > body, "{bytes} of {body}");
                assert!(connection.is_idle());
            }
            assert!(scratch.borrow().iter().all(|byte| *byte == 0));
            serving.abort();
        }
    }
}
