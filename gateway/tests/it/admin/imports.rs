//! Channel lists in and out: what is good of them is there, what is bad is named by its line.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use presence::notes::Notes;
use serde_json::{Value, json};

use super::{Api, json as body, refused, request};
use crate::support::world::Answer;

const LIST: &str = "id|name|url|logo|category|quality|order|category_order
news|News One|http://u:hunter2@a.example/sd||News|SD|2|7
sport|Sport|http://a.example/sport||Sport||1|3
news|News One|http://a.example/fhd||News|FHD|2|7
broken|Broken
camera|Camera|mms://hunter2/1|||||
";

impl Api {
    async fn import(&self, query: &str, list: impl Into<Body>) -> Answer {
        let uri = format!("/api/v1/imports?{query}");
        let request = Request::post(uri).header("authorization", "Bearer ops-token");
        self.replica.send(request.body(list.into()).unwrap()).await
    }

    /// How an import ended.
    async fn ended(&self, begun: &Answer) -> Value {
        assert_eq!(begun.status, 202, "{}", begun.body);
        let location = begun.header("location");
        let ended = async {
            loop {
                let import = self.get(location).await;
                if !["reading", "changing"].contains(&import["state"].as_str().unwrap()) {
                    return import;
                }
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_mins(1), ended).await;
        ended.unwrap()
    }
}

#[tokio::test]
async fn what_is_good_of_a_list_is_there_and_what_is_bad_is_named_by_its_line() {
    let api = Api::start().await;
    let begun = api.import("format=pipe", LIST).await;
    assert_eq!(body(&begun)["state"], "reading");
    let import = api.ended(&begun).await;
    assert_eq!(import["state"], "done", "{import}");
    let counts = ["rows", "differing", "changed", "problemsLeftOut"].map(|name| &import[name]);
    assert_eq!(counts, [4, 4, 4, 0].map(|count| json!(count)).each_ref());
    let problems = import["problems"].as_array().unwrap();
    let lines: Vec<_> = problems.iter().map(|one| one["line"].clone()).collect();
    assert_eq!(lines, [5, 6]);
    assert!(!import.to_string().contains("hunter2"), "{import}");
    assert_eq!(api.slugs(), ["sport", "news"]);
    // The same once more changes nothing, and another gateway knows of it, too.
    let again = api.import("format=pipe", LIST).await;
    let import = api.ended(&again).await;
    assert_eq!(
        (&import["differing"], &import["changed"]),
        (&json!(0), &json!(0))
    );
    let store = api.store.clone();
    let other = api.world.replica_on(store, super::administrators());
    let seen = request("GET", again.header("location"), "desk-token", &[], None);
    assert_eq!(body(&other.send(seen).await), import);
    let before = api.ask("GET", begun.header("location"), None).await;
    refused(&before, 404, "NotFound");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_changed_and_changes_nothing() {
    let api = Api::start().await;
    let begun = api.import("format=pipe&dryRun=true", LIST).await;
    let import = api.ended(&begun).await;
    let (state, dry) = (&import["state"], &import["dryRun"]);
    assert_eq!((state, dry), (&json!("done"), &json!(true)));
    assert_eq!(
        (&import["differing"], &import["changed"]),
        (&json!(4), &json!(0))
    );
    assert_eq!(api.slugs(), <[&str; 0]>::default());
}

#[tokio::test]
async fn what_is_no_list_and_what_is_too_long_changes_nothing() {
    let api = Api::start().await;
    let begun = api.import("format=m3u", "<html>").await;
    let import = api.ended(&begun).await;
    assert_eq!(import["state"], "failed");
    assert!(import["message"].as_str().unwrap().contains("no row"));
    assert_eq!(import["problems"][0]["line"], 1);
    let long = api.import("format=pipe", vec![b'x'; (16 << 20) + 1]).await;
    refused(&long, 413, "TooLong");
    assert!(long.body.contains("16384 KiB"), "{}", long.body);
    for (query, word) in [
        ("", "format"),
        ("format=csv", "pipe"),
        ("format=m3u&x=1", "x"),
    ] {
        let answer = api.import(query, LIST).await;
        refused(&answer, 400, "Unreadable");
        assert!(answer.body.contains(word), "{}", answer.body);
    }
    // None of these is in the way of the next one.
    let begun = api.import("format=pipe", LIST).await;
    assert_eq!(api.ended(&begun).await["state"], "done");
}

#[tokio::test]
async fn while_another_gateway_imports_there_is_no_second_import_unless_it_is_lost() {
    let api = Api::start().await;
    let begun = api.import("format=pipe", LIST).await;
    let mut note = api.ended(&begun).await;
    note["id"] = json!("1234");
    note["gateway"] = json!("gateway-9");
    note["state"] = json!("changing");
    let mut tell = async |age| {
        let updated = Timestamp::now() - SignedDuration::from_secs(age);
        note["updated"] = json!(updated);
        let text = note.to_string();
        api.world.presence.note("*import", &text).await.unwrap();
    };
    let uri = "/api/v1/imports/1234";
    tell(0).await;
    let second = api.import("format=pipe", LIST).await;
    refused(&second, 409, "ImportUnderWay");
    assert!(second.body.contains(uri), "{}", second.body);
    assert_eq!(api.get(uri).await["state"], "changing");
    tell(3600).await;
    assert_eq!(api.get(uri).await["state"], "interrupted");
    let begun = api.import("format=pipe", LIST).await;
    assert_eq!(api.ended(&begun).await["state"], "done");
}

#[tokio::test]
async fn what_is_exported_is_imported_as_the_same_channels() {
    let api = Api::start().await;
    let begun = api.import("format=pipe", LIST).await;
    api.ended(&begun).await;
    for (format, kind, first) in [
        (
            "pipe",
            "text/plain; charset=utf-8",
            "sport|Sport|http://a.example/sport||Sport||1|3",
        ),
        ("m3u", "audio/x-mpegurl", "#EXTM3U"),
    ] {
        let uri = format!("/api/v1/export?format={format}");
        let list = api.ask_as("ops-token", "GET", &uri, None).await;
        assert_eq!((list.status, list.header("content-type")), (200, kind));
        assert_eq!(list.body.lines().next(), Some(first));
        // It has the addresses of sources as they are.
        assert!(list.body.contains("http://a.example/fhd"));
        let kept = api.ask_as("desk-token", "GET", &uri, None).await;
        refused(&kept, 403, "NotPermitted");
        let begun = api
            .import(&format!("format={format}&dryRun=true"), list.body)
            .await;
        let import = api.ended(&begun).await;
        assert_eq!(import["state"], "done", "{import}");
        if format == "pipe" {
            assert_eq!(import["differing"], 0, "{import}");
        }
    }
}

#[tokio::test]
async fn while_a_list_comes_in_there_is_no_second_import() {
    let api = Api::start().await;
    {
        let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let first = api.import("format=pipe", Body::from_stream(never));
        let mut first = std::pin::pin!(first);
        assert!(futures::poll!(first.as_mut()).is_pending());
        let second = api.import("format=pipe", LIST).await;
        refused(&second, 409, "ImportUnderWay");
    }
    // Who breaks off is in nobody's way.
    let begun = api.import("format=pipe", LIST).await;
    assert_eq!(api.ended(&begun).await["state"], "done");
}
