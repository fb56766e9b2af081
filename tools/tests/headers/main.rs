//! What each shader's header says of its traffic, held to what is counted: for every variant for GPUs, on layers that its
//! tiles divide. The words must stand in the header, so that neither changes without the other.

mod case;
mod layers;

use std::collections::{BTreeMap, BTreeSet};

use sepconv::{Layer, PoolGeometry, kernels};
use sepconv_tools::traffic::Banks;

use case::{Case, run};
use layers::*;

/// A sentence of a kernel's header, and the two numbers that it says are the same.
struct Claim {
    kernel: &'static str,
    says: &'static str,
    layer: fn() -> Layer,
    counted: fn(&Case) -> u64,
    expected: fn(&Case) -> u64,
}

/// The layer's pool.
fn taps(case: &Case) -> u64 {
    let Layer::Pool2d(PoolGeometry { kernel_size, .. }) = case.layer else { panic!("a pool") };
    u64::from(kernel_size.height * kernel_size.width)
}

const fn claim(
    kernel: &'static str,
    layer: fn() -> Layer,
    says: &'static str,
    counted: fn(&Case) -> u64,
    expected: fn(&Case) -> u64,
) -> Claim {
    Claim { kernel, says, layer, counted, expected }
}

const ONCE: &str = "Each output is written once";

/// Of a kernel that multiplies from workgroup memory.
const TILE_READS: &str = "an invocation reads 4 * PIXEL_FOURS + CHANNEL_TILE values per 4 * PIXEL_FOURS * CHANNEL_TILE";

