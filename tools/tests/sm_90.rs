//! The limits that the kernels' code for an H100 keeps to, as `benches/results/sm_90.csv` has it, and which variants do not. The
//! table is made by hand: see `benches/results/README.md`.

/// A line of the table.
struct Row {
    name: String,
    stack: f64,
    instructions: f64,
    main_loop: f64,
    share: f64,
}

impl Row {
    /// The value of a constant.
    fn the(&self, constant: &str) -> u32 {
        let value = self.name.split(' ').find_map(|word| word.strip_prefix(constant)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{constant} of {}", self.name))
    }

    fn is_of(&self, words: &str) -> bool {
        words.split(' ').all(|word| self.name.split(' ').any(|of_row| of_row == word))
    }
}

fn rows() -> Vec<Row> {
    let text = include_str!("../../benches/results/sm_90.csv");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |column: usize| cells[column].parse().unwrap_or(0.0);
        let [stack, instructions, main_loop, share] = [3, 4, 5, 7].map(number);
        assert_eq!(cells.len(), 9, "{line}");
        Row { name: cells[0].to_owned(), stack, instructions, main_loop, share }
    };
    text.lines().skip(2).map(row).collect()
}

/// What variants whose names have these words keep to.
struct Limit {
    says: &'static str,
    of: &'static str,
    is_kept: fn(&Row) -> bool,
    /// Words of the variants that miss it. All of those do: who mends one takes it out.
    missed_by: &'static [&'static str],
}

const LIMITS: [Limit; 4] = [
    Limit {
        says: "no array is in memory, and no register is spilled",
        of: "",
        is_kept: |row| row.stack == 0.0,
        // ptxas keeps to 32 registers here and spills up to 64 bytes, none of them in a loop over values.
        missed_by: &[
            "normalise main team=4 teams=16",
            "normalise main team=64 teams=1",
            "normalise main team=256 teams=1",
            "softmax main team=4 teams=16",
            "softmax main team=16 teams=4",
        ],
    },
    Limit {
        // The loops that finish the sums are counted once.
        says: "at most 400 instructions around the main loop",
        of: "tiled_gemm",
        is_kept: |row| row.instructions - row.main_loop <= 400.0,
        missed_by: &[],
    },
    Limit {
        says: "at least 85 % of the main loop are multiply-adds",
        of: "tiled_pointwise",
        is_kept: |row| row.share >= 0.85,
        missed_by: &["channel_tiles=4"],
    },
    Limit {
        says: "at most 80 instructions for a row of four outputs",
        of: "depthwise_fours kernel=3x3 stride=1x1",
        is_kept: |row| row.main_loop / f64::from(row.the("ahead")) <= 80.0,
        // Four values are held to limits and a NaN is told by its bits: 20 instructions, of 86.
        missed_by: &["activation=1"],
    },
];

#[test]
fn limits_are_kept_but_for_known_misses() {
    let rows = rows();
    assert!(rows.len() > 150, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for Limit { says, of, is_kept, missed_by } in LIMITS {
        let of_limit: Vec<&Row> = rows.iter().filter(|row| of.is_empty() || row.is_of(of)).collect();
        assert!(!of_limit.is_empty(), "no variant is of {of}");
        for row in &of_limit {
            let is_known = missed_by.iter().any(|words| row.is_of(words));
            if is_known == is_kept(row) {
                let what = if is_known { "keeps it and is a known miss" } else { "misses it" };
                wrong.push(format!("{says}: {} {what}", row.name));
            }
        }
        let is_stale = |words: &&&str| !of_limit.iter().any(|row| row.is_of(words));
        wrong.extend(missed_by.iter().filter(is_stale).map(|words| format!("{says}: no variant is of {words}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
