//! Which network an address is in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of an address, from the most public to the most private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the internet.
    Public,
    /// In a private network.
    Private,
    /// On this machine.
    Here,
    /// Link-local (clouds hand out keys there), or not the address of a single host.
    Special,
}

/// The IPv4 ranges that are not public (IANA's special-purpose address registry): first address, prefix
/// length.
const V4: &[(Ipv4Addr, u32, Place)] = &[
    // "This host": Linux connects to itself.
    (Ipv4Addr::new(0, 0, 0, 0), 8, Place::Special),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Place::Private),
    // Alibaba's metadata service, inside the range of carriers (CGNAT) and VPNs.
    (Ipv4Addr::new(100, 100, 100, 200), 32, Place::Special),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Place::Private),
    (Ipv4Addr::LOCALHOST, 8, Place::Here),
    // Azure's metadata service.
    (Ipv4Addr::new(168, 63, 129, 16), 32, Place::Special),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Place::Special),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Place::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Place::Special),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Place::Special),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Place::Special),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Place::Private),
    // Benchmarks, and proxies that map every name to an address in this range.
    (Ipv4Addr::new(198, 18, 0, 0), 15, Place::Private),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Place::Special),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Place::Special),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3, Place::Special),
];

/// The same for IPv6; they are checked before [`PUBLIC_V6`].
const V6: &[(Ipv6Addr, u32, Place)] = &[
    (Ipv6Addr::LOCALHOST, 128, Place::Here),
    // Metadata services of Amazon, Google and Scaleway.
    (
        v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
        128,
        Place::Special,
    ),
    (
        v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
        128,
        Place::Special,
    ),
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]), 128, Place::Special),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7, Place::Private),
    // Protocol assignments (Teredo among them) and documentation.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 23, Place::Special),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32, Place::Special),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20, Place::Special),
];

/// The only IPv6 range that IANA has assigned for global unicast.
const PUBLIC_V6: (Ipv6Addr, u32) = (v6([0x2000, 0, 0, 0, 0, 0, 0, 0]), 3);

/// Translated IPv4 (NAT64).
const NAT64: (Ipv6Addr, u32) = (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0]), 96);

/// IPv4 in IPv6 (6to4); the IPv4 address follows the first 16 bits.
const SIX_TO_FOUR: (Ipv6Addr, u32) = (v6([0x2002, 0, 0, 0, 0, 0, 0, 0]), 16);

impl Place {
    /// Returns the network of an address; this machine's own addresses are [`Self::Here`], whatever their
    /// range.
    pub fn of(address: IpAddr) -> Self {
        match Self::by_range(address) {
            by_range @ (Self::Public | Self::Private) if is_ours(address) => {
                by_range.max(Self::Here)
            }
            by_range => by_range,
        }
    }

    fn by_range(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Place {
    let found = V4.iter().find(|(first, n_bits, _)| {
        (u32::from(address) ^ u32::from(*first)).leading_zeros() >= *n_bits
    });
    found.map_or(Place::Public, |(_, _, place)| *place)
}

fn of_v6(address: Ipv6Addr) -> Place {
    let bits = u128::from(address);
    if let Some((_, _, place)) = V6.iter().find(|(first, n, _)| is_in(address, (*first, *n))) {
        return *place;
    }
    // An address that embeds an IPv4 address reaches that one.
    if is_in(address, NAT64) {
        return of_v4(embedded(bits, 0));
    }
    if is_in(address, SIX_TO_FOUR) {
        return of_v4(embedded(bits, 80));
    }
    if is_in(address, PUBLIC_V6) {
        Place::Public
    } else {
        Place::Special
    }
}

fn is_in(address: Ipv6Addr, (first, n_bits): (Ipv6Addr, u32)) -> bool {
    (u128::from(address) ^ u128::from(first)).leading_zeros() >= n_bits
}

/// The IPv4 address that is followed by `below` bits.
#[expect(clippy::cast_possible_truncation, reason = "these 32 bits are meant")]
fn embedded(bits: u128, below: u32) -> Ipv4Addr {
    Ipv4Addr::from((bits >> below) as u32)
}

const fn v6(parts: [u16; 8]) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, h] = parts;
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

/// Whether an interface of this machine has the address. Not cached, since interfaces can change.
pub fn is_ours(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if_addrs::get_if_addrs()
        .is_ok_and(|interfaces| interfaces.iter().any(|found| found.ip() == address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_near_address_is_near() {
        for (place, addresses) in [
            (
                Place::Public,
                "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.167.1.1 \
                 169.253.1.1 223.255.255.255 11.0.0.0 128.0.0.1 198.20.0.0 2606:4700::1111 \
                 2a00::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1",
            ),
            (
                Place::Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 198.18.0.1 198.19.9.9 \
                 fd12:3456::1 fc00::1 ::ffff:10.0.0.1 64:ff9b::192.168.0.1 2002:a00:1::1",
            ),
            (
                Place::Here,
                "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1 2002:7f00:1::",
            ),
            (
                Place::Special,
                "0.0.0.0 0.1.2.3 169.254.169.254 169.254.0.1 100.100.100.200 168.63.129.16 \
                 192.0.0.192 192.0.2.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 \
                 255.255.255.255 :: fe80::1 fec0::1 ff02::1 fd00:ec2::254 fd20:ce::254 \
                 2001::1 2001:db8::1 100::1 64:ff9b:1::1 ::7f00:1 ::ffff:169.254.169.254 \
                 ::ffff:0:7f00:1 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 3fff::1 5f00::1",
            ),
        ] {
            for address in addresses.split_whitespace() {
                let parsed: IpAddr = address.parse().unwrap();
                assert_eq!(Place::by_range(parsed), place, "{address}");
            }
        }
    }

    #[test]
    fn this_machines_own_addresses_are_here() {
        for interface in if_addrs::get_if_addrs().unwrap() {
            let address = interface.ip();
            assert!(is_ours(address), "{address}");
            assert!(Place::of(address) >= Place::Here, "{address}");
        }
        assert!(!is_ours("192.0.2.77".parse().unwrap()));
    }
}
