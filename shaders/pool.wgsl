// pool: the largest value, or the mean, under a window that moves over each channel.
//
// Formula    y[n,c,i,j] = max over p,q of x[n, c, i s - P + p d, j s - P + q d], where that lies within the input; or their
//            sum, divided by how many places of the window lie within the input, or within the padded input
// Mapping    One invocation: one output. Grid: x over the outputs of all channels and images, one after another, so
//            that neighbouring invocations read neighbouring columns.
// Traffic    Each input value is read once per window that it lies in, through the cache. Each output is written once.
// Needs      Nothing.
// Bound by   Memory: KERNEL_HEIGHT * KERNEL_WIDTH comparisons or additions per output.
// Rust row   src/kernels/pool.rs

const IS_AVERAGE: bool = false;  // a mean, or the largest value
const CONTINUES: bool = false;  // whether an earlier part began these windows
const FINISHES: bool = true;  // whether no later part goes on with them
// The taps of the whole window, of which a part may have only some.
const WHOLE_HEIGHT: u32 = 3u;
const WHOLE_WIDTH: u32 = 3u;
const WORKGROUP_SIZE: u32 = 64u;

// The bits of minus infinity, for which WGSL has no constant.
const LOWEST: u32 = 0xff800000u;

// How many taps of a window that starts at `first` lie within an axis of `size`.
fn taps_within(first: i32, taps: u32, dilation: u32, size: u32) -> u32 {
    // How far its ends are from the window's start, and how many taps lie before each.
    let ends = vec2i(0, i32(size)) - first;
    let before = ends / i32(dilation) + select(vec2i(0), vec2i(1), ends % i32(dilation) > vec2i(0));
    let counts = clamp(before, vec2i(0), vec2i(i32(taps)));
    return u32(counts.y - counts.x);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_id) local: vec3u) {
    let index = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_SIZE + local.x;
    let line = index / extent.out_width;
    let plane = line / extent.out_height;
    if plane >= extent.batch * extent.out_channels { return; }

    let axes = input_axes();
    let top = i32(line % extent.out_height * STRIDE_HEIGHT) + extent.top;
    let left = i32(index % extent.out_width * STRIDE_WIDTH) + extent.left;
    let first = extent.input_offset + plane * extent.in_height * extent.in_width;
    // Not from the constant: WGSL refuses an infinity that the compiler knows of.
    var low = LOWEST;
    var result = bitcast<f32>(low);
    if IS_AVERAGE { result = 0.0; }
    if CONTINUES { result = f32(output[extent.output_offset + index]); }
    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        let y = top + i32(p * DILATION_HEIGHT);
        let row = row_at(axes, first, y);
        if !row.inside { continue; }
        for (var q = 0u; q < KERNEL_WIDTH; q++) {
            let x = left + i32(q * DILATION_WIDTH);
            if !is_inside(x, axes.width) { continue; }
            let value = input_at(row.start + u32(x));
            if IS_AVERAGE { result += value; } else { result = larger(result, value); }
        }
    }
    if IS_AVERAGE && FINISHES {
        let first_row = extent.count_top + i32(line % extent.out_height * STRIDE_HEIGHT);
        let first_column = extent.count_left + i32(index % extent.out_width * STRIDE_WIDTH);
        let rows = taps_within(first_row, WHOLE_HEIGHT, DILATION_HEIGHT, extent.count_height);
        let columns = taps_within(first_column, WHOLE_WIDTH, DILATION_WIDTH, extent.count_width);
        result /= f32(max(rows * columns, 1u));
    }
    store(result, index);
}
