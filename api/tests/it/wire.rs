//! What one release writes and another reads: documents of the release before are read as they were meant, and so are those of the next one,
//! which may say what this one has never heard of. `before/` has documents as earlier releases wrote them; they are added to, never rewritten.

use std::fs;
use std::path::Path;

use api::condition::Reason;
use api::control::{FinishAnswer, JobPhase, JobStatus, MediaMode, PublishRequest};
use api::job::TranscodeJob;
use api::live_stream::Phase;
use api::playlists::Playlists;
use api::stream_class::OutputMode;
use api::{LiveStream, StreamClass};
use serde_json::{Value, json};

fn before(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/before");
    let text = fs::read_to_string(folder.join(name)).expect("a document of that kind");
    serde_json::from_str(&text).expect("a document of that kind")
}

/// The document with fields in every object of it that nobody has heard of.
fn after(document: Value) -> Value {
    match document {
        // One variant of an enum is one field.
        Value::Object(fields) if fields.keys().any(|name| name == "url" || name == "urlFile") => {
            Value::Object(fields)
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let mut fields: serde_json::Map<_, _> =
                fields.map(|(name, field)| (name, after(field))).collect();
            fields.insert(
                "aboutTheNextRelease".to_owned(),
                json!({ "some": ["thing"] }),
            );
            Value::Object(fields)
        }
        Value::Array(items) => items.into_iter().map(after).collect(),
        other => other,
    }
}

fn status(document: &Value) -> JobStatus {
    JobStatus::from_json(document.to_string().as_bytes()).expect("a document of that kind")
}

fn job(document: &Value) -> TranscodeJob {
    TranscodeJob::from_json(&document.to_string()).expect("a document of that kind")
}

fn read<T: serde::de::DeserializeOwned>(document: Value) -> T {
    serde_json::from_value(document).expect("a document of that kind")
}

#[test]
fn what_the_release_before_wrote_is_read_as_it_was_meant() {
    let said = status(&before("status.json"));
    assert_eq!((said.phase, said.attempt), (JobPhase::Live, 3));
    assert_eq!(said.source.reason, Reason::Receiving);
    assert_eq!(said.troubles[0].reason, Reason::OutputStalled);
    assert_eq!(said.account, None);
    assert_eq!(said.next.media_sequence, 1_790_000_012);
    let listed: Playlists = read(before("playlists.json"));
    assert_eq!(listed.segments[1].attempt, 3);
    assert!(listed.segments[1].discontinuity && listed.offers("360p"));
    let ordered = job(&before("job.json"));
    assert_eq!((ordered.attempt, ordered.sources.len()), (3, 2));
    assert!(ordered.standby.unwrap().second_connection);
    assert_eq!(ordered.reserve, []);
    let stream: LiveStream = read(before("livestream.json"));
    let of_stream = stream.status.unwrap();
    assert_eq!(of_stream.phase, Some(Phase::Live));
    assert_eq!(of_stream.pod.unwrap().attempt, 3);
    let class: StreamClass = read(before("streamclass.json"));
    assert_eq!(class.spec.ladder[0].height, 720);
    assert_eq!(class.spec.output, OutputMode::SharedVolume);
}

#[test]
fn what_the_next_release_says_besides_changes_nothing() {
    let [said, listed, ordered] = ["status.json", "playlists.json", "job.json"].map(before);
    assert_eq!(status(&after(said.clone())), status(&said));
    assert_eq!(job(&after(ordered.clone())), job(&ordered));
    assert_eq!(
        read::<Playlists>(after(listed.clone())),
        read::<Playlists>(listed.clone())
    );
    let stream = before("livestream.json");
    assert_eq!(
        read::<LiveStream>(after(stream.clone())).status,
        read::<LiveStream>(stream).status
    );
    let answer = json!({ "next": listed["next"], "listed": listed });
    assert_eq!(
        read::<FinishAnswer>(after(answer.clone())),
        read::<FinishAnswer>(answer)
    );
    let request = json!({ "floor": listed["next"], "previous": listed });
    assert_eq!(
        read::<PublishRequest>(after(request.clone())),
        read::<PublishRequest>(request)
    );
}

#[test]
fn names_of_the_next_release_are_no_failure_and_reasons_keep_theirs() {
    let mut document = before("status.json");
    document["phase"] = json!("Rewinding");
    document["media"]["mode"] = json!("Remix");
    document["source"]["reason"] = json!("MoonInTheWay");
    let trouble = json!({ "reason": "Tangled", "message": "untangle it" });
    document["troubles"].as_array_mut().unwrap().push(trouble);
    let said = status(&document);
    assert_eq!(said.phase, JobPhase::Unrecognised);
    assert_eq!(said.media.unwrap().mode, MediaMode::Unrecognised);
    assert_eq!(said.source.reason, Reason::Unrecognised);
    assert_eq!(
        said.source.message,
        "MoonInTheWay: receiving from source.example"
    );
    let troubles = said.troubles.iter();
    let troubles: Vec<_> = troubles
        .map(|one| (one.reason, one.message.as_str()))
        .collect();
    let expected = [
        (Reason::OutputStalled, "the volume takes no segments"),
        (Reason::Unrecognised, "Tangled: untangle it"),
    ];
    assert_eq!(troubles, expected);
    let mut stream = before("livestream.json");
    stream["status"]["phase"] = json!("Rewinding");
    stream["status"]["conditions"][0]["reason"] = json!("MoonInTheWay");
    let status = read::<LiveStream>(stream).status.unwrap();
    assert_eq!(status.phase, None);
    assert_eq!(status.conditions[0].reason, "MoonInTheWay");
}
