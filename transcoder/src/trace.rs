//! What a start took, part by part, as spans of the trace that began with a viewer's request. Knows only figures that the status has.

use std::time::{Duration, SystemTime};

use api::control::StartTimes;
use runtime::trace::{Span, TraceContext, tell};

/// Tells that the first segment is published now, so many milliseconds after the attempt began, and what came before it.
pub(crate) fn tell_start(trace: TraceContext, milliseconds: i64, times: Option<StartTimes>) {
    let times = times.unwrap_or_default();
    for span in spans(trace, SystemTime::now(), milliseconds, times) {
        tell(span);
    }
}

/// One span for all of it, and one for each part within.
fn spans(trace: TraceContext, now: SystemTime, milliseconds: i64, times: StartTimes) -> Vec<Span> {
    let duration =
        |milliseconds: i64| Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    let start = now - duration(milliseconds);
    let whole = Span {
        name: "first segment of an attempt",
        context: trace.another(),
        parent: Some(trace),
        start,
        took: duration(milliseconds),
        attributes: Vec::new(),
    };
    let context = whole.context;
    let mut spans = vec![whole];
    let mut begins = start;
    for (name, took) in times.phases(milliseconds) {
        let took = duration(took);
        spans.push(Span {
            name,
            context: trace.another(),
            parent: Some(context),
            start: begins,
            took,
            attributes: Vec::new(),
        });
        begins += took;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_lie_within_the_whole_one_after_the_other() {
        let trace = TraceContext::begin();
        let times = StartTimes {
            resolved_milliseconds: None,
            connected_milliseconds: Some(40),
            first_byte_milliseconds: Some(100),
            first_keyframe_milliseconds: Some(900),
        };
        let second = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let spans = spans(trace, second(10), 2000, times);
        assert_eq!((spans[0].parent, spans[0].start), (Some(trace), second(8)));
        let parts = spans[1..].iter().map(|span| {
            assert_eq!(span.parent, Some(spans[0].context));
            let begins = span.start.duration_since(second(8)).unwrap();
            (span.name, begins.as_millis(), span.took.as_millis())
        });
        let expected = [
            ("connect", 0, 40),
            ("first_byte", 40, 60),
            ("first_keyframe", 100, 800),
            ("first_segment", 900, 1100),
        ];
        assert_eq!(parts.collect::<Vec<_>>(), expected);
    }
}
