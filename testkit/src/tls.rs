//! The provider of cryptography for TLS. Every HTTP client of a process asks for one, those that speak no TLS too.

/// Chooses the provider, unless it is chosen already: without it no HTTP client can be made where another crate wants TLS.
pub fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
