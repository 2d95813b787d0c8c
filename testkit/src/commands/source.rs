//! `headend-testkit source`: serves channels until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use testkit::source::{ChannelSettings, SourceSettings, default_cache, parse_channels};
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `source`.
#[derive(Args)]
pub(crate) struct SourceArguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A channel: `name` or `name:key=value,…` (codec, size, fps, gop, access, interlaced, bitrate, audio, rai, audio-late, pcr-pid, mute, wrap, fault-…)
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<ChannelSettings>,
    /// YAML or JSON file with `channels: [...]`, same keys
    #[arg(long, env)]
    config: Option<PathBuf>,
    /// Where media are kept between runs
    #[arg(long, env, default_value_os_t = default_cache())]
    cache: PathBuf,
    /// Make the media and exit
    #[arg(long)]
    prepare: bool,
}

pub(crate) async fn run(arguments: SourceArguments) -> anyhow::Result<ExitCode> {
    let mut channels = arguments.channels;
    if let Some(path) = &arguments.config {
        let document = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        channels.extend(parse_channels(&document)?);
    }
    if channels.is_empty() {
        bail!("no channel: give --channel or --config");
    }
    let names = channels.iter().map(|channel| channel.name.clone());
    let names = names.collect::<Vec<_>>();
    let settings = SourceSettings {
        listen: arguments.listen,
        cache: arguments.cache,
        channels,
    };
    if arguments.prepare {
        testkit::source::synthesise(&settings).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopped = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let announce = |source: &testkit::source::LiveSource| {
        println!("listening on {}", source.address());
        for name in &names {
            println!("{}", source.url(name));
        }
    };
    testkit::source::serve(settings, announce, stopped).await?;
    Ok(ExitCode::SUCCESS)
}
