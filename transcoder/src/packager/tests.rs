//! The packager on a real directory: what is published when, what lies where, and for how long.

mod killed;
mod unwell;

use api::control::JobPhase;
use api::job::ResumeFloor;
use bytes::Bytes;
use media::playlist::window::WindowSettings;
use media::segmenter::io::{GenerationId, RenditionId, RenditionSegment};
use media::time::Ticks;
use prometheus_client::registry::Registry;

use super::queue::Limits;
use super::*;
use crate::fixtures;
use crate::metrics::Metrics;
use crate::output::recovery::Recovered;
use crate::output::volume::Volume;

const PATIENCE: Duration = Duration::from_secs(20);

struct Packed {
    inputs: mpsc::Sender<Input>,
    playlists: watch::Receiver<Arc<Playlists>>,
    board: StatusBoard,
    store: SegmentStore,
    directory: Arc<tempfile::TempDir>,
}

fn packed(memory: u64) -> Packed {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let volume = Volume::new(directory.path());
    packed_on(directory, volume, limits(memory), Recovered::default())
}

fn limits(memory: u64) -> Limits {
    Limits {
        memory,
        volume: 1 << 30,
        patience: Duration::from_secs(2),
    }
}

fn packed_on(
    directory: Arc<tempfile::TempDir>,
    volume: Volume,
    limits: Limits,
    recovered: Recovered,
) -> Packed {
    let job = fixtures::job(&directory.path().to_string_lossy());
    let board = StatusBoard::new(&job, 0);
    let store = SegmentStore::new(volume.clone());
    let start = recovered.next.unwrap_or(ResumeFloor {
        media_sequence: 100,
        discontinuity_sequence: 50,
    });
    let window = Window::new(WindowSettings {
        class: String::new(),
        stream_uid: job.stream.uid.clone(),
        attempt: job.attempt,
        version: 1,
        segment_duration_seconds: 2,
        target_duration_seconds: 4,
        playlist_duration_seconds: 12,
        start,
    });
    let (playlists, listed) = watch::channel(Arc::new(window.document(0)));
    let parts = Parts {
        attempt: job.attempt,
        started: Instant::now(),
        trace: None,
        reserve: None,
        numbers: Numbers::new(start, false),
        window,
        queue: Queue::new(limits, recovered.bytes()),
        writer: Writer::start(volume),
        store: store.clone(),
        adopted: (recovered.files, Instant::now() + Duration::from_secs(20)),
        playlists,
        board: board.clone(),
        metrics: Metrics::register(&mut Registry::default()).stream("news-one"),
    };
    let (inputs, incoming) = mpsc::channel(16);
    tokio::spawn(run(parts, incoming));
    Packed {
        inputs,
        playlists: listed,
        board,
        store,
        directory,
    }
}

/// The segment that gets this number.
fn segment(number: u64, renditions: &[&str]) -> FinishedSegment {
    let rendition = |id: &&str| RenditionSegment {
        rendition: RenditionId::new(id),
        bytes: Bytes::from(format!("{id} {number}")),
    };
    FinishedSegment {
        ordinal: number - 100,
        generation: GenerationId(0),
        duration: Ticks::from_seconds(4),
        discontinuity: false,
        independent: true,
        program_date_time: i64::try_from(number).unwrap() * 4000,
        renditions: renditions.iter().map(rendition).collect(),
    }
}

fn facts(ids: &[&str]) -> Input {
    let facts = |id: &&str| RenditionFacts {
        id: (*id).to_owned(),
        codecs: "avc1.64001f".to_owned(),
        resolution: None,
        frame_rate_thousandths: None,
        ceiling: None,
        on_request: false,
    };
    Input::Renditions(ids.iter().map(facts).collect())
}

impl Packed {
    async fn put(&self, input: Input) {
        self.inputs.send(input).await.unwrap();
    }

    /// The numbers that are listed once this one is.
    async fn listed(&mut self, number: u64) -> Vec<u64> {
        let lists = |playlists: &Arc<Playlists>| {
            playlists
                .segments
                .iter()
                .any(|entry| entry.number == number)
        };
        let waiting = timeout(PATIENCE, self.playlists.wait_for(lists)).await;
        let playlists = waiting.unwrap().unwrap();
        playlists
            .segments
            .iter()
            .map(|entry| entry.number)
            .collect()
    }

    async fn finish(&self) -> ResumeFloor {
        let (answer, answered) = oneshot::channel();
        self.put(Input::Finish(answer)).await;
        timeout(PATIENCE, answered).await.unwrap().unwrap().next
    }

    fn exists(&self, name: &str) -> bool {
        self.directory.path().join(name).exists()
    }
}

