//! The process's provider of cryptography for TLS. Every HTTP client asks for one, those that speak no TLS too, and none may be missing.

/// Chooses the provider, unless it is chosen already: whichever crate is linked in later, there is one, and it is this.
pub(crate) fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
