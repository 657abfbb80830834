//! Models that do not fit together, over minutes of a simulated clock: each gets its turn, no request waits
//! forever, and most of the time is spent on answers instead of loads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::scheduler::event::{Effect, EntryId, Event, WaiterId, World};
use crate::scheduler::state::{Limits, State};

const PLAYED: Duration = Duration::from_secs(240);

/// How long a process takes to end.
const EXIT: Duration = Duration::from_millis(200);

/// The longest turn, and how long a model waits before it gets priority over all others.
const TURN: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Some clients that request one model, and request again as soon as they are answered.
#[derive(Debug, Clone)]
struct Client {
    spec: ModelSpec,
    n_at_once: usize,
    answer: Duration,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Ask(usize),
    Loaded(EntryId),
    Answered(usize, EntryId),
    Exited(EntryId),
}

/// The machine and its clients.
struct Play {
    state: State,
    machine: Snapshot,
    clients: Vec<Client>,
    load: Duration,
    now: Instant,
    to_come: BinaryHeap<Reverse<(Instant, Happening)>>,
    waiting: BTreeMap<WaiterId, (usize, Instant)>,
    next_waiter: WaiterId,
    n_loads: u32,
    /// Answers to each client, and its longest wait.
    n_answers: Vec<u32>,
    longest: Vec<Duration>,
}

impl Play {
    fn new(machine: &Snapshot, clients: &[Client], load: Duration) -> Self {
        let limits = Limits {
            max_loaded: 0,
            max_queue: 512,
            keep_alive: KeepAlive::For(Duration::from_secs(300)),
            policy: policy(),
        };
        let now = Instant::now();
        let asks = clients.iter().enumerate();
        let asks = asks.flat_map(|(client, of)| {
            // The requests do not all come at the same moment.
            (0..of.n_at_once).map(move |n| {
                let later = Duration::from_millis((client * 170 + n * 10) as u64);
                Reverse((now + later, Happening::Ask(client)))
            })
        });
        let mut play = Self {
            state: State::new(limits),
            machine: machine.clone(),
            to_come: asks.collect(),
            n_answers: vec![0; clients.len()],
            longest: vec![Duration::ZERO; clients.len()],
            clients: clients.to_vec(),
            load,
            now,
            waiting: BTreeMap::new(),
            next_waiter: 0,
            n_loads: 0,
        };
        play.event(Event::Devices { obstacle: None });
        play
    }

    fn later(&mut self, after: Duration, what: Happening) {
        self.to_come.push(Reverse((self.now + after, what)));
    }

