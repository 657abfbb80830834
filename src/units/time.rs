//! Times: relative for people, RFC 3339 for clients.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Go's zero time, 0001-01-01T00:00:00Z, in Unix seconds: it means "never".
const GO_ZERO_SECOND: i64 = -62_135_596_800;

const TWENTY_YEARS_HOURS: i64 = 20 * 365 * 24;

/// Prints a time relative to `now` (`4 minutes from now`, `2 days ago`, `Forever`, `Never`).
pub fn relative_time(then: Timestamp, now: Timestamp) -> String {
    if then.as_second() == GO_ZERO_SECOND {
        return "Never".to_owned();
    }
    let nanos = then.as_nanosecond() - now.as_nanosecond();
    let seconds = i64::try_from(nanos.abs() / 1_000_000_000).unwrap_or(i64::MAX);
    if nanos > 0 && seconds / 3600 > TWENTY_YEARS_HOURS {
        return "Forever".to_owned();
    }
    let direction = if nanos > 0 { "from now" } else { "ago" };
    format!("{} {direction}", distance(seconds))
}

/// Prints a UTC time as Go's RFC 3339 with nanoseconds does (trailing zeros trimmed, `Z`).
pub fn rfc3339_utc(time: Timestamp) -> String {
    time.to_string()
}

/// Prints a time with the local zone's offset, as `modified_at` and `expires_at` are.
pub fn rfc3339_local(time: Timestamp) -> String {
    rfc3339_in(time, TimeZone::system())
}

fn rfc3339_in(time: Timestamp, zone: TimeZone) -> String {
    let zoned = time.to_zoned_datetime(zone);
    if zoned.offset().is_zero() {
        return rfc3339_utc(time);
    }
    zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

fn distance(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = seconds.saturating_add(1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn check(seconds: i64, text: &str) {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let then = now + SignedDuration::from_secs(seconds);
        assert_eq!(relative_time(then, now), text);
    }

    #[test]
    fn relative() {
        check(0, "Less than a second ago");
        check(-1, "1 second ago");
        check(59, "59 seconds from now");
        check(-60, "About a minute ago");
        check(4 * 60, "4 minutes from now");
        check(-(59 * 60 + 40), "59 minutes ago");
        check(-3600, "About an hour ago");
        check(-24 * 3600, "24 hours ago");
        check(-48 * 3600, "2 days ago");
        check(-14 * 24 * 3600, "2 weeks ago");
        check(-61 * 24 * 3600, "2 months ago");
        check(-800 * 24 * 3600, "2 years ago");
        check(292 * 365 * 24 * 3600, "Forever");
    }

    #[test]
    fn gos_zero_time_is_never() {
        let zero = Timestamp::from_second(GO_ZERO_SECOND).unwrap();
        assert_eq!(relative_time(zero, Timestamp::UNIX_EPOCH), "Never");
    }

    #[test]
    fn rfc3339() {
        let time: Timestamp = "2026-03-01T12:00:00.120Z".parse().unwrap();
        assert_eq!(rfc3339_utc(time), "2026-03-01T12:00:00.12Z");
        let whole: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(rfc3339_utc(whole), "2026-03-01T12:00:00Z");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            rfc3339_in(time, zone.clone()),
            "2026-03-01T14:00:00.12+02:00"
        );
        assert_eq!(rfc3339_in(whole, zone), "2026-03-01T14:00:00+02:00");
        assert_eq!(rfc3339_in(whole, TimeZone::UTC), "2026-03-01T12:00:00Z");
    }
}
