//! TLS for viewers: a certificate and its key from files, taken over when the files change, as cert-manager and the kubelet change them.
//! Never goes without: what cannot be read leaves the one that is in use. No key is printed or kept besides the one in use.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. A mounted Secret changes by a link to another directory, of which some file systems tell nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Bytes of a file at most.
const FILE_MAXIMUM: u64 = 1024 * 1024;

/// HTTP/2 before HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate is.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("failed to read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file has not what is looked for. What it has instead is not told: it may be a key that is written wrong.
    #[error("failed to use {path:?}: it has no {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: &'static str,
    },
    /// A file is too long.
    #[error("failed to use {path:?}: it has more than {FILE_MAXIMUM} bytes")]
    Long {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not fit, or are of no kind that is known.
    #[error("failed to use the key {key:?} with the certificate {certificate:?}: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

/// A certificate in use.
pub struct Certificates {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    /// Hash of what was read last, good or not: a bad file is told once.
    seen: Mutex<[u8; 32]>,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(formatter)
    }
}

impl Certificates {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn open(files: CertificateFiles) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let contents = Contents::read(&files)?;
        let current = contents.certified(&files, &provider)?;
        Ok(Self {
            current: Arc::new(Current(RwLock::new(Arc::new(current)))),
            seen: Mutex::new(contents.hash()),
            provider,
            files,
        })
    }

    /// How a server speaks TLS with it, now and after every change.
    ///
    /// # Errors
    /// When the versions of TLS are not to be had.
    pub fn server(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(config))
    }

    /// Takes the certificate over whenever its files change, until `shutdown` is cancelled.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let this = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || this.refresh()).await {
                tracing::error!(%error, "failed to look at the certificate");
            }
        }
    }

    /// Takes the certificate over if its files are not what they were. Blocks on files.
    pub fn refresh(&self) {
        match self.reload() {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(certificate = ?self.files.certificate, "a new certificate is in use");
            }
            Err(error) => tracing::error!(%error, "keeping the certificate that is in use"),
        }
    }

    fn reload(&self) -> Result<bool, CertificateError> {
        let contents = Contents::read(&self.files)?;
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let hash = contents.hash();
            if *seen == hash {
                return Ok(false);
            }
            *seen = hash;
        }
        let certified = contents.certified(&self.files, &self.provider)?;
        let mut current = self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(certified);
        Ok(true)
    }
}

/// What is in the files.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Contents {
    fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
        })
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.certificate.len() as u64).to_be_bytes());
        hash.update(&self.certificate);
        hash.update(&self.key);
        hash.finalize().into()
    }

    fn certified(
        &self,
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, CertificateError> {
        let none = |path: &PathBuf, what| CertificateError::Pem {
            path: path.clone(),
            what,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| none(&files.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|_| none(&files.key, "private key"))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|source| CertificateError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, CertificateError> {
    let refused = |source| CertificateError::Read {
        path: path.clone(),
        source,
    };
    if std::fs::metadata(path).map_err(refused)?.len() > FILE_MAXIMUM {
        return Err(CertificateError::Long { path: path.clone() });
    }
    std::fs::read(path).map_err(refused)
}