#[rustfmt::skip]
const CLAIMS: &[Claim] = &[
    claim("direct", square, "Each input value is read once per tap and channel tile, through the cache.",
        |case| case.loaded("input"), |case| case.pixels() * case.terms() * case.channels() / case.the("CHANNEL_TILE")),
    claim("direct", square, "all its invocations read the same one",
        |case| case.counts().of("weight").loads.sectors, |case| case.counts().of("weight").loads.requests),
    claim("direct", square, "one input and CHANNEL_TILE weights for CHANNEL_TILE multiply-adds",
        |case| case.loaded("input") + case.loaded("weight"),
        |case| case.layer.multiply_adds() * (1 + case.the("CHANNEL_TILE")) / case.the("CHANNEL_TILE")),
    claim("direct", square, ONCE, Case::stored, Case::outputs),

    claim("gemm", square, "The input is read once per tap and channel tile, through the cache;",
        |case| case.loaded("input"), |case| case.pixels() * case.terms() * case.channels() / case.the("CHANNEL_TILE")),
    claim("gemm", square, "the weights once per pixel tile",
        |case| case.loaded("weight"), |case| case.channels() * case.terms() * case.pixels() / case.the("PIXEL_TILE")),
    claim("gemm", square, ONCE, Case::stored, Case::outputs),

    claim("pointwise", one_by_one, "The input is read once per channel tile,",
        |case| case.loaded("input"), |case| case.inputs() * case.channels() / case.the("CHANNEL_TILE")),
    claim("pointwise", one_by_one, "the weights once per pixel tile.",
        |case| case.loaded("weight"), |case| case.channels() * case.terms() * case.pixels() / case.the("PIXEL_TILE")),
    // A subgroup has two rows of 16 invocations, which read the same 64 bytes.
    claim("pointwise", one_by_one, "so that neighbouring invocations read neighbouring values",
        |case| case.counts().of("input").loads.sectors, |case| 2 * case.counts().of("input").loads.requests),
    claim("pointwise", one_by_one, ONCE, Case::stored, Case::outputs),

    claim("tiled_gemm", square, "An input value is read once per tap and workgroup along the channels;",
        |case| case.loaded("input"), |case| case.pixels() * case.terms() * case.workgroups()[0]),
    claim("tiled_gemm", square, "four weights, as one, once per workgroup along the pixels.",
        |case| case.loaded("packed_weight"), |case| case.channels() * case.terms() * case.workgroups()[1]),
    claim("tiled_gemm", square, "four weights, as one,", weight_sectors, |case| case.loaded("packed_weight") / 8),
    claim("tiled_gemm", one_by_one, TILE_READS, |case| case.counts().shared.loads.values,
        |case| tile_reads(case) + case.outputs() * case.the("SPLIT")),
    claim("tiled_gemm", one_by_one, "four at a time", |case| case.counts().shared.loads.wavefronts,
        |case| case.counts().shared.loads.least),
    claim("tiled_gemm", one_by_one, "At the end the sums of all teams go through workgroup memory,", |case| case.counts().barriers,
        |case| tile_barriers(case, 2 * case.the("CHANNEL_TILE") * case.the("CHANNEL_TILES") / case.the("DEPTH"))),
    claim("tiled_gemm", one_by_one, ONCE, Case::stored, Case::outputs),
    claim("tiled_gemm", one_by_one, "neighbours by neighbouring invocations", |case| case.counts().of("output").stores.sectors,
        |case| case.outputs() / 8),

    claim("tiled_pointwise", one_by_one, "A four of input values is read once per workgroup along the channels,",
        |case| case.loaded("input"), |case| case.inputs() * case.workgroups()[0]),
    claim("tiled_pointwise", one_by_one, "A four of input values", |case| case.counts().of("input").loads.sectors,
        |case| case.loaded("input") / 8),
    claim("tiled_pointwise", one_by_one, "a four of weights once per workgroup along the pixels.",
        |case| case.loaded("packed_weight"), |case| case.channels() * case.terms() * case.workgroups()[1]),
    claim("tiled_pointwise", one_by_one, "a four of weights", weight_sectors, |case| case.loaded("packed_weight") / 8),
    claim("tiled_pointwise", one_by_one, TILE_READS, |case| case.counts().shared.loads.values,
        |case| tile_reads(case) + sums_of_teams(case)),
    claim("tiled_pointwise", one_by_one, "four at a time", |case| case.counts().shared.loads.wavefronts,
        |case| case.counts().shared.loads.least),
    claim("tiled_pointwise", one_by_one, "add up their sums at the end", |case| case.counts().barriers,
        |case| tile_barriers(case, u64::from(case.the("SPLIT") > 1))),
    claim("tiled_pointwise", one_by_one, ONCE, Case::stored, Case::outputs),
    claim("tiled_pointwise", one_by_one, "and are read and written as one", |case| case.counts().of("output").stores.sectors,
        |case| case.outputs() / 8),

    claim("depthwise_fours", depthwise_fours, "A row of a tile is read once, a four at a time;",
        |case| case.loaded("input"), |case| rows_used(case, 4) * (4 + 2)),
    claim("depthwise_fours", depthwise_fours, "For 3 x 3 at stride 1 that is one four and two values.",
        |case| case.counts().of("input").loads.requests, |case| rows_read(case, tiles_of_fours(case)) * 3 / 32),
    claim("depthwise_fours", depthwise_fours, "An invocation reads its filter once.",
        |case| case.loaded("weight"), |case| tiles_of_fours(case) * case.terms()),
    claim("depthwise_fours", depthwise_fours, ONCE, Case::stored, Case::outputs),
    claim("depthwise_fours", depthwise_fours, "Each output is written once, a four at a time.",
        |case| case.counts().of("output").stores.sectors, |case| case.outputs() / 8),

    claim("depthwise_columns", depthwise, "An input value is read once by each of the KERNEL_WIDTH columns that see it,",
        |case| case.loaded("input"), |case| rows_used(case, 1) * 3),
    claim("depthwise_columns", depthwise, "An invocation reads its filter once.",
        |case| case.loaded("weight"), |case| columns(case) * case.terms()),
    claim("depthwise_columns", depthwise, "they read and write neighbouring values",
        |case| case.counts().of("output").stores.sectors, |case| case.outputs() / 8),
    claim("depthwise_columns", depthwise, ONCE, Case::stored, Case::outputs),

    // Of 3 rows, by 32 channels in between.
    claim("separable", separable, "a four of z takes KERNEL_WIDTH + 3 values of each input row that it sees,",
        |case| case.loaded("input"), |case| case.pixels() / 4 * (3 + 3) * 3 * 32 * case.workgroups()[0]),
    claim("separable", separable_of_stride_2, "and otherwise 4 KERNEL_WIDTH, through the cache.",
        |case| case.loaded("input"), |case| case.pixels() / 4 * 4 * 3 * 3 * 32 * case.workgroups()[0]),
    claim("separable", separable, "A mixing weight is read once per workgroup along the pixels.",
        |case| case.loaded("weight"), |case| case.channels() * 32 * case.workgroups()[1]),
    claim("separable", separable, "neighbours write to different banks of it.",
        |case| case.counts().shared.stores.wavefronts, |case| case.counts().shared.stores.least),
    claim("separable", separable, "reads 4 + CHANNEL_TILE values per 4 * CHANNEL_TILE multiply-adds",
        |case| 4 * case.counts().shared.loads.values,
        |case| (4 + case.the("CHANNEL_TILE")) * case.outputs() * 32 / case.the("CHANNEL_TILE")),
    claim("separable", separable, ONCE, Case::stored, Case::outputs),

    // The first step reads, of each tile of 2 x 2 pixels, the 4 x 4 values that it sees.
    claim("winograd", winograd, "The transformed input has 4 times the input's values,",
        |case| case.counts().of("output").stores.values, |case| 4 * case.inputs()),
    claim("winograd", winograd, "the sums 4 times the output's.",
        |case| case.steps[2].of("input").loads.values, |case| 4 * case.outputs()),
    claim("winograd", winograd, "and transform_output the other, once",
        |case| case.steps[2].of("output").stores.values, Case::outputs),

    claim("winograd_4x4", winograd, "The transformed input has 2.25 times the input's values,",
        |case| 4 * case.counts().of("output").stores.values, |case| 9 * case.inputs()),
    claim("winograd_4x4", winograd, "the sums 2.25 times the output's.",
        |case| 4 * case.steps[2].of("input").loads.values, |case| 9 * case.outputs()),
    claim("winograd_4x4", winograd, "and transform_output the other, once",
        |case| case.steps[2].of("output").stores.values, Case::outputs),

    claim("split_sums", long_sums, "Each part of a sum is read once.",
        |case| case.steps[1].of("input").loads.values, |case| case.the("PARTS") * case.outputs()),
    claim("split_sums", long_sums, ONCE, |case| case.steps[1].of("output").stores.values, Case::outputs),

    claim("pool", pool, "Each input value is read once per window that it lies in, through the cache.",
        |case| case.loaded("input"), |case| case.outputs() * taps(case)),
    claim("pool", pool, ONCE, Case::stored, Case::outputs),

    claim("matmul", product, "The first operand is read once per column tile,",
        |case| case.loaded("input"), |case| 64 * 24 * 256 / (4 * case.the("COLUMN_FOURS"))),
    claim("matmul", product, "the second once per row tile,",
        |case| case.loaded("other"), |case| 24 * 256 * 64 / (case.the("ROWS") * case.the("ROW_TILES"))),
    claim("matmul", product, ONCE, Case::stored, Case::outputs),

    claim("transposed", transposed, "The input is read once per tap and channel tile,",
        |case| case.loaded("input"), |case| case.pixels() * 8 * (case.channels() / case.the("CHANNEL_TILE"))),
    claim("transposed", transposed, "the weights once per block of pixels.",
        |case| case.loaded("weight"), |case| case.pixels() / case.the("PIXEL_TILE") * 8 * case.channels()),
    claim("transposed", transposed, ONCE, Case::stored, Case::outputs),

    claim("perceptron", perceptron, "Each weight is read once per image;",
        |case| case.loaded("hidden_weight") + case.loaded("weight"), |case| case.layer.multiply_adds()),
    claim("perceptron", perceptron, "the input once per hidden feature, through the cache.",
        |case| case.loaded("input"), |case| case.inputs() * 32),
    claim("perceptron", perceptron, "Neighbouring members read neighbouring weights.",
        |case| case.counts().of("hidden_weight").loads.sectors, |case| 4 * case.counts().of("hidden_weight").loads.requests),
    claim("perceptron", perceptron, ONCE, Case::stored, Case::outputs),

    claim("reduce", rows, "Each input value is read once.", |case| case.loaded("input"), Case::inputs),
    claim("reduce", rows, ONCE, Case::stored, Case::outputs),
    claim("softmax", shares, "Each input value is read three times,", |case| case.loaded("input"), |case| 3 * case.inputs()),
    claim("softmax", shares, "Each output is written once", Case::stored, Case::outputs),
    claim("normalise", normal, "Each input value is read three times,", |case| case.loaded("input"), |case| 3 * case.inputs()),
    claim("normalise", normal, ONCE, Case::stored, Case::outputs),

    claim("unary", function, "Each value is read once and written once.",
        |case| case.loaded("input") + case.stored(), |case| 2 * case.outputs()),
    claim("unary", function, "Each value is read once and written once.",
        |case| case.counts().of("input").loads.sectors + case.counts().of("output").stores.sectors, |case| 2 * case.outputs() / 8),
    claim("binary", sum, "A value that serves several outputs is read for each,",
        |case| case.loaded("input") + case.loaded("other"), |case| 2 * case.outputs()),
    claim("binary", sum, ONCE, Case::stored, Case::outputs),
    claim("rearrange", transposition, "Each output is written once, in order.",
        |case| case.counts().of("output").stores.sectors, |case| case.outputs() / 8),
    // Neighbours are 32 values apart: each has a sector of its own.
    claim("rearrange", transposition, "Reads follow the strides.", |case| case.counts().of("input").loads.sectors, Case::outputs),
    claim("resize", lines, "Each input value is read once per output value that it is a part of,",
        |case| case.loaded("input"), |case| 4 * case.outputs()),
    claim("resize", lines, "Each output is written", Case::stored, Case::outputs),
];

