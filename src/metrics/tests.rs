//! The text that Prometheus scrapes.

use super::*;

/// The value of the line that starts with `line`.
fn value(line: &str) -> f64 {
    let text = text().unwrap();
    let found = text.lines().find_map(|known| known.strip_prefix(line));
    let found = found.unwrap_or_else(|| panic!("no {line} in {text}"));
    found.trim().parse().unwrap()
}

#[test]
fn requests_are_counted_by_route_and_status() {
    request("/api/test", 200, Duration::from_millis(30));
    request("/api/test", 200, Duration::from_millis(2));
    request("/api/test", 499, Duration::from_secs(1));
    assert_eq!(
        value(r#"drover_requests_total{route="/api/test",status="200"}"#),
        2.0
    );
    assert_eq!(
        value(r#"drover_requests_total{route="/api/test",status="499"}"#),
        1.0
    );
    let bucket = r#"drover_request_duration_seconds_bucket{le="0.025",route="/api/test"}"#;
    assert_eq!(value(bucket), 1.0);
    assert!(text().unwrap().ends_with("# EOF\n"));
}

#[test]
fn steps_add_up_and_gauges_fall_when_the_runner_ends() {
    let metrics = ModelMetrics::new("m:\"odd\"");
    let step = Step {
        n_prompt: 10,
        n_cached: 3,
        n_generated: 2,
        n_running: 2,
        n_waiting: 1,
        time: Duration::from_millis(7),
        ..Step::default()
    };
    metrics.step(&step);
    metrics.step(&step);
    let of = |name: &str| value(&format!(r#"drover_{name}{{model="m:\"odd\""}}"#));
    assert_eq!(of("prompt_tokens_total"), 20.0);
    assert_eq!(of("prompt_tokens_cached_total"), 6.0);
    assert_eq!(of("generated_tokens_total"), 4.0);
    assert_eq!(
        (of("sequences_running"), of("sequences_waiting")),
        (2.0, 1.0)
    );
    assert_eq!(of("step_duration_seconds_count"), 2.0);
    drop(metrics);
    assert_eq!(
        (of("sequences_running"), of("sequences_waiting")),
        (0.0, 0.0)
    );
    // The model's next runner continues the count.
    ModelMetrics::new("m:\"odd\"").step(&step);
    assert_eq!(of("prompt_tokens_total"), 30.0);
}
