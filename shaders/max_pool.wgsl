// max_pool: the largest value under a window that moves over each channel.
//
// Formula    y[n,c,i,j] = max over p,q of x[n, c, i s - P + p d, j s - P + q d], where that lies within the input
// Mapping    One invocation: one output. Grid: x over the outputs of all channels and images, one after another, so
//            that neighbouring invocations read neighbouring columns.
// Traffic    Each input value is read once per window that it lies in, through the cache. Each output is written once.
// Needs      Nothing.
// Bound by   Memory: KERNEL_HEIGHT * KERNEL_WIDTH comparisons per output.
// Rust row   src/kernels/max_pool.rs

const CONTINUES: bool = false;  // whether an earlier part began these windows
const WORKGROUP_SIZE: u32 = 64u;

// The bits of minus infinity, for which WGSL has no constant.
const LOWEST: u32 = 0xff800000u;

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
    var largest = bitcast<f32>(low);
    if CONTINUES { largest = f32(output[extent.output_offset + index]); }
    for (var p = 0u; p < KERNEL_HEIGHT; p++) {
        let y = top + i32(p * DILATION_HEIGHT);
        let row = row_at(axes, first, y);
        if !row.inside { continue; }
        for (var q = 0u; q < KERNEL_WIDTH; q++) {
            let x = left + i32(q * DILATION_WIDTH);
            if is_inside(x, axes.width) { largest = larger(largest, input_at(row.start + u32(x))); }
        }
    }
    store(largest, index);
}
