//! Reads values of the common kinds. For a bad value of one of Ollama's variables it warns and uses the default; a bad
//! value of one of drover's own is an error.

use std::time::Duration;

use bytesize::ByteSize;

use super::{Reader, surroundings};
use crate::config::{Warning, values};

impl Reader<'_> {
    /// Returns the value without surrounding white space and quotes; `None` when unset or empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = values::clean(&value);
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Returns the items of a comma-separated list.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let list = self.text(name).unwrap_or_default();
        list.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn number<T: TryFrom<u64> + std::fmt::Display>(
        &mut self,
        name: &'static str,
        default: T,
    ) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        let number = values::unsigned(&text).ok().flatten();
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => number,
            None => {
                self.warn(name, &text, &default.to_string());
                default
            }
        }
    }

    pub(super) fn on_or_off(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.text(name) else {
            return default;
        };
        let is_on = surroundings::is_on(&text);
        if is_on.is_none() {
            let mistake = format!("{name}: `{text}` is neither `on` nor `off`");
            self.mistakes.push(mistake);
        }
        is_on.unwrap_or(default)
    }

    pub(super) fn own_duration(&mut self, name: &'static str, default: Duration) -> Duration {
        let Some(text) = self.text(name) else {
            return default;
        };
        let nanos = values::duration_nanos(&text).and_then(|nanos| u64::try_from(nanos).ok());
        nanos.map_or_else(
            || {
                self.mistakes.push(format!(
                    "{name}: `{text}` is no duration such as `30s` or `2m`"
                ));
                default
            },
            Duration::from_nanos,
        )
    }

    /// A number whose default is 0.
    pub(super) fn own_number(&mut self, name: &'static str) -> usize {
        let text = self.text(name).unwrap_or_default();
        let number = values::unsigned(&text);
        let number = number.map(|number| usize::try_from(number.unwrap_or(0)));
        if let Ok(Ok(number)) = number {
            return number;
        }
        self.mistakes
            .push(format!("{name}: `{text}` is no number such as `100`"));
        0
    }

    /// A number of bytes, with or without a unit; `None` when unset.
    pub(super) fn own_size(&mut self, name: &'static str) -> Option<u64> {
        let text = self.text(name)?;
        let size = text.parse::<ByteSize>();
        if size.is_err() {
            self.mistakes
                .push(format!("{name}: `{text}` is no size such as `2GiB` or `0`"));
        }
        size.ok().map(|size| size.as_u64())
    }

    pub(super) fn own_bytes(&mut self, name: &'static str, default: usize) -> usize {
        match self.own_size(name).map(usize::try_from) {
            None => default,
            Some(Ok(bytes)) if bytes > 0 => bytes,
            Some(_) => {
                self.mistakes.push(format!(
                    "{name} must be more than 0, and less than the memory"
                ));
                default
            }
        }
    }

    pub(super) fn warn(&mut self, variable: &'static str, value: &str, default: &str) {
        let (value, default) = (value.to_owned(), default.to_owned());
        self.warnings.push(Warning {
            variable: variable.into(),
            value,
            default,
        });
    }
}
