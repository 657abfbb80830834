//! `key`: makes, lists and revokes API keys, through the daemon or in a file.

use std::path::Path;
use std::process::ExitCode;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::api::keys::{KeyCreated, KeyEntry, KeyList, KeyRequest};
use crate::cli::args::KeyArgs;
use crate::cli::ui::{Ui, table};
use crate::client::Client;
use crate::config::ClientConfig;
use crate::keys::Keys;
use crate::units;

/// What the user wants done.
enum Action<'a> {
    Create(&'a str),
    List,
    Revoke(&'a str),
}

/// Asks the daemon.
pub(crate) async fn run(ui: Ui, config: &ClientConfig, args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&config.host)?.with_key(config.api_key.clone());
    match action(args)? {
        Action::Create(name) => {
            let created = client.create_key(&wanted(name, args)?).await?;
            tell_created(ui, args, &created)?;
        }
        Action::List => tell_all(ui, args, &client.keys().await?)?,
        Action::Revoke(name) => {
            client.revoke_key(name, args.last).await?;
            ui.talk(&format!("revoked '{name}'"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes a file, for a daemon that is not running or will be given the file.
pub(crate) fn in_file(ui: Ui, file: &Path, args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let keys = Keys::open(file, false)?;
    match action(args)? {
        Action::Create(name) => {
            let request = wanted(name, args)?;
            let (secret, key) = keys.create(request.into(), Timestamp::now())?;
            let created = KeyCreated {
                key: secret.reveal().to_owned(),
                entry: KeyEntry::from(&*key),
            };
            tell_created(ui, args, &created)?;
        }
        Action::List => {
            let keys = keys.list();
            let keys = keys.iter().map(|key| KeyEntry::from(&**key)).collect();
            tell_all(ui, args, &KeyList { keys })?;
        }
        Action::Revoke(name) => {
            keys.revoke(name, args.last)?;
            ui.talk(&format!("revoked '{name}'"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn action(args: &KeyArgs) -> anyhow::Result<Action<'_>> {
    let words: Vec<&str> = args.args.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        ["create", name] => Action::Create(name),
        ["list" | "ls"] => Action::List,
        ["revoke" | "rm", name] => Action::Revoke(name),
        ["create" | "revoke" | "rm", rest @ ..] => {
            anyhow::bail!("accepts 1 arg(s), received {}", rest.len())
        }
        ["list" | "ls", rest @ ..] => anyhow::bail!("accepts 0 arg(s), received {}", rest.len()),
        [other, ..] => {
            anyhow::bail!("unknown action {other:?}; there are create, list and revoke")
        }
        [] => anyhow::bail!("say what: create NAME, list or revoke NAME"),
    })
}

fn wanted(name: &str, args: &KeyArgs) -> anyhow::Result<KeyRequest> {
    let expires = args.expires.as_deref();
    Ok(KeyRequest {
        name: name.to_owned(),
        scopes: args.scope.clone(),
        models: args.models.clone(),
        limits: args.limit,
        class: args.class,
        expires: expires
            .map(|text| end(text, Timestamp::now()))
            .transpose()?,
    })
}

/// When a key expires: a moment, the beginning of a day in local time, or a time from now.
fn end(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let zone = TimeZone::system();
    if let Ok(day) = text.parse::<Date>() {
        return Ok(day.to_zoned_datetime(zone)?.timestamp());
    }
    let span = text.parse::<Span>();
    let after = span
        .ok()
        .and_then(|span| now.to_zoned_datetime(zone).checked_add(span).ok());
    match after {
        Some(after) => Ok(after.timestamp()),
        None => anyhow::bail!(
            "--expires: {text:?} is no time such as 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z"
        ),
    }
}

/// The key alone goes to standard output, for scripts.
fn tell_created(ui: Ui, args: &KeyArgs, created: &KeyCreated) -> anyhow::Result<()> {
    if args.json {
        return ui.out_json(created);
    }
    let KeyEntry { name, scopes, .. } = &created.entry;
    ui.talk(&format!(
        "Key '{name}' ({scopes}). It is shown this once; clients send it as Authorization: Bearer KEY."
    ));
    ui.out(&format!("{}\n", created.key))?;
    Ok(())
}

fn tell_all(ui: Ui, args: &KeyArgs, list: &KeyList) -> anyhow::Result<()> {
    if args.json {
        return ui.out_json(list);
    }
    ui.out(&text(list, Timestamp::now()))?;
    Ok(())
}

fn text(list: &KeyList, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = list.keys.iter().map(|key| row(key, now)).collect();
    let titles = [
        "NAME",
        "SCOPES",
        "MODELS",
        "LIMITS",
        "CLASS",
        "EXPIRES",
        "LAST USED",
    ];
    table::listing(&titles, &rows)
}

fn row(key: &KeyEntry, now: Timestamp) -> Vec<String> {
    let or = |text: String, other: &str| {
        if text.is_empty() {
            other.to_owned()
        } else {
            text
        }
    };
    let expires = match key.expires {
        None => "Never".to_owned(),
        Some(expires) if expires <= now => "Expired".to_owned(),
        Some(expires) => units::relative_time(expires, now),
    };
    let used = key.last_used.map(|used| units::relative_time(used, now));
    vec![
        key.name.clone(),
        key.scopes.to_string(),
        or(key.models.join(","), "all"),
        or(key.limits.to_string(), "-"),
        key.class.to_string(),
        expires,
        used.unwrap_or_else(|| "-".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_moments_days_and_spans() {
        let now: Timestamp = "2026-08-21T12:00:00Z".parse().unwrap();
        let moment = "2027-01-31T12:00:00Z";
        assert_eq!(end(moment, now).unwrap().to_string(), moment);
        assert_eq!(end("12h", now).unwrap().to_string(), "2026-08-22T00:00:00Z");
        let day = end("2027-01-31", now)
            .unwrap()
            .to_zoned_datetime(TimeZone::system());
        assert_eq!(day.date().to_string(), "2027-01-31");
        let later = end("90d", now)
            .unwrap()
            .to_zoned_datetime(TimeZone::system());
        assert_eq!(later.date().to_string(), "2026-11-19");
        for text in ["", "soon", "90", "2027-13-01", "999999y"] {
            assert!(end(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_says_what_each_key_may() {
        let now: Timestamp = "2026-08-21T12:00:00Z".parse().unwrap();
        let key = KeyEntry {
            name: "ci".to_owned(),
            scopes: [crate::keys::Scope::Inference].into_iter().collect(),
            models: vec!["llama3.2".to_owned()],
            limits: "tokens=1000".parse().unwrap(),
            class: crate::keys::Class::Background,
            created: now,
            expires: Some(now),
            last_used: None,
        };
        let cells = row(&key, now);
        let expected = [
            "ci",
            "inference",
            "llama3.2",
            "tokens=1000",
            "background",
            "Expired",
            "-",
        ];
        assert_eq!(cells, expected);
    }
}
