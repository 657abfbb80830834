//! `takeover`, `rollback`, `doctor`: the commands that deal with this machine, not with a daemon.

use std::process::ExitCode;

use crate::cli::args::TakeoverArgs;
use crate::cli::ui::Ui;
use crate::config::{ClientConfig, env};
use crate::deploy::{self, Level, Takeover};

pub(crate) fn takeover(
    ui: Ui,
    config: &ClientConfig,
    args: &TakeoverArgs,
) -> anyhow::Result<ExitCode> {
    let how = Takeover {
        dry_run: args.dry_run,
        without_gpu: args.without_gpu,
        exe: env::executable()?,
        port: config.host.port,
    };
    deploy::takeover(how, &|line| ui.talk(line))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn rollback(ui: Ui) -> anyhow::Result<ExitCode> {
    deploy::rollback(&|line| ui.talk(line))?;
    Ok(ExitCode::SUCCESS)
}

/// Fails when something keeps drover from working; warnings alone do not.
pub(crate) fn doctor(ui: Ui, config: &ClientConfig, json: bool) -> anyhow::Result<ExitCode> {
    let findings = deploy::doctor(&config.host, env::executable()?);
    if json {
        ui.out_json(&findings)?;
    } else {
        for finding in &findings {
            let mark = match finding.level {
                Level::Ok => "ok     ",
                Level::Warning => "warning",
                Level::Failure => "FAILURE",
            };
            ui.out_line(&format!("{mark}  {:8}  {}", finding.check, finding.text))?;
            if let Some(fix) = &finding.fix {
                ui.out_line(&format!("{:19}try: {fix}", ""))?;
            }
        }
    }
    let failed = findings
        .iter()
        .any(|finding| finding.level == Level::Failure);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
