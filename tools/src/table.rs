//! The table of what a compiler made of each variant: one line for each, compared with the one that is committed.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::listing::Count;
use crate::radv::Compiled;

/// What may not grow by more than a twentieth.
const GROWTH: f64 = 1.05;

/// A table, by the variants' names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The GPU and its compiler.
    pub compiler: String,
    pub rows: BTreeMap<String, Compiled>,
}

const HEAD: &str = "variant,registers,spills,scratch bytes,waves,instructions,instructions of the main loop,multiply-adds of \
                    the main loop,instructions per multiply-add,vector instructions of the main loop,reads of workgroup \
                    memory of the main loop";

impl Table {
    /// The table as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("# {}\n{HEAD}\n", self.compiler);
        for (name, row) in &self.rows {
            let _ = writeln!(text, "{name},{}", row_text(row));
        }
        text
    }

    /// Reads a text that [`text`](Self::text) made; none if it is another one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (compiler, text) = text.strip_prefix("# ")?.split_once('\n')?;
        let rows = text.strip_prefix(HEAD)?.lines().filter(|line| !line.is_empty()).map(|line| {
            let (name, values) = line.split_once(',')?;
            Some((name.to_owned(), parse_row(values)?))
        });
        Some(Self { compiler: compiler.to_owned(), rows: rows.collect::<Option<_>>()? })
    }

    /// What of this table the committed one does not own up to, in words, and what of that one is no more.
    #[must_use]
    pub fn complaints(&self, committed: &Self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.compiler != committed.compiler {
            complaints.push(format!("the table is of another compiler: {}", committed.compiler));
        }
        for (name, row) in &self.rows {
            match committed.rows.get(name) {
                None => complaints.push(format!("{name}: not in the table")),
                Some(old) => complaints.extend(worse(row, old).into_iter().map(|what| format!("{name}: {what}"))),
            }
        }
        let is_gone = |name: &&String| !self.rows.contains_key(*name);
        complaints
            .extend(committed.rows.keys().filter(is_gone).map(|name| format!("{name}: in the table, and no more")));
        complaints
    }

    /// The lines that changed, beside what they were.
    #[must_use]
    pub fn changes(&self, committed: &Self) -> String {
        let mut text = String::new();
        for (name, row) in &self.rows {
            match committed.rows.get(name) {
                Some(old) if old == row => {}
                Some(old) => drop(writeln!(text, "{name}\n    was {}\n    is  {}", row_text(old), row_text(row))),
                None => drop(writeln!(text, "{name}\n    is  {}", row_text(row))),
            }
        }
        text
    }
}

fn per_multiply_add(count: Count) -> f64 {
    count.instructions as f64 / count.multiply_adds as f64
}

fn row_text(row: &Compiled) -> String {
    let Compiled { registers, spills, scratch, waves, instructions, main_loop } = row;
    let of_loop = main_loop.map_or(",,,,".to_owned(), |count| {
        let Count { instructions, vector, multiply_adds, shared_reads } = count;
        format!("{instructions},{multiply_adds},{:.2},{vector},{shared_reads}", per_multiply_add(count))
    });
    format!("{registers},{spills},{scratch},{waves},{instructions},{of_loop}")
}

fn parse_row(text: &str) -> Option<Compiled> {
    let cells: Vec<&str> = text.split(',').collect();
    let [registers, spills, scratch, waves, instructions, of_loop @ ..] = &cells[..] else { return None };
    let main_loop = match of_loop {
        ["", "", "", "", ""] => None,
        [instructions, multiply_adds, _, vector, shared_reads] => Some(Count {
            instructions: instructions.parse().ok()?,
            vector: vector.parse().ok()?,
            multiply_adds: multiply_adds.parse().ok()?,
            shared_reads: shared_reads.parse().ok()?,
        }),
        _ => return None,
    };
    Some(Compiled {
        registers: registers.parse().ok()?,
        spills: spills.parse().ok()?,
        scratch: scratch.parse().ok()?,
        waves: waves.parse().ok()?,
        instructions: instructions.parse().ok()?,
        main_loop,
    })
}

