//! What checking a session and a segment's key costs beside an HMAC alone. A program of the gateway's does it, in one process and without a
//! socket, so that no store can be asked; this runs it and reads what it says.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Bench, NAME};
use crate::figure::{Figure, Goal};

/// The most that a check may take, as a multiple of an HMAC of as much.
const MULTIPLE: f64 = 3.0;

/// Nanoseconds of each.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Sample {
    session: f64,
    session_hmac: f64,
    segment: f64,
    segment_hmac: f64,
}

pub(super) async fn measure(bench: &Bench<'_>, program: &Path) -> Result<Vec<Figure>> {
    let mut samples = Vec::new();
    for _ in 0..bench.rounds {
        let output = bench.cores.server(program).output().await;
        let output = output.with_context(|| format!("failed to run {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{} failed", program.display());
        samples.push(serde_json::from_str(&said).context("it says something else")?);
    }
    Ok(figures(&samples))
}

fn figures(samples: &[Sample]) -> Vec<Figure> {
    let figure = |what: &str, of: fn(&Sample) -> (f64, f64)| {
        let turns = samples.iter().map(of).collect::<Vec<_>>();
        let case = format!("check: ns for {what}, beside an HMAC of the same alone");
        Figure::paired(NAME, case, &turns, Some(Goal::AtMost(MULTIPLE)))
    };
    vec![
        figure("a session", |one| (one.session, one.session_hmac)),
        figure("a segment's key", |one| (one.segment, one.segment_hmac)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_may_take_three_times_as_long() {
        let said = r#"{"session":800,"session_hmac":300,"segment":1000,"segment_hmac":300}"#;
        let sample: Sample = serde_json::from_str(said).unwrap();
        let holds = figures(&[sample]).into_iter().map(|figure| figure.holds);
        assert_eq!(holds.collect::<Vec<_>>(), [Some(true), Some(false)]);
    }
}
