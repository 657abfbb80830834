//! Reads the settings for access control.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::Reader;
use crate::config::{Access, TlsFiles};
use crate::keys::{Scope, Scopes};

/// The name of the key file in the state folder.
const KEYS: &str = "keys.json";

/// The name of the audit log in the state folder.
const AUDIT: &str = "audit.jsonl";

impl Reader<'_> {
    pub(super) fn access(&mut self, state_dir: Option<&Path>) -> Access {
        let named = self.text("DROVER_KEYS_FILE").map(PathBuf::from);
        Access {
            keys_are_named: named.is_some(),
            keys_file: named.unwrap_or_else(|| state_dir.unwrap_or(Path::new("")).join(KEYS)),
            keys_on_loopback: self.keys_on_loopback(),
            anonymous: self.anonymous(),
            trusted_proxies: self.trusted_proxies(),
            tls: self.tls(),
            audit_log: self.audit_log(state_dir),
        }
    }

    fn keys_on_loopback(&mut self) -> bool {
        const NAME: &str = "DROVER_KEYS_LOOPBACK";
        let text = self.text(NAME).unwrap_or_default();
        match text.as_str() {
            "" | "open" => false,
            "required" => true,
            _ => {
                let mistake = format!("{NAME}: `{text}` is neither open nor required");
                self.mistakes.push(mistake);
                true
            }
        }
    }

    fn anonymous(&mut self) -> Scopes {
        const NAME: &str = "DROVER_KEYS_ANONYMOUS";
        let mut scopes = Vec::new();
        for text in self.list(NAME) {
            match text.parse() {
                Ok(Scope::Admin) => self.mistakes.push(format!(
                    "{NAME}: not everybody can be an administrator; without keys it would be so"
                )),
                Ok(scope) => scopes.push(scope),
                Err(error) => self.mistakes.push(format!("{NAME}: {error}")),
            }
        }
        scopes.into_iter().collect()
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        let [certificate, key] = ["DROVER_TLS_CERT", "DROVER_TLS_KEY"].map(|name| self.text(name));
        match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
            }),
            _ => {
                let mistake = "DROVER_TLS_CERT and DROVER_TLS_KEY need each other";
                self.mistakes.push(mistake.to_owned());
                None
            }
        }
    }

    fn audit_log(&self, state_dir: Option<&Path>) -> Option<PathBuf> {
        match self.text("DROVER_AUDIT_LOG").as_deref() {
            None => Some(state_dir?.join(AUDIT)),
            Some("off") => None,
            Some(path) => Some(path.into()),
        }
    }

    fn trusted_proxies(&mut self) -> Vec<IpNet> {
        const NAME: &str = "DROVER_TRUSTED_PROXIES";
        let mut networks = Vec::new();
        for text in self.list(NAME) {
            let network = text.parse::<IpNet>();
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            match network.or_else(|_| address()) {
                Ok(network) => networks.push(network),
                Err(_) => self.mistakes.push(format!(
                    "{NAME}: `{text}` is no address or network such as 10.0.0.5 or 10.0.0.0/8"
                )),
            }
        }
        networks
    }
}
