//! Renders the state in a terminal, and as plain text.

use std::collections::VecDeque;
use std::fmt::Write as _;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table};

use crate::api::drover::{DaemonState, Device, ModelState, RequestState};
use crate::cli::ui::table;
use crate::{plain, units};

/// How many seconds the charts go back.
const KEPT: usize = 300;

/// How many lines of the log are kept.
const LOG: usize = 100;

/// What has been received so far.
#[derive(Debug, Default)]
pub(super) struct View {
    state: Option<DaemonState>,
    /// For the charts: generated tokens per second, then waiting requests.
    rates: VecDeque<u64>,
    waiting: VecDeque<u64>,
    log: VecDeque<String>,
}

impl View {
    pub(super) fn take(&mut self, state: DaemonState) {
        let rate: f64 = state.models.iter().map(|model| model.generated_rate).sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a height; the conversion saturates"
        )]
        push(&mut self.rates, rate.round() as u64, KEPT);
        push(&mut self.waiting, n_waiting(&state), KEPT);
        for line in &state.log {
            push(&mut self.log, plain::line(line).into_owned(), LOG);
        }
        self.state = Some(state);
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let Some(state) = &self.state else {
            frame.render_widget(Paragraph::new("connecting …"), frame.area());
            return;
        };
        let n_devices = u16::try_from(state.devices.len())
            .unwrap_or(u16::MAX)
            .min(8);
        let n_models = u16::try_from(state.models.len())
            .unwrap_or(u16::MAX)
            .clamp(1, 10);
        let [head, devices, charts, models, requests, log] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(n_devices),
            Constraint::Length(6),
            Constraint::Length(n_models + 3),
            Constraint::Fill(2),
            Constraint::Fill(1),
        ])
        .areas(frame.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(Paragraph::new(title(state)).style(bold), head);
        draw_devices(frame, devices, state);
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
        chart(frame, left, "Generated tokens/s", &self.rates);
        chart(frame, right, "Waiting requests", &self.waiting);
        let rows = state
            .models
            .iter()
            .map(|model| Row::new(model_cells(model)));
        let widths = [
            Constraint::Fill(2),
            Constraint::Length(11),
            Constraint::Length(9),
            Constraint::Length(5),
            Constraint::Length(9),
            Constraint::Length(7),
            Constraint::Length(11),
            Constraint::Length(18),
        ];
        let table = Table::new(rows, widths).header(Row::new(MODEL_HEADS).style(bold));
        frame.render_widget(table.block(Block::bordered().title("Models")), models);
        let rows = state
            .requests
            .iter()
            .map(|request| Row::new(request_cells(request)));
        let widths = [
            Constraint::Fill(1),
            Constraint::Fill(2),
            Constraint::Fill(2),
            Constraint::Length(11),
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Length(8),
        ];
        let table = Table::new(rows, widths).header(Row::new(REQUEST_HEADS).style(bold));
        frame.render_widget(table.block(Block::bordered().title("Requests")), requests);
        let height = usize::from(log.height.saturating_sub(2));
        let n_hidden = self.log.len().saturating_sub(height);
        let lines: Vec<Line<'_>> = self
            .log
            .iter()
            .skip(n_hidden)
            .map(|line| Line::raw(line.as_str()))
            .collect();
        let block = Block::bordered().title("Log").title_bottom(" q ends ");
        frame.render_widget(Paragraph::new(lines).block(block), log);
    }
}

const MODEL_HEADS: [&str; 8] = [
    "NAME",
    "SIZE",
    "RUNNING",
    "WAIT",
    "TOKENS/S",
    "CACHE",
    "FIRST TOKEN",
    "UNTIL",
];
const REQUEST_HEADS: [&str; 7] = [
    "CLIENT", "MODEL", "ROUTE", "STATE", "PROMPT", "ANSWER", "SECONDS",
];

fn push<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(item);
}

fn n_waiting(state: &DaemonState) -> u64 {
    let models = state.models.iter();
    models
        .map(|model| model.n_waiting.saturating_add(model.n_awaiting))
        .sum()
}

fn title(state: &DaemonState) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds; the conversion saturates"
    )]
    let uptime = state.uptime as u64;
    let (hours, minutes) = (uptime / 3600, uptime / 60 % 60);
    let jobs = state
        .batches
        .iter()
        .filter(|batch| batch.status == "in_progress");
    format!(
        "drover {}, up {hours}:{minutes:02}, {} requests, {} waiting, {} batch jobs",
        plain::message(&state.version),
        state.requests.len(),
        n_waiting(state),
        jobs.count()
    )
}

fn used(device: &Device) -> (u64, f64) {
    let used = device.total_bytes.saturating_sub(device.free_bytes);
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = used as f64 / device.total_bytes.max(1) as f64;
    (used, share.clamp(0.0, 1.0))
}

fn device_words(device: &Device) -> String {
    let (used, _) = used(device);
    format!(
        "{}: {} of {}",
        plain::message(&device.name),
        units::format_bytes(used),
        units::format_bytes(device.total_bytes)
    )
}

