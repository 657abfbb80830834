//! Hours of the day, such as `22:00-07:00`.

use std::fmt;
use std::str::FromStr;

use jiff::ZonedDateTime;
use jiff::civil::Time;

/// From one time of the day to another, which may be on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: Time,
    to: Time,
}

/// The text is not a range of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no hours such as `22:00-07:00`")]
pub struct InvalidHours;

impl Hours {
    /// Whether a moment is within the hours.
    pub fn contains(&self, now: &ZonedDateTime) -> bool {
        self.has(now.time())
    }

    fn has(&self, time: Time) -> bool {
        if self.from <= self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }
}

impl FromStr for Hours {
    type Err = InvalidHours;

    fn from_str(text: &str) -> Result<Self, InvalidHours> {
        let time = |text: &str| Time::strptime("%H:%M", text.trim()).map_err(|_| InvalidHours);
        let (from, to) = text.split_once('-').ok_or(InvalidHours)?;
        let hours = Self {
            from: time(from)?,
            to: time(to)?,
        };
        if hours.from == hours.to {
            return Err(InvalidHours);
        }
        Ok(hours)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            formatter,
            "{:02}:{:02}-{:02}:{:02}",
            from.hour(),
            from.minute(),
            to.hour(),
            to.minute()
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    #[test]
    fn hours_may_go_over_midnight() {
        let night: Hours = " 22:00 - 7:30 ".parse().unwrap();
        assert_eq!(night.to_string(), "22:00-07:30");
        let day: Hours = "09:00-17:00".parse().unwrap();
        for (hour, minute, at_night, by_day) in [
            (22, 0, true, false),
            (0, 0, true, false),
            (7, 29, true, false),
            (7, 30, false, false),
            (9, 0, false, true),
            (17, 0, false, false),
        ] {
            let time = time(hour, minute, 0, 0);
            assert_eq!(
                (night.has(time), day.has(time)),
                (at_night, by_day),
                "{time}"
            );
        }
        for text in ["", "22:00", "22-7", "25:00-07:00", "08:00-08:00", "a-b"] {
            assert_eq!(text.parse::<Hours>(), Err(InvalidHours), "{text}");
        }
    }
}
