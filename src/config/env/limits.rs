//! Reads limits on time and memory, and how models are loaded.

use std::time::Duration;

use super::Reader;
use crate::config::{Hours, KeepAlive, values};
use crate::protocol::{KvCacheType, Speculation};

impl Reader<'_> {
    pub(super) fn keep_alive(&mut self) -> KeepAlive {
        let default = KeepAlive::For(Duration::from_secs(300));
        let Some(text) = self.text("OLLAMA_KEEP_ALIVE") else {
            return default;
        };
        match values::duration_nanos(&text) {
            Some(nanos) => u64::try_from(nanos).map_or(KeepAlive::Forever, |nanos| {
                KeepAlive::For(Duration::from_nanos(nanos))
            }),
            None => {
                self.warn("OLLAMA_KEEP_ALIVE", &text, "5m");
                default
            }
        }
    }

    pub(super) fn load_timeout(&mut self) -> Option<Duration> {
        let default = Some(Duration::from_secs(300));
        let Some(text) = self.text("OLLAMA_LOAD_TIMEOUT") else {
            return default;
        };
        match values::duration_nanos(&text) {
            Some(nanos) => u64::try_from(nanos)
                .ok()
                .filter(|&nanos| nanos > 0)
                .map(Duration::from_nanos),
            None => {
                self.warn("OLLAMA_LOAD_TIMEOUT", &text, "5m");
                default
            }
        }
    }

    pub(super) fn kv_cache_type(&mut self) -> KvCacheType {
        const NAME: &str = "OLLAMA_KV_CACHE_TYPE";
        let Some(text) = self.text(NAME) else {
            return KvCacheType::default();
        };
        values::word(&text).unwrap_or_else(|| {
            self.warn(NAME, &text, "f16");
            KvCacheType::default()
        })
    }

    pub(super) fn speculation(&mut self) -> Speculation {
        const NAME: &str = "DROVER_SPECULATIVE";
        let Some(text) = self.text(NAME) else {
            return Speculation::default();
        };
        values::word(&text).unwrap_or_else(|| {
            self.mistakes
                .push(format!("{NAME}: `{text}` is none of off, auto, on"));
            Speculation::default()
        })
    }

    pub(super) fn batch_hours(&mut self) -> Option<Hours> {
        const NAME: &str = "DROVER_BATCH_HOURS";
        let text = self.text(NAME)?;
        let hours = text.parse();
        if let Err(error) = &hours {
            self.mistakes.push(format!("{NAME}: `{text}`: {error}"));
        }
        hours.ok()
    }

    pub(super) fn client_timeout(&mut self) -> Duration {
        const NAME: &str = "DROVER_CLIENT_TIMEOUT";
        let timeout = self.own_duration(NAME, Duration::from_secs(60));
        if timeout.is_zero() {
            self.mistakes.push(format!("{NAME} must be more than 0"));
        }
        timeout
    }

    pub(super) fn responses_age(&mut self) -> Option<Duration> {
        const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
        let age = self.own_duration("DROVER_RESPONSES_AGE", MONTH);
        (!age.is_zero()).then_some(age)
    }

    pub(super) fn responses_background(&mut self) -> usize {
        const NAME: &str = "DROVER_RESPONSES_BACKGROUND";
        match self.text(NAME) {
            None => 32,
            Some(_) => self.own_number(NAME),
        }
    }

    /// A size, or `auto` for the server's choice.
    pub(super) fn size_or_auto(&mut self, name: &'static str) -> Option<u64> {
        if self.text(name).is_some_and(|text| text == "auto") {
            return None;
        }
        self.own_size(name)
    }
}
