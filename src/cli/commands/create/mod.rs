//! `create`: reads the Modelfile, uploads the files it names, and asks the daemon to make the model.

mod files;
mod request;
mod upload;

use std::path::{Path, PathBuf};

use crate::cli::args::CreateArgs;
use crate::cli::context::Context;
use crate::cli::ui::progress::{BarNames, ProgressView};
use crate::model::ModelName;
use crate::model::modelfile::{Command, Modelfile};

/// Makes the named model.
pub(crate) async fn run(context: &Context, args: &CreateArgs) -> anyhow::Result<()> {
    let [name] = args.args.as_slice() else {
        return Ok(());
    };
    if ModelName::parse(name).is_err() {
        anyhow::bail!("invalid model name: {name}");
    }
    if args.experimental {
        anyhow::bail!("--experimental is not supported: import safetensors without it");
    }
    let file = args.file.as_deref().filter(|file| !file.is_empty());
    let (modelfile, folder) = read_modelfile(file)?;
    let mut plan = request::plan(&modelfile, &folder, context.config.home.as_deref())?;
    for warning in &plan.warnings {
        context.ui.out_line(warning)?;
    }
    plan.request.model.clone_from(name);
    plan.request.quantize = args.quantize.clone().unwrap_or_default();
    if let Some(draft_quantize) = &args.draft_quantize {
        if plan.draft_files.is_empty() {
            anyhow::bail!("--draft-quantize requires a DRAFT model");
        }
        plan.request.draft_quantize.clone_from(draft_quantize);
    }
    let mut view = ProgressView::new(context.ui, BarNames::Status);
    view.status("gathering model components");
    let request = upload::upload(context, plan, &mut view).await?;
    let mut lines = context.client.create(&request).await?;
    while let Some(progress) = lines.next().await? {
        view.update(&progress);
    }
    Ok(())
}

/// Returns the Modelfile and the folder that its paths are relative to. Without a file, the
/// current folder is the model.
fn read_modelfile(file: Option<&str>) -> anyhow::Result<(Modelfile, PathBuf)> {
    let path = Path::new(file.unwrap_or("Modelfile"));
    if file == Some("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)?;
        return Ok((parse(&bytes)?, PathBuf::from(".")));
    }
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Err(_) if file.is_some() => anyhow::bail!("specified Modelfile wasn't found"),
        Err(_) => return Ok((current_folder(), PathBuf::from("."))),
    };
    // For `/dev/stdin` and `<(…)`: no models lie next to a pipe.
    let is_file = path.is_file();
    let folder = path
        .parent()
        .filter(|folder| is_file && !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    Ok((parse(&bytes)?, folder))
}

fn parse(bytes: &[u8]) -> anyhow::Result<Modelfile> {
    Modelfile::parse(&decode(bytes)).map_err(|error| anyhow::Error::msg(error.with_line()))
}

/// `FROM .`, without a line in a file.
fn current_folder() -> Modelfile {
    let from = Command {
        name: "from".to_owned(),
        value: ".".to_owned(),
        ..Command::default()
    };
    Modelfile {
        commands: vec![from],
    }
}

/// Decodes UTF-8, or UTF-16 with a byte order mark; removes the mark.
fn decode(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks().0.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_marks_are_understood() {
        assert_eq!(decode("FROM ü".as_bytes()), "FROM ü");
        assert_eq!(decode("\u{feff}FROM ü".as_bytes()), "FROM ü");
        assert_eq!(decode(b"\xff\xfeF\0R\0\xfc\0"), "FRü");
        assert_eq!(decode(b"\xfe\xff\0F\0R\0\xfc"), "FRü");
    }

    #[test]
    fn a_named_modelfile_must_exist() {
        let error = read_modelfile(Some("no/such/Modelfile")).unwrap_err();
        assert_eq!(error.to_string(), "specified Modelfile wasn't found");
    }
}
