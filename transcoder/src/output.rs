//! Where finished segments go: the attempt's own directory, and memory until the directory has taken them.

pub(crate) mod memory;
pub(crate) mod recovery;
pub(crate) mod volume;
pub(crate) mod writer;

use bytes::Bytes;

/// One segment number in every rendition that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFiles {
    /// Its media sequence number.
    pub(crate) number: u64,
    /// Its file name.
    pub(crate) name: String,
    /// Rendition ids with their bytes.
    pub(crate) files: Vec<(String, Bytes)>,
}

impl SegmentFiles {
    /// Bytes in all renditions together.
    pub(crate) fn size(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}
