//! Settings of who may come in.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::keys::Scopes;

/// Keys, and what stands between clients and the daemon.
#[derive(Debug, Clone)]
pub struct Access {
    /// The file of keys (`DROVER_KEYS_FILE`).
    pub keys_file: PathBuf,
    /// It was named, so it has to be there.
    pub keys_are_named: bool,
    /// Programs on this machine need a key, too (`DROVER_KEYS_LOOPBACK`).
    pub keys_on_loopback: bool,
    /// The scopes of requests without a key where keys are defined (`DROVER_KEYS_ANONYMOUS`).
    pub anonymous: Scopes,
    /// Proxies that are believed whose request they pass on (`DROVER_TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// `None` = plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Where administrative acts are written; `None` = only to the log (`DROVER_AUDIT_LOG`).
    pub audit_log: Option<PathBuf>,
}

/// Files of a certificate (`DROVER_TLS_CERT`) and its key (`DROVER_TLS_KEY`), in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// With the certificates of those who vouch for it.
    pub certificate: PathBuf,
    pub key: PathBuf,
}
