//! What a LiveStream's spec and its class come to together: the one validated form that everything behind it works with.
//! Never looks at pods, status or time.

mod revision;

use std::collections::BTreeMap;
use std::time::Duration;

use api::condition::Reason;
use api::job::{JobClass, JobSource, SourceAddress};
use api::live_stream::{RequestHeader, SecretKeyReference, Source, WhenIdle};
use api::names::SOURCES_MOUNT;
use api::stream_class::{DEFAULT_CLASS, OutputMode, PodSettings, Preset, TranscodeMode};
use api::{LiveStreamSpec, StreamClassSpec};

use crate::provider::{self, Providers};

/// What is known of the class that a stream names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ClassState {
    /// No object has that name.
    Missing,
    /// There is an object and it cannot be read.
    Malformed(String),
    /// The class.
    Found(Box<StreamClassSpec>),
}

/// How a stream runs, with everything resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effective {
    pub(crate) class: JobClass,
    /// Every source, each as if it were granted: an attempt gets those of one account, see [`Effective::granted`].
    pub(crate) sources: Vec<JobSource>,
    /// Those that an attempt goes on with when it is granted another account, see [`Effective::mounted`].
    pub(crate) reserve: Vec<JobSource>,
    /// Secrets that the sources need, as files below [`SOURCES_MOUNT`].
    pub(crate) files: Vec<SecretFile>,
    /// The claim with the files that sources may be.
    pub(crate) files_claim: Option<String>,
    pub(crate) output: OutputMode,
    pub(crate) byte_limit: u64,
    pub(crate) pod: PodSettings,
    /// Changes with what people write of class and sources.
    pub(crate) revision: String,
    /// Of each Provider of its sources, changes with what people write of the way to its channels.
    pub(crate) provider_revisions: BTreeMap<String, String>,
}

impl Effective {
    /// What an attempt has with a connection of that Provider, or of none: sources that need no connection are always in it.
    pub(crate) fn granted(&self, provider: Option<&str>) -> Self {
        let is_granted = |of: Option<&str>| of.is_none() || of == provider;
        let mut granted = self.clone();
        granted
            .sources
            .retain(|source| is_granted(provider_of(source)));
        granted
            .files
            .retain(|file| is_granted(file.provider.as_deref()));
        granted
            .provider_revisions
            .retain(|name, _| provider == Some(name.as_str()));
        granted
    }

    /// What a pod has that is made for an attempt: likewise, with everything of other accounts in reserve. Their logins need not be there.
    pub(crate) fn mounted(&self, provider: Option<&str>) -> Self {
        let is_reserve = |of: Option<&str>| of.is_some() && of != provider;
        let reserve = self
            .sources
            .iter()
            .filter(|source| is_reserve(provider_of(source)));
        let files = self.files.iter().map(|file| SecretFile {
            optional: file.optional || is_reserve(file.provider.as_deref()),
            ..file.clone()
        });
        Self {
            reserve: reserve.cloned().collect(),
            files: files.collect(),
            provider_revisions: self.provider_revisions.clone(),
            ..self.granted(provider)
        }
    }

    /// The Providers of the sources in their order, each once; `None` stands for those that need none.
    pub(crate) fn accounts(&self) -> Vec<Option<&str>> {
        let mut accounts = Vec::new();
        for source in &self.sources {
            let provider = provider_of(source);
            if !accounts.contains(&provider) {
                accounts.push(provider);
            }
        }
        accounts
    }
}

/// The Provider that a source needs a connection of.
pub(crate) fn provider_of(source: &JobSource) -> Option<&str> {
    source.grant.as_ref().map(|grant| grant.provider.as_str())
}

/// A key of a Secret, mounted as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFile {
    pub(crate) secret: String,
    pub(crate) key: String,
    /// Relative to [`SOURCES_MOUNT`].
    pub(crate) path: String,
    /// The Provider whose login it is of.
    pub(crate) provider: Option<String>,
    /// The Secret need not have the key.
    pub(crate) optional: bool,
}

/// Why a stream cannot run as it is: somebody has to change the spec, or make what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// What nobody watching means for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdleRule {
    pub(crate) when_idle: WhenIdle,
    pub(crate) timeout: Duration,
}

