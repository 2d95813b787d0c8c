//! A file of a directory as a channel.

use testkit::checker::{CheckSettings, check};

use crate::standalone::Standalone;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_directory_is_a_channel_that_goes_on_without_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let loops = directory.path().join("loops");
    std::fs::create_dir(&loops).unwrap();
    let made = tokio::process::Command::new("ffmpeg")
        .args(
            "-nostdin -loglevel error -f lavfi -i testsrc2=s=160x90:r=25 -t 5 -c:v libx264"
                .split(' '),
        )
        .args("-preset ultrafast -pix_fmt yuv420p -g 25".split(' '))
        .arg(loops.join("barker.mp4"))
        .status();
    assert!(made.await.unwrap().success());
    let list = directory.path().join("list.m3u");
    std::fs::write(&list, "#EXTM3U\n#EXTINF:-1,one\nfile:///loops/barker.mp4\n").unwrap();
    let files = directory.path().to_str().unwrap();
    let standalone = Standalone::start(&list, &["--files-directory", files]).await;
    let url = format!("{}/live/one/master.m3u8?token=token", standalone.address);
    let settings = CheckSettings {
        duration: std::time::Duration::from_secs(10),
        ..CheckSettings::new(url.parse().unwrap())
    };
    let report = check(settings).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(standalone.end().await.success());
}
