//! The threads of a runner, over a socket pair in this process.

use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::runner::{Begun, serve};
use crate::protocol::framing::{Incoming, read_frame, write_frame};
use crate::protocol::{Constraint, DraftParams};

pub(super) struct Runner {
    channel: UnixStream,
    gone: mpsc::Receiver<()>,
    thread: JoinHandle<std::io::Result<()>>,
}

pub(super) fn start() -> Runner {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let (sender, gone) = mpsc::channel();
    let on_gone = move || sender.send(()).unwrap_or_default();
    let thread = std::thread::spawn(move || serve(&theirs, on_gone, Begun::default()));
    let mut runner = Runner {
        channel: ours,
        gone,
        thread,
    };
    assert!(
        matches!(runner.event(), Event::Hello { version, .. } if version == crate::protocol::VERSION)
    );
    runner
}

impl Runner {
    pub(super) fn send(&mut self, command: &Command) {
        write_frame(&mut self.channel, command).unwrap();
    }

    pub(super) fn event(&mut self) -> Event {
        match read_frame(&mut self.channel).unwrap() {
            Some(Incoming::Message(event)) => event,
            other => panic!("the channel is open: {other:?}"),
        }
    }

    fn load(&mut self, path: &std::path::Path) -> Event {
        self.load_with(load_params(path, 256, 2))
    }

    pub(super) fn load_with(&mut self, params: LoadParams) -> Event {
        self.send(&Command::Load(Box::new(params)));
        loop {
            match self.event() {
                Event::LoadProgress { fraction } => assert!((0.0..=1.0).contains(&fraction)),
                event => return event,
            }
        }
    }
}

#[test]
fn a_runner_loads_answers_and_shuts_down() {
    let mut runner = start();
    let file = model(&[]);
    let Event::Loaded(info) = runner.load(file.path()) else {
        panic!("not loaded")
    };
    assert_eq!((info.n_ctx_pool, info.n_slots), (256, 2));
    let generate = Command::Generate {
        id: 5,
        params: Box::new(params("hello")),
    };
    runner.send(&generate);
    assert!(matches!(
        runner.event(),
        Event::Started {
            id: 5,
            n_prompt: 6,
            ..
        }
    ));
    let mut text = String::new();
    'answer: loop {
        let Event::Step { updates, .. } = runner.event() else {
            panic!("not a step")
        };
        for update in updates {
            text.push_str(&update.text);
            if update.finished.is_some() {
                break 'answer;
            }
        }
    }
    assert_eq!(text, "hello");
    runner.send(&Command::Ping { id: 6 });
    assert_eq!(runner.event(), Event::Pong { id: 6 });
    runner.send(&Command::Shutdown);
    runner.thread.join().unwrap().unwrap();
}

#[test]
fn a_draft_model_is_loaded_with_its_model_or_left_out() {
    let (file, draft, other) = (
        model(&[]),
        model(&[]),
        model(&[("drover-fake.vocabulary", 1)]),
    );
    let faulty = model(&[("drover-fake.load_fault", 1)]);
    let size = |file: &tempfile::NamedTempFile| file.as_file().metadata().unwrap().len();
    for (draft, n_bytes) in [(&draft, size(&draft)), (&other, 0), (&faulty, 0)] {
        let mut runner = start();
        let draft = Some(DraftParams {
            model: ModelFile::original(draft.path()),
            n_predict: 4,
        });
        let load = LoadParams {
            draft,
            ..load_params(file.path(), 256, 2)
        };
        let Event::Loaded(info) = runner.load_with(load) else {
            panic!("not loaded")
        };
        assert_eq!(info.size_bytes, size(&file) + n_bytes);
        runner.send(&Command::Shutdown);
        runner.thread.join().unwrap().unwrap();
    }
}

#[test]
fn a_file_that_is_no_model_is_refused_with_a_reason() {
    let mut runner = start();
    let missing = std::path::Path::new("/nonexistent/drover-fake.gguf");
    // In a build with llama.cpp, llama.cpp refuses a missing file.
    let Event::LoadFailed { message } = runner.load(missing) else {
        panic!("loaded")
    };
    assert!(!message.is_empty());
    runner.thread.join().unwrap().unwrap();
}

#[test]
fn a_vanished_daemon_is_noticed_while_a_step_hangs() {
    let mut runner = start();
    let file = model(&[]);
    runner.load(file.path());
    runner.send(&Command::Generate {
        id: 1,
        params: Box::new(params("[[hang]]")),
    });
    assert!(matches!(runner.event(), Event::Started { .. }));
    drop(runner.channel);
    runner.gone.recv_timeout(Duration::from_secs(30)).unwrap();
}

/// A runner with room for a very long prompt.
fn runner_with_room() -> Runner {
    let mut runner = start();
    let file = model(&[]);
    let loaded = runner.load_with(load_params(file.path(), 1 << 20, 4));
    assert!(matches!(loaded, Event::Loaded(_)));
    runner
}

impl Runner {
    fn ask(&mut self, id: RequestId, params: GenerateParams) {
        let params = Box::new(params);
        self.send(&Command::Generate { id, params });
    }

    /// Waits until a request has started; returns which.
    fn started(&mut self) -> RequestId {
        loop {
            match self.event() {
                Event::Started { id, .. } => return id,
                Event::Failed { failure, .. } => panic!("{failure:?}"),
                _ => {}
            }
        }
    }
}

/// A text of this many parts, each of which takes a tenth of a second to tokenize.
fn book(n_parts: usize) -> GenerateParams {
    let part = format!("[[read 100]]{}", " ".repeat(1012));
    GenerateParams {
        client: "writer".to_owned(),
        ..params(&part.repeat(n_parts))
    }
}

#[test]
fn a_question_does_not_wait_for_books_to_be_read() {
    let mut runner = runner_with_room();
    for id in 1..=4 {
        runner.ask(id, book(50));
    }
    let begun = Instant::now();
    runner.ask(5, params("hello"));
    assert_eq!(runner.started(), 5);
    // The long texts take ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn requests_that_nobody_waits_for_are_gone_at_once() {
    let mut runner = runner_with_room();
    // Ten minutes of work, all in all.
    for id in 1..=600 {
        runner.ask(id, book(20));
    }
    for id in 1..=600 {
        runner.send(&Command::Cancel { id });
    }
    let begun = Instant::now();
    runner.ask(601, book(1));
    assert_eq!(runner.started(), 601);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_constraint_is_compiled_beside_everything_else() {
    let mut runner = runner_with_room();
    let constrained = |client: &str, ms: u32| GenerateParams {
        constraint: Some(Constraint::Regex(format!("[[compile {ms}]]"))),
        client: client.to_owned(),
        ..params("hello")
    };
    for id in 1..=3 {
        runner.ask(id, constrained("hostile", 20_000));
    }
    let begun = Instant::now();
    runner.ask(4, params("hello"));
    assert_eq!(runner.started(), 4);
    runner.ask(5, constrained("honest", 10));
    assert_eq!(runner.started(), 5);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_command_that_makes_no_sense_hurts_nobody() {
    let mut runner = runner_with_room();
    write_frame(&mut runner.channel, &serde_json::json!({"Dance": {}})).unwrap();
    runner.ask(1, params("hello"));
    assert_eq!(runner.started(), 1);
}