fn weight_sectors(case: &Case) -> u64 {
    case.counts().of("packed_weight").loads.sectors
}

/// In each round of a workgroup, a team multiplies DEPTH terms.
fn rounds(case: &Case) -> u64 {
    case.terms().div_ceil(case.the("DEPTH") * case.the("SPLIT"))
}

/// What is read for each multiply-add of these rounds.
fn tile_reads(case: &Case) -> u64 {
    let [pixels, channels, teams] = [4 * case.the("PIXEL_FOURS"), case.the("CHANNEL_TILE"), case.the("SPLIT")];
    let multiply_adds = case.outputs() * rounds(case) * case.the("DEPTH") * teams;
    multiply_adds * (pixels + channels) / (pixels * channels)
}

/// The sums of all teams, if there are several.
fn sums_of_teams(case: &Case) -> u64 {
    if case.the("SPLIT") > 1 { case.outputs() * case.the("SPLIT") } else { 0 }
}

/// Two for each round, and those of sums that go through workgroup memory.
fn tile_barriers(case: &Case, of_sums: u64) -> u64 {
    let [channels, pixels] = case.workgroups();
    channels * pixels * (2 * rounds(case) + of_sums)
}

/// The tiles of a depthwise layer of so many rows and columns.
fn tiles(case: &Case, rows: u64, columns: u64) -> u64 {
    let [batch, channels, height, width] = case.layer.output_shape().map(u64::from);
    batch * channels * height.div_ceil(rows) * width.div_ceil(columns)
}

