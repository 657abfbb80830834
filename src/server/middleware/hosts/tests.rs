//! Names and addresses, on loopback and beyond.

use super::*;

fn hosts(names: Option<Names>) -> Hosts {
    let origins = ["https://chat.example", "https://*.pages.example", "app://x"];
    Hosts {
        names,
        machine: "desk".to_owned(),
        allowed: vec![Pattern::parse("ollama.example").unwrap()],
        origins: Arc::new(Origins::new(&origins.map(str::to_owned))),
        told: Mutex::default(),
    }
}

#[test]
fn on_loopback_local_hosts_and_no_others() {
    let hosts = hosts(None);
    for (host, expected) in [
        ("", Match::Name),
        (":11434", Match::Name),
        ("localhost", Match::Name),
        ("LocalHost:11434", Match::Name),
        ("localhost.", Match::Name),
        ("desk:1", Match::Name),
        ("ollama.localhost", Match::Name),
        ("nas.local:80", Match::Name),
        ("host.docker.internal:11434", Match::Name),
        ("ollama.example:443", Match::Name),
        ("chat.example", Match::Name),
        ("127.0.0.1:11434", Match::Address),
        ("0.0.0.0", Match::Address),
        ("[::1]:11434", Match::Address),
        ("::1", Match::Address),
        ("[fd00::1]", Match::Address),
        ("192.168.1.7:11434", Match::Address),
        ("10.1.2.3", Match::Address),
        ("203.0.113.7", Match::None),
        ("8.8.8.8", Match::None),
        ("workstation", Match::None),
        ("workstation.lan", Match::None),
        ("example.com", Match::None),
        ("localhost.example.com:11434", Match::None),
        ("evillocalhost", Match::None),
        ("127.0.0.1.example.com", Match::None),
        ("evil.com@x.localhost", Match::None),
        ("localhost:1:2", Match::None),
        ("localhost/", Match::None),
        ("\0", Match::None),
    ] {
        assert_eq!(hosts.find(host), expected, "{host:?}");
    }
}

#[tokio::test]
async fn beyond_loopback_only_names_that_strangers_cannot_have() {
    let hosts = hosts(Some(Names::of(&["gpu.corp.example", "desk"])));
    for (host, expected) in [
        ("", Match::Name),
        ("localhost:11434", Match::Name),
        ("workstation:11434", Match::Name),
        ("workstation.lan", Match::Name),
        ("ollama.ai.svc.cluster.local:11434", Match::Name),
        ("host.docker.internal", Match::Name),
        ("GPU.Corp.Example.:11434", Match::Name),
        ("ollama.example", Match::Name),
        ("chat.example:8443", Match::Name),
        ("a.pages.example", Match::Name),
        ("203.0.113.7:11434", Match::Address),
        ("[2001:db8::1]:11434", Match::Address),
        ("evil.com:11434", Match::None),
        ("xn--bro-hoa.com", Match::None),
        ("10.0.0.1.evil.com", Match::None),
        ("127.0.0.1.nip.io", Match::None),
        ("gpu.corp.example.evil.com", Match::None),
        ("other.corp.example", Match::None),
        ("evil.com:x", Match::None),
        ("evil.com:11434:1", Match::None),
        ("x@evil.com", Match::None),
        ("evil.com#localhost", Match::None),
    ] {
        assert_eq!(hosts.find_with_names(host).await, expected, "{host:?}");
    }
}

#[tokio::test]
async fn settings_that_let_every_page_in_let_every_name_in() {
    let mut open = hosts(Some(Names::of(&[])));
    open.origins = Arc::new(Origins::new(&["*".to_owned()]));
    assert_eq!(open.find_with_names("any.example:1").await, Match::Name);
    let mut open = hosts(Some(Names::of(&[])));
    open.allowed = vec![Pattern::parse("*").unwrap()];
    assert_eq!(open.find_with_names("any.example:1").await, Match::Name);
}

#[test]
fn a_name_is_told_once_and_not_without_end() {
    let hosts = hosts(None);
    for index in 0..1000 {
        hosts.tell(&format!("evil-{index}.example"));
    }
    assert_eq!(hosts.told.lock().unwrap().len(), MAX_TOLD);
}
