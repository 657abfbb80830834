//! This machine's names, from trusted sources only: host name, search domains, the hosts file, and the
//! names that the resolver returns for our own addresses.
//!
//! *Invariant:* a name that a client sends is never looked up here. That it resolves to this machine proves
//! nothing: the owner of a name can point it anywhere.

use std::collections::HashSet;
use std::net::IpAddr;

/// The hosts file.
const HOSTS_FILE: &str = "/etc/hosts";

/// The file with the search domains.
const RESOLVER_FILE: &str = "/etc/resolv.conf";

/// Larger files are ad-blocking lists, not lists of machines.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The most addresses that are looked up; machines with more use them for containers.
const MAX_ADDRESSES: usize = 8;

/// What the machine knows about itself without asking the resolver.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// The host name, in lower case.
    pub machine: String,
    /// All names except those that only the resolver knows.
    pub names: HashSet<String>,
    /// Addresses to ask the resolver about.
    pub addresses: Vec<IpAddr>,
}

impl Own {
    /// Returns the host name in lower case, or an empty string.
    pub fn machine() -> String {
        let name = hostname::get().map(|name| name.to_string_lossy().to_ascii_lowercase());
        name.unwrap_or_default()
    }

    /// Reads the files and the interfaces. Blocks.
    pub fn read() -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses = interfaces.iter().map(if_addrs::Interface::ip);
        let addresses: Vec<IpAddr> = addresses
            .filter(|address| !address.is_loopback() && !is_link_local(*address))
            .collect();
        let machine = Self::machine();
        let mut names = hosts(&text(HOSTS_FILE), &addresses, &machine);
        names.extend(searched(&text(RESOLVER_FILE), &machine));
        names.insert(machine.clone());
        Self {
            machine,
            names,
            addresses: addresses.into_iter().take(MAX_ADDRESSES).collect(),
        }
    }

    /// Asks the resolver for the name of one of our addresses. Blocks for as long as the system's resolver
    /// waits, which can be seconds.
    pub fn name_of(address: IpAddr) -> Option<String> {
        let name = dns_lookup::lookup_addr(&address).ok()?;
        // The resolver returns the address itself when it has no name.
        name.parse::<IpAddr>().is_err().then(|| clean(&name))
    }
}

fn text(path: &str) -> String {
    let is_small = fs_err::metadata(path).is_ok_and(|file| file.len() <= MAX_FILE_BYTES);
    let text = is_small.then(|| fs_err::read_to_string(path).ok());
    text.flatten().unwrap_or_default()
}

/// Returns the names of our addresses in a hosts file. A line for a loopback address counts only if its
/// first name is the machine's own (Debian's `127.0.1.1 box.example box`): other lines block their names.
fn hosts(text: &str, addresses: &[IpAddr], machine: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
            continue;
        };
        let names = words.map(clean);
        if addresses.contains(&address) {
            found.extend(names);
        } else if address.is_loopback() {
            found.extend(names.filter(|name| first_label(name) == first_label(machine)));
        }
    }
    found
}

/// Returns the machine's name in each of the search domains.
fn searched(text: &str, machine: &str) -> HashSet<String> {
    let short = first_label(machine);
    let lists = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next()?, "search" | "domain").then_some(words)
    });
    let domains = lists.flatten().map(clean).filter(|name| !name.is_empty());
    domains.map(|domain| format!("{short}.{domain}")).collect()
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

fn clean(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: HashSet<String>) -> Vec<String> {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        names
    }

    #[test]
    fn the_hosts_file_names_our_addresses() {
        let text = "127.0.0.1 localhost tracker.example\n127.0.1.1\tBox.Example.org. box # me\n\
                    0.0.0.0 ads.example\n10.0.0.5 gpu.example gpu\n10.0.0.6 other.example\nnonsense\n\
                    ::1 box.v6.example\n#10.0.0.5 old.example\n";
        let ours = ["10.0.0.5".parse().unwrap()];
        assert_eq!(
            sorted(hosts(text, &ours, "box")),
            [
                "box",
                "box.example.org",
                "box.v6.example",
                "gpu",
                "gpu.example"
            ]
        );
        assert!(hosts("10.0.0.5", &ours, "box").is_empty());
    }

    #[test]
    fn the_machine_is_known_in_its_search_domains() {
        let text = "nameserver 10.0.0.1\nsearch corp.example lab.example.\ndomain Old.example\n";
        assert_eq!(
            sorted(searched(text, "box.corp.example")),
            ["box.corp.example", "box.lab.example", "box.old.example"]
        );
    }

    #[test]
    fn reading_takes_what_this_system_has() {
        let own = Own::read();
        assert!(own.names.contains(&own.machine));
        assert!(own.addresses.len() <= MAX_ADDRESSES);
        assert!(!own.addresses.iter().any(IpAddr::is_loopback));
    }
}