/// The idle rule holds also for a stream that cannot run: what nobody asks for is collected all the same.
pub(crate) fn idle_rule(spec: &LiveStreamSpec, class: &ClassState) -> IdleRule {
    let of_class = match class {
        ClassState::Found(class) => class.idle_timeout_seconds,
        ClassState::Missing | ClassState::Malformed(_) => {
            StreamClassSpec::default().idle_timeout_seconds
        }
    };
    let seconds = spec.idle_timeout_seconds.unwrap_or(of_class);
    IdleRule {
        when_idle: spec.when_idle,
        timeout: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
    }
}

/// The stream's own word first, then its class's; its Providers' for what comes from them.
pub(crate) fn effective(
    spec: &LiveStreamSpec,
    class: &ClassState,
    providers: &Providers,
) -> Result<Effective, Refusal> {
    let class = find(&spec.class_name, class)?;
    let (sources, files) = sources(&spec.sources, providers)?;
    Ok(Effective {
        provider_revisions: provider_revisions(&spec.sources, providers),
        ..made(spec, &class, sources, files)
    })
}

fn provider_revisions(sources: &[Source], providers: &Providers) -> BTreeMap<String, String> {
    let channels = sources.iter().filter_map(|source| source.provider.as_ref());
    let revisions = channels.filter_map(|channel| {
        let spec = providers.get(&channel.name)?.as_ref().ok()?;
        Some((channel.name.clone(), revision::of_provider(spec)))
    });
    revisions.collect()
}

/// What a stream of a class has that says nothing of its own, with the login of a Provider: what its pods are made of that wait.
///
/// # Errors
/// Why none of them could be made.
pub(crate) fn pooled(
    class: &StreamClassSpec,
    provider: Option<&str>,
    providers: &Providers,
) -> Result<Effective, String> {
    let files = match provider {
        None => Vec::new(),
        Some(name) => match providers.get(name) {
            Some(Ok(spec)) => provider::login(name, spec),
            Some(Err(error)) => {
                return Err(format!("the Provider {name:?} cannot be read: {error}"));
            }
            None => return Err(format!("there is no Provider {name:?}")),
        },
    };
    Ok(made(&LiveStreamSpec::default(), class, Vec::new(), files))
}

fn made(
    spec: &LiveStreamSpec,
    class: &StreamClassSpec,
    sources: Vec<JobSource>,
    files: Vec<SecretFile>,
) -> Effective {
    Effective {
        class: JobClass::resolve(spec, class),
        sources,
        reserve: Vec::new(),
        files,
        files_claim: class.files.as_ref().map(|files| files.claim_name.clone()),
        output: class.output,
        byte_limit: u64::try_from(class.output_limit_mebibytes).unwrap_or(0) << 20,
        revision: revision::revision(spec, class),
        provider_revisions: BTreeMap::new(),
        pod: class.pod.clone(),
    }
}

fn find(name: &str, class: &ClassState) -> Result<StreamClassSpec, Refusal> {
    match class {
        ClassState::Found(class) => Ok((**class).clone()),
        ClassState::Missing if name == DEFAULT_CLASS => Ok(StreamClassSpec::default()),
        ClassState::Missing => Err(Refusal {
            reason: Reason::ClassNotFound,
            message: format!(
                "there is no StreamClass {name:?}: create it, or change spec.className"
            ),
        }),
        ClassState::Malformed(error) => Err(Refusal {
            reason: Reason::InvalidSpec,
            message: format!("the StreamClass {name:?} cannot be read: {error}"),
        }),
    }
}

fn sources(
    sources: &[Source],
    providers: &Providers,
) -> Result<(Vec<JobSource>, Vec<SecretFile>), Refusal> {
    let mut files = Vec::new();
    let mut jobs = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        jobs.push(job_source(index, source, providers, &mut files)?);
    }
    if jobs.is_empty() {
        return Err(invalid("spec.sources is empty: name one source".to_owned()));
    }
    Ok((jobs, files))
}