    fn event(&mut self, event: Event) {
        let machine = &self.machine;
        let world = World {
            now: self.now,
            snapshot: &|| machine.clone(),
            wait: &|_, _| None,
            devices_known: true,
        };
        for effect in self.state.handle(event, &world) {
            match effect {
                Effect::Spawn { entry, .. } => {
                    self.n_loads += 1;
                    self.later(self.load, Happening::Loaded(entry));
                }
                Effect::Stop(entry) => self.later(EXIT, Happening::Exited(entry)),
                Effect::Grant { waiter, entry, .. } => {
                    let (client, since) = self.waiting.remove(&waiter).unwrap();
                    let waited = self.now.duration_since(since);
                    self.longest[client] = self.longest[client].max(waited);
                    let answer = self.clients[client].answer;
                    self.later(answer, Happening::Answered(client, entry));
                }
                Effect::Measure { .. } | Effect::Abort(_) | Effect::Refuse { .. } => {
                    panic!("{effect:?}")
                }
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Ask(client) => {
                self.next_waiter += 1;
                self.waiting.insert(self.next_waiter, (client, self.now));
                let spec = Box::new(self.clients[client].spec.clone());
                self.event(Event::Acquire {
                    waiter: self.next_waiter,
                    spec,
                    keep_alive: None,
                });
            }
            Happening::Loaded(entry) => {
                let info = Box::new(LoadedInfo {
                    n_ctx_pool: 8192,
                    n_ctx_train: 8192,
                    n_slots: 4,
                    load_ms: self.load.as_secs_f64() * 1000.0,
                    ..LoadedInfo::default()
                });
                self.event(Event::Loaded { entry, info });
            }
            Happening::Answered(client, entry) => {
                self.n_answers[client] += 1;
                self.event(Event::Released(entry, "".into()));
                self.later(self.clients[client].pause, Happening::Ask(client));
            }
            Happening::Exited(entry) => self.event(Event::Exited(entry)),
        }
    }

    /// Plays to the end, and counts the requests that still wait then.
    fn run(mut self) -> Self {
        let end = self.now + PLAYED;
        loop {
            let next = self.to_come.peek().map(|next| next.0.0);
            let due = self.state.next_deadline().into_iter().chain(next).min();
            let Some(due) = due.filter(|due| *due < end) else {
                break;
            };
            self.now = self.now.max(due);
            if next == Some(due) {
                let Reverse((_, what)) = self.to_come.pop().unwrap();
                self.happen(what);
            } else {
                self.event(Event::Tick);
            }
        }
        for (client, since) in std::mem::take(&mut self.waiting).into_values() {
            self.longest[client] = self.longest[client].max(end.duration_since(since));
        }
        self
    }
}

fn client(name: &str, gib: u64, n_at_once: usize, answer_ms: u64, pause_ms: u64) -> Client {
    Client {
        spec: spec(name, gib),
        n_at_once,
        answer: Duration::from_millis(answer_ms),
        pause: Duration::from_millis(pause_ms),
    }
}

/// Machines with room for one model of 12 GiB.
fn machines() -> impl Strategy<Value = Snapshot> {
    prop_oneof![Just(cpu_machine()), Just(gpu_machine(&[16_376]))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn each_model_gets_its_turn_and_answers_more_than_it_loads(
        machine in machines(),
        load_s in 1_u64..20,
        asked in prop::collection::vec((1_usize..12, 300_u64..5_000), 2..5),
        pause_ms in 0_u64..100,
    ) {
        let clients = asked.iter().enumerate().map(|(number, &(n_at_once, answer))| {
            client(&format!("m{number}"), 12, n_at_once, answer, pause_ms)
        });
        let clients: Vec<Client> = clients.collect();
        let load = Duration::from_secs(load_s);
        let play = Play::new(&machine, &clients, load).run();
        let n = u32::try_from(clients.len()).unwrap();
        // Each of the other models takes at most its load, its turn and the answers that it has begun.
        let answer = clients.iter().map(|client| client.answer).max().unwrap();
        let round = load + TURN + answer + 2 * EXIT;
        for longest in &play.longest {
            prop_assert!(*longest <= n * round, "{longest:?} of {:?}", n * round);
        }
        // A turn lasts at least as long as a load, up to its limit.
        let cycle = load + load.min(TURN);
        let most = PLAYED.div_duration_f64(cycle).ceil() + 2.0;
        prop_assert!(f64::from(play.n_loads) <= most, "{} loads of {most}", play.n_loads);
        prop_assert!(play.n_answers.iter().all(|n| *n > 0), "{:?}", play.n_answers);
    }

    #[test]
    fn small_models_do_not_starve_a_large_one(
        machine in machines(),
        load_s in 1_u64..10,
        small in prop::collection::vec((1_usize..8, 300_u64..4_000, 0_u64..3_000), 2..6),
    ) {
        let large = client("large", 13, 1, 500, 0);
        let small = small.iter().enumerate().map(|(number, &(n_at_once, answer, pause))| {
            client(&format!("s{number}"), 4, n_at_once, answer, pause)
        });
        let clients: Vec<Client> = small.chain([large]).collect();
        let load = Duration::from_secs(load_s);
        let play = Play::new(&machine, &clients, load).run();
        let answer = clients.iter().map(|client| client.answer).max().unwrap();
        let n = u32::try_from(clients.len()).unwrap();
        // After its longest wait another load may just have begun, and the other models are unloaded one by
        // one.
        let most = LONGEST_WAIT + TURN + 2 * load + n * (answer + 2 * EXIT);
        let longest = *play.longest.last().unwrap();
        prop_assert!(longest <= most, "{longest:?} of {most:?}");
        prop_assert!(*play.n_answers.last().unwrap() > 0);
    }
}

/// A client that requests two models in turn, each after the other has answered, waits for loads and hardly for
/// turns.
#[test]
fn who_changes_models_waits_little_for_a_turn_that_nobody_uses() {
    let load = Duration::from_secs(4);
    let mut play = Play::new(&cpu_machine(), &[], load);
    play.clients = vec![client("a", 12, 1, 300, 0), client("b", 12, 1, 300, 0)];
    play.n_answers = vec![0; 2];
    play.longest = vec![Duration::ZERO; 2];
    for turn in 0..6 {
        let client = turn % 2;
        let started = play.now;
        play.happen(Happening::Ask(client));
        while !play.waiting.is_empty() {
            let next = play.to_come.peek().map(|next| next.0.0);
            let due = play.state.next_deadline().into_iter().chain(next).min();
            play.now = play.now.max(due.unwrap());
            if next == due {
                let Reverse((_, what)) = play.to_come.pop().unwrap();
                play.happen(what);
            } else {
                play.event(Event::Tick);
            }
        }
        let waited = play.now.duration_since(started);
        // Its own load, the end of the other model, and the time that the other lingers.
        assert!(waited <= load + Duration::from_millis(1_300), "{waited:?}");
        // This client is answered, and does not request again.
        let Reverse((at, what)) = play.to_come.pop().unwrap();
        let Happening::Answered(_, entry) = what else {
            panic!("{what:?}")
        };
        play.now = at;
        play.event(Event::Released(entry, "".into()));
    }
    assert_eq!(play.n_loads, 6);
}

/// Two clients that request different models without a pause get many answers per load.
#[test]
fn two_clients_in_turn_do_not_load_for_every_answer() {
    let clients = [client("a", 12, 1, 200, 20), client("b", 12, 1, 200, 20)];
    let play = Play::new(&cpu_machine(), &clients, Duration::from_secs(5)).run();
    // Both models are loaded in turn: 5 s of answers after 5 s of loading.
    assert!(play.n_loads <= 27, "{}", play.n_loads);
    for n in &play.n_answers {
        assert!(*n > 220, "{n}");
    }
}
