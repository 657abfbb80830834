//! TLS by certificate files, which are read again at each SIGHUP.
//!
//! *Invariant:* a failed reload leaves the certificate as it was; open connections keep theirs.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ServeError;
use crate::config::TlsFiles;

/// The response to a client that speaks plain HTTP to the TLS port, as in Go's servers.
pub(super) const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 47\r\n\r\nClient sent an HTTP request to an HTTPS server.";

/// The first byte of a client that speaks TLS.
pub(super) const HANDSHAKE: u8 = 0x16;

/// The server's side of TLS.
pub(super) struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub(super) fn load(files: TlsFiles) -> Result<Self, ServeError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certified = read(&files, &provider)?;
        let current = Arc::new(Current(RwLock::new(certified)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Current>::clone(&current));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            files,
            provider,
            current,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Reads the files again. Blocks.
    ///
    /// # Errors
    /// See [`Self::load`].
    pub(super) fn reload(&self) -> Result<(), ServeError> {
        let certified = read(&self.files, &self.provider)?;
        let mut current = self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = certified;
        Ok(())
    }

    /// Begins a connection; `None` = the client does not speak TLS, or not in time.
    pub(super) async fn accept<S>(&self, socket: S, patience: Duration) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = tokio::time::timeout(patience, self.acceptor.accept(socket)).await;
        match accepted {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client's handshake failed");
                None
            }
            Err(_) => None,
        }
    }
}

/// The first byte that a client sends, which tells its protocol; `None` = the client sends nothing in time.
pub(super) async fn first_byte(stream: &TcpStream, patience: Duration) -> Option<u8> {
    let mut first = [0];
    let peeked = tokio::time::timeout(patience, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1..))).then_some(first[0])
}

/// The certificate in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, ServeError> {
    let failed = |path: &Path, error: String| ServeError::Tls {
        path: path.display().to_string(),
        error,
    };
    let bad_chain = |error: String| failed(&files.certificate, error);
    let text = fs_err::read(&files.certificate).map_err(|error| bad_chain(error.to_string()))?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| bad_chain(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad_chain("there is no certificate in it".to_owned()));
    }
    let bad_key = |error: String| failed(&files.key, error);
    let text = fs_err::read(&files.key).map_err(|error| bad_key(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| bad_key(error.to_string()))?;
    let certified = CertifiedKey::from_der(chain, key, provider);
    Ok(Arc::new(
        certified.map_err(|error| bad_key(error.to_string()))?,
    ))
}
