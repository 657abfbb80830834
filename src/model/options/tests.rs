//! Options: precedence, types, exact error texts.

use serde_json::json;

use super::*;

fn patch(value: Value) -> OptionPatch {
    OptionPatch::parse(value.as_object().unwrap()).unwrap()
}

#[track_caller]
fn error(value: Value) -> String {
    OptionPatch::parse(value.as_object().unwrap()).unwrap_err()
}

#[test]
fn later_layers_win_key_by_key() {
    let params = patch(json!({"temperature": 0.5, "stop": ["a", "b"], "num_ctx": 2048.9}));
    let request = patch(json!({"stop": ["c"], "temperature": null, "use_mmap": true}));
    let options = Options::merge(&[&params, &request]);
    assert_eq!(options.stop, ["c"]);
    assert_eq!(options.num_ctx, Some(2048));
    assert_eq!(options.use_mmap, Some(true));
    assert!((options.temperature - 0.5).abs() < f32::EPSILON);
    assert!(request.unknown.is_empty());
}

#[test]
fn unknown_names_are_reported() {
    let layer = patch(json!({"tfs_z": 1, "temprature": 1, "mirostat_x": null}));
    assert_eq!(Options::merge(&[&layer]), Options::default());
    assert_eq!(layer.unknown, ["tfs_z", "temprature"]);
}

#[test]
fn wrong_types() {
    assert_eq!(
        error(json!({"num_ctx": "x"})),
        "option \"num_ctx\" must be of type integer"
    );
    assert_eq!(
        error(json!({"main_gpu": "1"})),
        "option \"main_gpu\" must be of type integer"
    );
    assert_eq!(
        error(json!({"use_mmap": 1})),
        "option \"use_mmap\" must be of type boolean"
    );
    assert_eq!(
        error(json!({"top_p": true})),
        "option \"top_p\" must be of type float32"
    );
    assert_eq!(
        error(json!({"stop": "x"})),
        "option \"stop\" must be of type array"
    );
    assert_eq!(
        error(json!({"stop": [1]})),
        "option \"stop\" must be of an array of strings"
    );
    for bad in [json!({"a": 1}), json!({"1": true}), json!([[1]]), json!(1)] {
        assert_eq!(
            error(json!({ "logit_bias": bad })),
            "option \"logit_bias\" must be of type object: token numbers with numbers"
        );
    }
}

#[test]
fn numbers_saturate() {
    let hostile = patch(
        json!({"num_ctx": -1, "top_k": 1e30, "seed": -1.9, "temperature": 1e300,
        "min_p": -1e300, "num_thread": 1_000_000}),
    );
    let options = Options::merge(&[&hostile]);
    assert_eq!(
        (options.num_ctx, options.top_k, options.seed),
        (Some(0), i32::MAX, -1)
    );
    assert_eq!((options.temperature, options.min_p), (f32::MAX, f32::MIN));
    assert_eq!(options.num_thread, 512);
}
