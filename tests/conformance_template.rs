//! Recorded answers of Go's template language with Ollama's functions.
//!
//! The data lies beside the checkout (`../shared/testdata`, or `DROVER_TESTDATA`); without it the
//! test says so and passes.

mod recorded;

use drover::template::Template;
use recorded::run;
use serde_json::Value;

/// The stage and the message of a failure are as much a result as a text is.
fn outcome(case: &Value) -> Result<String, (&'static str, String)> {
    let text = case["template"].as_str().unwrap_or_default();
    let template = Template::parse(text).map_err(|error| ("parse", error.to_string()))?;
    template
        .render(&(&case["data"]).into())
        .map_err(|error| ("execute", error.to_string()))
}

#[test]
fn the_language() {
    run("gotemplate_conformance.json", |case| {
        let got = outcome(case);
        let want = match case["error"].as_str() {
            Some(error) => Err((case["stage"].as_str().unwrap(), error.to_owned())),
            None => Ok(case["expected"].as_str().unwrap_or_default().to_owned()),
        };
        if got == want {
            Ok(())
        } else {
            Err(format!("got {got:?}, want {want:?}"))
        }
    });
}
