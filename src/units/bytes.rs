//! Sizes: decimal units for people, binary units for logs.

const DECIMAL: [(u64, &str); 4] = [
    (1_000_000_000_000, "TB"),
    (1_000_000_000, "GB"),
    (1_000_000, "MB"),
    (1_000, "KB"),
];

const BINARY: [(u64, &str); 4] = [
    (1 << 40, "TiB"),
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
];

/// Prints bytes in decimal units (`16 GB`, `1.5 KB`), as `list` and `ps` do.
///
/// From ten on the number is truncated; below ten it has one rounded decimal unless it is whole.
pub fn format_bytes(bytes: u64) -> String {
    let Some((unit, name)) = unit_of(&DECIMAL, bytes) else {
        return format!("{bytes} B");
    };
    if bytes / unit >= 10 || bytes.is_multiple_of(unit) {
        format!("{} {name}", bytes / unit)
    } else {
        format!("{:.1} {name}", bytes as f64 / unit as f64)
    }
}

/// Prints bytes in binary units with one decimal (`1.5 GiB`), as logs do.
pub fn format_bytes_binary(bytes: u64) -> String {
    match unit_of(&BINARY, bytes) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

fn unit_of(units: &[(u64, &'static str)], bytes: u64) -> Option<(u64, &'static str)> {
    units.iter().copied().find(|(unit, _)| bytes >= *unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 KB"),
            (1_500, "1.5 KB"),
            (10_999, "10 KB"),
            (999_999_999, "999 MB"),
            (9_600_000_000, "9.6 GB"),
            (16_000_000_000, "16 GB"),
            (1_999_999_999_999, "2.0 TB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }

    #[test]
    fn binary_units() {
        for (bytes, text) in [(12, "12 B"), (1 << 10, "1.0 KiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(format_bytes_binary(bytes), text);
        }
    }
}