fn draw_devices(frame: &mut Frame<'_>, area: Rect, state: &DaemonState) {
    let lines = Layout::vertical(state.devices.iter().map(|_| Constraint::Length(1)));
    for (device, line) in state.devices.iter().zip(lines.split(area).iter()) {
        let gauge = Gauge::default()
            .ratio(used(device).1)
            .label(device_words(device));
        frame.render_widget(gauge, *line);
    }
}

fn chart(frame: &mut Frame<'_>, area: Rect, name: &str, values: &VecDeque<u64>) {
    let width = usize::from(area.width.saturating_sub(2));
    let n_hidden = values.len().saturating_sub(width);
    let shown: Vec<u64> = values.iter().skip(n_hidden).copied().collect();
    let last = values.back().copied().unwrap_or_default();
    let block = Block::bordered().title(format!("{name}: {last}"));
    frame.render_widget(Sparkline::default().data(&shown).block(block), area);
}

fn model_cells(model: &ModelState) -> [String; 8] {
    let cache = match model.cells {
        0 => "-".to_owned(),
        cells => format!("{} %", model.cells_used.saturating_mul(100) / cells),
    };
    let until = match model.expires_at {
        _ if !model.is_loaded => "loading".to_owned(),
        _ if model.is_going => "going".to_owned(),
        None => "forever".to_owned(),
        Some(then) => units::relative_time(then, Timestamp::now()),
    };
    [
        plain::message(&model.name).into_owned(),
        units::format_bytes(model.size_bytes),
        format!("{}/{}", model.n_running, model.n_slots),
        model.n_waiting.saturating_add(model.n_awaiting).to_string(),
        format!("{:.1}", model.generated_rate),
        cache,
        model
            .first_token
            .map_or("-".to_owned(), |s| format!("{s:.2} s")),
        until,
    ]
}

fn request_cells(request: &RequestState) -> [String; 7] {
    let client = if request.client.is_empty() {
        "-"
    } else {
        &request.client
    };
    [
        plain::message(client).into_owned(),
        plain::message(&request.model).into_owned(),
        plain::message(&request.route).into_owned(),
        plain::message(&request.phase).into_owned(),
        request.n_prompt.to_string(),
        request.n_generated.to_string(),
        format!("{:.1}", request.seconds),
    ]
}

/// The state as text, for pipes.
pub(super) fn text(state: &DaemonState) -> String {
    let mut text = title(state) + "\n";
    for device in &state.devices {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", device_words(device));
    }
    let rows: Vec<Vec<String>> = state
        .models
        .iter()
        .map(|model| model_cells(model).to_vec())
        .collect();
    text.push('\n');
    text.push_str(&table::listing(&MODEL_HEADS, &rows));
    let rows: Vec<Vec<String>> = state
        .requests
        .iter()
        .map(|request| request_cells(request).to_vec())
        .collect();
    text.push('\n');
    text.push_str(&table::listing(&REQUEST_HEADS, &rows));
    text
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn state() -> DaemonState {
        DaemonState {
            version: "0.1.0".to_owned(),
            uptime: 3725.0,
            devices: vec![Device {
                name: "RAM".to_owned(),
                total_bytes: 16_000_000_000,
                free_bytes: 4_000_000_000,
                ..Device::default()
            }],
            models: vec![ModelState {
                name: "evil\u{1b}[2J:latest".to_owned(),
                is_loaded: true,
                size_bytes: 2_000_000_000,
                n_slots: 4,
                n_running: 2,
                n_waiting: 1,
                cells: 200,
                cells_used: 50,
                generated_rate: 33.25,
                ..ModelState::default()
            }],
            requests: vec![RequestState {
                client: "10.0.0.7".to_owned(),
                model: "evil:latest".to_owned(),
                route: "/api/chat".to_owned(),
                phase: "generating".to_owned(),
                n_prompt: 12,
                n_generated: 34,
                seconds: 5.25,
                ..RequestState::default()
            }],
            log: vec!["INFO POST /api/chat 200".to_owned()],
            ..DaemonState::default()
        }
    }

    #[test]
    fn a_terminal_shows_all_of_it() {
        let mut view = View::default();
        let mut terminal = Terminal::new(TestBackend::new(110, 40)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        for _ in 0..2 * KEPT {
            view.take(state());
        }
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let shown = terminal.backend().to_string();
        for part in [
            "drover 0.1.0, up 1:02",
            "RAM: 12 GB of 16 GB",
            "Generated tokens/s: 33",
            "evil[2J:latest",
            "2/4",
            "25 %",
            "forever",
            "10.0.0.7",
            "generating",
            "INFO POST /api/chat 200",
        ] {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
        // A small terminal must not cause a panic.
        let mut terminal = Terminal::new(TestBackend::new(9, 4)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
    }

    #[test]
    fn a_pipe_gets_text_without_control_characters() {
        let text = text(&state());
        assert!(
            text.contains("evil[2J:latest") && text.contains("10.0.0.7"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }
}
