//! The three that are measured where sessions are checked: the product, nginx that asks an authentication service with the tokens in Redis,
//! and nginx that asks nobody. Each viewer has a session, or a token, of its own. Measures nothing.

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::Bench;
use super::auth::AuthService;
use super::load::Server;
use super::nginx::{CHECKED, Nginx};
use super::product::{Product, Size};
use crate::redis_server::{PROGRAM, Redis};

/// What viewers watch.
const SIZE: Size = Size::Half;

/// All that runs.
pub(super) struct Subjects {
    product: Product,
    nginx: Nginx,
    auth: AuthService,
    viewers: usize,
    all: [Subject; 3],
    _directory: TempDir,
}

/// One of them, and what viewers ask it for.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) server: Server,
    /// One for each viewer.
    pub(super) playlists: Vec<String>,
    pub(super) segments: Vec<String>,
}

impl Subjects {
    /// Starts them for so many viewers.
    pub(super) async fn start(bench: &Bench<'_>, viewers: usize) -> Result<Self> {
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let (cores, path) = (bench.cores, directory.path());
        let product = Product::start(cores, bench.program, path, &[SIZE]).await?;
        let media = product.media().first().context("nothing is played")?;
        let files = path.join("files");
        media.write(&files)?;
        let tokens: Vec<_> = (0..viewers)
            .map(|number| format!("token-{number}"))
            .collect();
        let redis = Redis::start_by(cores.server(PROGRAM), path).await?;
        let auth = AuthService::start(cores, redis, &tokens).await?;
        let nginx = Nginx::start(cores, &files, path, Some(auth.address())).await?;
        let (open, segments) = (media.playlist(), media.segments());
        let subject = |address, pids, playlists| Subject {
            server: Server { address, pids },
            playlists,
            segments: segments.clone(),
        };
        let checked = tokens.iter();
        let checked = checked.map(|token| format!("{CHECKED}{open}?token={token}"));
        let all = [
            subject(
                product.address(),
                vec![product.pid()?],
                product.sessions(SIZE, viewers).await?,
            ),
            subject(
                nginx.address(),
                [&[nginx.pid()?][..], &auth.pids()?[..]].concat(),
                checked.collect(),
            ),
            subject(
                nginx.address(),
                vec![nginx.pid()?],
                vec![open.clone(); viewers],
            ),
        ];
        Ok(Self {
            product,
            nginx,
            auth,
            viewers,
            all,
            _directory: directory,
        })
    }

    /// The product, nginx with the check, and nginx without.
    pub(super) fn all(&self) -> &[Subject; 3] {
        &self.all
    }

    /// Ends them, if nginx was a fair peer.
    pub(super) async fn end(self) -> Result<()> {
        let at_most = 4 * self.viewers as u64;
        self.auth.ensure_kept(at_most).await?;
        self.nginx.end().await?;
        self.product.end().await
    }
}
