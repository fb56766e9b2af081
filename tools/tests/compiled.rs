//! The limits that the kernels' code for GPUs keeps to, as the tables in `benches/results/` have it, and which variants do not.
//! Two tables are made by `sepconv-tools radv`, which a test in `compilers.rs` does too; `sm_90.csv` is made by hand: see
//! `benches/results/README.md`.

use std::collections::BTreeSet;

/// A line of a table.
struct Row<'a> {
    name: &'a str,
    /// The table's columns, and the line's cells.
    columns: &'a [&'a str],
    cells: Vec<&'a str>,
}

impl Row<'_> {
    /// The number in a column. A shader without a main loop has none of one.
    fn number(&self, column: &str) -> f64 {
        let place = self.columns.iter().position(|name| *name == column).unwrap_or_else(|| panic!("a column {column}"));
        self.cells[place].parse().unwrap_or(0.0)
    }

    /// The value of a constant.
    fn the(&self, constant: &str) -> f64 {
        let value = self.name.split(' ').find_map(|word| word.strip_prefix(constant)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{constant} of {}", self.name))
    }

    fn is_of(&self, words: &str) -> bool {
        words.split(' ').all(|word| self.name.split(' ').any(|of_row| of_row == word))
    }

    fn main_loop(&self) -> f64 {
        self.number("instructions of the main loop")
    }

    fn multiply_adds(&self) -> f64 {
        self.number("multiply-adds of the main loop")
    }

    /// All instructions but those of the main loop. Other loops are counted once.
    fn around(&self) -> f64 {
        self.number("instructions") - self.main_loop()
    }

    /// A round of a depthwise kernel has so many rows of outputs.
    fn of_a_row(&self) -> f64 {
        self.main_loop() / self.the("ahead")
    }
}

const TABLES: [(&str, &str); 3] = [
    ("rdna2", include_str!("../../benches/results/rdna2.csv")),
    ("rdna3", include_str!("../../benches/results/rdna3.csv")),
    ("sm_90", include_str!("../../benches/results/sm_90.csv")),
];

/// A table's columns, and its lines.
fn table(text: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let mut lines = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    (columns, lines.collect())
}

/// What variants whose names have these words keep to, in these tables.
struct Limit {
    says: &'static str,
    tables: &'static [&'static str],
    of: &'static str,
    is_kept: fn(&Row<'_>) -> bool,
    /// Words of the variants that miss it. All of those do: who mends one takes it out.
    missed_by: &'static [&'static str],
}

const LIMITS: [Limit; 9] = [
    Limit {
        says: "no register is spilled, and no array is in memory",
        tables: &["rdna2", "rdna3"],
        of: "",
        is_kept: |row| row.number("spills") + row.number("scratch bytes") == 0.0,
        missed_by: &[],
    },
    Limit {
        says: "no register is spilled, and no array is in memory",
        tables: &["sm_90"],
        of: "",
        is_kept: |row| row.number("stack bytes") == 0.0,
        // ptxas keeps to 32 registers here and spills up to 64 bytes, none of them in a loop over values.
        missed_by: &[
            "normalise main team=4 teams=16",
            "normalise main team=64 teams=1",
            "normalise main team=256 teams=1",
            "softmax main team=4 teams=16",
            "softmax main team=16 teams=4",
            "direct main channel_tile=1 kernel=9x9",
        ],
    },
    Limit {
        says: "at most 400 instructions around the main loop",
        tables: &["sm_90"],
        of: "tiled_gemm",
        is_kept: |row| row.around() <= 400.0,
        missed_by: &[],
    },
    Limit {
        says: "at most 400 instructions around the main loop",
        tables: &["sm_90"],
        of: "tiled_pointwise",
        is_kept: |row| row.around() <= 400.0,
        // 16 fours of sums are finished one after the other, or 8 with a function behind them.
        missed_by: &["pixel_fours=2", "activation=1"],
    },
    Limit {
        says: "at least 85 % of the main loop are multiply-adds",
        tables: &["sm_90"],
        of: "tiled_pointwise",
        is_kept: |row| row.number("share of multiply-adds") >= 0.85,
        missed_by: &["channel_tiles=4"],
    },
    Limit {
        says: "at least 90 % of the main loop's vector instructions are multiply-adds",
        tables: &["rdna2"],
        of: "tiled_pointwise",
        is_kept: |row| row.multiply_adds() / row.number("vector instructions of the main loop") >= 0.9,
        missed_by: &["channel_tile=4"],
    },
    Limit {
        says: "at most 0.07 reads of workgroup memory for each multiply-add",
        tables: &["rdna2", "rdna3"],
        of: "tiled_pointwise",
        is_kept: |row| row.number("reads of workgroup memory of the main loop") / row.multiply_adds() <= 0.07,
        // 3 for 4 x 8 outputs, 2 for 4 x 4: 0.09 and 0.13.
        missed_by: &["pixel_fours=1"],
    },
    Limit {
        says: "at most 100 instructions for a row of four outputs",
        tables: &["rdna2"],
        of: "depthwise_fours kernel=3x3",
        is_kept: |row| row.of_a_row() <= 100.0,
        missed_by: &[],
    },
    Limit {
        says: "at most 80 instructions for a row of four outputs",
        tables: &["sm_90"],
        of: "depthwise_fours kernel=3x3",
        is_kept: |row| row.of_a_row() <= 80.0,
        // Four values are held to limits and a NaN is told by its bits: 20 instructions, of 86. Two rows are read for one.
        missed_by: &["activation=1", "stride=2x2"],
    },
];

#[test]
fn limits_are_kept_but_for_known_misses() {
    let mut wrong = Vec::new();
    for (table_name, text) in TABLES {
        let (columns, lines) = table(text);
        assert!(lines.len() > 150, "{table_name}: {} rows", lines.len());
        for Limit { says, of, is_kept, missed_by, .. } in
            LIMITS.iter().filter(|limit| limit.tables.contains(&table_name))
        {
            let rows = lines.iter().map(|cells| Row { name: cells[0], columns: &columns, cells: cells.clone() });
            let of_limit: Vec<Row<'_>> = rows.filter(|row| of.is_empty() || row.is_of(of)).collect();
            assert!(!of_limit.is_empty(), "{table_name}: no variant is of {of}");
            for row in &of_limit {
                let is_known = missed_by.iter().any(|words| row.is_of(words));
                if is_known == is_kept(row) {
                    let what = if is_known { "keeps it and is a known miss" } else { "misses it" };
                    wrong.push(format!("{table_name}: {says}: {} {what}", row.name));
                }
            }
            let is_stale = |words: &&&str| !of_limit.iter().any(|row| row.is_of(words));
            let stale = missed_by.iter().filter(is_stale);
            wrong.extend(stale.map(|words| format!("{table_name}: {says}: no variant is of {words}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Who changes a kernel makes all of them anew, the one that is made by hand too.
#[test]
fn the_tables_have_the_same_variants() {
    let names = TABLES.map(|(_, text)| table(text).1.into_iter().map(|cells| cells[0]).collect::<BTreeSet<_>>());
    let [rdna2, rdna3, sm_90] = &names;
    assert_eq!(rdna2.symmetric_difference(rdna3).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(rdna2.symmetric_difference(sm_90).collect::<Vec<_>>(), Vec::<&&str>::new());
}