/// What a row has more of than the committed one owns up to.
fn worse(row: &Compiled, old: &Compiled) -> Vec<String> {
    let mut worse = Vec::new();
    let mut compare = |what: &str, now: f64, before: f64, growth: f64| {
        if now > before * growth {
            worse.push(format!("{what}: {now:.2}, and {before:.2} in the table"));
        }
    };
    compare("spills", row.spills as f64, old.spills as f64, 1.0);
    compare("scratch bytes", row.scratch as f64, old.scratch as f64, 1.0);
    compare("registers", row.registers as f64, old.registers as f64, GROWTH);
    compare("instructions", row.instructions as f64, old.instructions as f64, GROWTH);
    if let (Some(now), Some(before)) = (row.main_loop, old.main_loop) {
        compare("instructions per multiply-add", per_multiply_add(now), per_multiply_add(before), GROWTH);
    }
    if row.waves < old.waves {
        worse.push(format!("waves: {}, and {} in the table", row.waves, old.waves));
    }
    worse
}

#[cfg(test)]
mod tests {
    use super::{Compiled, Count, Table};

    fn loop_of(instructions: usize) -> Count {
        Count { instructions, vector: 120, multiply_adds: 100, shared_reads: 7 }
    }

    fn row() -> Compiled {
        let main_loop = Some(loop_of(130));
        Compiled { registers: 64, spills: 1, scratch: 0, waves: 16, instructions: 1000, main_loop }
    }

    fn table(row: Compiled) -> Table {
        Table { compiler: "NAVI21, Mesa 22".to_owned(), rows: [("a main tile=4".to_owned(), row)].into() }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let mut written = table(row());
        written.rows.insert("b main".to_owned(), Compiled { main_loop: None, ..row() });
        let text = written.text();
        assert!(
            text.ends_with("\na main tile=4,64,1,0,16,1000,130,100,1.30,120,7\nb main,64,1,0,16,1000,,,,,\n"),
            "{text}"
        );
        assert_eq!(Table::parse(&text), Some(written));
        assert_eq!(Table::parse(&text[1..]), None);
        assert_eq!(Table::parse(&text.replace("64,", "many,")), None);
    }

    #[test]
    fn what_the_table_does_not_own_up_to_is_said() {
        let committed = table(row());
        assert!(committed.complaints(&committed).is_empty() && committed.changes(&committed).is_empty());
        for (row, complaint) in [
            (Compiled { spills: 2, ..row() }, "spills: 2.00, and 1.00"),
            (Compiled { scratch: 4, ..row() }, "scratch bytes"),
            (Compiled { registers: 72, ..row() }, "registers"),
            (Compiled { waves: 14, ..row() }, "waves"),
            (Compiled { instructions: 1051, ..row() }, "instructions: 1051"),
            (Compiled { main_loop: Some(loop_of(137)), ..row() }, "instructions per multiply-add: 1.37"),
        ] {
            let complaints = table(row).complaints(&committed);
            assert!(complaints.len() == 1 && complaints[0].contains(complaint), "{complaints:?}");
            assert!(table(row).changes(&committed).contains("    was 64,1,0,16,1000,130,100,1.30,120,7\n"));
        }
        for row in [
            Compiled { instructions: 1050, ..row() },
            Compiled { main_loop: Some(loop_of(136)), ..row() },
            Compiled { spills: 0, registers: 24, waves: 20, instructions: 10, main_loop: None, ..row() },
        ] {
            assert!(table(row).complaints(&committed).is_empty());
        }
    }

    #[test]
    fn a_table_has_neither_more_nor_fewer_variants() {
        let (mine, empty) = (table(row()), Table { compiler: table(row()).compiler, ..Table::default() });
        assert_eq!(mine.complaints(&empty), ["a main tile=4: not in the table"]);
        assert_eq!(empty.complaints(&mine), ["a main tile=4: in the table, and no more"]);
        let other = Table { compiler: "NAVI21, Mesa 25".to_owned(), ..table(row()) };
        assert_eq!(mine.complaints(&other).len(), 1);
    }
}
