//! The results as a picture: rates and times over the number of concurrent requests.

use anyhow::Context as _;
use plotters::prelude::*;

use super::report::Report;
use super::summary::Summary;

/// Width and height of one chart in pixels.
const CHART: (u32, u32) = (560, 360);
const MARGIN: u32 = 12;
/// Height of the line above the charts.
const TITLE: u32 = 32;
const FONT: &str = "sans-serif";

/// One chart: its title, and which of a server's numbers it shows.
type Chart = (&'static str, fn(&Summary) -> Option<f64>);

const CHARTS: [Chart; 4] = [
    ("tokens per second, all requests", |summary| {
        summary.total_tokens_per_s
    }),
    ("tokens per second, one request", |summary| {
        summary.stream_tokens_per_s
    }),
    ("ms to the first text, median", |summary| {
        summary.ttft_ms.p50
    }),
    ("ms between pieces, p99", |summary| summary.itl_ms.p99),
];

/// One server's line.
struct Series {
    label: String,
    points: Vec<(f64, f64)>,
}

/// Draws all charts.
///
/// # Errors
/// Fails when the library cannot draw them.
pub(super) fn svg(report: &Report) -> anyhow::Result<String> {
    let mut text = String::new();
    let size = (CHART.0 * 2, CHART.1 * 2 + TITLE);
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(plain)?;
        let area = area.titled(&title(report), (FONT, 18)).map_err(plain)?;
        for (chart, area) in CHARTS.iter().zip(area.split_evenly((2, 2))) {
            draw(report, chart, &area).with_context(|| format!("drawing {:?}", chart.0))?;
        }
        area.present().map_err(plain)?;
    }
    Ok(text)
}

/// What was measured, so that the file can be read by itself.
fn title(report: &Report) -> String {
    format!(
        "{}: prompts of about {} tokens, at most {} tokens of output",
        report.model, report.prompt_tokens, report.output_tokens
    )
}

/// The number at a tick of the first axis, which counts requests.
fn count(x: f64) -> String {
    let whole = (x - x.round()).abs() < 1e-6;
    if whole {
        format!("{x:.0}")
    } else {
        String::new()
    }
}

/// The label of a tick on an axis that ends at `highest`, with enough digits to distinguish it from its neighbours.
fn amount(y: f64, highest: f64) -> String {
    let digits = match highest {
        _ if highest > 10.0 => 0,
        _ if highest > 1.0 => 1,
        _ => 2,
    };
    format!("{y:.digits$}")
}

fn draw(
    report: &Report,
    (title, number): &Chart,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> anyhow::Result<()> {
    let series = series(report, *number);
    let all = || series.iter().flat_map(|series| &series.points);
    let widest = all().map(|point| point.0).fold(1.0, f64::max);
    let highest = all().map(|point| point.1).fold(0.0, f64::max);
    // A chart needs a range, even for a number that could not be measured.
    let highest = if highest > 0.0 { highest * 1.1 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .caption(title, (FONT, 16))
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..widest * 1.05, 0.0..highest)
        .map_err(plain)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("requests at once")
        .x_label_formatter(&|x| count(*x))
        .y_label_formatter(&|y| amount(*y, highest))
        .light_line_style(WHITE)
        .draw()
        .map_err(plain)?;
    for (index, Series { label, points }) in series.into_iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let dots = points.iter().map(|&at| Circle::new(at, 3, color.filled()));
        chart.draw_series(dots).map_err(plain)?;
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))
            .map_err(plain)?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()
        .map_err(plain)
}

/// The servers' values of one number, in the order of the command line.
fn series(report: &Report, number: fn(&Summary) -> Option<f64>) -> Vec<Series> {
    let first = report.levels.first();
    let labels = first.iter().flat_map(|level| &level.servers);
    let lines = labels.enumerate().map(|(index, server)| {
        let points = report.levels.iter().filter_map(|level| {
            let value = number(&level.servers.get(index)?.summary)?;
            Some((f64::from(level.concurrency), value))
        });
        let mut points: Vec<_> = points.collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Series {
            label: server.url.clone(),
            points,
        }
    });
    lines.collect()
}

/// The library's errors borrow the drawing area.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn plain<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_stands_twice_at_an_axis() {
        let counts: Vec<String> = (0..=8).map(|tick| count(f64::from(tick) / 2.0)).collect();
        assert_eq!(counts, ["0", "", "1", "", "2", "", "3", "", "4"]);
        for highest in [0.5, 3.3, 40.0, 1234.0] {
            let mut labels: Vec<String> = (0..=10)
                .map(|tick| amount(highest * f64::from(tick) / 10.0, highest))
                .collect();
            let n = labels.len();
            labels.dedup();
            assert_eq!(labels.len(), n, "{labels:?}");
        }
    }
}