/// The rows of outputs of a tile of a depthwise layer: its first two steps make none.
fn rows_of_tile(case: &Case) -> u64 {
    case.the("ROUNDS") * case.the("AHEAD") - 2
}

fn tiles_of_fours(case: &Case) -> u64 {
    tiles(case, rows_of_tile(case), 4)
}

fn columns(case: &Case) -> u64 {
    tiles(case, rows_of_tile(case), 1)
}

/// The rows of the input that so many tiles read.
fn rows_read(case: &Case, tiles: u64) -> u64 {
    tiles * case.the("ROUNDS") * case.the("AHEAD")
}

/// The last tile down a plane may have fewer rows. It stops in the round that completes them; others of its subgroup do not.
fn rows_used(case: &Case, columns: u64) -> u64 {
    let [batch, channels, height, width] = case.layer.output_shape().map(u64::from);
    let (ahead, mut rounds, mut row) = (case.the("AHEAD"), 0, 0);
    while row < height {
        let rows = rows_of_tile(case).min(height - row);
        rounds += (rows + 2).div_ceil(ahead);
        row += rows;
    }
    batch * channels * (width / columns) * rounds * ahead
}

fn conflicts(case: &Case) -> u64 {
    let Banks { wavefronts, least, .. } = case.counts().shared.stores;
    wavefronts - least
}

