//! The job document of one attempt of a local stream: what the operator writes in a cluster. Pure.

use std::path::{Path, PathBuf};

use api::job::{
    JOB_VERSION, JobClass, JobOutput, JobSource, ResumeFloor, SourceAddress, StreamIdentity,
    TranscodeJob,
};
use api::live_stream::{RequestHeader, Source};
use api::names;
use api::{LiveStreamSpec, StreamClassSpec};
use runtime::trace::TraceContext;

/// What an attempt is made from.
pub(crate) struct Plan<'a> {
    pub(crate) identity: &'a StreamIdentity,
    pub(crate) spec: &'a LiveStreamSpec,
    pub(crate) class: &'a StreamClassSpec,
    pub(crate) attempt: i32,
    pub(crate) resume: ResumeFloor,
    /// Where all streams write.
    pub(crate) output: &'a Path,
    /// Where the files are that sources may name; none may where there is none.
    pub(crate) files: Option<&'a Path>,
    /// The trace of the start that the attempt belongs to.
    pub(crate) trace: Option<TraceContext>,
}

impl Plan<'_> {
    /// The attempt's own directory, laid out as on a cluster's volume.
    pub(crate) fn directory(&self) -> PathBuf {
        let StreamIdentity { name, uid, .. } = self.identity;
        let pod = names::pod_name(name, uid, self.attempt);
        self.output.join(names::PODS_DIRECTORY).join(pod)
    }

    /// The job document.
    pub(crate) fn job(&self) -> TranscodeJob {
        let sources = self.spec.sources.iter().enumerate();
        TranscodeJob {
            version: JOB_VERSION,
            stream: self.identity.clone(),
            attempt: self.attempt,
            sources: sources.filter_map(source).collect(),
            reserve: Vec::new(),
            class: JobClass {
                files_directory: self.files.map(|path| path.to_string_lossy().into_owned()),
                ..JobClass::resolve(self.spec, self.class)
            },
            resume: self.resume,
            output: JobOutput {
                directory: self.directory().to_string_lossy().into_owned(),
                byte_limit: u64::try_from(self.class.output_limit_mebibytes).unwrap_or(0) << 20,
            },
            standby: None,
            traceparent: self.trace.map(|trace| trace.to_string()),
        }
    }
}

/// Only addresses: there are neither Secrets nor Providers here.
fn source((index, source): (usize, &Source)) -> Option<JobSource> {
    Some(JobSource {
        index: i32::try_from(index).ok()?,
        address: SourceAddress::Url(source.url.clone()?),
        user_agent: source.user_agent.clone(),
        headers_file: None,
        headers: source.headers.iter().map(header).collect(),
        timeouts: source.timeouts,
        egress: None,
        proxy: None,
        grant: None,
    })
}

fn header(header: &RequestHeader) -> (String, String) {
    (header.name.clone(), header.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_the_one_that_an_operator_would_write() {
        let identity = StreamIdentity {
            namespace: String::new(),
            name: "news-one".to_owned(),
            uid: "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4".to_owned(),
        };
        let spec = LiveStreamSpec {
            sources: vec![Source {
                url: Some("http://source.example/one.ts".to_owned()),
                user_agent: Some("Player/1.0".to_owned()),
                headers: vec![RequestHeader {
                    name: "Referer".to_owned(),
                    value: "http://portal.example/".to_owned(),
                }],
                ..Source::default()
            }],
            ..LiveStreamSpec::default()
        };
        let plan = Plan {
            identity: &identity,
            spec: &spec,
            class: &StreamClassSpec::default(),
            attempt: 3,
            resume: ResumeFloor {
                media_sequence: 7,
                discontinuity_sequence: 1,
            },
            output: Path::new("/data"),
            files: Some(Path::new("/srv/loops")),
            trace: None,
        };
        let job = plan.job();
        assert_eq!(job.output.directory, "/data/pods/news-one-0f9c2a41-3");
        assert_eq!(job.output.byte_limit, 512 << 20);
        assert_eq!(job.class.files_directory.as_deref(), Some("/srv/loops"));
        let document = serde_json::to_string(&job).unwrap();
        assert_eq!(TranscodeJob::from_json(&document).unwrap(), job);
        assert_eq!(job.sources[0].user_agent.as_deref(), Some("Player/1.0"));
        let referer = ("Referer".to_owned(), "http://portal.example/".to_owned());
        assert_eq!(job.sources[0].headers, [referer]);
    }
}
