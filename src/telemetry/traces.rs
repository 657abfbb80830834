//! Traces of requests, by OpenTelemetry's conventions for HTTP and for generative AI.
//!
//! The server reports each request once, when it has ended (target `drover::trace`), and both of its spans are made
//! then: the request's, and below it the model's. So a request that is not traced costs nothing, and a traced one costs
//! nothing per token. Spans are sent by a thread of the library.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Event as Moment, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter as Export};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer};

use crate::config::Traces;

/// The target of events for traces.
pub(super) const TARGET: &str = "drover::trace";

/// How long the last spans may take to be sent.
const LAST: Duration = Duration::from_secs(2);

/// The exporter and its thread, up to the end of the daemon.
#[derive(Debug)]
pub(super) struct Exported(SdkTracerProvider);

impl Exported {
    pub(super) fn new(traces: Traces) -> Result<Self, ExporterBuildError> {
        // For a collector behind TLS. It is fine if a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let protocol = match traces {
            Traces::Protobuf => Protocol::HttpBinary,
            Traces::Json => Protocol::HttpJson,
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(protocol)
            .build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        // Attributes from the environment take precedence.
        let resource = Resource::builder().with_attribute(version);
        let provider = SdkTracerProvider::builder()
            .with_resource(named(resource.build()))
            .with_batch_exporter(Told {
                exporter,
                has_failed: AtomicBool::new(false),
            });
        Ok(Self(provider.build()))
    }

    pub(super) fn layer(&self) -> Spans {
        Spans(self.0.tracer("drover"))
    }
}

/// The library calls a service without a name `unknown_service`.
fn named(resource: Resource) -> Resource {
    let name = resource.get(&"service.name".into());
    let is_unknown = name.is_none_or(|name| name.as_str().starts_with("unknown_service"));
    if !is_unknown {
        return resource;
    }
    let known = resource
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let known = known.filter(|known| known.key.as_str() != "service.name");
    Resource::builder_empty()
        .with_attributes(known.collect::<Vec<_>>())
        .with_service_name("drover")
        .build()
}

impl Drop for Exported {
    fn drop(&mut self) {
        // Failures to send have been logged.
        let _ = self.0.shutdown_with_timeout(LAST);
    }
}

/// An exporter that logs when the collector cannot be reached, and when it can be reached again.
#[derive(Debug)]
struct Told {
    exporter: SpanExporter,
    has_failed: AtomicBool,
}

impl Export for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let had_failed = self.has_failed.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !had_failed => tracing::warn!(%error, "traces cannot be sent"),
            Ok(()) if had_failed => tracing::info!("traces are sent again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Makes spans of the events.
#[derive(Debug)]
pub(super) struct Spans(SdkTracer);

impl<S: Subscriber> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let mut request = Request::default();
        event.record(&mut request);
        self.request(&request, SystemTime::now());
    }
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Request {
    texts: HashMap<&'static str, String>,
    counts: HashMap<&'static str, i64>,
    seconds: HashMap<&'static str, f64>,
}

impl Visit for Request {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.seconds.insert(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.counts.insert(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.counts.insert(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.texts.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.texts.insert(field.name(), format!("{value:?}"));
    }
}

impl Request {
    fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    fn count(&self, name: &str) -> i64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    fn time(&self, name: &str) -> Option<Duration> {
        let seconds = self.seconds.get(name).copied()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The client's trace; a new one if the client named none.
    fn parent(&self) -> Context {
        let mut carrier = HashMap::new();
        carrier.insert("traceparent".to_owned(), self.text("parent").to_owned());
        TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
    }

    fn has_failed(&self) -> bool {
        self.count("status") >= 500 || self.text("end") == "broken"
    }

    fn status(&self) -> Status {
        if self.has_failed() {
            Status::error(self.text("error").to_owned())
        } else {
            Status::Unset
        }
    }
}

impl Spans {
    fn request(&self, request: &Request, end: SystemTime) {
        let time = request.time("seconds").unwrap_or_default();
        let start = end.checked_sub(time).unwrap_or(end);
        let method = request.text("method").to_owned();
        let route = request.text("route");
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.clone()),
            KeyValue::new("url.path", request.text("path").to_owned()),
            KeyValue::new("http.response.status_code", request.count("status")),
            KeyValue::new("client.address", request.text("client").to_owned()),
            KeyValue::new("drover.request.id", request.text("id").to_owned()),
            KeyValue::new("drover.end", request.text("end").to_owned()),
        ];
        let name = if route == "-" {
            method
        } else {
            attributes.push(KeyValue::new("http.route", route.to_owned()));
            format!("{method} {route}")
        };
        if !request.text("key").is_empty() {
            attributes.push(KeyValue::new("user.name", request.text("key").to_owned()));
        }
        if request.has_failed() {
            attributes.push(KeyValue::new("error.type", error_type(request)));
        }
        let span = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_start_time(start)
            .with_attributes(attributes);
        let mut span = self.0.build_with_context(span, &request.parent());
        span.set_status(request.status());
        let below = Context::new().with_remote_span_context(span.span_context().clone());
        span.end_with_timestamp(end);
        if !request.text("operation").is_empty() {
            self.model(request, &below, start, end);
        }
    }

    /// What the model did: <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>.
    fn model(&self, request: &Request, below: &Context, start: SystemTime, end: SystemTime) {
        let (operation, model) = (request.text("operation"), request.text("model"));
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", operation.to_owned()),
            KeyValue::new("gen_ai.provider.name", "drover"),
            KeyValue::new("gen_ai.request.model", model.to_owned()),
            KeyValue::new("gen_ai.response.model", model.to_owned()),
            KeyValue::new("gen_ai.usage.input_tokens", request.count("n_prompt")),
            KeyValue::new(
                "gen_ai.usage.cache_read.input_tokens",
                request.count("n_cached"),
            ),
            KeyValue::new("gen_ai.usage.output_tokens", request.count("n_generated")),
        ];
        let finish = request.text("finish");
        if !finish.is_empty() {
            let reasons = Array::String(vec![finish.to_owned().into()]);
            let reasons = Value::Array(reasons);
            attributes.push(KeyValue::new("gen_ai.response.finish_reasons", reasons));
        }
        if request.has_failed() {
            attributes.push(KeyValue::new("error.type", error_type(request)));
        }
        let mut moments = Vec::new();
        for (name, attribute) in [
            ("load_seconds", "drover.load_time"),
            ("queue_seconds", "drover.queue_time"),
            ("first_token_seconds", "drover.time_to_first_token"),
        ] {
            if let Some(time) = request.time(name) {
                attributes.push(KeyValue::new(attribute, time.as_secs_f64()));
            }
        }
        if let Some(time) = request.time("first_token_seconds")
            && let Some(at) = start.checked_add(time)
        {
            moments.push(Moment::new("first token", at, Vec::new(), 0));
        }
        let span = SpanBuilder::from_name(format!("{operation} {model}"))
            .with_kind(SpanKind::Internal)
            .with_start_time(start)
            .with_events(moments)
            .with_attributes(attributes);
        let mut span = self.0.build_with_context(span, below);
        span.set_status(request.status());
        span.end_with_timestamp(end);
    }
}

/// A word from a small set.
fn error_type(request: &Request) -> String {
    match request.text("end") {
        "broken" => "broken".to_owned(),
        _ => request.count("status").to_string(),
    }
}
