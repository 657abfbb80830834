//! Hashes local files and uploads those that the daemon does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::Files;
use super::request::Plan;
use crate::api::ollama::CreateRequest;
use crate::cli::context::Context;
use crate::cli::ui::progress::ProgressView;
use crate::model::Digest;

const REDRAW: std::time::Duration = std::time::Duration::from_millis(100);

/// Uploads a plan's files and returns its request with their digests.
pub(super) async fn upload(
    context: &Context,
    plan: Plan,
    view: &mut ProgressView,
) -> anyhow::Result<CreateRequest> {
    let mut request = plan.request;
    let paths = [&plan.files, &plan.adapters, &plan.draft_files];
    let paths: BTreeSet<PathBuf> = paths
        .into_iter()
        .flat_map(|files| files.values())
        .cloned()
        .collect();
    let digests = hash_all(paths).await?;
    for (path, digest) in &digests {
        upload_file(context, path, digest, view).await?;
    }
    let named = |files: &Files| -> BTreeMap<String, String> {
        let digest_of = |path: &PathBuf| digests.get(path).map(Digest::to_string);
        let pairs = files
            .iter()
            .filter_map(|(name, path)| Some((name.clone(), digest_of(path)?)));
        pairs.collect()
    };
    request.files = named(&plan.files);
    request.adapters = named(&plan.adapters);
    request.draft_files = named(&plan.draft_files);
    Ok(request)
}

/// Hashes files, as many at a time as there are cores, less one.
async fn hash_all(paths: BTreeSet<PathBuf>) -> anyhow::Result<BTreeMap<PathBuf, Digest>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let at_once = cores.saturating_sub(1).max(1);
    let mut waiting = paths.into_iter();
    let mut running = tokio::task::JoinSet::new();
    let mut digests = BTreeMap::new();
    loop {
        while running.len() < at_once
            && let Some(path) = waiting.next()
        {
            running.spawn_blocking(move || hash(&path).map(|digest| (path, digest)));
        }
        let Some(result) = running.join_next().await else {
            return Ok(digests);
        };
        digests.extend([result??]);
    }
}

fn hash(path: &Path) -> anyhow::Result<Digest> {
    let mut file = fs_err::File::open(path)?;
    Ok(Digest::of_reader(&mut file, &mut |_| {})?)
}

async fn upload_file(
    context: &Context,
    path: &Path,
    digest: &Digest,
    view: &mut ProgressView,
) -> anyhow::Result<()> {
    if context.client.has_blob(digest).await? {
        return Ok(());
    }
    let status = format!("copying file {digest}");
    view.status(&status);
    let size = fs_err::metadata(path)?.len();
    let reader = tokio::fs::File::from_std(fs_err::File::open(path)?.into_parts().0);
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let count = move |bytes| {
        counter.fetch_add(bytes, Ordering::Relaxed);
    };
    let work = context.client.upload_blob(digest, size, reader, count);
    tokio::pin!(work);
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            result = &mut work => return Ok(result?),
            _ = redraw.tick() => {
                let percent = percent(sent.load(Ordering::Relaxed), size);
                view.detail(&format!("{status} {percent}%"));
            }
        }
    }
}

fn percent(done: u64, total: u64) -> u64 {
    done.saturating_mul(100)
        .checked_div(total)
        .unwrap_or(100)
        .min(100)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn an_empty_file_is_done() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(1, 3), 33);
    }
}
