//! What a request's check costs: a session and a segment's key, each beside an HMAC of the same bytes alone. Prints the medians in nanoseconds
//! as one line of JSON, for `cargo xtask bench serve`. Opens no socket.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use gateway::keys::{Key, Keys};
use gateway::session::{Session, mint, verify};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Batches, of which the middle one counts.
const BATCHES: usize = 301;

/// Times a batch does something.
const TIMES: usize = 1000;

const NOW: u64 = 1_790_000_000;
const UID: &str = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";
const RENDITION: &str = "720p";
const SEGMENT: &str = "3-1017.ts";

fn main() -> ExitCode {
    let key = Key::new(&[7; 32]);
    let keys = Keys {
        session: key.clone(),
        segment: key,
    };
    let session = Session {
        user: "viewer-4711".to_owned(),
        token: [2; 8],
        channel: "news-one".to_owned(),
        client: [1; 8],
        issued_at: NOW,
    };
    let text = mint(&keys.session, &session);
    let segment_key = keys.segment_key(UID, RENDITION, SEGMENT);
    let are_right = verify(&keys.session, &text, NOW).is_ok()
        && keys.is_segment_key(&segment_key, UID, RENDITION, SEGMENT);
    let Ok(hmac) = Hmac::<Sha256>::new_from_slice(&[7; 32]) else {
        return ExitCode::FAILURE;
    };
    // What is signed: three quarters of the text but the signature, and the parts of a segment's address.
    let session_bytes = vec![1; text.len() * 3 / 4 - 16];
    let segment_bytes = vec![1; UID.len() + RENDITION.len() + SEGMENT.len()];
    let alone = |bytes: &[u8]| {
        let mut mac = hmac.clone();
        mac.update(black_box(bytes));
        mac.finalize().into_bytes()
    };
    let session = median(|| verify(&keys.session, black_box(&text), NOW));
    let session_hmac = median(|| alone(&session_bytes));
    let segment = median(|| keys.is_segment_key(black_box(&segment_key), UID, RENDITION, SEGMENT));
    let segment_hmac = median(|| alone(&segment_bytes));
    println!(
        "{{\"session\":{session:.1},\"session_hmac\":{session_hmac:.1},\"segment\":{segment:.1},\"segment_hmac\":{segment_hmac:.1}}}"
    );
    if are_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Nanoseconds that it takes once.
fn median<T>(mut what: impl FnMut() -> T) -> f64 {
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..TIMES {
                black_box(what());
            }
            begun.elapsed().as_secs_f64() * 1e9 / TIMES as f64
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[BATCHES / 2]
}
