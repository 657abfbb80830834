//! Tables as Ollama prints them, including trailing blanks, because scripts cut at columns.

use unicode_width::UnicodeWidthStr as _;

use crate::plain;

const GAP: &str = "    ";
/// Cells with blanks are wrapped beyond this width.
pub(crate) const CELL_WIDTH: usize = 30;
/// The same for longer texts.
pub(crate) const TEXT_WIDTH: usize = 100;

/// Prints a table with a header: `list` and `ps`. The header ends with one blank, rows with four.
pub(crate) fn listing(headers: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Vec<String>>> = rows.iter().map(|row| wrap_row(row, CELL_WIDTH)).collect();
    let mut widths: Vec<usize> = headers.iter().map(|title| title.width()).collect();
    widen(&mut widths, &rows);
    let titles: Vec<&str> = headers.to_vec();
    let header = line(&titles, &widths);
    let mut out = format!("{} \n", header.strip_suffix(GAP).unwrap_or(&header));
    print_rows(&rows, &widths, &mut out);
    out
}

/// Prints a titled block without header, indented: `show`. An empty line follows it.
pub(crate) fn block(title: &str, rows: &[Vec<String>], cell_width: usize) -> String {
    let rows: Vec<Vec<Vec<String>>> = rows
        .iter()
        .map(|row| {
            // The empty first cell makes the indent.
            let mut cells = vec![String::new()];
            cells.extend_from_slice(row);
            wrap_row(&cells, cell_width)
        })
        .collect();
    let mut widths = Vec::new();
    widen(&mut widths, &rows);
    let mut out = format!("  {title}\n");
    print_rows(&rows, &widths, &mut out);
    out.push('\n');
    out
}

fn widen(widths: &mut Vec<usize>, rows: &[Vec<Vec<String>>]) {
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            let widest = cell.iter().map(|text| text.width()).max().unwrap_or(0);
            *width = (*width).max(widest);
        }
    }
}

fn print_rows(rows: &[Vec<Vec<String>>], widths: &[usize], out: &mut String) {
    for row in rows {
        let height = row.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let cells: Vec<&str> = row
                .iter()
                .map(|cell| cell.get(at).map_or("", String::as_str))
                .collect();
            out.push_str(&line(&cells, widths));
            out.push('\n');
        }
    }
}

/// Pads every cell, missing ones too, and puts four blanks after each.
fn line(cells: &[&str], widths: &[usize]) -> String {
    let mut out = String::new();
    for (index, width) in widths.iter().enumerate() {
        let cell = cells.get(index).copied().unwrap_or("");
        out.push_str(cell);
        out.push_str(&" ".repeat(width.saturating_sub(cell.width())));
        out.push_str(GAP);
    }
    out
}

fn wrap_row(cells: &[String], limit: usize) -> Vec<Vec<String>> {
    cells.iter().map(|cell| wrap_cell(cell, limit)).collect()
}

/// Breaks a cell at blanks so that the lines are evenly filled; words are never cut.
fn wrap_cell(cell: &str, limit: usize) -> Vec<String> {
    let cell = plain::message(cell);
    let words: Vec<&str> = cell.split_whitespace().collect();
    let widths: Vec<usize> = words.iter().map(|word| word.width()).collect();
    let widest = widths.iter().copied().max().unwrap_or(0);
    let limit = limit.max(widest);
    let breaks = even_breaks(&widths, limit);
    if words.is_empty() {
        return vec![String::new()];
    }
    let mut lines = Vec::new();
    let mut start = 0;
    while start < words.len() {
        lines.push(words[start..breaks[start]].join(" "));
        start = breaks[start];
    }
    lines
}

/// For each word that begins a line: the word that begins the next line, such that the sum of the squared free space
/// (of all lines but the last) is minimal.
fn even_breaks(widths: &[usize], limit: usize) -> Vec<usize> {
    let count = widths.len();
    let mut cost = vec![0; count + 1];
    let mut next = vec![count; count];
    for start in (0..count).rev() {
        let rest: usize = widths[start..].iter().sum::<usize>() + (count - start - 1);
        if rest <= limit {
            continue;
        }
        cost[start] = usize::MAX;
        let mut filled = 0;
        for end in start + 1..count {
            filled += widths[end - 1] + usize::from(end > start + 1);
            if filled > limit {
                break;
            }
            let room = limit - filled;
            let total = cost[end].saturating_add(room * room);
            if total < cost[start] {
                cost[start] = total;
                next[start] = end;
            }
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn rows_and_header_end_with_their_own_blanks() {
        let table = listing(
            &["NAME", "ID", "SIZE", "MODIFIED"],
            &[
                row(&["model1", "sha256:abc12", "1.0 KB", "24 hours ago"]),
                row(&["model2", "sha256:def45", "2.0 KB", "2 days ago"]),
            ],
        );
        let expected = "\
NAME      ID              SIZE      MODIFIED·····
model1    sha256:abc12    1.0 KB    24 hours ago····
model2    sha256:def45    2.0 KB    2 days ago······
";
        assert_eq!(table, expected.replace('·', " "));
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(listing(&["NAME", "ID"], &[]), "NAME    ID \n");
    }

    #[test]
    fn wide_characters_count_twice() {
        let table = listing(
            &["NAME", "ID"],
            &[row(&["日本", "1"]), row(&["abcde", "2"])],
        );
        assert_eq!(table, "NAME     ID \n日本     1     \nabcde    2     \n");
    }

    #[test]
    fn a_cell_is_text_and_nothing_else() {
        let name = "a\x1b]52;c;aGk=\x07\r\u{9b}2J\u{202e}b";
        assert_eq!(wrap_cell(name, 30), ["a]52;c;aGk=2Jb"]);
    }

    #[test]
    fn blocks_are_indented_and_followed_by_an_empty_line() {
        let text = block(
            "Model",
            &[row(&["architecture", "test"]), row(&["parameters", "7B"])],
            CELL_WIDTH,
        );
        assert_eq!(
            text,
            "  Model\n    architecture    test    \n    parameters      7B      \n\n"
        );
    }

    #[test]
    fn long_cells_are_wrapped_evenly() {
        // Not "aaa bb", "cc", "ddddd", which leaves one line nearly empty.
        assert_eq!(wrap_cell("aaa bb cc ddddd", 6), ["aaa", "bb cc", "ddddd"]);
        let word = "a-model-name-that-is-much-longer-than-thirty-columns";
        assert_eq!(wrap_cell(word, 30), [word]);
        assert_eq!(wrap_cell("", 30), [""]);
    }
}
