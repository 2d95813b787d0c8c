//! The threads that streams run on, apart from those that serve viewers. They are few: a stream works in many small steps, and handing
//! each to another thread costs more than the step. Never runs anything of a viewer's.

use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

/// A thread for so many processors.
const PROCESSORS: usize = 4;

/// The threads; they end when this is dropped, without waiting for what hangs in a file system.
pub(crate) struct StreamThreads {
    handle: Handle,
    /// Taken when dropped: a runtime may not be dropped where one runs.
    runtime: Option<Runtime>,
}

impl StreamThreads {
    /// Starts them.
    ///
    /// # Errors
    /// When the system has no threads to give.
    pub(crate) fn start() -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads((processors / PROCESSORS).max(1))
            .thread_name("streams")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Where to start streams.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for StreamThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
