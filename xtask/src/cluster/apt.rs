//! Where Debian comes from: read from this machine's own apt configuration, so that images are built from the same
//! archive and through the same proxy, and nothing names a host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::run;

/// The release that images are made of.
pub(crate) const RELEASE: &str = "trixie";

const LIMIT: Duration = Duration::from_secs(300);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Debian's archive as this machine reaches it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Archive {
    /// Address of each suite of [`RELEASE`].
    suites: Vec<(String, String)>,
    /// apt's settings for reaching it.
    settings: Vec<String>,
}

impl Archive {
    /// Reads apt's configuration.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let listing = [
            "indextargets",
            "--format",
            "$(LABEL)|$(RELEASE)|$(REPO_URI)",
            "Created-By: Packages",
            "Origin: Debian",
        ];
        let list = || run(Command::new("apt-get").args(listing), LIMIT);
        let mut suites = suites(&list()?);
        if suites.is_empty() {
            // Who offers a source is only known once its index is there.
            run(Command::new("apt-get").args(["update", "-q"]), LIMIT)?;
            suites = self::suites(&list()?);
        }
        let settings = run(Command::new("apt-config").args(["dump", "Acquire"]), LIMIT)?;
        Ok(Self {
            suites,
            settings: settings_for_images(&settings),
        })
    }

    /// Makes a minimal system in a folder, for a base image.
    pub(crate) fn bootstrap(&self, folder: &Path) -> Result<()> {
        let (_, address) = self
            .suites
            .iter()
            .find(|(suite, _)| suite == RELEASE)
            .context("apt's configuration has no Debian archive to make a base image from")?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--", "debootstrap"])
            .args([
                "--variant=minbase",
                &format!("--keyring={KEYRING}"),
                RELEASE,
            ])
            .args([folder.as_os_str(), address.as_ref()]);
        if let Some(proxy) = self.proxy() {
            command.env("http_proxy", proxy);
        }
        run(&mut command, Duration::from_secs(20 * 60)).map(drop)
    }

    /// Writes apt's configuration for use while an image is built: what to mount, and where.
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
        let (sources, settings) = (folder.join("sources.list.d"), folder.join("apt.conf.d"));
        for part in [&sources, &settings] {
            fs::create_dir_all(part).with_context(|| format!("failed to create {part:?}"))?;
        }
        fs::write(sources.join("debian.sources"), self.sources())?;
        fs::write(settings.join("settings.conf"), self.settings.concat())?;
        if self
            .suites
            .iter()
            .any(|(_, address)| address.starts_with("https:"))
        {
            // A minimal image trusts no authority yet.
            fs::copy(AUTHORITIES, settings.join("authorities.crt"))
                .with_context(|| format!("failed to copy {AUTHORITIES}"))?;
            let setting = "Acquire::https::CAInfo \"/etc/apt/apt.conf.d/authorities.crt\";\n";
            fs::write(settings.join("authorities.conf"), setting)?;
        }
        Ok(vec![
            (sources, "/etc/apt/sources.list.d"),
            (settings, "/etc/apt/apt.conf.d"),
        ])
    }

    fn sources(&self) -> String {
        self.suites
            .iter()
            .map(|(suite, address)| {
                format!(
                    "Types: deb\nURIs: {address}\nSuites: {suite}\nComponents: main\n\
                     Signed-By: {KEYRING}\n\n"
                )
            })
            .collect()
    }

    fn proxy(&self) -> Option<&str> {
        let value = self
            .settings
            .iter()
            .find_map(|line| line.strip_prefix("Acquire::http::Proxy \""))?;
        value.strip_suffix("\";\n")
    }
}

/// The suites of [`RELEASE`] that correspond to this machine's, from lines `label|suite|address`.
fn suites(listing: &str) -> Vec<(String, String)> {
    let mut suites: Vec<(String, String)> = Vec::new();
    for line in listing.lines() {
        let mut fields = line.split('|');
        let (Some(label), Some(suite), Some(address)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let part = match label {
            "Debian-Security" => "-security",
            "Debian" if suite.ends_with("-updates") => "-updates",
            "Debian" if !suite.contains('-') => "",
            _ => continue,
        };
        let wanted = format!("{RELEASE}{part}");
        if !suites.iter().any(|(known, _)| *known == wanted) {
            suites.push((wanted, address.to_owned()));
        }
    }
    suites
}

/// Single settings of apt's `Acquire` tree: not lists, which would be added to those of the image, and nothing that
/// runs a program of this machine.
fn settings_for_images(dump: &str) -> Vec<String> {
    let is_passed_on = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        !name.ends_with("::")
            && !line.ends_with("\"\";")
            && !name.starts_with("Acquire::IndexTargets")
            && !name.contains("Proxy-Auto-Detect")
            && !name.contains("ProxyAutoDetect")
    };
    dump.lines()
        .filter(|line| line.starts_with("Acquire::"))
        .filter(is_passed_on)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
Debian-Security|bookworm-security|http://mirror/security/
Debian|bookworm-updates|http://mirror/debian/
Debian|bookworm|http://mirror/debian/
Debian|bookworm|http://second/debian/
Debian Backports|bookworm-backports|http://mirror/debian/
Somebody|stable|http://else/
";

    #[test]
    fn each_suite_of_the_machine_becomes_the_same_of_the_images_release() {
        let expected = [
            ("trixie-security", "http://mirror/security/"),
            ("trixie-updates", "http://mirror/debian/"),
            ("trixie", "http://mirror/debian/"),
        ]
        .map(|(suite, address)| (suite.to_owned(), address.to_owned()));
        assert_eq!(suites(LISTING), expected);
    }

    #[test]
    fn only_plain_settings_are_passed_on() {
        let dump = "Acquire \"\";\n\
                    Acquire::Check-Valid-Until \"false\";\n\
                    Acquire::http::Proxy \"http://proxy:3128\";\n\
                    Acquire::http::Proxy-Auto-Detect \"/usr/bin/detect\";\n\
                    Acquire::Languages:: \"none\";\n\
                    Acquire::IndexTargets::deb::Packages::Optional \"0\";\n\
                    APT::Architecture \"amd64\";\n";
        let settings = settings_for_images(dump);
        assert_eq!(
            settings,
            [
                "Acquire::Check-Valid-Until \"false\";\n",
                "Acquire::http::Proxy \"http://proxy:3128\";\n"
            ]
        );
        let archive = Archive {
            suites: Vec::new(),
            settings,
        };
        assert_eq!(archive.proxy(), Some("http://proxy:3128"));
    }

    #[test]
    fn what_is_mounted_into_a_build_names_the_machines_archive() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive {
            suites: vec![("trixie".to_owned(), "https://mirror/debian/".to_owned())],
            settings: vec!["Acquire::Check-Date \"false\";\n".to_owned()],
        };
        let mounts = archive.write(folder.path()).unwrap();
        let targets: Vec<&str> = mounts.iter().map(|(_, target)| *target).collect();
        assert_eq!(targets, ["/etc/apt/sources.list.d", "/etc/apt/apt.conf.d"]);
        let sources = fs::read_to_string(mounts[0].0.join("debian.sources")).unwrap();
        let expected = format!(
            "Types: deb\nURIs: https://mirror/debian/\nSuites: trixie\nComponents: main\n\
             Signed-By: {KEYRING}\n\n"
        );
        assert_eq!(sources, expected);
        assert!(mounts[1].0.join("authorities.conf").exists());
    }
}
