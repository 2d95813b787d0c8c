//! What is wrong is said once and clearly: to the viewer, or to whoever started the process.

use reqwest::StatusCode;
use testkit::source::Faults;

use crate::standalone::{Standalone, refused};
use crate::viewer::Viewer;
use crate::{list, source};

#[tokio::test(flavor = "multi_thread")]
async fn started_to_become_an_encoder_it_becomes_one_or_says_why_not() {
    assert_eq!(
        refused(&["become-encoder", "sh", "-c", "echo here >&2; exit 3"]).await,
        (Some(3), "here".to_owned())
    );
    assert_eq!(
        refused(&["become-encoder", "headend-nothing"]).await,
        (
            Some(125),
            "failed to start headend-nothing: not found".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_one_message_and_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let entry = "#EXTINF:-1,News\nhttp://source.example/1\n";
    let twice = write("twice.m3u", &format!("#EXTM3U\n{entry}{entry}"));
    let page = write("page.m3u", "<html>Login</html>");
    let users = write("users.yaml", "channels: []\n");
    let good = write("good.m3u", &format!("#EXTM3U\n{entry}"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let missing = "failed to read \"/nonexistent.m3u\" of the catalog: ";
    let cases: [(&[&str], &str); 7] = [
        (&["--playlist", "/nonexistent.m3u"], missing),
        (
            &["--playlist", &twice],
            "twice.m3u:4: the slug \"news\" is that of ",
        ),
        (&["--playlist", &page], "this is no M3U channel list"),
        (&["--catalog", &users], "nobody may watch"),
        (
            &["--playlist", "http://127.0.0.1:9/x.m3u"],
            "failed to fetch the channel list: ",
        ),
        (
            &["--playlist", &good, "--listen", &taken],
            "failed to listen on",
        ),
        (
            &["--playlist", &good, "--classes", &page],
            "failed to read the stream classes",
        ),
    ];
    for (arguments, expected) in cases {
        let arguments: Vec<&str> = arguments.to_vec();
        let (code, message) = refused(&arguments).await;
        assert_eq!(code, Some(2), "{message}");
        assert!(
            message.starts_with("headend-standalone: failed")
                || message.contains("nobody may watch"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_told_what_keeps_them_from_watching() {
    let source = source(&["one"]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    let classless = format!(
        "{}#EXTINF:-1 headend-class=\"sport\",Sport\nhttp://source.example/1\n",
        list(&source, &["one"])
    );
    std::fs::write(&file, classless).unwrap();
    let standalone = Standalone::start(&file, &[]).await;
    let viewer = Viewer::new(&standalone, "one");
    let status = async |path: &str| viewer.get(path).await.0;
    assert_eq!(
        status("/live/one/master.m3u8").await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status("/live/one/master.m3u8?token=wrong").await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status("/live/two/master.m3u8?token=token").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(source.stats("one").unwrap().requests, 0);

    let (code, message) = Viewer::new(&standalone, "sport").master().await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        message.contains("there is no stream class \"sport\""),
        "{message}"
    );
    assert!(standalone.end().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_refuses_is_told_and_played_as_soon_as_it_delivers() {
    let source = source(&["one"]).await;
    let not_found = Faults {
        status: Some(404),
        ..Faults::default()
    };
    source.set_faults("one", not_found).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let standalone = Standalone::start(&file, &[]).await;
    let viewer = Viewer::new(&standalone, "one");
    let (code, message) = viewer.master().await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("404"), "{message}");
    standalone.hear("one: trouble: ").await;

    source.set_faults("one", Faults::default()).unwrap();
    crate::until("the channel plays", async || {
        viewer.master().await.0 == StatusCode::OK
    })
    .await;
    assert!(standalone.end().await.success());
}
