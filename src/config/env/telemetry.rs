//! Reads the settings of logs and traces.

use super::Reader;
use crate::config::{LogFormat, Traces, values};

impl Reader<'_> {
    pub(super) fn log_format(&mut self) -> LogFormat {
        const NAME: &str = "DROVER_LOG_FORMAT";
        match self.text(NAME).as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                let mistake = format!("{NAME}: `{other}` is neither `text` nor `json`");
                self.mistakes.push(mistake);
                LogFormat::Text
            }
        }
    }

    /// OpenTelemetry's own variables. Other programs read them, too, so a value that we do not know is only a warning.
    pub(super) fn traces(&mut self) -> Option<Traces> {
        const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
        let is_off = |text: String| values::boolean(&text);
        if self.text("OTEL_SDK_DISABLED").is_some_and(is_off) {
            return None;
        }
        let none = |exporter: String| exporter == "none";
        if self.text("OTEL_TRACES_EXPORTER").is_some_and(none) {
            return None;
        }
        let endpoint = self.text("OTEL_EXPORTER_OTLP_ENDPOINT");
        endpoint.or_else(|| self.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))?;
        let protocol = self.text("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
        let protocol = protocol.or_else(|| self.text(PROTOCOL));
        match protocol.as_deref() {
            None | Some("http/protobuf") => Some(Traces::Protobuf),
            Some("http/json") => Some(Traces::Json),
            Some(other) => {
                let other = other.to_owned();
                self.warn(PROTOCOL, &other, "http/protobuf");
                Some(Traces::Protobuf)
            }
        }
    }

    pub(super) fn debug_level(&self) -> u8 {
        let Some(text) = self.text("OLLAMA_DEBUG") else {
            return 0;
        };
        match text.as_str() {
            "2" => 2,
            other => u8::from(values::boolean(other)),
        }
    }
}
