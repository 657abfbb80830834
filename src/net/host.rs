//! Hosts in URLs and `Host` headers, and the patterns for hosts in settings.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The longest name in DNS, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// A host with its port, if one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub domain: Domain,
    pub port: Option<u16>,
}

/// The name or address of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Domain {
    /// IPv4-mapped IPv6 addresses are stored as IPv4.
    Address(IpAddr),
    /// Lower case, without a trailing dot; letters, digits, `-`, `_` and dots only.
    Name(String),
}

impl Host {
    /// Reads `name`, `name:port`, an address, `[IPv6]:port`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, port) = split(text)?;
        Some(Self {
            domain: Domain::parse(domain)?,
            port: match port {
                "" => None,
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Some(digits.parse().ok()?)
                }
                _ => return None,
            },
        })
    }
}

impl Domain {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.bytes().all(is_good)
        };
        let is_name = name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// Whether the name can only resolve within local networks: it has no dot, or a suffix that no public
    /// name has.
    pub fn is_local_name(&self) -> bool {
        // The reserved suffixes, and those of RFC 6762, appendix G.
        const ENDINGS: [&str; 12] = [
            "localhost",
            "local",
            "internal",
            "lan",
            "home",
            "home.arpa",
            "localdomain",
            "intranet",
            "private",
            "corp",
            "test",
            "svc",
        ];
        let Self::Name(name) = self else {
            return false;
        };
        !name.contains('.') || ENDINGS.iter().any(|ending| is_below(name, ending))
    }

    /// Whether this is a loopback address or `localhost`.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || is_below(name, "localhost"),
        }
    }
}

/// Prints an IPv6 address in brackets, as URLs do.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.domain),
            None => write!(f, "{}", self.domain),
        }
    }
}

/// Hosts that a setting allows: `name`, `*.name` (all subdomains), an address, `*` (all). The first three
/// may have a port; without one they match every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    domains: Domains,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Domains {
    All,
    One(Domain),
    /// All subdomains of a name.
    Below(String),
}

impl Pattern {
    /// Parses an entry of a setting; names may be in any script. `None` if it is not a pattern.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self {
                domains: Domains::All,
                port: None,
            });
        }
        let (below, text) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // The ASCII form that browsers and HTTP clients send.
        let ascii = |name: &str| Some(url::Host::parse(name).ok()?.to_string());
        let host = if text.is_ascii() {
            Host::parse(text)?
        } else {
            let (name, port) = split(text)?;
            Host::parse(&format!("{}:{port}", ascii(name)?))?
        };
        let domains = match (below, host.domain) {
            (false, domain) => Domains::One(domain),
            (true, Domain::Name(name)) => Domains::Below(name),
            (true, Domain::Address(_)) => return None,
        };
        Some(Self {
            domains,
            port: host.port,
        })
    }

    /// A pattern for exactly this host, and only for its port if it has one.
    pub fn exactly(host: Host) -> Self {
        Self {
            domains: Domains::One(host.domain),
            port: host.port,
        }
    }

    /// Whether the pattern matches. A pattern with a port does not match a host without one.
    pub fn matches(&self, host: &Host) -> bool {
        self.matches_domain(&host.domain) && self.port.is_none_or(|port| host.port == Some(port))
    }

    /// Whether the pattern matches the host at any port.
    pub fn matches_domain(&self, domain: &Domain) -> bool {
        match (&self.domains, domain) {
            (Domains::All, _) => true,
            (Domains::One(one), domain) => one == domain,
            (Domains::Below(above), Domain::Name(name)) => is_below(name, above),
            (Domains::Below(_), Domain::Address(_)) => false,
        }
    }
}

/// Splits off the port; empty if there is none.
fn split(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        let port = if rest.is_empty() {
            ""
        } else {
            rest.strip_prefix(':')?
        };
        return Some((address, port));
    }
    // An unbracketed IPv6 address cannot have a port.
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, ""));
    }
    Some(text.split_once(':').unwrap_or((text, "")))
}

/// Whether `name` is a subdomain of `above`.
fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_in_one_spelling() {
        for (text, expected) in [
            ("localhost", "localhost"),
            ("LocalHost.:80", "localhost:80"),
            ("1.2.3.4:5", "1.2.3.4:5"),
            ("[::1]:5", "[::1]:5"),
            ("::1", "[::1]"),
            ("[::FFFF:127.0.0.1]", "127.0.0.1"),
            ("my_box-2.lan:", "my_box-2.lan"),
            ("xn--bro-hoa.example", "xn--bro-hoa.example"),
        ] {
            let host = Host::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(host.to_string(), expected, "{text}");
        }
        let long = format!("{}.com", "a".repeat(250));
        for text in [
            "",
            ".",
            ":80",
            "a..b",
            ".a",
            "a b",
            "a:b",
            "a:1:2",
            "a:65536",
            "a:+1",
            "user@localhost",
            "evil.com@localhost",
            "localhost/x",
            "localhost\0",
            "[::1",
            "[::1]x",
            "[localhost]",
            "[fe80::1%eth0]",
            "b\u{fc}ro",
            &long,
        ] {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_without_a_way_out_are_local() {
        for (text, expected) in [
            ("workstation", true),
            ("gpu-box.lan", true),
            ("host.docker.internal", true),
            ("ollama.ai.svc.cluster.local", true),
            ("box.home.arpa", true),
            ("lan", true),
            ("evil.com", false),
            ("evillan.com", false),
            ("lan.evil.com", false),
            ("evil.arpa", false),
            ("10.0.0.1", false),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!(host.domain.is_local_name(), expected, "{text}");
        }
    }

    #[test]
    fn patterns_mean_hosts() {
        for (pattern, host, expected) in [
            ("*", "evil.com:1", true),
            ("a.example", "A.Example.", true),
            ("a.example", "a.example:5000", true),
            ("a.example:5000", "a.example:5000", true),
            ("a.example:5000", "a.example:22", false),
            ("a.example:5000", "a.example", false),
            ("a.example", "b.a.example", false),
            ("*.example", "b.a.example", true),
            ("*.example", "example", false),
            ("*.example", "evilexample", false),
            ("*.example:1", "b.example:1", true),
            ("*.example:1", "b.example:2", false),
            ("10.0.0.1", "[::ffff:10.0.0.1]:9", true),
            ("[fd00::1]:5", "[fd00:0::1]:5", true),
            ("b\u{fc}ro.example", "xn--bro-hoa.example", true),
            ("*.b\u{fc}ro.example:80", "x.xn--bro-hoa.example:80", true),
        ] {
            let parsed = Pattern::parse(pattern).unwrap_or_else(|| panic!("{pattern}"));
            let host = Host::parse(host).unwrap();
            assert_eq!(parsed.matches(&host), expected, "{pattern} {host}");
        }
        for text in [
            "",
            "*.",
            "a*",
            "*.*",
            "http://a",
            "a/b",
            "*.10.0.0.1",
            "**",
            "\u{fc} \u{fc}",
        ] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
