//! `headend-admin` on a gateway's socket: what it asks, what it shows, and how it fails.

use std::path::PathBuf;

use clap::Parser;
use gateway::admin::{Command, run};
use runtime::exit::ProcessError;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Api;
use crate::support::server::{Server, in_time, limits};

/// A gateway with a socket, and a folder with what commands read.
struct Shell {
    api: Api,
    server: Server,
    folder: TempDir,
}

impl Shell {
    async fn start() -> Self {
        let api = Api::start().await;
        let server = Server::start(api.replica.gateway.clone(), limits()).await;
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "desk", "nobody"] {
            let token = format!("{name}-token\n");
            std::fs::write(folder.path().join(name), token).unwrap();
        }
        Self {
            api,
            server,
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the command prints, by the token in that file.
    async fn run_as(&self, who: &str, words: &[&str], input: &str) -> Result<String, ProcessError> {
        let address = format!("http://{}", self.server.address);
        let token = self.file(who);
        let settings = [
            "--address",
            &address,
            "--token-file",
            token.to_str().unwrap(),
        ];
        let words = ["headend-admin"].iter().chain(words).chain(&settings);
        let command = Command::try_parse_from(words).unwrap();
        let input = input.to_owned();
        // It has a runtime of its own, as in its process.
        let running = tokio::task::spawn_blocking(move || {
            let mut output = Vec::new();
            run(&command, &mut input.as_bytes(), &mut output)?;
            Ok(String::from_utf8(output)?)
        });
        in_time(running).await.unwrap()
    }

    async fn run(&self, words: &[&str], input: &str) -> String {
        let outcome = self.run_as("root", words, input).await;
        outcome.map_err(|error| error.message()).unwrap()
    }

    async fn json(&self, words: &[&str]) -> Vec<Value> {
        let words = [words, &["--json"]].concat();
        let text = self.run(&words, "").await;
        let rows = text.lines().map(serde_json::from_str);
        rows.collect::<Result<_, _>>().unwrap()
    }
}

#[tokio::test]
async fn rows_are_made_shown_changed_and_removed() {
    let shell = Shell::start().await;
    let anna = json!({ "name": "anna", "channels": "all", "maxSessions": 2 }).to_string();
    let made = shell.run(&["users", "create"], &anna).await;
    assert!(made.contains("standing: active\n"), "{made}");
    let path = shell.file("bert.json");
    std::fs::write(&path, r#"{ "channels": ["news"] }"#).unwrap();
    let put = ["users", "put", "bert & co", path.to_str().unwrap()];
    shell.run(&put, "").await;
    let table = shell.run(&["users", "list"], "").await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[0].starts_with("NAME       STANDING  MAXSESSIONS"),
        "{table}"
    );
    assert!(lines[1].starts_with("anna       active    2"), "{table}");
    let bert = shell.json(&["users", "get", "bert & co"]).await;
    assert_eq!(bert[0]["channels"], json!(["news"]));
    let token = shell.json(&["tokens", "create", "anna", "tv"]).await;
    assert!(token[0]["token"].as_str().unwrap().len() >= 32);
    let tokens = shell.run(&["tokens", "list", "anna"], "").await;
    assert!(tokens.contains("\ntv  "), "{tokens}");
    assert!(!tokens.contains(token[0]["token"].as_str().unwrap()));
    assert_eq!(shell.run(&["users", "kick", "anna"], "").await, "");
    assert_eq!(shell.run(&["tokens", "delete", "anna", "tv"], "").await, "");
    assert_eq!(shell.run(&["users", "delete", "bert & co"], "").await, "");
    assert_eq!(shell.json(&["users", "list"]).await.len(), 1);
    shell.server.end().await;
}

#[tokio::test]
async fn all_pages_of_a_list_are_followed_unless_fewer_rows_are_asked_for() {
    let shell = Shell::start().await;
    let row = |number: usize| format!("c{number}|Channel {number}|http://a.example/{number}\n");
    let list: String = (0..1100).map(row).collect();
    let path = shell.file("list.txt");
    std::fs::write(&path, format!("{list}broken|Broken\n")).unwrap();
    let told = shell.run(&["import", path.to_str().unwrap()], "").await;
    assert!(told.starts_with("line 1101: the row has no id"), "{told}");
    assert!(told.contains("\nchanged: 1100\n") && told.contains("\nstate: done\n"));
    assert_eq!(shell.json(&["channels", "list"]).await.len(), 1100);
    let few = shell.json(&["channels", "list", "--limit", "700"]).await;
    assert_eq!(few.len(), 700);
    let found = shell.json(&["channels", "list", "--search", "c1099"]).await;
    assert_eq!(found[0]["name"], "Channel 1099");
    let exported = shell.run(&["export", "--format", "pipe"], "").await;
    assert_eq!(exported.lines().count(), 1100);
    let dry = ["import", "-", "--format", "pipe", "--dry-run"];
    let told = shell.run(&dry, &exported).await;
    assert!(told.contains("\ndiffering: 0\n"), "{told}");
    shell.server.end().await;
}

#[tokio::test]
async fn what_the_gateway_does_is_shown() {
    let shell = Shell::start().await;
    shell.api.world.by_hand("play", |_| {}).await;
    let health = shell.run(&["health"], "").await;
    assert!(health.lines().any(|line| line == "status: ok"), "{health}");
    let stats = shell.run(&["stats"], "").await;
    assert!(stats.contains("gateway.name: gateway-0\n"), "{stats}");
    let streams = shell.run(&["streams", "list"], "").await;
    assert!(streams.contains("\nplay  "), "{streams}");
    shell.run(&["streams", "suspend", "play"], "").await;
    let object = shell.api.world.server.object("play").unwrap();
    assert_eq!(object["spec"]["suspend"], true);
    assert_eq!(shell.json(&["sessions", "list"]).await.len(), 0);
    shell.server.end().await;
}

#[tokio::test]
async fn what_the_api_refuses_is_told_in_its_words_and_says_whose_turn_it_is() {
    let shell = Shell::start().await;
    let anna = r#"{"name":"anna","maxSessions":0}"#;
    for (who, words, input, told) in [
        (
            "root",
            &["users", "get", "none"][..],
            "",
            "there is no user \"none\" (NotFound",
        ),
        (
            "root",
            &["users", "create"],
            anna,
            "(Invalid, maxSessions, HTTP 422",
        ),
        ("desk", &["users", "create"], anna, "may not change users"),
        (
            "nobody",
            &["users", "list"],
            "",
            "the token is not valid (WrongToken",
        ),
        ("none", &["users", "list"], "", "none"),
        ("root", &["users", "delete", ".."], "", "no name"),
        ("root", &["import", "list.csv"], "", "--format"),
    ] {
        let refused = shell.run_as(who, words, input).await.unwrap_err();
        assert!(matches!(refused, ProcessError::Input(_)), "{refused:?}");
        let message = refused.message();
        assert!(message.contains(told), "{told}: {message}");
        assert!(!message.contains("-token"), "{message}");
    }
    let html = shell.file("page.m3u");
    std::fs::write(&html, "<html>").unwrap();
    let import = ["import", html.to_str().unwrap()];
    let failed = shell.run_as("root", &import, "").await.unwrap_err();
    assert!(failed.message().contains("no row"), "{}", failed.message());
    let away = ["users", "list", "--address", "http://127.0.0.1:9"];
    let command = [&["headend-admin"], &away[..]].concat();
    let root = shell.file("root");
    let token = ["--token-file", root.to_str().unwrap()];
    let command = Command::try_parse_from([&command[..], &token].concat()).unwrap();
    let asking =
        tokio::task::spawn_blocking(move || run(&command, &mut std::io::empty(), &mut Vec::new()));
    let failed = in_time(asking).await.unwrap().unwrap_err();
    assert!(matches!(failed, ProcessError::Failure(_)), "{failed:?}");
    assert!(failed.message().contains("127.0.0.1:9"));
    shell.server.end().await;
}
