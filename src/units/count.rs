//! Parameter counts.

/// Prints a parameter count (`8.0B`, `8B` when whole, `494.03M`).
pub fn format_count(count: u64) -> String {
    const BILLION: u64 = 1_000_000_000;
    const MILLION: u64 = 1_000_000;
    let number = count as f64;
    if count >= BILLION {
        if count.is_multiple_of(BILLION) {
            format!("{}B", count / BILLION)
        } else {
            format!("{:.1}B", number / BILLION as f64)
        }
    } else if count >= MILLION {
        if count.is_multiple_of(MILLION) {
            format!("{}M", count / MILLION)
        } else {
            format!("{:.2}M", number / MILLION as f64)
        }
    } else if count >= 1_000 {
        format!("{:.0}K", number / 1_000.0)
    } else {
        count.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (count, text) in [
            (999, "999"),
            (1_000, "1K"),
            (1_499, "1K"),
            (125_000_000, "125M"),
            (494_032_768, "494.03M"),
            (8_000_000_000, "8B"),
            (8_030_261_312, "8.0B"),
            (2_779_683_840, "2.8B"),
        ] {
            assert_eq!(format_count(count), text);
        }
    }
}
