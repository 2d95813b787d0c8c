//! From a job's source to what is opened: addresses, headers and logins that stand in mounted files are read here.
//! What is read is never logged.

use std::io;
use std::path::Path;
use std::time::Duration;

use api::connection::{JobProxy, StalkerChannel, XtreamOutput};
use api::files;
use api::job::{JobSource, SourceAddress};
use tokio::io::AsyncReadExt;
use upstream::egress::EgressPolicy;
use upstream::failure::SourceFailure;
use upstream::provider::Target;
use upstream::proxy::Proxy;
use upstream::source::{Patience, SourceRequest, Terms};
use upstream::stalker;
use upstream::xtream;
use url::Url;

/// Bytes of a mounted file that are read.
const FILE_MAXIMUM: u64 = 64 << 10;

/// What is opened for a source.
pub(super) enum Wanted {
    /// A file, by its path beneath those of the class.
    File(String),
    /// What is asked over the network.
    Target(Box<Target>),
}

/// What is opened for a source.
pub(super) async fn of(source: &JobSource) -> Result<Wanted, SourceFailure> {
    let mut headers = source.headers.clone();
    if let Some(path) = &source.headers_file {
        headers.extend(parse_headers(&read(Path::new(path), "headers").await?)?);
    }
    let user_agent = source.user_agent.clone();
    match &source.address {
        SourceAddress::Url(address) => at(address, user_agent, headers),
        SourceAddress::UrlFile(path) => {
            let address = read(Path::new(path), "address").await?;
            at(&address, user_agent, headers)
        }
        SourceAddress::Xtream(channel) => {
            granted(source)?;
            Ok(network(Target::Xtream(xtream::Channel {
                base: url(&channel.url)?,
                stream_id: channel.stream_id.clone(),
                login: login(Path::new(&channel.login_directory)).await?,
                output: match channel.output {
                    XtreamOutput::Ts => xtream::Output::Ts,
                    XtreamOutput::M3u8 => xtream::Output::M3u8,
                },
                user_agent,
                headers,
            })))
        }
        SourceAddress::Stalker(channel) => {
            granted(source)?;
            Ok(network(Target::Stalker(stalker::Channel {
                base: url(&channel.url)?,
                command: channel.command.clone(),
                identity: identity(channel).await?,
                user_agent,
                headers,
            })))
        }
    }
}

fn network(target: Target) -> Wanted {
    Wanted::Target(Box::new(target))
}

/// What stands at an address. A file is told by it as it was written: what a parser makes of its dots is not what it says.
fn at(
    address: &str,
    user_agent: Option<String>,
    headers: Vec<(String, String)>,
) -> Result<Wanted, SourceFailure> {
    if let Some(path) = files::path_of(address.trim()) {
        let path = path.map_err(|wrong| invalid(format!("the address of a file {wrong}")));
        return path.map(Wanted::File);
    }
    Ok(network(Target::Address(SourceRequest {
        url: url(address)?,
        user_agent,
        headers,
    })))
}

/// Without a grant a provider's connections would be more than its account allows.
fn granted(source: &JobSource) -> Result<(), SourceFailure> {
    match source.grant {
        Some(_) => Ok(()),
        None => Err(invalid(
            "no connection of its provider was granted to this stream".to_owned(),
        )),
    }
}

fn url(address: &str) -> Result<Url, SourceFailure> {
    Url::parse(address.trim()).map_err(|error| invalid(format!("the address is no URL ({error})")))
}

async fn identity(channel: &StalkerChannel) -> Result<stalker::Identity, SourceFailure> {
    let directory = Path::new(&channel.login_directory);
    let has_login = has(directory, "username").await;
    Ok(stalker::Identity {
        mac: mac(&word(directory, "mac").await?)?,
        serial: word_if_any(directory, "serial").await?,
        device_id: word_if_any(directory, "device-id").await?,
        device_id2: word_if_any(directory, "device-id-2").await?,
        signature: word_if_any(directory, "signature").await?,
        login: match has_login {
            true => Some(login(directory).await?),
            false => None,
        },
    })
}

