//! What the followers of all bases and renditions write into. Never waits and never judges.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CheckSettings;
use super::alignment::Alignment;
use super::report::{Finding, Report, StartReport};

/// What followers of all bases and renditions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: CheckSettings,
    found: Mutex<(Alignment, Report)>,
}

impl Shared {
    pub(crate) fn new(settings: CheckSettings) -> Self {
        let starts = (0..settings.urls.len()).map(|base| StartReport {
            base,
            ..StartReport::default()
        });
        let report = Report {
            starts: starts.collect(),
            ..Report::default()
        };
        Self {
            settings,
            found: Mutex::new((Alignment::default(), report)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, (Alignment, Report)> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(
        &self,
        base: usize,
        rendition: Option<usize>,
        findings: impl IntoIterator<Item = Finding>,
    ) {
        let located = findings
            .into_iter()
            .map(|finding| finding.locate(base, rendition));
        self.lock().1.violations.extend(located);
    }

    pub(crate) fn started(&self, base: usize, note: impl FnOnce(&mut StartReport)) {
        note(&mut self.lock().1.starts[base]);
    }

    pub(crate) fn into_report(self) -> Report {
        self.found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .1
    }
}
