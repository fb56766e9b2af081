//! Loops in a listing of RDNA machine code, and what they consist of.

use std::collections::HashMap;

/// The instructions of a stretch of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub instructions: usize,
    /// Those that compute with vector registers.
    pub vector: usize,
    /// The multiply-adds of floating-point numbers.
    pub multiply_adds: usize,
    /// Reads of workgroup memory.
    pub shared_reads: usize,
}

/// The loop that has the most multiply-adds; of loops around each other, the inner one. None if no loop has any.
#[must_use]
pub fn main_loop(listing: &str) -> Option<Count> {
    let mut instructions = Vec::new();
    let mut labels = HashMap::new();
    for line in listing.lines() {
        if let Some(label) = line.trim_end().strip_suffix(':').filter(|label| label.starts_with("BB")) {
            labels.insert(label, instructions.len());
        } else if line.starts_with(char::is_whitespace) && !line.trim().is_empty() {
            instructions.push(line.trim());
        }
    }
    let loops = instructions.iter().enumerate().filter_map(|(last, instruction)| {
        let mut words = instruction.split_whitespace();
        let is_branch = words.next()?.contains("branch");
        let first = *labels.get(words.next()?).filter(|_| is_branch)?;
        (first <= last).then(|| count(&instructions[first..=last]))
    });
    let found = loops.filter(|count| count.multiply_adds > 0);
    found.max_by_key(|count| (count.multiply_adds, std::cmp::Reverse(count.instructions)))
}

fn count(instructions: &[&str]) -> Count {
    let starting = |words: &[&str]| {
        let is_one = |instruction: &&&str| words.iter().any(|word| instruction.starts_with(word));
        instructions.iter().filter(is_one).count()
    };
    Count {
        instructions: instructions.len(),
        vector: starting(&["v_"]),
        multiply_adds: instructions.iter().map(|instruction| multiply_adds(instruction)).sum(),
        shared_reads: starting(&["ds_read", "ds_load"]),
    }
}

/// How many multiply-adds of a lane an instruction makes. One of RDNA 3 may be two in one, with `::` between them.
fn multiply_adds(instruction: &str) -> usize {
    let code = instruction.split(';').next().unwrap_or_default();
    let operations = code.split("::").filter_map(|part| part.split_whitespace().next());
    operations
        .map(|operation| match operation {
            packed if packed.starts_with("v_pk_fma_") => 2,
            one if one.starts_with("v_fma") || one.starts_with("v_dual_fma") => 1,
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{Count, main_loop};

    #[test]
    fn the_loop_with_the_most_multiply_adds_is_found() {
        let listing = "BB0:\n\ts_mov_b32 s0, 0   ; be800380\n\tv_fma_f32 v9, v8, v7, v6\nBB1:\n\tv_add_u32 v0, v0, v1\nBB2:\n\
                       \tv_fmac_f32 v0, v1, v2 ; 12345678\n\tv_dual_fmac_f32 v3, v1, v2 :: v_dual_fmac_f32 v4, v5, v6\n\
                       \tv_pk_fma_f16 v3, v4, v5, v6\n\tds_read_b128 v[0:3], v4\n\ts_cbranch_scc1 BB2\n\tv_mul_f32 v0, v0, v0\n\
                       \ts_cbranch_vccz BB3\n\ts_branch BB1\nBB3:\n\ts_endpgm\n";
        assert_eq!(main_loop(listing), Some(Count { instructions: 5, vector: 3, multiply_adds: 5, shared_reads: 1 }));
        assert_eq!(main_loop("BB0:\n\tv_fma_f32 v0, v1, v2, v3\n\ts_endpgm\n"), None);
    }
}