/// A MAC address as portals write it.
fn mac(text: &str) -> Result<String, SourceFailure> {
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.split(':').count() == 6 && text.split(':').all(is_pair) {
        return Ok(text.to_ascii_uppercase());
    }
    let detail =
        "the key mac of the provider's Secret is not a MAC address such as 00:1A:79:00:00:01";
    Err(invalid(detail.to_owned()))
}

async fn has(directory: &Path, key: &str) -> bool {
    let exists = tokio::fs::try_exists(directory.join(key)).await;
    exists.unwrap_or(false)
}

async fn word_if_any(directory: &Path, key: &str) -> Result<Option<String>, SourceFailure> {
    match has(directory, key).await {
        true => word(directory, key).await.map(Some),
        false => Ok(None),
    }
}

async fn login(directory: &Path) -> Result<xtream::Login, SourceFailure> {
    Ok(xtream::Login {
        username: word(directory, "username").await?,
        password: word(directory, "password").await?,
    })
}

/// What a key of a mounted Secret holds, without the line's end that editors leave.
async fn word(directory: &Path, key: &str) -> Result<String, SourceFailure> {
    let text = read(&directory.join(key), key).await?;
    let word = text.trim();
    if word.is_empty() || word.chars().any(char::is_control) {
        return Err(invalid(format!(
            "the key {key} of the provider's Secret is not one line of text"
        )));
    }
    Ok(word.to_owned())
}

/// The terms of a source: its own word first.
pub(super) async fn terms(source: &JobSource, of_class: Terms) -> Result<Terms, SourceFailure> {
    let said = source.timeouts.unwrap_or_default();
    let or = |seconds: Option<i32>, otherwise| {
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(otherwise, Duration::from_secs)
    };
    let patience = of_class.patience;
    let proxy = match &source.proxy {
        Some(proxy) => Some(proxy_of(proxy, of_class.policy).await?),
        None => None,
    };
    Ok(Terms {
        patience: Patience {
            connect: or(said.connect_seconds, patience.connect),
            first_byte: or(said.first_byte_seconds, patience.first_byte),
            silence: or(said.silence_seconds, patience.silence),
        },
        policy: EgressPolicy {
            allow_private: source
                .egress
                .map_or(of_class.policy.allow_private, |egress| {
                    egress.allow_private_addresses
                }),
            ..of_class.policy
        },
        proxy,
    })
}

/// The proxy of a source. Its own address is the platform team's word, so it may be private.
async fn proxy_of(proxy: &JobProxy, of_class: EgressPolicy) -> Result<Proxy, SourceFailure> {
    let directory = proxy.login_directory.as_deref().map(Path::new);
    let login = match directory {
        Some(directory) if has(directory, "proxy-username").await => Some(xtream::Login {
            username: word(directory, "proxy-username").await?,
            password: word(directory, "proxy-password").await?,
        }),
        _ => None,
    };
    let policy = EgressPolicy {
        allow_private: true,
        ..of_class
    };
    Proxy::new(&proxy.url, proxy.resolves, login, policy)
}

async fn read(path: &Path, what: &str) -> Result<String, SourceFailure> {
    let reading = async {
        let mut text = String::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(FILE_MAXIMUM).read_to_string(&mut text).await?;
        Ok(text)
    };
    reading.await.map_err(|error: io::Error| {
        invalid(format!("the file with its {what} cannot be read ({error})"))
    })
}

/// Headers as `Name: value` lines; empty lines and lines with `#` are left out.
fn parse_headers(text: &str) -> Result<Vec<(String, String)>, SourceFailure> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| match line.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(invalid(format!(
                "line {} of its headers is not `Name: value`",
                index + 1
            ))),
        })
        .collect()
}

fn invalid(detail: String) -> SourceFailure {
    SourceFailure::InvalidRequest { detail }
}

#[cfg(test)]
mod tests {
    use api::connection::{SourceTimeouts, XtreamChannel};
    use api::job::SlotGrant;

