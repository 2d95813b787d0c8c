//! When a slate is shown, and how its media are made: once for an attempt and the sizes that it needs, by an FFmpeg of its own in bounded time.
//! What goes wrong with it costs the slate and nothing else.

use std::sync::Arc;
use std::time::Duration;

use media::ffmpeg::slate::SlateOrder;
use media::pipe::PipeDemuxer;
use media::time::Ticks;
use media::unit::AccessUnit;
use tokio::time::Instant;

use super::flow::effect::{EncoderId, Now};
use super::flow::slate::SlateMedia;
use super::{Outcome, Pipeline};
use crate::encoder::{EncoderEvent, Exit};

/// Viewers wait so long for media before they see a slate.
const PATIENCE: Duration = Duration::from_secs(6);
/// Making it may take so long.
const MAKING: Duration = Duration::from_secs(20);
/// The maker's number, which no encoder has.
pub(super) const MAKER: EncoderId = EncoderId(0);

/// The slate of an attempt.
#[derive(Debug)]
pub(super) struct Slate {
    /// Since when there are no media.
    lacking_since: Option<Instant>,
    state: State,
}

#[derive(Debug)]
enum State {
    NotMade,
    Making(Making),
    Made(Vec<(u32, u32)>, Arc<SlateMedia>),
    Failed,
}

#[derive(Debug)]
struct Making {
    order: SlateOrder,
    until: Instant,
    pipes: Vec<(PipeDemuxer, Vec<AccessUnit>)>,
}

impl Slate {
    /// Nothing has come yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lacking_since: Some(now),
            state: State::NotMade,
        }
    }

    /// Media come.
    pub(super) fn is_not_needed(&mut self) {
        self.lacking_since = None;
    }

    /// No media come from now on.
    pub(super) fn is_needed(&mut self, now: Instant) {
        self.lacking_since.get_or_insert(now);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.lacking_since
            .is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
    }
}

impl Making {
    fn new(order: SlateOrder, until: Instant) -> Self {
        let video = order.sizes.iter().map(|_| PipeDemuxer::video(Ticks::ZERO));
        let audio = std::iter::once(PipeDemuxer::audio(Ticks::ZERO));
        Self {
            pipes: video.chain(audio).map(|one| (one, Vec::new())).collect(),
            order,
            until,
        }
    }

    /// What has come, if it is whole.
    fn media(&mut self) -> Option<SlateMedia> {
        for (demuxer, units) in &mut self.pipes {
            units.extend(demuxer.finish());
        }
        let ((_, sound), pictures) = self.pipes.split_last()?;
        let payloads =
            |units: &[AccessUnit]| units.iter().map(|unit| unit.payload.clone()).collect();
        let groups: Vec<Vec<_>> = pictures.iter().map(|(_, units)| payloads(units)).collect();
        let is_whole = groups.iter().all(|group| !group.is_empty());
        // The first frames only fill the encoder.
        let silence = sound.last()?.payload.clone();
        is_whole.then_some(SlateMedia { groups, silence })
    }
}

impl Pipeline {
    /// Shows a slate when it is time.
    pub(super) async fn look_at_slate(&mut self, now: Now) -> Option<Outcome> {
        let instant = Instant::now();
        let may = self.parts.job.class.slate && !self.standby && self.finished.is_none();
        if !may || !self.flow.may_show_slate() || !self.slate.is_due(instant) {
            return None;
        }
        let sizes = self.flow.slate_sizes()?;
        match &self.slate.state {
            State::Failed => None,
            State::Making(making) if making.until > instant => None,
            State::Making(_) => {
                self.slate_failed("it took too long");
                None
            }
            State::Made(made, media) if *made == sizes => {
                tracing::info!("a slate is shown until media come");
                let effects = self.flow.show_slate(Arc::clone(media), now);
                self.settle(effects).await
            }
            State::NotMade | State::Made(..) => {
                let seconds = self.parts.job.class.segment_duration_seconds;
                let seconds = u32::try_from(seconds).unwrap_or(1).clamp(1, 10);
                let order = SlateOrder { sizes, seconds };
                self.processes.start_slate(MAKER, &order);
                self.slate.state = State::Making(Making::new(order, instant + MAKING));
                None
            }
        }
    }

    /// The maker says something.
    pub(super) fn hear_maker(&mut self, event: EncoderEvent) {
        let State::Making(making) = &mut self.slate.state else {
            return;
        };
        match event {
            EncoderEvent::Media { pipe, bytes } => {
                if let Some((demuxer, units)) = making.pipes.get_mut(pipe) {
                    units.extend(demuxer.push(&bytes));
                }
            }
            EncoderEvent::Ended { exit, last_words } => {
                let media = making.media().filter(|_| exit == Exit::Code(0));
                let sizes = making.order.sizes.clone();
                match media {
                    Some(media) => self.slate.state = State::Made(sizes, Arc::new(media)),
                    None => self.slate_failed(&last_words.unwrap_or_else(|| format!("{exit:?}"))),
                }
            }
            EncoderEvent::Progress(_) => {}
        }
    }

    fn slate_failed(&mut self, why: &str) {
        tracing::warn!(why, "failed to make the slate; none is shown");
        self.processes.close(MAKER);
        self.slate.state = State::Failed;
    }
}
