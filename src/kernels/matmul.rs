//! The row of `shaders/matmul.wgsl`.

use super::parts::MAXIMUM_TERMS;
use super::row::{Kernel, Lowering, Rank, Rules, Variant};
use super::simple;
use crate::error::Result;
use crate::layers::matmul::MatMul;
use crate::program::Program;
use crate::shader::{Shader, part};
use crate::target::Target;

pub(super) static KERNEL: Kernel = Kernel {
    name: "matmul",
    summary: "products of matrices, from tiles in registers",
    chosen: "for every product of matrices",
    bound_by: "loads: a tile of 8 rows and 4 columns takes 12 for 32 multiply-adds",
    rank: Rank::Fallback,
    shader: Some(Shader {
        name: "matmul",
        own: include_str!("../../shaders/matmul.wgsl"),
        parts: &[&[part::ELEMENT, part::INPUT, part::OUTPUT, part::NAN, part::ACTIVATION, part::START, part::EPILOGUE]],
    }),
    rules: &Rules::<MatMul>::plain(variants, lower),
};

/// What an invocation and a workgroup make.
#[derive(Debug, Clone, Copy)]
struct Tile {
    width: u32,
    height: u32,
    rows: u32,
    row_tiles: u32,
    column_fours: u32,
}

impl Tile {
    const fn new([width, height]: [u32; 2], [rows, row_tiles, column_fours]: [u32; 3]) -> Self {
        Self { width, height, rows, row_tiles, column_fours }
    }

    fn all_rows(self) -> u32 {
        self.rows * self.row_tiles
    }

    fn columns(self) -> u32 {
        4 * self.column_fours
    }

    fn grid(self, layer: &MatMul) -> [u64; 3] {
        [
            layer.columns.div_ceil(self.width * self.columns()).into(),
            layer.rows.div_ceil(self.height * self.all_rows()).into(),
            layer.batch.map(u64::from).iter().product(),
        ]
    }
}

const ONE_ROW: Tile = Tile::new([64, 1], [1, 1, 1]);
const TILES: [Tile; 5] = [
    ONE_ROW,
    Tile::new([16, 4], [4, 1, 1]),
    Tile::new([16, 4], [4, 2, 1]),
    Tile::new([8, 1], [4, 2, 2]),
    Tile::new([8, 1], [4, 4, 2]),
];

/// The most terms that an invocation sums in one step. A term takes up to five rounds of loops, of which llvmpipe has 65,535.
const TERMS: u32 = MAXIMUM_TERMS / 2;

/// A GPU needs so many invocations to be busy.
const BUSY: u64 = 1 << 14;

fn variants(layer: &MatMul, target: &Target) -> Vec<Variant> {
    let outputs = u64::from(layer.rows) * u64::from(layer.columns) * layer.batch.map(u64::from).iter().product::<u64>();
    // The largest tile that leaves enough to do for all, then smaller ones.
    let best = |tile: &Tile| {
        let made = tile.all_rows() * tile.columns();
        let is_enough = target.software || outputs / u64::from(made) >= BUSY;
        (is_enough, if is_enough { made } else { u32::MAX - made })
    };
    // The sums of a larger tile do not all fit in registers: RADV spills 34 of them on RDNA 3.
    let fits = |tile: &Tile| target.software || tile.all_rows() * tile.columns() <= 64;
    let mut tiles: Vec<_> = TILES.into_iter().filter(|tile| tile.all_rows() < 2 * layer.rows).filter(fits).collect();
    tiles.sort_by_key(|tile| std::cmp::Reverse(best(tile)));
    let own = [("HAS_BIAS", layer.bias.into()), ("ACTIVATION", layer.activation.number())];
    let variant = |tile: Tile| {
        let constants = [
            ("WORKGROUP_WIDTH", tile.width),
            ("WORKGROUP_HEIGHT", tile.height),
            ("ROWS", tile.rows),
            ("ROW_TILES", tile.row_tiles),
            ("COLUMN_FOURS", tile.column_fours),
        ];
        Variant::new(constants.into_iter().chain(own), tile.grid(layer))
    };
    tiles.into_iter().map(variant).collect()
}

/// One step for each stretch of terms that one invocation may sum.
fn lower(layer: &MatMul, variant: usize, lowering: &Lowering<'_>) -> Result<Program> {
    simple::lower_parts(&KERNEL, layer, variant, parts, lowering)
}

fn parts(layer: &MatMul) -> Vec<simple::Part> {
    let [a, b] = layer.activation.parameters().map(f32::to_bits);
    let strides = |operand| layer.batch_strides(operand).into_iter().chain(layer.strides(operand));
    let part = |first: u32| {
        let last = layer.depth.min(first + TERMS);
        let own = [("CONTINUES", (first > 0).into()), ("FINISHES", (last == layer.depth).into())];
        let sizes = [layer.rows, layer.columns, first, last, layer.batch[1]];
        (own.to_vec(), simple::uniform(sizes.into_iter().chain(strides(0)).chain(strides(1)).chain([a, b])))
    };
    (0..layer.depth).step_by(TERMS as usize).map(part).collect()
}