#[tokio::test]
async fn a_segment_is_on_the_volume_in_every_rendition_before_it_is_listed() {
    let mut packed = packed(1 << 20);
    packed.put(facts(&["720p", "480p"])).await;
    packed
        .put(Input::Segment(segment(100, &["720p", "480p"])))
        .await;
    assert_eq!(packed.listed(100).await, [100]);
    for name in [
        "720p/3-100.ts",
        "480p/3-100.ts",
        "480p/index.m3u8",
        "master.m3u8",
        "state.json",
    ] {
        assert!(packed.exists(name), "{name}");
    }
    let status = packed.board.subscribe().borrow().clone();
    assert_eq!(status.phase, JobPhase::Live);
    assert!(status.first_segment_milliseconds.is_some());
    let renditions = packed.playlists.borrow().renditions.clone();
    let ids: Vec<&str> = renditions.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["720p", "480p"]);
    assert_eq!(
        packed.store.read("480p", "3-100.ts").await.unwrap(),
        "480p 100"
    );
}

#[tokio::test]
async fn a_rendition_that_is_missing_is_a_gap() {
    let mut packed = packed(1 << 20);
    packed.put(facts(&["720p", "480p"])).await;
    packed
        .put(Input::Segment(segment(100, &["720p", "480p"])))
        .await;
    packed.put(Input::Segment(segment(101, &["720p"]))).await;
    packed.listed(101).await;
    let segments = packed.playlists.borrow().segments.clone();
    assert_eq!(segments[1].gaps, ["480p"]);
    assert!(!packed.exists("480p/3-101.ts") && packed.exists("720p/3-101.ts"));
}

#[tokio::test]
async fn a_rendition_that_comes_late_is_put_in_place_and_written() {
    let mut packed = packed(1 << 20);
    let Input::Renditions(mut renditions) = facts(&["720p", "480p"]) else {
        panic!("no renditions");
    };
    renditions[1].ceiling = Some(1000);
    packed.put(Input::Renditions(renditions)).await;
    for number in 100..103 {
        let ids = ["720p", "480p"];
        let ids = if number == 100 { &ids[..] } else { &ids[..1] };
        packed.put(Input::Segment(segment(number, ids))).await;
    }
    packed.listed(102).await;
    assert_eq!(packed.playlists.borrow().behind, ["480p"]);
    let late = |number| {
        Input::Late(LateSegment {
            ordinal: number - 100,
            independent: true,
            segment: segment(number, &["480p"]).renditions.remove(0),
        })
    };
    // What the others are at the time does not matter: 102 may stand behind a gap, and 101 may not come after it.
    for number in [102, 101] {
        packed.put(late(number)).await;
    }
    let is_in_place = |playlists: &Arc<Playlists>| playlists.segments[2].gaps.is_empty();
    let waiting = timeout(PATIENCE, packed.playlists.wait_for(is_in_place)).await;
    let playlists = waiting.unwrap().unwrap().clone();
    assert_eq!(playlists.segments[1].gaps, ["480p"]);
    assert!(playlists.behind.is_empty());
    assert_eq!(
        packed.store.read("480p", "3-102.ts").await.unwrap(),
        "480p 102"
    );
    packed.finish().await;
    let written = async {
        while !packed.exists("480p/3-102.ts") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, written).await.unwrap();
    assert!(!packed.exists("480p/3-101.ts"));
}

#[tokio::test]
async fn a_number_without_room_in_memory_is_a_gap_everywhere_and_the_stream_goes_on() {
    let mut packed = packed(25);
    packed.put(facts(&["source"])).await;
    for number in 100..103 {
        let mut one = segment(number, &["source"]);
        if number == 101 {
            one.renditions[0].bytes = Bytes::from(vec![0; 30]);
        }
        packed.put(Input::Segment(one)).await;
    }
    assert_eq!(packed.listed(102).await, [100, 101, 102]);
    let segments = packed.playlists.borrow().segments.clone();
    assert_eq!(segments[1].gaps, ["source"]);
    assert!(segments[0].gaps.is_empty() && segments[2].gaps.is_empty());
}

#[tokio::test]
async fn what_is_finished_is_on_the_volume_and_says_where_to_go_on() {
    let mut packed = packed(1 << 20);
    packed.put(facts(&["source"])).await;
    for number in 100..104 {
        packed
            .put(Input::Segment(segment(number, &["source"])))
            .await;
    }
    let next = packed.finish().await;
    let expected = ResumeFloor {
        media_sequence: 104,
        discontinuity_sequence: 50,
    };
    assert_eq!(next, expected);
    assert_eq!(packed.listed(103).await, [101, 102, 103]);
    assert!(packed.exists("source/3-103.ts"));
    assert_eq!(packed.board.subscribe().borrow().next, expected);
}

#[tokio::test]
async fn files_stay_for_the_retention_time_and_are_removed_then() {
    let mut packed = packed(1 << 20);
    packed.put(facts(&["source"])).await;
    for number in 100..105 {
        packed
            .put(Input::Segment(segment(number, &["source"])))
            .await;
        packed.listed(number).await;
    }
    assert!(packed.exists("source/3-100.ts"));
    // Its own duration and the longest playlist: 4 s and 16 s.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert!(packed.exists("source/3-100.ts"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::time::resume();
    let removed = async {
        while packed.exists("source/3-100.ts") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, removed).await.unwrap();
    assert!(packed.exists("source/3-102.ts"));
}
