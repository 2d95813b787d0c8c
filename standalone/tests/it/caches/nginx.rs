//! A real nginx in front of a gateway, twice: as the README sets it up, and one that keeps whatever it is allowed to. Ends with the test.

use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{PATIENCE, until};

const README: &str = include_str!("../../../../README.md");

pub(super) struct Nginx {
    child: Child,
    /// Where it does as the README says.
    pub(super) advised: String,
    /// Where it keeps any answer that does not forbid it.
    pub(super) greedy: String,
    _directory: TempDir,
}

impl Nginx {
    /// In front of a server (`http://host:port`).
    pub(super) async fn start(server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [advised, greedy] = free_addresses();
        let path = directory.path().to_str().unwrap();
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration(path, server, &advised, &greedy)).unwrap();
        let child = Command::new("nginx")
            .args(["-p", path, "-e", "stderr", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self {
            child,
            advised: format!("http://{advised}"),
            greedy: format!("http://{greedy}"),
            _directory: directory,
        };
        until("nginx listens", async || {
            tokio::net::TcpStream::connect(&advised).await.is_ok()
        })
        .await;
        nginx
    }

    /// Ends it and waits until it is gone: its directory goes with it.
    pub(super) async fn end(mut self) {
        self.tell_to_end();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.unwrap().unwrap().success());
    }

    fn tell_to_end(&self) {
        let pid = self.child.id().map(u32::cast_signed);
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Nginx {
    /// Killed, it would leave its workers behind.
    fn drop(&mut self) {
        self.tell_to_end();
    }
}

fn free_addresses() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}

fn configuration(directory: &str, server: &str, advised: &str, greedy: &str) -> String {
    // A worker of another user could not write what this one's directory has.
    let user = if getuid().is_root() { "user root;" } else { "" };
    let server = server.strip_prefix("http://").unwrap();
    let mut advice = advice();
    for (there, here) in [
        ("/var/cache/nginx/headend", format!("{directory}/cache")),
        ("GATEWAY:80", server.to_owned()),
        ("listen 80;", format!("listen {advised};")),
    ] {
        assert_eq!(advice.matches(there).count(), 1, "{there}");
        advice = advice.replace(there, &here);
    }
    format!(
        "{user}
daemon off;
worker_processes 2;
error_log stderr warn;
pid {directory}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{advice}
    server {{
        listen {greedy};
        location / {{
            proxy_pass http://gateway;
            proxy_cache headend;
            proxy_cache_key greedy$request_uri;
            add_header X-Cache-Status $upstream_cache_status always;
        }}
    }}
}}
"
    )
}

/// The example of the README.
fn advice() -> String {
    let (_, example) = README.split_once("```nginx\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    example.to_owned()
}
