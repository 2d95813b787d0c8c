//! The gateway's settings: everything it reads from its environment. Values that cannot be right are refused before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use presence::redis::RedisSettings;
use runtime::telemetry::LogSettings;
use runtime::trace::TraceSettings;

use crate::access_log::Share;
use crate::client::{Network, Proxies, ProxyHeader};
use crate::edge::rate::RateLimits;
use crate::edge::tls::CertificateFiles;
use crate::http::origins::Origins;

/// Lets viewers in and serves them: channels, sessions, playlists, segments.
#[derive(Debug, Parser)]
#[command(name = "headend-gateway", version)]
pub struct Settings {
    /// Logs.
    #[command(flatten)]
    pub log: LogSettings,
    /// Traces of starts.
    #[command(flatten)]
    pub trace: TraceSettings,
    /// Address for viewers.
    #[arg(long, env = "HEADEND_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Address for probes and metrics.
    #[arg(long, env = "HEADEND_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// This gateway among those of the release, and whose streams it serves.
    #[command(flatten)]
    pub place: PlaceSettings,
    /// The presence store.
    #[command(flatten)]
    pub redis: RedisSettings,
    /// Where channels and users are: in the files of HEADEND_CATALOG, or in Redis, where they can be changed.
    #[arg(
        long,
        env = "HEADEND_CATALOG_STORE",
        value_enum,
        default_value = "files"
    )]
    pub catalog_store: CatalogPlace,
    /// Files it reads.
    #[command(flatten)]
    pub files: FileSettings,
    /// How it serves.
    #[command(flatten)]
    pub serving: ServingSettings,
    /// What it takes from whom.
    #[command(flatten)]
    pub limits: LimitSettings,
    /// TLS for viewers.
    #[command(flatten)]
    pub tls: TlsSettings,
}

/// Where channels and users are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CatalogPlace {
    /// In files, which are read again when they change.
    Files,
    /// In the Redis of presence, which then has to keep what it was told (`appendfsync always`).
    Redis,
}

/// Where a gateway stands.
#[derive(Debug, clap::Args)]
pub struct PlaceSettings {
    /// Namespace of the LiveStreams.
    #[arg(long, env = "HEADEND_NAMESPACE")]
    pub namespace: String,
    /// The release.
    #[arg(long, env = "HEADEND_INSTANCE")]
    pub instance: String,
    /// Name of this gateway among those of the release: the pod's.
    #[arg(long, env = "HEADEND_GATEWAY_NAME")]
    pub gateway_name: String,
}

/// Files that a gateway reads.
#[derive(Debug, clap::Args)]
pub struct FileSettings {
    /// Files and directories with channels and users, separated by commas.
    #[arg(long, env = "HEADEND_CATALOG", value_delimiter = ',')]
    pub catalog: Vec<PathBuf>,
    /// Directory with the keys `session`, `segment` and `token`.
    #[arg(long, env = "HEADEND_KEYS_DIRECTORY")]
    pub keys_directory: PathBuf,
    /// File with those who may use the admin API: YAML with `administrators:`, a list of { name, role, tokenHash }. Without it the API is off.
    #[arg(long, env = "HEADEND_ADMINISTRATORS")]
    pub administrators: Option<PathBuf>,
    /// Where the volume of the transcoder pods is mounted.
    #[arg(long, env = "HEADEND_OUTPUT_DIRECTORY")]
    pub output_directory: PathBuf,
    /// The built start page; by default where the image has it, else where the build leaves it.
    #[arg(long, env = "HEADEND_WEB_DIRECTORY")]
    pub web_directory: Option<PathBuf>,
}

/// How a gateway serves.
#[derive(Debug, clap::Args)]
pub struct ServingSettings {
    /// How long a playlist request of a starting channel is held, in seconds.
    #[arg(long, env = "HEADEND_HOLD_SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=30))]
    pub hold_seconds: u64,
    /// Memory for recent segments, in mebibytes.
    #[arg(long, env = "HEADEND_CACHE_MEBIBYTES", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub cache_mebibytes: u64,
    /// How long it serves on after it was told to end, in seconds.
    #[arg(long, env = "HEADEND_DRAIN_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub drain_seconds: u64,
    /// Origins whose pages may read playlists and segments, separated by commas; * is all of them, nothing is none.
    #[arg(long, env = "HEADEND_CORS_ORIGINS", default_value = "*")]
    pub cors_origins: Origins,
    /// Share of the requests that succeed, from 0 to 1, that is written to the log (target headend::access), beside those that do not; off by default.
    #[arg(long, env = "HEADEND_ACCESS_LOG_SAMPLE")]
    pub access_log_sample: Option<Share>,
}

