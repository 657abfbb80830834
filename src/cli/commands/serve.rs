//! `serve`: starts the daemon.

use std::process::ExitCode;

use crate::cli::{ServeArgs, help};
use crate::config::{Loaded, env};
use crate::{server, telemetry};

const HOST: &str = "OLLAMA_HOST";

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Fails when a setting is wrong, the address is in use or the store cannot be opened.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    help::check_arity("serve", args.args.len()).map_err(anyhow::Error::msg)?;
    let config = load(args, &env::process)?;
    let journal = env::process("JOURNAL_STREAM");
    // Kept to the end, so that the last traces are sent.
    let _telemetry = telemetry::init(&config.config, journal.as_deref());
    telemetry::report(&config.warnings);
    telemetry::settings(&env::given(&env::process));
    telemetry::report(&env::unknown(env::names()));
    if !config.config.sandbox {
        tracing::warn!("DROVER_SANDBOX=off: runners can do all that their user can");
    }
    server::serve(config.config, env::executable()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the settings; flags override the environment.
fn load(args: &ServeArgs, process: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Loaded> {
    let flag = args.host.clone();
    let lookup = |name: &str| match &flag {
        Some(host) if name == HOST => Some(host.clone()),
        _ => process(name),
    };
    let loaded = env::load(&lookup)?;
    // Ollama tolerates a bad variable; a bad flag can be corrected at once.
    if let Some(host) = flag
        && loaded
            .warnings
            .iter()
            .any(|warning| warning.variable == HOST)
    {
        anyhow::bail!("invalid argument \"{host}\" for \"--host\" flag: bad port");
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(host: Option<&str>) -> anyhow::Result<Loaded> {
        let args = ServeArgs {
            host: host.map(str::to_owned),
            ..ServeArgs::default()
        };
        load(&args, &|name| match name {
            "HOME" => Some("/h".to_owned()),
            HOST => Some("10.0.0.1:99999".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_flag_comes_before_the_environment() {
        let loaded = load_with(Some("0.0.0.0:5")).unwrap();
        assert_eq!(loaded.config.host.to_string(), "http://0.0.0.0:5");
        assert_eq!(loaded.warnings, []);
    }

    #[test]
    fn a_bad_variable_is_a_warning_and_a_bad_flag_an_error() {
        let loaded = load_with(None).unwrap();
        assert_eq!(loaded.warnings[0].variable, HOST);
        assert!(load_with(Some("x:99999")).is_err());
    }
}
