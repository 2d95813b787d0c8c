//! nginx as a peer, set up as it serves fastest: sendfile, open_file_cache, tcp_nopush off, one worker. What is below `/checked/` it serves
//! only to whom an authentication service lets in, asked over connections that are kept. Ends with the bench.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::wait::{Seen, until};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tokio::net::TcpStream;
use tokio::process::Child;

use super::cores::Cores;
use crate::machine::free_port;

/// How long it may take until it answers, and until it has ended.
const LIMIT: Duration = Duration::from_secs(20);

/// Where it serves the same files to those only who are let in.
pub(crate) const CHECKED: &str = "/checked";

/// A running nginx.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    /// Starts it on the files of a directory; its own go into `directory`. `auth` is where the authentication service listens.
    pub(crate) async fn start(
        cores: Cores,
        files: &Path,
        directory: &Path,
        auth: Option<SocketAddr>,
    ) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let path = |name: &str| directory.join(name);
        // A worker of another user could not read what this one's directory has.
        let user = if getuid().is_root() { "user root;" } else { "" };
        let text = configuration(user, directory, files, address, auth);
        std::fs::write(path("nginx.conf"), text).context("failed to set nginx up")?;
        let log: PathBuf = path("nginx.log");
        let child = cores
            .server("nginx")
            .arg("-p")
            .arg(directory)
            .arg("-e")
            .arg(&log)
            .arg("-c")
            .arg(path("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start nginx by taskset: are both installed?")?;
        let this = Self { child, address };
        let listening = until("nginx listens", LIMIT, async || {
            TcpStream::connect(address).await?;
            Ok(Seen::Yes(()))
        });
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        listening.await.with_context(log)?;
        Ok(this)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its first process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("nginx has ended")
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.tell_to_end();
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await;
        ended.context("nginx does not end")??;
        Ok(())
    }

    fn tell_to_end(&self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Nginx {
    /// Killed, it would leave its worker behind.
    fn drop(&mut self) {
        self.tell_to_end();
    }
}

fn configuration(
    user: &str,
    directory: &Path,
    files: &Path,
    address: SocketAddr,
    auth: Option<SocketAddr>,
) -> String {
    let (directory, files) = (directory.display(), files.display());
    let (upstream, checked) = auth.map(|auth| check(auth, &files)).unwrap_or_default();
    format!(
        "{user}
daemon off;
worker_processes 1;
error_log {directory}/nginx.log warn;
pid {directory}/nginx.pid;
events {{ worker_connections 16384; use epoll; }}
http {{
    types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    access_log off;
    server_tokens off;
    sendfile on;
    tcp_nopush off;
    tcp_nodelay on;
    open_file_cache max=1000 inactive=1h;
    open_file_cache_valid 1h;
    open_file_cache_min_uses 1;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
{upstream}    server {{
        listen {address} backlog=4096;
        root {files};
{checked}    }}
}}
"
    )
}

/// The upstream, and the locations that ask it.
fn check(auth: SocketAddr, files: &impl std::fmt::Display) -> (String, String) {
    let upstream = format!(
        "    upstream auth {{ server {auth}; keepalive 2048; keepalive_requests 1000000000; keepalive_timeout 1h; }}\n"
    );
    let locations = format!(
        "        location {CHECKED}/ {{ set $token $arg_token; auth_request /auth; alias {files}/; }}
        location = /auth {{
            internal;
            proxy_pass http://auth/;
            proxy_http_version 1.1;
            proxy_pass_request_body off;
            proxy_pass_request_headers off;
            proxy_set_header Connection \"\";
            proxy_set_header Content-Length \"\";
            proxy_set_header X-Token $token;
        }}
"
    );
    (upstream, locations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_asked_for_only_where_there_is_somebody_to_ask() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let of = |auth| configuration("", Path::new("/d"), Path::new("/f"), address, auth);
        assert!(!of(None).contains("auth"));
        let checked = of(Some(SocketAddr::from(([127, 0, 0, 1], 2))));
        assert!(checked.contains("upstream auth { server 127.0.0.1:2; keepalive"));
        let location = format!(
            "location {CHECKED}/ {{ set $token $arg_token; auth_request /auth; alias /f/; }}"
        );
        assert!(checked.contains(&location), "{checked}");
        for text in [of(None), checked] {
            assert_eq!(text.matches('{').count(), text.matches('}').count());
        }
    }
}