/// What a gateway takes from whom.
#[derive(Debug, clap::Args)]
pub struct LimitSettings {
    /// Networks of proxies that are believed where requests come from, separated by commas.
    #[arg(long, env = "HEADEND_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// The header in which they tell it; the other one is not looked at.
    #[arg(
        long,
        env = "HEADEND_TRUSTED_PROXY_HEADER",
        value_enum,
        ignore_case = true,
        default_value_t
    )]
    pub trusted_proxy_header: ProxyHeader,
    /// Requests a second from one address, and of one user, for master playlists, continuous streams and the API; 0 is no limit.
    #[arg(long, env = "HEADEND_STARTS_PER_SECOND", default_value_t = 10)]
    pub starts_per_second: u32,
    /// Requests a second from one address for media playlists and segments, and of one user for media playlists; 0 is no limit.
    #[arg(long, env = "HEADEND_MEDIA_PER_SECOND", default_value_t = 30)]
    pub media_per_second: u32,
    /// Channels a minute that one user may start which nobody watches, five of them at once; 0 is no limit.
    #[arg(long, env = "HEADEND_COLD_STARTS_PER_MINUTE", default_value_t = 10)]
    pub cold_starts_per_minute: u32,
    /// Connections that one address may have open, proxies that are believed apart; 0 is no limit.
    #[arg(long, env = "HEADEND_CONNECTIONS_PER_ADDRESS", default_value_t = 50)]
    pub connections_per_address: usize,
}

/// TLS for viewers; none where no certificate is named.
#[derive(Debug, clap::Args)]
pub struct TlsSettings {
    /// The certificate and those that lead to its authority, in PEM. Taken over again when it changes.
    #[arg(
        long = "tls-certificate",
        env = "HEADEND_TLS_CERTIFICATE",
        requires = "tls_key"
    )]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(
        long = "tls-key",
        env = "HEADEND_TLS_KEY",
        requires = "tls_certificate"
    )]
    pub tls_key: Option<PathBuf>,
}

impl TlsSettings {
    /// The certificate's files.
    #[must_use]
    pub fn files(&self) -> Option<CertificateFiles> {
        let files = self.tls_certificate.clone().zip(self.tls_key.clone());
        files.map(|(certificate, key)| CertificateFiles { certificate, key })
    }
}

/// Requests that may be held at once.
pub const HOLDS: usize = 5_000;

impl ServingSettings {
    /// How requests are held.
    #[must_use]
    pub fn hold(&self) -> crate::streams::HoldLimits {
        crate::streams::HoldLimits {
            time: Duration::from_secs(self.hold_seconds),
            count: HOLDS,
        }
    }
}

impl LimitSettings {
    /// The proxies that are believed.
    #[must_use]
    pub fn proxies(&self) -> Proxies {
        Proxies {
            networks: self.trusted_proxies.clone(),
            header: self.trusted_proxy_header,
        }
    }

    /// How often addresses and users may ask.
    #[must_use]
    pub fn rates(&self) -> RateLimits {
        RateLimits {
            starts_per_second: self.starts_per_second,
            media_per_second: self.media_per_second,
            cold_starts_per_minute: self.cold_starts_per_minute,
        }
    }
}

impl FileSettings {
    /// The built start page.
    #[must_use]
    pub fn web_directory(&self) -> PathBuf {
        self.web_directory
            .clone()
            .unwrap_or_else(default_web_directory)
    }
}

/// Where the image has the start page, else where the build leaves it.
#[must_use]
pub fn default_web_directory() -> PathBuf {
    let image = PathBuf::from("/usr/share/headend/web");
    if image.is_dir() {
        image
    } else {
        PathBuf::from("gateway/web/dist")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const REQUIRED: [&str; 13] = [
        "headend-gateway",
        "--namespace",
        "tv",
        "--instance",
        "tv-one",
        "--gateway-name",
        "gateway-0",
        "--catalog",
        "/etc/headend/catalog,/etc/headend/users",
        "--keys-directory",
        "/etc/headend/keys",
        "--output-directory",
        "/output",
    ];

    fn parse(further: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from(REQUIRED.iter().chain(further))
    }

    #[test]
    fn the_settings_are_a_sound_command_line() {
        Settings::command().debug_assert();
    }

    #[test]
    fn only_what_has_no_sensible_default_must_be_given() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.listen, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(settings.files.catalog.len(), 2);
        assert_eq!(settings.catalog_store, CatalogPlace::Files);
        let stored = parse(&["--catalog-store", "redis"]).unwrap();
        assert_eq!(stored.catalog_store, CatalogPlace::Redis);
        assert_eq!(settings.serving.hold().time, Duration::from_secs(8));
        assert!(Settings::try_parse_from(["headend-gateway"]).is_err());
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (option, value) in [
            ("--hold-seconds", "0"),
            ("--hold-seconds", "31"),
            ("--cache-mebibytes", "0"),
            ("--trusted-proxies", "10.0.0.0/33"),
            ("--trusted-proxy-header", "X-Real-IP"),
            ("--starts-per-second", "many"),
            ("--cors-origins", "tv.example"),
            ("--access-log-sample", "1.5"),
            ("--tls-certificate", "tls.crt"),
            ("--listen", "nowhere"),
            ("--catalog-store", "nowhere"),
        ] {
            let message = parse(&[option, value]).unwrap_err().to_string();
            assert!(message.contains(option), "{message}");
        }
        let header = ["--trusted-proxy-header", "Forwarded"];
        let settings = parse(&header).unwrap();
        assert_eq!(settings.limits.proxies().header, ProxyHeader::Forwarded);
        let settings = parse(&["--trusted-proxies", "10.0.0.0/8,::1"]).unwrap();
        assert_eq!(settings.limits.proxies().networks.len(), 2);
        assert_eq!(settings.limits.proxies().header, ProxyHeader::XForwardedFor);
    }
}
