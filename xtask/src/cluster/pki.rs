//! Keys, certificates and tokens of a cluster, made once by openssl and kept between runs. They guard an API server
//! that nothing outside the machine can reach; they are never meant for anything else.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::layout::{API_ADDRESS, API_SERVICE, Layout, MOST_NODES, node_address, node_name};
use super::process::run;

/// Users with a kubeconfig of their own besides the nodes: name of the file, user in the API, group.
const USERS: [(&str, &str, &str); 6] = [
    ("admin", "admin", "system:masters"),
    ("kcm", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("proxy", "system:kube-proxy", ""),
    ("coredns", "coredns", ""),
    ("kwok", "kwok", ""),
];
const DAYS: &str = "3650";
const OPENSSL_LIMIT: Duration = Duration::from_secs(60);
/// Keeps openssl from adding the distribution's default extensions to ours.
const OPENSSL_CONFIG: &str = "[req]\ndistinguished_name = name\n[name]\n";
/// Written last: with it the folder is complete.
const TOKENS: &str = "tokens.csv";

/// What a certificate says.
#[derive(Debug, PartialEq)]
struct Certificate {
    file: String,
    subject: String,
    extensions: Vec<String>,
}

/// Makes what is missing.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    let folder = layout.pki();
    if folder.join(TOKENS).exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {folder:?}"))?;
    fs::write(folder.join("openssl.cnf"), OPENSSL_CONFIG)?;
    for certificate in certificates() {
        openssl(&folder, &request(&certificate))?;
    }
    let key: Vec<String> = ["genrsa", "-out", "sa.key", "2048"]
        .map(String::from)
        .into();
    openssl(&folder, &key)?;
    for (user, token) in kubeconfig_users() {
        let text = kubeconfig(&folder.join("ca.crt"), &token);
        fs::write(layout.kubeconfig(&user), text)?;
    }
    fs::write(folder.join(TOKENS), tokens()).context("failed to write the tokens")
}

fn openssl(folder: &Path, arguments: &[String]) -> Result<()> {
    run(
        Command::new("openssl").args(arguments).current_dir(folder),
        OPENSSL_LIMIT,
    )
    .map(drop)
}

/// The authority first, since it signs the others.
fn certificates() -> Vec<Certificate> {
    let names = ["", ".default", ".default.svc", ".default.svc.cluster.local"]
        .map(|suffix| format!("DNS:kubernetes{suffix}"))
        .join(",");
    let mut all = vec![
        Certificate {
            file: "ca".to_owned(),
            subject: "/CN=headend-cluster".to_owned(),
            extensions: vec![
                "basicConstraints=critical,CA:TRUE".to_owned(),
                "keyUsage=critical,keyCertSign,cRLSign".to_owned(),
            ],
        },
        leaf(
            "apiserver",
            "/CN=kube-apiserver",
            "serverAuth",
            Some(&format!(
                "{names},IP:{API_SERVICE},IP:{API_ADDRESS},IP:127.0.0.1"
            )),
        ),
        leaf(
            "kubelet-client",
            "/O=system:masters/CN=kube-apiserver-kubelet-client",
            "clientAuth",
            None,
        ),
    ];
    all.extend((1..=MOST_NODES).map(|number| {
        let (name, address) = (node_name(number), node_address(number));
        leaf(
            &name,
            &format!("/O=system:nodes/CN=system:node:{name}"),
            "serverAuth",
            Some(&format!("DNS:{name},IP:{address}")),
        )
    }));
    all
}

fn leaf(file: &str, subject: &str, usage: &str, names: Option<&str>) -> Certificate {
    let mut extensions = vec![
        "basicConstraints=critical,CA:FALSE".to_owned(),
        "keyUsage=critical,digitalSignature".to_owned(),
        format!("extendedKeyUsage={usage}"),
    ];
    extensions.extend(names.map(|names| format!("subjectAltName={names}")));
    Certificate {
        file: file.to_owned(),
        subject: subject.to_owned(),
        extensions,
    }
}