const SUMS_STORED: &str = "[f * PIXEL_TILES + local.x] = sums[";

/// The wavefronts that these sums would take without a conflict.
fn sums_of_teams_of_16(case: &Case) -> u64 {
    if case.the("SPLIT") > 1 && case.the("PIXEL_TILES") < 8 { case.outputs() * case.the("SPLIT") / 32 } else { 0 }
}

/// What is not as it should be, by the line that does it. Who mends it takes it out here, and adds a claim.
#[rustfmt::skip]
const FLAWS: &[Claim] = &[
    // Where an invocation's neighbours are 4 along the pixels, of the 8 whose fours are stored at a time two have the same
    // banks.
    claim("tiled_gemm", one_by_one, SUMS_STORED, conflicts, sums_of_teams_of_16),
    claim("tiled_pointwise", one_by_one, SUMS_STORED, conflicts, sums_of_teams_of_16),
    // Four pixels may be of several rows, so they are read one at a time: each sector is touched for each of the four values
    // that neighbours have in it.
    claim("tiled_gemm", one_by_one, "four[t] = scale_at(first_channels[t] + channel) * input_at(place);",
        |case| case.counts().of("input").loads.sectors, |case| case.loaded("input") * 4 / 8),
    claim("separable", separable, "{ finish(begun[t], index + t); }",
        |case| case.counts().of("output").stores.sectors, |case| case.outputs() * 4 / 8),
];

/// A header's text in one line.
fn header(kernel: &str) -> String {
    let wgsl = kernels::by_name(kernel).unwrap().wgsl();
    let lines = wgsl.lines().map_while(|line| line.strip_prefix("//"));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn check(claims: &[Claim]) -> Vec<String> {
    let mut cases: BTreeMap<(&str, String), Vec<Case>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for claim in claims {
        let layer = (claim.layer)();
        let cases = cases.entry((claim.kernel, layer.text())).or_insert_with(|| run(claim.kernel, layer));
        assert!(!cases.is_empty(), "{} has no variant for {}", claim.kernel, layer.text());
        for case in cases {
            let [counted, expected] = [(claim.counted)(case), (claim.expected)(case)];
            if counted != expected {
                let Case { constants, .. } = case;
                wrong.push(format!("{}: {}\n    {counted}, not {expected}: {constants:?}", claim.kernel, claim.says));
            }
        }
    }
    wrong
}

#[test]
fn headers_say_what_is_counted() {
    for Claim { kernel, says, .. } in CLAIMS {
        assert!(header(kernel).contains(says), "the header of {kernel} does not say: {says}\n{}", header(kernel));
    }
    let wrong = check(CLAIMS);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flaws_are_known() {
    for Claim { kernel, says, .. } in FLAWS {
        let wgsl = kernels::by_name(kernel).unwrap().wgsl();
        assert!(wgsl.contains(says), "{kernel} has no line with: {says}");
    }
    let wrong = check(FLAWS);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Those for software have none: most use subgroups or integers of 64 bits, which are not counted. Nor has `crop.wgsl`, a step of
/// other kernels, nor what measures a device, in `shaders/roofline/`.
#[test]
fn every_kernel_for_gpus_has_claims() {
    let with_shader = kernels::ALL.iter().filter(|kernel| !kernel.wgsl().is_empty());
    let expected = with_shader.filter(|kernel| kernel.rank != kernels::Rank::Software).map(|kernel| kernel.name);
    let claimed: BTreeSet<_> = CLAIMS.iter().map(|claim| claim.kernel).collect();
    assert_eq!(claimed, expected.collect());
}
