//! Which URLs are allowed for which client.

use std::path::PathBuf;

use super::*;

fn settings() -> Settings {
    let mirrors = vec!["http://cache.lan:5000/prefix".to_owned()];
    let mut settings = Settings::new(PathBuf::from("key"), mirrors);
    let allowed = ["10.0.0.5:5000", "*.corp.example"];
    settings.allowed = allowed.map(|text| Pattern::parse(text).unwrap()).into();
    settings.proxies = vec!["proxy.example".to_owned()];
    settings
}

fn reach(asker: Asker, url: &str) -> Option<Reach> {
    let named = Named::new("http://registry.lan:5000", asker);
    let host = host_of(&Url::parse(url).unwrap())?;
    Rule::new(&settings()).reach(&host, &named).ok()
}

#[test]
fn the_settings_come_first_then_who_asks() {
    for (url, here, elsewhere) in [
        // Hosts in the settings, with their ports.
        (
            "https://registry.ollama.ai/v2/",
            Some(Reach::Any),
            Some(Reach::Any),
        ),
        (
            "http://cache.lan:5000/v2",
            Some(Reach::Any),
            Some(Reach::Any),
        ),
        ("http://cache.lan/v2", None, None),
        ("http://10.0.0.5:5000", Some(Reach::Any), Some(Reach::Any)),
        ("http://10.0.0.5:22", None, None),
        (
            "https://a.corp.example:8443",
            Some(Reach::Any),
            Some(Reach::Any),
        ),
        // The named registry: only that one, and only for clients on this machine.
        ("http://registry.lan:5000/x", Some(Reach::Near), None),
        ("http://registry.lan.:5000/x", Some(Reach::Near), None),
        ("http://registry.lan:22/x", None, None),
        // Hosts on the internet.
        ("https://hf.co", Some(Reach::Public), Some(Reach::Public)),
        ("https://8.8.8.8", Some(Reach::Public), Some(Reach::Public)),
        (
            "https://corp.example",
            Some(Reach::Public),
            Some(Reach::Public),
        ),
        // Everything else.
        ("http://proxy.example", None, None),
        ("http://127.1:80", None, None),
        ("http://0x7f.1", None, None),
        ("http://[::ffff:10.0.0.1]", None, None),
        ("http://[64:ff9b::127.0.0.1]", None, None),
        ("http://[fd00:ec2::254]", None, None),
        ("http://169.254.169.254", None, None),
        ("http://localhost.", None, None),
        ("http://intranet", None, None),
        ("http://nas.local", None, None),
    ] {
        assert_eq!(reach(Asker::Here, url), here, "{url}");
        assert_eq!(reach(Asker::Elsewhere, url), elsewhere, "{url}");
    }
}

#[test]
fn who_is_here_may_name_what_is_near_and_nothing_special() {
    let rule = Rule::new(&settings());
    for (address, may) in [
        ("http://127.0.0.1:5000", true),
        ("http://192.168.1.9", true),
        ("http://localhost", true),
        ("http://169.254.169.254", false),
        ("http://0.0.0.0:5000", false),
        ("http://100.100.100.200", false),
    ] {
        let host = host_of(&Url::parse(address).unwrap()).unwrap();
        let reached = rule.reach(&host, &Named::new(address, Asker::Here));
        assert_eq!(reached.is_ok(), may, "{address}");
    }
}

#[tokio::test]
async fn a_name_is_judged_by_its_addresses() {
    let rule = Rule::new(&settings());
    let error = Resolver::new(Reach::Public, &rule).find("localhost").await;
    assert!(error.unwrap_err().is::<OutOfReach>());
    let found = Resolver::new(Reach::Near, &rule).find("localhost").await;
    assert!(
        found
            .unwrap()
            .iter()
            .all(|address| address.ip().is_loopback())
    );
    // A name that does not exist is not refused.
    let error = Resolver::new(Reach::Any, &rule)
        .find("no.such.invalid")
        .await;
    assert!(!error.unwrap_err().is::<OutOfReach>());
}

#[tokio::test]
async fn the_client_itself_does_not_connect_where_it_may_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let http = Http::new(&settings()).unwrap();
    // As if the name had had another address when it was checked.
    let url = format!("http://localhost:{port}/");
    let error = http
        .0
        .public
        .reading
        .get()
        .unwrap()
        .get(&url)
        .send()
        .await
        .unwrap_err();
    let error = RegistryError::from(error);
    assert!(error.is_refused(), "{error}");
    assert!(listener.accept().is_err());
}
