//! Settings for access control.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::keys::Scopes;

/// Keys, and what is between clients and the daemon.
#[derive(Debug, Clone)]
pub struct Access {
    /// The file of keys (`DROVER_KEYS_FILE`).
    pub keys_file: PathBuf,
    /// Whether the file was named by a setting, so that it must exist.
    pub keys_are_named: bool,
    /// Whether programs on this machine also need a key (`DROVER_KEYS_LOOPBACK`).
    pub keys_on_loopback: bool,
    /// The scopes of requests without a key where keys are defined (`DROVER_KEYS_ANONYMOUS`).
    pub anonymous: Scopes,
    /// Proxies that are trusted to name the client of a request (`DROVER_TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// `None` = plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The file for administrative acts; `None` = they are only logged (`DROVER_AUDIT_LOG`).
    pub audit_log: Option<PathBuf>,
}

/// Files of a certificate (`DROVER_TLS_CERT`) and its key (`DROVER_TLS_KEY`), in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Including the certificates of its issuers.
    pub certificate: PathBuf,
    pub key: PathBuf,
}
