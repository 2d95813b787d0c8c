//! What gateways leave each other, on every adapter.

use presence::notes::{NOTE_MAXIMUM, NOTE_TIME_TO_LIVE};

use crate::world::each;

#[tokio::test]
async fn a_note_is_kept_until_another_one_or_its_time_and_only_if_it_is_short() {
    each(async |world| {
        let notes = &world.notes;
        assert_eq!(notes.recall("news-one").await.unwrap(), None);
        notes.note("news-one", "first").await.unwrap();
        notes.note("news-one", "\"second\" \u{e4}\0").await.unwrap();
        notes.note("sport", "other").await.unwrap();
        let found = notes.recall("news-one").await.unwrap();
        assert_eq!(found.as_deref(), Some("\"second\" \u{e4}\0"));
        let long = "x".repeat(NOTE_MAXIMUM + 1);
        notes.note("sport", &long).await.unwrap();
        let found = notes.recall("sport").await.unwrap();
        assert_eq!(found.as_deref(), Some("other"));
        let span = i64::try_from(NOTE_TIME_TO_LIVE.as_millis()).unwrap();
        world.pass(span + 1000).await;
        assert_eq!(notes.recall("sport").await.unwrap(), None);
    })
    .await;
}
