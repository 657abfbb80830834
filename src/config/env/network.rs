//! Reads addresses: where the server listens, and which servers it talks to.

use super::Reader;
use crate::config::HostSpec;
use crate::net::Pattern;

impl Reader<'_> {
    pub(super) fn host(&mut self) -> HostSpec {
        let text = self.text("OLLAMA_HOST").unwrap_or_default();
        let host = HostSpec::parse(&text);
        let port = text
            .trim_end_matches('/')
            .rsplit_once(':')
            .map(|(_, port)| port.to_owned());
        if let Some(port) = port.filter(|port| !port.contains(['/', ']']))
            && port.parse::<u16>().is_err()
            && !text.ends_with("::1")
        {
            // Hides the part before the host, which may be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            self.warn("OLLAMA_HOST", shown, &host.port.to_string());
        }
        host
    }

    pub(super) fn mirrors(&mut self) -> Vec<String> {
        const NAME: &str = "DROVER_REGISTRY_MIRRORS";
        let mirrors = self.list(NAME);
        for mirror in &mirrors {
            if !mirror.starts_with("http://") && !mirror.starts_with("https://") {
                self.mistakes.push(format!(
                    "{NAME}: `{mirror}` is no address such as `https://mirror.example`"
                ));
            }
        }
        mirrors
    }

    pub(super) fn rpc_servers(&mut self) -> Vec<String> {
        const NAME: &str = "DROVER_RPC";
        let servers = self.list(NAME);
        let has_port = |server: &str| {
            let port = server.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            port.is_some_and(|port| port.is_ok())
        };
        for server in servers.iter().filter(|server| !has_port(server)) {
            self.mistakes.push(format!(
                "{NAME}: `{server}` is no address with a port such as `10.0.0.2:50052`"
            ));
        }
        servers
    }

    pub(super) fn patterns(&mut self, name: &'static str) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for text in self.list(name) {
            match Pattern::parse(&text) {
                Some(pattern) => patterns.push(pattern),
                None => self.mistakes.push(format!(
                    "{name}: `{text}` is no host such as `box.example`, `*.example`, \
                     `10.0.0.5:5000` or `*` (all)"
                )),
            }
        }
        patterns
    }

    /// The HTTP client reads the same variables and handles bad values itself.
    pub(super) fn proxy_hosts(&self) -> Vec<String> {
        const NAMES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        let spellings = NAMES.map(|name| [name.to_owned(), name.to_ascii_lowercase()]);
        let values = spellings.iter().flatten();
        let values = values.filter_map(|name| self.text(name));
        let hosts = values.filter_map(|text| {
            let text = if text.contains("://") {
                text
            } else {
                format!("http://{text}")
            };
            Some(url::Url::parse(&text).ok()?.host_str()?.to_owned())
        });
        hosts.collect()
    }
}
