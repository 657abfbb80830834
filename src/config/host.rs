//! `OLLAMA_HOST`: `[scheme://]host[:port][/path]`, read as Ollama reads it.
//!
//! *Invariant:* parsing never fails; invalid parts fall back to the defaults.

use std::net::IpAddr;

use super::HostSpec;
use super::values::clean;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 11434;

impl HostSpec {
    /// Parses the variable's value; empty means `http://127.0.0.1:11434`.
    pub fn parse(text: &str) -> Self {
        let text = clean(text);
        let (scheme, rest) = match text.split_once("://") {
            None if text == "ollama.com" => ("https", text),
            None => ("http", text),
            Some((scheme, rest)) => (scheme, rest),
        };
        let default_port = match (text.contains("://"), scheme) {
            (_, "https") => 443,
            (true, "http") => 80,
            _ => DEFAULT_PORT,
        };
        // A password may contain a slash.
        let at = rest.rfind('@').map_or(0, |at| at + 1);
        let (login, rest) = rest.split_at(at);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(authority);
        Self {
            scheme: scheme.to_owned(),
            login: login.to_owned(),
            host: host.unwrap_or(DEFAULT_HOST).to_owned(),
            port: port.map_or(default_port, |port| port.parse().unwrap_or(default_port)),
            path: clean_path(path),
        }
    }

    /// Returns the URL that a client talks to, without trailing slash. An unspecified address
    /// becomes the loopback address of the same family.
    pub fn base_url(&self) -> String {
        let host = self.client_host();
        let Self {
            scheme,
            login,
            port,
            path,
            ..
        } = self;
        format!("{scheme}://{login}{host}:{port}{path}")
    }

    /// Whether a client reaches this host without leaving the machine.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address.is_unspecified(),
            Err(_) => self.host.is_empty() || self.host == "localhost",
        }
    }

    fn client_host(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => DEFAULT_HOST.to_owned(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".to_owned(),
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Err(_) if self.host.is_empty() => DEFAULT_HOST.to_owned(),
            Ok(IpAddr::V4(_)) | Err(_) => self.host.clone(),
        }
    }
}

impl std::fmt::Debug for HostSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Prints `scheme://host:port/path` as in the server's log and in the table of settings: without a user and a password.
impl std::fmt::Display for HostSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            scheme,
            host,
            port,
            path,
            ..
        } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
    }
}

/// Splits host and port; `None` for the host means that it was not given.
fn split_port(authority: &str) -> (Option<&str>, Option<&str>) {
    let unbracketed = authority.trim_start_matches('[').trim_end_matches(']');
    if unbracketed.is_empty() {
        return (None, None);
    }
    if unbracketed.parse::<IpAddr>().is_ok() {
        return (Some(unbracketed), None);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            (Some(host), Some(port))
        }
        None => (Some(unbracketed), None),
    }
}

fn clean_path(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_specified_table() {
        let table = [
            ("", "http://127.0.0.1:11434"),
            ("1.2.3.4", "http://1.2.3.4:11434"),
            (":1234", "http://:1234"),
            ("0.0.0.0", "http://0.0.0.0:11434"),
            ("[::]", "http://[::]:11434"),
            ("::1", "http://[::1]:11434"),
            ("[::1]", "http://[::1]:11434"),
            ("[::1]:99", "http://[::1]:99"),
            ("example.com", "http://example.com:11434"),
            ("example.com:56789", "http://example.com:56789"),
            ("http://1.2.3.4", "http://1.2.3.4:80"),
            ("https://1.2.3.4", "https://1.2.3.4:443"),
            ("http://1.2.3.4:5000", "http://1.2.3.4:5000"),
            (
                "https://example.com/ollama",
                "https://example.com:443/ollama",
            ),
            ("example.com/ollama/", "http://example.com:11434/ollama"),
            (":66000", "http://:11434"),
            (":-1", "http://:11434"),
            (":0", "http://:0"),
            ("\"1.2.3.4\"", "http://1.2.3.4:11434"),
            ("\"'0.0.0.0'\"", "http://0.0.0.0:11434"),
            (" 1.2.3.4 ", "http://1.2.3.4:11434"),
            ("ollama.com", "https://ollama.com:443"),
        ];
        for (text, expected) in table {
            assert_eq!(HostSpec::parse(text).to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_client_never_connects_to_an_unspecified_address() {
        for (text, expected) in [
            ("0.0.0.0", "http://127.0.0.1:11434"),
            (":1234", "http://127.0.0.1:1234"),
            ("[::]:1", "http://[::1]:1"),
            ("[fe80::1]", "http://[fe80::1]:11434"),
            ("https://example.com/x", "https://example.com:443/x"),
        ] {
            assert_eq!(HostSpec::parse(text).base_url(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_login_is_used_and_not_shown() {
        let host = HostSpec::parse("https://me:p/w@example.com/x");
        assert_eq!(host.base_url(), "https://me:p/w@example.com:443/x");
        let shown = [host.to_string(), format!("{host:?}")];
        assert_eq!(shown, ["https://example.com:443/x"; 2]);
        assert!(HostSpec::parse("me:pw@localhost").is_loopback());
    }

    #[test]
    fn loopback_is_recognised() {
        for text in ["", "localhost", "0.0.0.0", "[::1]:1", "127.9.9.9"] {
            assert!(HostSpec::parse(text).is_loopback(), "{text:?}");
        }
        assert!(!HostSpec::parse("example.com").is_loopback());
        assert!(!HostSpec::parse("10.0.0.1").is_loopback());
    }
}