/// Arguments that make a key and a certificate signed by the authority, or by itself for the authority.
fn request(certificate: &Certificate) -> Vec<String> {
    let Certificate {
        file,
        subject,
        extensions,
    } = certificate;
    let mut arguments: Vec<String> = [
        "req",
        "-x509",
        "-config",
        "openssl.cnf",
        "-days",
        DAYS,
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]
    .map(String::from)
    .into();
    if file != "ca" {
        arguments.extend(["-CA", "ca.crt", "-CAkey", "ca.key"].map(String::from));
    }
    arguments.extend(["-subj".to_owned(), subject.clone()]);
    arguments.extend(["-keyout".to_owned(), format!("{file}.key")]);
    arguments.extend(["-out".to_owned(), format!("{file}.crt")]);
    for extension in extensions {
        arguments.extend(["-addext".to_owned(), extension.clone()]);
    }
    arguments
}

fn token(user: &str) -> String {
    format!("{user}-token")
}

/// The API server reads this once, so it names nodes that do not exist yet.
fn tokens() -> String {
    let users =
        USERS.map(|(file, user, group)| (token(file), user.to_owned(), file.to_owned(), group));
    let nodes = (1..=MOST_NODES).map(|number| {
        let name = node_name(number);
        let user = format!("system:node:{name}");
        (token(&name), user, name, "system:nodes")
    });
    users
        .into_iter()
        .chain(nodes)
        .map(|(token, user, id, group)| match group {
            "" => format!("{token},{user},{id}\n"),
            group => format!("{token},{user},{id},\"{group}\"\n"),
        })
        .collect()
}

fn kubeconfig_users() -> Vec<(String, String)> {
    USERS
        .map(|(file, ..)| file.to_owned())
        .into_iter()
        .chain((1..=MOST_NODES).map(node_name))
        .map(|user| (user.clone(), token(&user)))
        .collect()
}

fn kubeconfig(authority: &Path, token: &str) -> String {
    format!(
        r"apiVersion: v1
kind: Config
clusters:
- name: headend
  cluster:
    server: https://{API_ADDRESS}:6443
    certificate-authority: {authority}
users:
- name: headend
  user:
    token: {token}
contexts:
- name: headend
  context:
    cluster: headend
    user: headend
current-context: headend
",
        authority = authority.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_knows_all_nodes_beforehand() {
        let expected = "admin-token,admin,admin,\"system:masters\"\n\
                        kcm-token,system:kube-controller-manager,kcm\n\
                        scheduler-token,system:kube-scheduler,scheduler\n\
                        proxy-token,system:kube-proxy,proxy\n\
                        coredns-token,coredns,coredns\n\
                        kwok-token,kwok,kwok\n\
                        node-1-token,system:node:node-1,node-1,\"system:nodes\"\n\
                        node-2-token,system:node:node-2,node-2,\"system:nodes\"\n\
                        node-3-token,system:node:node-3,node-3,\"system:nodes\"\n";
        assert_eq!(tokens(), expected);
    }

    #[test]
    fn a_kubelet_serves_under_its_name_and_address() {
        let node = certificates().pop().unwrap();
        let expected = "req -x509 -config openssl.cnf -days 3650 -nodes -newkey ec -pkeyopt \
                        ec_paramgen_curve:P-256 -CA ca.crt -CAkey ca.key -subj \
                        /O=system:nodes/CN=system:node:node-3 -keyout node-3.key -out node-3.crt \
                        -addext basicConstraints=critical,CA:FALSE \
                        -addext keyUsage=critical,digitalSignature \
                        -addext extendedKeyUsage=serverAuth \
                        -addext subjectAltName=DNS:node-3,IP:198.18.0.3";
        assert_eq!(request(&node).join(" "), expected);
    }

    #[test]
    fn openssl_makes_a_chain_that_openssl_accepts() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout {
            cache: folder.path().to_owned(),
            name: "headend".to_owned(),
        };
        ensure(&layout).unwrap();
        let verify = |purpose: &str, file: &str| {
            run(
                Command::new("openssl")
                    .args([
                        "verify",
                        "-x509_strict",
                        "-CAfile",
                        "ca.crt",
                        "-purpose",
                        purpose,
                    ])
                    .arg(file)
                    .current_dir(layout.pki()),
                OPENSSL_LIMIT,
            )
        };
        for file in ["apiserver.crt", "node-1.crt", "node-3.crt"] {
            assert_eq!(verify("sslserver", file).unwrap(), format!("{file}: OK\n"));
        }
        assert!(verify("sslclient", "kubelet-client.crt").is_ok());
        assert!(verify("sslclient", "apiserver.crt").is_err());
        let before = fs::read(layout.pki().join("ca.crt")).unwrap();
        ensure(&layout).unwrap();
        assert_eq!(fs::read(layout.pki().join("ca.crt")).unwrap(), before);
    }
}
