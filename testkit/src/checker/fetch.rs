//! HTTP requests of the checker: bounded in time and size. Retries nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header;
use url::Url;

use super::headers::Headers;

/// Longest time one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest body that is read.
const MAX_BODY: usize = 64 << 20;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// After redirects: what relative URLs are relative to.
    pub(crate) url: Url,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// Why there is no successful answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    /// The server asks to come again, as it may while a stream starts.
    pub(crate) retry: bool,
}

/// Gets a URL; anything but 200 is a refusal.
pub(crate) async fn get(client: &reqwest::Client, url: &Url) -> Result<Answer, Refusal> {
    let answer = tokio::time::timeout(TIMEOUT, read(client, url)).await;
    answer.unwrap_or_else(|_| {
        Err(Refusal {
            reason: format!("no whole answer within {TIMEOUT:?}"),
            retry: false,
        })
    })
}

async fn read(client: &reqwest::Client, url: &Url) -> Result<Answer, Refusal> {
    let failed = |error: reqwest::Error| Refusal {
        reason: causes(&error.without_url()),
        retry: false,
    };
    let mut response = client.get(url.clone()).send().await.map_err(failed)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(Refusal {
            reason: response.status().to_string(),
            retry: response.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE,
        });
    }
    let text = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let headers = Headers {
        content_type: text(header::CONTENT_TYPE),
        cache_control: text(header::CACHE_CONTROL),
    };
    let url = response.url().clone();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Refusal {
                reason: format!("more than {MAX_BODY} bytes"),
                retry: false,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        url,
        headers,
        body: body.freeze(),
    })
}

/// An error and what is behind it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
