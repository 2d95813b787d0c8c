//! etcd and an API server on loopback, and nothing else of Kubernetes: no scheduler, no controllers, no nodes. Writes down who asks it for
//! what. Ends with the bench.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::wait::{Seen, until};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::machine::free_port;

/// How long it may take until the API server is ready.
const LIMIT: Duration = Duration::from_secs(120);

/// Who plays gateways, nodes and people: what it asks for is neither written down nor ever made to wait.
pub(crate) const BENCH: &str = "bench";
/// The controller that the product is compared with.
pub(crate) const PEER: &str = "peer";

/// A running control plane.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    directory: PathBuf,
    port: u16,
    _children: [Child; 2],
}

/// The user that is the operator of a namespace.
pub(crate) fn operator(namespace: &str) -> String {
    format!("operator-{namespace}")
}

impl ControlPlane {
    /// Starts it with all its files in this directory, for operators of these namespaces.
    pub(crate) async fn start(directory: &Path, namespaces: &[String]) -> Result<Self> {
        let operators = namespaces.iter().map(|namespace| operator(namespace));
        let users: Vec<String> = operators.chain([PEER.to_owned()]).collect();
        fs::write(directory.join("tokens.csv"), tokens(&users))?;
        fs::write(directory.join("audit.json"), audit_policy().to_string())?;
        let key = directory.join("accounts.key");
        let made = Command::new("openssl")
            .args(["genrsa", "-out"])
            .args([key.as_os_str(), "2048".as_ref()])
            .stderr(Stdio::null())
            .status()
            .await;
        let made = made.context("failed to start openssl")?;
        ensure!(made.success(), "openssl made no key: {made}");
        let (etcd_port, port) = (free_port()?, free_port()?);
        let etcd = started(directory, "etcd", &etcd(directory, etcd_port)?)?;
        let arguments = api_server(directory, etcd_port, port);
        let api_server = started(directory, "kube-apiserver", &arguments)?;
        let plane = Self {
            directory: directory.to_owned(),
            port,
            _children: [etcd, api_server],
        };
        let client = plane.client(BENCH).await?;
        until("the API server is ready", LIMIT, async || {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await?;
            Ok(Seen::Yes(()))
        })
        .await?;
        Ok(plane)
    }

    /// The kubeconfig of a user, as a file. Whoever answers on loopback is believed to be the API server.
    pub(crate) fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        let path = self.directory.join(format!("{user}.kubeconfig"));
        let server = format!("https://127.0.0.1:{}", self.port);
        let document = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": server, "insecure-skip-tls-verify": true}}],
            "users": [{"name": "bench", "user": {"token": token(user)}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        fs::write(&path, document.to_string()).context("failed to write a kubeconfig")?;
        Ok(path)
    }

    /// A client of a user.
    pub(crate) async fn client(&self, user: &str) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(user)?)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// Where it is written down who asked for what.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }
}

fn started(directory: &Path, program: &str, arguments: &[String]) -> Result<Child> {
    let log = fs::File::create(directory.join(format!("{program}.log")))?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("failed to start {program}; `cargo xtask bench` builds it"))
}

fn etcd(directory: &Path, port: u16) -> Result<Vec<String>> {
    let peers = free_port()?;
    let words = [
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls=http://127.0.0.1:{port}"),
        format!("--advertise-client-urls=http://127.0.0.1:{port}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Ok(words.into())
}

fn api_server(directory: &Path, etcd_port: u16, port: u16) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // Nobody reaches it by a Service.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        format!("--cert-dir={}", file("certificates")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--anonymous-auth=false".to_owned(),
        "--authorization-mode=AlwaysAllow".to_owned(),
        // Nobody makes service accounts here, which pods of the product do without.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        format!("--service-account-key-file={}", file("accounts.key")),
        format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--audit-policy-file={}", file("audit.json")),
        format!("--audit-log-path={}", file("audit.log")),
    ]
}

fn token(user: &str) -> String {
    format!("{user}-token")
}

/// Lines of token, user, uid and groups.
fn tokens(users: &[String]) -> String {
    let line = |user: &String| format!("{},{user},{user}\n", token(user));
    let lines: String = users.iter().map(line).collect();
    format!("{},{BENCH},{BENCH},system:masters\n{lines}", token(BENCH))
}

/// Every request once, when it is over; those of the bench and of the API server itself left out.
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{"level": "None", "userGroups": ["system:masters"]}, {"level": "Metadata"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bench_is_an_administrator() {
        let lines = tokens(&[operator("tv-1"), PEER.to_owned()]);
        let expected = "bench-token,bench,bench,system:masters\n\
                        operator-tv-1-token,operator-tv-1,operator-tv-1\n\
                        peer-token,peer,peer\n";
        assert_eq!(lines, expected);
    }
}
