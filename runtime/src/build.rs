//! What this binary was built from. Never reads anything at run time.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The release this binary belongs to.
#[must_use]
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The source revision, when the build was told it through `HEADEND_REVISION`.
#[must_use]
pub const fn revision() -> &'static str {
    match option_env!("HEADEND_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    }
}

/// Registers `headend_build_info`, so that a scrape says what runs.
pub fn register(registry: &mut Registry) {
    registry.register(
        "headend_build",
        "What this process was built from",
        Info::new(vec![("version", version()), ("revision", revision())]),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_information_is_a_metric() {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let expected = format!(
            "headend_build_info{{version=\"{}\",revision=\"{}\"}} 1",
            version(),
            revision()
        );
        assert!(text.lines().any(|line| line == expected), "{text}");
    }
}