fn job_source(
    index: usize,
    source: &Source,
    providers: &Providers,
    files: &mut Vec<SecretFile>,
) -> Result<JobSource, Refusal> {
    let number = i32::try_from(index).unwrap_or(i32::MAX);
    let provider = source.provider.as_ref();
    let mounted = |files: &mut Vec<SecretFile>, secret: &SecretKeyReference, name: &str| {
        let path = format!("{index}/{name}");
        let file = format!("{SOURCES_MOUNT}/{path}");
        files.push(SecretFile {
            secret: secret.name.clone(),
            key: secret.key.clone(),
            path,
            provider: provider.map(|channel| channel.name.clone()),
            optional: false,
        });
        file
    };
    let job = match (&source.url, &source.url_secret_ref, provider) {
        (Some(url), None, None) => JobSource::new(number, SourceAddress::Url(url.clone())),
        (None, Some(secret), None) => JobSource::new(
            number,
            SourceAddress::UrlFile(mounted(files, secret, "url")),
        ),
        (None, None, Some(channel)) => {
            let state = providers.get(&channel.name);
            let (job, login) = provider::source(number, channel, state)?;
            for file in login {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
            job
        }
        _ => {
            return Err(invalid(format!(
                "spec.sources[{index}] needs exactly one of url, urlSecretRef and provider"
            )));
        }
    };
    let headers = source.headers_secret_ref.as_ref();
    let headers_file = headers.map(|secret| mounted(files, secret, "headers"));
    Ok(JobSource {
        user_agent: source.user_agent.clone().or(job.user_agent),
        headers_file,
        headers: source.headers.iter().map(header).collect(),
        timeouts: match (source.timeouts, job.timeouts) {
            (Some(own), Some(of_provider)) => Some(provider::own_first(own, of_provider)),
            (own, of_provider) => own.or(of_provider),
        },
        ..job
    })
}

fn header(header: &RequestHeader) -> (String, String) {
    (header.name.clone(), header.value.clone())
}

pub(crate) fn invalid(message: String) -> Refusal {
    Refusal {
        reason: Reason::InvalidSpec,
        message,
    }
}

/// Heights of the renditions that may have to be encoded, for what a pod is given when its class does not say.
pub(crate) fn encoded_heights(class: &JobClass) -> Vec<i32> {
    let of_preset: &[i32] = match class.preset {
        Preset::Source => &[],
        Preset::Low => &[360],
        Preset::Medium => &[480, 360],
        Preset::High | Preset::Ultra => &[720, 480, 360],
    };
    match (class.mode, class.ladder.is_empty()) {
        (TranscodeMode::Copy, _) => Vec::new(),
        (_, false) => class.ladder.iter().map(|rung| rung.height).collect(),
        (TranscodeMode::Transcode, true) if of_preset.is_empty() => vec![1080],
        (TranscodeMode::Auto | TranscodeMode::Transcode, true) => of_preset.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use api::stream_class::Rung;

    use super::*;

    fn spec() -> LiveStreamSpec {
        LiveStreamSpec {
            class_name: DEFAULT_CLASS.to_owned(),
            sources: vec![Source {
                url: Some("http://source.example/one.ts".to_owned()),
                ..Source::default()
            }],
            ..LiveStreamSpec::default()
        }
    }

    fn refused(spec: &LiveStreamSpec, class: &ClassState) -> Refusal {
        effective(spec, class, &Providers::new()).expect_err("must be refused")
    }

    #[test]
    fn the_default_class_needs_no_object_and_every_other_does() {
        let effective = effective(&spec(), &ClassState::Missing, &Providers::new()).unwrap();
        assert_eq!(effective.class.playlist_duration_seconds, 12);
        assert_eq!(effective.byte_limit, 512 << 20);
        let other = LiveStreamSpec {
            class_name: "sport".to_owned(),
            ..spec()
        };
        assert_eq!(
            refused(&other, &ClassState::Missing),
            Refusal {
                reason: Reason::ClassNotFound,
                message: "there is no StreamClass \"sport\": create it, or change spec.className"
                    .to_owned(),
            }
        );
    }

    #[test]
    fn a_class_that_cannot_be_read_is_an_invalid_spec_that_says_so() {
        let refusal = refused(&spec(), &ClassState::Malformed("missing field".to_owned()));
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert!(refusal.message.contains("missing field"), "{refusal:?}");
    }

    #[test]
    fn the_streams_own_timeout_comes_before_its_classs() {
        let class = ClassState::Found(Box::new(StreamClassSpec {
            idle_timeout_seconds: 60,
            ..StreamClassSpec::default()
        }));
        let own = LiveStreamSpec {
            idle_timeout_seconds: Some(20),
            when_idle: WhenIdle::Delete,
            ..spec()
        };
        let rule = |when_idle, seconds| IdleRule {
            when_idle,
            timeout: Duration::from_secs(seconds),
        };
        assert_eq!(idle_rule(&spec(), &class), rule(WhenIdle::ScaleToZero, 60));
        assert_eq!(idle_rule(&own, &class), rule(WhenIdle::Delete, 20));
        let default = rule(WhenIdle::ScaleToZero, 300);
        assert_eq!(idle_rule(&spec(), &ClassState::Missing), default);
    }

    #[test]
    fn secrets_become_files_and_never_text() {
        let key = |name: &str, key: &str| SecretKeyReference {
            name: name.to_owned(),
            key: key.to_owned(),
        };
        let two = LiveStreamSpec {
            sources: vec![
                spec().sources.remove(0),
                Source {
                    url_secret_ref: Some(key("headend-source-a", "address")),
                    headers_secret_ref: Some(key("headend-source-b", "headers")),
                    ..Source::default()
                },
            ],
            ..spec()
        };
        let effective = effective(&two, &ClassState::Missing, &Providers::new()).unwrap();
        assert_eq!(
            effective.sources[1].address,
            SourceAddress::UrlFile("/etc/headend/sources/1/url".to_owned())
        );
        assert_eq!(
            effective.sources[1].headers_file.as_deref(),
            Some("/etc/headend/sources/1/headers")
        );
        let file = |secret: &str, key: &str, path: &str| SecretFile {
            secret: secret.to_owned(),
            key: key.to_owned(),
            path: path.to_owned(),
            provider: None,
            optional: false,
        };
        assert_eq!(
            effective.files,
            [
                file("headend-source-a", "address", "1/url"),
                file("headend-source-b", "headers", "1/headers")
            ]
        );
    }

    #[test]
    fn sources_that_cannot_be_played_are_named() {
        for (bad, named) in [
            (
                LiveStreamSpec {
                    sources: vec![Source::default()],
                    ..spec()
                },
                "spec.sources[0] needs exactly one",
            ),
            (
                LiveStreamSpec {
                    sources: Vec::new(),
                    ..spec()
                },
                "spec.sources is empty",
            ),
        ] {
            let refusal = refused(&bad, &ClassState::Missing);
            assert_eq!(refusal.reason, Reason::InvalidSpec);
            assert!(refusal.message.contains(named), "{refusal:?}");
        }
    }

    #[test]
    fn what_is_encoded_follows_mode_ladder_and_preset_in_this_order() {
        let class = |mode, preset, ladder: &[i32]| {
            let ladder = ladder.iter().map(|height| Rung {
                height: *height,
                video_kilobits_per_second: 1000,
            });
            let class = StreamClassSpec {
                mode,
                preset,
                ladder: ladder.collect(),
                ..StreamClassSpec::default()
            };
            effective(
                &spec(),
                &ClassState::Found(Box::new(class)),
                &Providers::new(),
            )
            .unwrap()
            .class
        };
        for (mode, preset, ladder, heights) in [
            (TranscodeMode::Copy, Preset::High, &[480][..], &[][..]),
            (TranscodeMode::Auto, Preset::Source, &[], &[]),
            (TranscodeMode::Transcode, Preset::Source, &[], &[1080]),
            (TranscodeMode::Auto, Preset::Ultra, &[], &[720, 480, 360]),
            (TranscodeMode::Auto, Preset::High, &[540, 270], &[540, 270]),
        ] {
            assert_eq!(encoded_heights(&class(mode, preset, ladder)), heights);
        }
    }
}
