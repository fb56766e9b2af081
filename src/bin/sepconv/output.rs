//! What the reader sees: standard output, which may be closed at any time, tables, and the progress bar.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Failure, Outcome};

/// A bar on a terminal's standard error, and nothing elsewhere.
pub fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What a bar shows of the library's work.
pub fn shown(bar: &ProgressBar) -> impl Fn(&str, usize, usize) + Sync {
    |what, done, all| {
        bar.set_message(what.to_owned());
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    }
}

/// A table without rows yet, with numbers in these columns.
pub fn table(header: &[&str], numbers: impl IntoIterator<Item = usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The width of a table of sentences where there is no terminal to fit.
const WIDTH: u16 = 100;

/// Breaks the lines of a table of sentences, so that it is as wide as the terminal; its first column stays whole.
pub fn fit(table: &mut Table) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(WIDTH);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Names, and beside each what is said of it, as wide as the terminal.
pub fn list(rows: &[[String; 2]]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    fit(&mut table);
    for (column, padding) in table.column_iter_mut().zip([(0, 2), (0, 0)]) {
        column.set_padding(padding);
    }
    table.trim_fmt()
}

/// Writes text and ends it with a newline. A closed pipe is no failure: its reader has seen enough.
pub fn print(text: &impl std::fmt::Display) -> Outcome {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Computation(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a message to standard error, in one line. Nothing is left to say it with where that fails.
pub fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", one_line(message));
}

/// A message without the line breaks that a library may have put into it, and without the control characters by which
/// a name in a file could write over the terminal.
fn one_line(message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_harmless_line() {
        assert_eq!(one_line("a\n  b \x1b[31mred\u{9b}é"), "a b \\u{1b}[31mred\\u{9b}é");
    }
}
