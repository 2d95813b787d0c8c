//! The chart's alerts and dashboard against what they are made of: metrics that there are, real Prometheus, and a runbook that has them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use api::condition::{ConditionStatus, ConditionType, Reason};
use api::live_stream::Phase;
use serde_json::{Value, json};
use testkit::metrics::{Row, table};

/// What the chart puts the release's namespace in the place of.
const NAMESPACE: &str = "namespace=~\".+\"";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn alerts() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&read("charts/headend/files/rules.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("charts/headend/files/dashboards/headend.json")).unwrap()
}

/// Panels that show something, and their queries.
fn panels(dashboard: &Value) -> Vec<(&Value, Vec<&str>)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let panels = panels.filter(|panel| panel["type"] != "row");
    panels
        .map(|panel| {
            let targets = panel["targets"].as_array().unwrap().iter();
            let queries = targets.map(|target| target["expr"].as_str().unwrap());
            (panel, queries.collect())
        })
        .collect()
}

/// Every metric that a query names, with the matchers behind it.
fn selectors(query: &str) -> Vec<(&str, &str)> {
    let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
    query
        .match_indices("headend_")
        .map(|(start, _)| {
            let rest = &query[start..];
            let (name, rest) = rest.split_at(rest.find(|one| !is_name(one)).unwrap_or(rest.len()));
            let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            (name, matchers.map_or("", |(matchers, _)| matchers))
        })
        .collect()
}

/// The row of a metric; a histogram is asked for by its parts.
fn row<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    let part = ["_bucket", "_sum", "_count"];
    let whole = part.iter().find_map(|part| name.strip_suffix(part));
    rows.iter().find(|row| match whole {
        Some(whole) if row.kind == "histogram" => row.name == whole,
        _ => row.kind != "histogram" && row.name == name,
    })
}

fn is_known(row: &Row, label: &str, value: &str) -> bool {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Idle, Provisioned, Ready, SourceHealthy};
    let kinds = [Ready, Provisioned, SourceHealthy, Idle].map(ConditionType::as_str);
    let statuses = [True, False, Unknown].map(ConditionStatus::as_str);
    let listed = row.labels.iter().any(|one| one == value);
    listed
        || match label {
            "type" => kinds.contains(&value),
            "status" => statuses.contains(&value),
            "reason" => !matches!(
                serde_json::from_value(json!(value)),
                Err(_) | Ok(Reason::Unrecognised)
            ),
            "phase" => serde_json::from_value::<Phase>(json!(value)).is_ok(),
            _ => false,
        }
}

/// What of a query there is not: metrics, labels, values.
fn unknown(rows: &[Row], query: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, matchers) in selectors(query) {
        let Some(row) = row(rows, name) else {
            unknown.push(name.to_owned());
            continue;
        };
        for matcher in matchers.split(',') {
            let (label, value) = matcher.split_at(matcher.find(['=', '!']).unwrap());
            if ["namespace", "pod"].contains(&label) {
                continue;
            }
            let values = value.trim_start_matches(['=', '!', '~']).trim_matches('"');
            let plain = |value: &&str| value.chars().all(|one| one.is_alphabetic() || one == '_');
            let mut values = values.split('|').filter(plain);
            let has_label = row.labels.iter().any(|one| one == label);
            if !has_label || values.any(|value| !is_known(row, label, value)) {
                unknown.push(format!("{name}{{{matcher}}}"));
            }
        }
    }
    unknown
}

#[test]
fn every_query_asks_for_what_there_is() {
    let rows = table().unwrap();
    let alerts = alerts();
    let dashboard = dashboard();
    let of_alerts = alerts.iter().map(|alert| alert["expr"].as_str().unwrap());
    let of_panels = panels(&dashboard)
        .into_iter()
        .flat_map(|(_, queries)| queries);
    let queries: Vec<_> = of_alerts.chain(of_panels).collect();
    assert!(queries.len() > 30, "alerts and dashboard were read");
    for query in queries {
        assert_eq!(unknown(&rows, query), [""; 0], "{query}");
    }
}

#[test]
fn what_there_is_not_is_found() {
    let rows = table().unwrap();
    for (query, found) in [
        ("headend_no_such_metric > 0", "headend_no_such_metric"),
        (
            "headend_start_duration_seconds",
            "headend_start_duration_seconds",
        ),
        (
            "headend_blind{shade=\"dark\"}",
            "headend_blind{shade=\"dark\"}",
        ),
        (
            "headend_gateway_holds_total{namespace=\"tv\",end=\"Redy\"}",
            "headend_gateway_holds_total{end=\"Redy\"}",
        ),
        (
            "headend_stream_conditions{reason!~\"Streaming|Lost\"}",
            "headend_stream_conditions{reason!~\"Streaming|Lost\"}",
        ),
    ] {
        assert_eq!(unknown(&rows, query), [found]);
    }
}

#[test]
fn every_alert_says_what_is_wrong_and_what_to_do_in_its_own_release_only() {
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
        assert!(alert["for"].is_string(), "{name} waits");
        for annotation in ["summary", "description"] {
            let text = alert["annotations"][annotation].as_str().unwrap();
            assert!(text.ends_with('.'), "{name}: {annotation}");
        }
        for (metric, matchers) in selectors(alert["expr"].as_str().unwrap()) {
            assert!(matchers.starts_with(NAMESPACE), "{name}: {metric}");
        }
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook() {
    let alerts = alerts();
    let names = alerts.iter().map(|alert| alert["alert"].as_str().unwrap());
    let alerts: BTreeSet<_> = names.map(str::to_owned).collect();
    let runbook = read("docs/runbook.md");
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let sections = sections.filter(|title| title.starts_with("Headend"));
    assert_eq!(sections.map(str::to_owned).collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn the_dashboard_fits_any_grafana_and_shows_one_release() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for (panel, queries) in panels(&dashboard) {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].to_string()), "{title}: id");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}: unit"
        );
        for query in queries {
            for (metric, matchers) in selectors(query) {
                let own = matchers.starts_with("namespace=\"$namespace\"");
                assert!(own, "{title}: {metric}");
            }
        }
    }
    let text = dashboard.to_string();
    let sources = text.matches("\"uid\":\"${datasource}\"").count();
    // The one other uid is the dashboard's own.
    assert_eq!(text.matches("\"uid\":").count(), sources + 1);
}

/// Prometheus' own tool: unpacked by `cargo xtask test`, or in PATH.
fn promtool(arguments: &[&str]) {
    let unpacked = root().join("target/promtool/usr/bin/promtool");
    let program = if unpacked.exists() {
        unpacked
    } else {
        PathBuf::from("promtool")
    };
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("promtool is there; `cargo xtask test` gets it from Debian's package prometheus");
    assert!(
        output.status.success(),
        "promtool {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn prometheus_takes_the_alerts_and_they_fire_when_they_should() {
    promtool(&["check", "rules", "charts/headend/files/rules.yaml"]);
    promtool(&["test", "rules", "operator/tests/it/alerts.yaml"]);
}
