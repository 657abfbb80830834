//! The command line: one table of commands (`args.rs`, `help.rs`), one file per command.
//!
//! Commands reach the daemon only through the HTTP client. `serve`, `runner` and `renderer` do not use it, nor does
//! `doctor store`, which reads the model directory itself.

mod answer;
mod args;
pub mod commands;
mod context;
mod help;
mod interrupt;
mod media;
mod parameter;
mod program;
mod session;
mod ui;
mod usage;

pub use args::ServeArgs;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;

use crate::config::ClientConfig;
use args::{Cli, Command};
use context::Context;
use help::Topic;
use program::Program;
use ui::Ui;

/// Runs the program: arguments in, exit code out.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = Program::of(args.next().as_deref());
    let config = ClientConfig::load();
    let ui = Ui::new(config.no_color);
    match run(ui, config, program, args) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            ui.talk(&format!("Error: {}", program.describe(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run(
    ui: Ui,
    config: ClientConfig,
    program: Program,
    args: impl Iterator<Item = OsString>,
) -> anyhow::Result<ExitCode> {
    let args = usage::fold_switches(args).map_err(anyhow::Error::msg)?;
    let words = std::iter::once(OsString::from(program.name())).chain(args);
    let words: Vec<OsString> = words.collect();
    let mut command = help::command(program.name());
    let cli = match command.try_get_matches_from_mut(&words) {
        Ok(matches) => Cli::from_arg_matches(&matches)?,
        Err(error) => {
            let topic = match error.kind() {
                ErrorKind::InvalidSubcommand => help::topic(&words, &mut command),
                _ => Ok(None),
            };
            if let Some(topic) = topic.map_err(anyhow::Error::msg)? {
                match topic {
                    Topic::Known(text) => ui.out(&text)?,
                    Topic::Unknown(text) => ui.talk_raw(&text),
                }
                return Ok(ExitCode::SUCCESS);
            }
            if let Some(message) = usage::message(&error, program.name(), &words) {
                anyhow::bail!(message);
            }
            error.print()?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    match cli.command {
        _ if cli.version => block_on(commands::version::run(ui, &config, program)),
        None => {
            ui.out(&command.render_help().to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Runner(_)) => Ok(commands::runner::run()),
        Some(Command::RpcServer(args)) => commands::rpc_server::run(ui, &args),
        Some(Command::Renderer(_)) => Ok(crate::workers::run()),
        Some(Command::Serve(args)) => commands::serve::run(&args),
        Some(Command::Completion(args)) => commands::completion::run(ui, &args, command),
        Some(Command::Man(args)) => commands::man::run(&args, command),
        Some(Command::Takeover(args)) => commands::deploy::takeover(ui, &config, &args),
        Some(Command::Rollback(_)) => commands::deploy::rollback(ui),
        Some(Command::Signin(_) | Command::Signout(_)) => commands::account::run(),
        Some(Command::Doctor(args)) => match args.args.first().map(String::as_str) {
            None => commands::deploy::doctor(ui, &config, args.json),
            Some("store") => commands::doctor_store::run(ui, &args),
            Some(other) => anyhow::bail!(
                "unknown check {other:?}; `{} doctor store` looks the model directory over",
                program.name()
            ),
        },
        Some(Command::Launch(args)) => {
            let context = Context::new(ui, config, program)?;
            block_on(commands::launch::run(&context, &args))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Batch(args)) => block_on(commands::batch::run(ui, &config, program, &args)),
        Some(Command::Key(args)) => match &args.file {
            Some(file) => commands::key::in_file(ui, file, &args),
            None => block_on(commands::key::run(ui, &config, &args)),
        },
        // It may measure another server, and reports it by itself if that does not answer.
        Some(Command::Bench(args)) => {
            help::check_arity("bench", args.args.len()).map_err(anyhow::Error::msg)?;
            block_on(commands::bench::run(ui, &config, &args))
        }
        Some(Command::Health(args)) => {
            help::check_arity("health", args.args.len()).map_err(anyhow::Error::msg)?;
            let context = Context::new(ui, config, program)?;
            block_on(commands::health::run(&context))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(command) => {
            check_arity(&command)?;
            block_on(dispatch(Context::new(ui, config, program)?, command))
        }
    }
}

/// Runs a command that talks to the daemon.
async fn dispatch(context: Context, command: Command) -> anyhow::Result<ExitCode> {
    context.client.heartbeat().await?;
    match command {
        Command::Create(args) => commands::create::run(&context, &args).await?,
        Command::Show(args) => commands::show::run(&context, &args).await?,
        Command::Run(args) => commands::run::run(&context, &args).await?,
        Command::Stop(args) => commands::stop::run(&context, &args).await?,
        Command::Pull(args) => commands::pull::run(&context, &args).await?,
        Command::Push(args) => commands::push::run(&context, &args).await?,
        Command::List(args) => commands::list::run(&context, &args).await?,
        Command::Fit(args) => commands::fit::run(&context, &args).await?,
        Command::Ps(args) => commands::ps::run(&context, &args).await?,
        Command::Top(args) => commands::top::run(&context, &args).await?,
        Command::Cp(args) => commands::cp::run(&context, &args).await?,
        Command::Rm(args) => commands::rm::run(&context, &args).await?,
        // The other commands have already run, without the daemon.
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn check_arity(command: &Command) -> anyhow::Result<()> {
    let (name, args) = match command {
        Command::Create(args) => ("create", &args.args),
        Command::Show(args) => ("show", &args.args),
        Command::Run(args) => ("run", &args.args),
        Command::Stop(args) => ("stop", &args.args),
        Command::Pull(args) => ("pull", &args.args),
        Command::Push(args) => ("push", &args.args),
        Command::Top(args) => ("top", &args.args),
        Command::Fit(args) => ("fit", &args.args),
        Command::Cp(args) => ("cp", &args.args),
        Command::Rm(args) => ("rm", &args.args),
        _ => return Ok(()),
    };
    help::check_arity(name, args.len()).map_err(anyhow::Error::msg)
}

/// Runs a command on this thread. Connections have their own thread, so that a stopped answer is cancelled
/// even while the terminal is being read.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    // Do not wait for a file that is still being read.
    runtime.shutdown_background();
    result
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
}
