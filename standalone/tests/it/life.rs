//! A channel from its first viewer to its end, and what is left of it: nothing.

use std::path::Path;

use testkit::checker::{CheckSettings, check};

use crate::standalone::Standalone;
use crate::viewer::Viewer;
use crate::{list, source, until};

fn pods(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("pods")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_runs_once_for_all_its_viewers_and_stops_when_the_last_is_gone() {
    let source = source(&["one"]).await;
    let clients = || source.stats("one").unwrap().clients;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let output = directory.path().join("output");
    let arguments = [
        "--directory",
        output.to_str().unwrap(),
        "--idle-timeout-seconds",
        "15",
    ];
    let standalone = Standalone::start(&file, &arguments).await;
    assert_eq!(
        (source.stats("one").unwrap().requests, pods(&output)),
        (0, 0)
    );

    let viewers: Vec<_> = (0..20).map(|_| Viewer::new(&standalone, "one")).collect();
    let mut sessions = tokio::task::JoinSet::new();
    for viewer in viewers {
        sessions.spawn(async move {
            let playlist = viewer.tune_in().await;
            let listed = viewer.look(&playlist).await;
            let segment = viewer.bytes(&listed.segments[0]).await;
            assert_eq!((segment[0], segment.len() % 188), (0x47, 0));
        });
    }
    while let Some(session) = sessions.join_next().await {
        session.unwrap();
    }
    let stats = source.stats("one").unwrap();
    assert_eq!(
        (stats.clients, stats.clients_total, pods(&output)),
        (1, 1, 1)
    );

    standalone
        .hear("one: nobody has watched for 15 s: stopping")
        .await;
    standalone.hear("one: stopped").await;
    until("the source has no client", async || clients() == 0).await;
    assert_eq!(pods(&output), 0);

    let again = Viewer::new(&standalone, "one");
    let playlist = again.tune_in().await;
    assert!(!again.look(&playlist).await.segments.is_empty());
    assert_eq!(source.stats("one").unwrap().clients_total, 2);
    assert!(standalone.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_channel_is_not_stopped_and_plays_by_the_rules() {
    let source = source(&["one"]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let standalone = Standalone::start(&file, &["--idle-timeout-seconds", "15"]).await;
    let url = format!("{}/live/one/master.m3u8?token=token", standalone.address);
    let settings = CheckSettings {
        duration: std::time::Duration::from_secs(30),
        ..CheckSettings::new(url.parse().unwrap())
    };
    // The checker asks for nothing more while it decodes what it has, which may take a busy machine as long as the timeout is.
    let viewer = Viewer::new(&standalone, "one");
    let watching = tokio::spawn(async move {
        let playlist = viewer.tune_in().await;
        let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            seconds.tick().await;
            viewer.look(&playlist).await;
        }
    });
    let report = check(settings).await.unwrap();
    assert!(!watching.is_finished());
    watching.abort();
    assert!(report.is_clean(), "{:#?}", report.violations);
    assert!(
        report.renditions[0].segments > 5,
        "{:#?}",
        report.renditions
    );
    assert_eq!(standalone.count("one: nobody has watched"), 0);
    assert!(standalone.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_the_process_in_the_middle_of_a_stream_leaves_nothing() {
    let source = source(&["one"]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let output = directory.path().join("output");
    let arguments = ["--directory", output.to_str().unwrap(), "--preset", "low"];
    let standalone = Standalone::start(&file, &arguments).await;
    let viewer = Viewer::new(&standalone, "one");
    let playlist = viewer.tune_in().await;
    viewer.look(&playlist).await;
    assert_eq!(pods(&output), 1);
    assert!(standalone.end().await.success());
    assert_eq!(pods(&output), 0);
    until("the source has no client", async || {
        source.stats("one").unwrap().clients == 0
    })
    .await;
}
