// The two ends of the live picture: a texture into a tensor, and tensors onto a canvas. What lies between them are the
// library's own kernels.

const SIZE: u32 = 256u;
const COLUMNS: u32 = 5u;
const ROWS: u32 = 4u;
const FILTERS: u32 = 4u;

@group(0) @binding(0) var picture: texture_2d<f32>;
@group(0) @binding(1) var smooth_sampler: sampler;
@group(0) @binding(2) var<storage, read_write> tensor: array<f32>;

// The middle square of the picture as three planes.
@compute @workgroup_size(8, 8)
fn load(@builtin(global_invocation_id) pixel: vec3u) {
    let extent = vec2f(textureDimensions(picture));
    let square = vec2f(min(extent.x, extent.y));
    let position = (extent - square) / 2.0 + (vec2f(pixel.xy) + 0.5) / f32(SIZE) * square;
    let colour = textureSampleLevel(picture, smooth_sampler, position / extent, 0.0);
    for (var channel = 0u; channel < 3u; channel++) {
        tensor[(channel * SIZE + pixel.y) * SIZE + pixel.x] = colour[channel];
    }
}

@group(0) @binding(0) var<storage, read> channels: array<f32>;
@group(0) @binding(1) var<storage, read> filtered: array<f32>;
@group(0) @binding(2) var<storage, read> mixed: array<f32>;

@vertex
fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    // One triangle that is larger than the canvas.
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

// Each of the first rows is a channel and its filters' results in its colour; the last row is the mixes.
@fragment
fn draw(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let pixel = vec2u(position.xy) % SIZE;
    let tile = min(vec2u(position.xy) / SIZE, vec2u(COLUMNS, ROWS) - 1u);
    let at = pixel.y * SIZE + pixel.x;
    if tile.y == ROWS - 1u { return vec4f(vec3f(mixed[tile.x * SIZE * SIZE + at]), 1.0); }
    var value = 0.0;
    if tile.x == 0u {
        value = channels[tile.y * SIZE * SIZE + at];
    } else {
        value = filtered[(tile.y * FILTERS + tile.x - 1u) * SIZE * SIZE + at];
    }
    var colour = vec3f(0.15 * value);
    colour[tile.y] = value;
    return vec4f(colour, 1.0);
}
