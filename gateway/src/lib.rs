//! What viewers meet: authentication, sessions, held requests, playlists and segments. Stateless: what a replica knows, another learns
//! from the same ports, so no viewer is bound to one of them.
//!
//! | to see | read |
//! |---|---|
//! | what viewers can call | [`http`] |
//! | who may ask, and how often | [`edge`] |
//! | how a request becomes a stream, and waits for it | [`streams`] |
//! | which streams there are | [`directory`] |
//! | where playlists and segments come from | [`origin`] |
//! | how a channel becomes one stream without an end | `continuous` |
//! | who is watching | [`viewers`], [`presence_flush`], `audience` |
//! | what it tells people of itself | `figures` |
//! | how many sessions a user has | [`places`] |
//! | who may administer, and what | [`administrators`] |
//! | how a channel list is imported | `imports` |
//! | which requests are told of in the log | [`access_log`] |

pub mod access;
pub mod access_log;
pub mod admin;
pub mod administrators;
mod audience;
pub mod cache;
pub mod client;
mod continuous;
pub mod directory;
pub mod edge;
pub mod entry;
mod figures;
pub mod gateway;
pub mod http;
mod imports;
pub mod keys;
pub mod metrics;
pub mod origin;
pub mod places;
pub mod presence_flush;
pub mod process;
pub mod remembered;
pub mod rendered;
pub mod run;
pub mod session;
pub mod settings;
pub mod streams;
mod tls;
pub mod viewers;
pub mod window;

pub use crate::gateway::{Gateway, Options, Ports};
pub use crate::http::app;
pub use crate::run::{Limits, run};