    use super::*;
    use crate::fixtures;

    async fn target(source: &JobSource) -> Option<Target> {
        match of(source).await {
            Ok(Wanted::Target(target)) => Some(*target),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_source_is_waited_for_as_it_says_and_else_like_all_others() {
        let of_class = Terms {
            policy: EgressPolicy::default(),
            patience: Patience::default(),
            proxy: None,
        };
        let plain = fixtures::source(0, "http://a.example");
        assert_eq!(terms(&plain, of_class.clone()).await, Ok(of_class.clone()));
        let slow = JobSource {
            timeouts: Some(SourceTimeouts {
                silence_seconds: Some(12),
                ..SourceTimeouts::default()
            }),
            ..plain
        };
        let expected = Patience {
            silence: Duration::from_secs(12),
            ..Patience::default()
        };
        let said = terms(&slow, of_class.clone()).await.unwrap();
        assert_eq!(said.patience, expected);
        let inner = JobSource {
            egress: Some(api::stream_class::EgressPolicy {
                allow_private_addresses: true,
                allow_unpinned: false,
            }),
            ..slow
        };
        let said = terms(&inner, of_class).await.unwrap();
        assert!(said.policy.allow_private);
    }

    #[tokio::test]
    async fn address_and_headers_may_stand_in_mounted_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_string_lossy().into_owned()
        };
        let source = JobSource {
            address: SourceAddress::UrlFile(file("url", "http://a.example/live?key=1\n")),
            headers: vec![("X-One".to_owned(), "1".to_owned())],
            headers_file: Some(file("headers", "# login\nX-Two: a:b\n\nX-Three:c\n")),
            user_agent: Some("Box/1".to_owned()),
            ..fixtures::source(0, "")
        };
        let Some(Target::Address(request)) = target(&source).await else {
            panic!("it is an address");
        };
        assert_eq!(request.url.as_str(), "http://a.example/live?key=1");
        assert_eq!(request.user_agent.as_deref(), Some("Box/1"));
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            headers,
            [("X-One", "1"), ("X-Two", "a:b"), ("X-Three", "c")]
        );
    }

    fn of_panel(directory: &Path) -> JobSource {
        JobSource {
            address: SourceAddress::Xtream(XtreamChannel {
                url: "http://panel.example:8080".to_owned(),
                stream_id: "7".to_owned(),
                login_directory: directory.to_string_lossy().into_owned(),
                output: XtreamOutput::M3u8,
            }),
            grant: Some(SlotGrant {
                provider: "one".to_owned(),
            }),
            ..fixtures::source(0, "")
        }
    }

    #[tokio::test]
    async fn a_login_is_read_from_its_secret_each_time_and_only_for_who_was_granted_a_connection() {
        let directory = tempfile::tempdir().unwrap();
        let source = of_panel(directory.path());
        let message = of(&source).await.err().unwrap().to_string();
        assert!(message.contains("file with its username"), "{message}");
        let write = |key: &str, text: &str| {
            std::fs::write(directory.path().join(key), text).unwrap();
        };
        write("username", "user\n");
        write("password", "sec\nret");
        let message = of(&source).await.err().unwrap().to_string();
        assert!(message.contains("the key password"), "{message}");
        assert!(!message.contains("sec\nret"), "{message}");
        write("password", "secret\r\n");
        let Some(Target::Xtream(channel)) = target(&source).await else {
            panic!("it is a channel of a panel");
        };
        let login = (channel.login.username, channel.login.password);
        assert_eq!(login, ("user".to_owned(), "secret".to_owned()));
        let without = JobSource {
            grant: None,
            ..source
        };
        let message = of(&without).await.err().unwrap().to_string();
        assert!(message.contains("granted"), "{message}");
    }

    #[tokio::test]
    async fn a_proxys_login_is_read_from_the_secret_and_its_address_may_be_private() {
        let directory = tempfile::tempdir().unwrap();
        let of_class = Terms {
            policy: EgressPolicy::default(),
            patience: Patience::default(),
            proxy: None,
        };
        let through = |url: &str| JobSource {
            proxy: Some(JobProxy {
                url: url.to_owned(),
                resolves: true,
                login_directory: Some(directory.path().to_string_lossy().into_owned()),
            }),
            ..fixtures::source(0, "http://a.example")
        };
        let inner = EgressPolicy {
            allow_private: true,
            ..EgressPolicy::default()
        };
        let address = "socks5://10.0.0.1:1080";
        let proxy = |login| Proxy::new(address, true, login, inner).unwrap();
        let said = terms(&through(address), of_class.clone()).await.unwrap();
        assert_eq!(said.proxy, Some(proxy(None)));
        assert!(!said.policy.allow_private, "that is the proxy's alone");
        let write = |key: &str| std::fs::write(directory.path().join(key), "word\n").unwrap();
        write("proxy-username");
        write("proxy-password");
        let word = || "word".to_owned();
        let login = xtream::Login {
            username: word(),
            password: word(),
        };
        let said = terms(&through(address), of_class.clone()).await.unwrap();
        assert_eq!(said.proxy, Some(proxy(Some(login))));
        let local = terms(&through("http://127.0.0.1:3128"), of_class).await;
        assert!(matches!(local, Err(SourceFailure::EgressRefused { .. })));
    }

    #[tokio::test]
    async fn a_box_is_known_by_what_its_secret_has() {
        let directory = tempfile::tempdir().unwrap();
        let source = JobSource {
            address: SourceAddress::Stalker(StalkerChannel {
                url: "http://portal.example/c/".to_owned(),
                command: "ffrt http://localhost/ch/7_".to_owned(),
                login_directory: directory.path().to_string_lossy().into_owned(),
            }),
            ..of_panel(directory.path())
        };
        let write = |key: &str, text: &str| {
            std::fs::write(directory.path().join(key), text).unwrap();
        };
        write("mac", "00:1a:79:aa:bb");
        let message = of(&source).await.err().unwrap().to_string();
        assert!(
            message.contains("the key mac") && !message.contains("aa:bb"),
            "{message}"
        );
        write("mac", "00:1a:79:aa:bb:cc\n");
        write("device-id", "D1");
        let Some(Target::Stalker(channel)) = target(&source).await else {
            panic!("it is a channel of a portal");
        };
        let identity = channel.identity;
        assert_eq!(identity.mac, "00:1A:79:AA:BB:CC");
        assert_eq!(identity.device_id.as_deref(), Some("D1"));
        assert!(identity.serial.is_none() && identity.login.is_none());
        write("username", "user");
        assert!(of(&source).await.is_err(), "a login has two parts");
    }

    #[tokio::test]
    async fn a_file_is_told_by_its_address_and_is_nowhere_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "file:///loops/one.ts\n").unwrap();
        let mounted = JobSource {
            address: SourceAddress::UrlFile(file.path().to_string_lossy().into_owned()),
            ..fixtures::source(0, "")
        };
        for source in [fixtures::source(0, "file:///loops/one.ts"), mounted] {
            let Ok(Wanted::File(path)) = of(&source).await else {
                panic!("it is a file");
            };
            assert_eq!(path, "loops/one.ts");
        }
        let out = of(&fixtures::source(0, "file:///loops/../../one.ts")).await;
        let message = out.err().unwrap().to_string();
        assert!(message.contains("has dots for directories"), "{message}");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_without_what_was_read() {
        let missing = JobSource {
            address: SourceAddress::UrlFile("/nonexistent/url".to_owned()),
            ..fixtures::source(0, "")
        };
        let message = of(&missing).await.err().unwrap().to_string();
        assert!(message.contains("file with its address"), "{message}");
        let message = of(&fixtures::source(0, "secret words"))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.contains("no URL") && !message.contains("secret"),
            "{message}"
        );
        let message = parse_headers("X-One: 1\nsecret").unwrap_err().to_string();
        assert!(
            message.contains("line 2") && !message.contains("secret"),
            "{message}"
        );
    }
}
