// workgroup_tile: which outputs a workgroup of tiled_gemm and of separable makes: PIXELS pixels, of all images one after
// another, times CHANNELS output channels of one group. One invocation has 4 neighbouring pixels times CHANNEL_TILE channels.

const PIXEL_FOURS: u32 = 16u;  // invocations along the pixels
const CHANNEL_TILES: u32 = 8u;  // invocations along the channels
const CHANNEL_TILE: u32 = 8u;  // output channels per invocation, a multiple of 4
const DEPTH: u32 = 16u;  // terms of the sum that are in workgroup memory at a time

const PIXELS: u32 = 4u * PIXEL_FOURS;
const CHANNELS: u32 = CHANNEL_TILE * CHANNEL_TILES;
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const TEAM: u32 = PIXEL_FOURS * CHANNEL_TILES;

// Finishes the sums of one channel at four pixels, those of them that there are.
fn finish_four(sums: vec4f, pixels: vec4u, channel: u32) {
    let first = start(channel);
    let out_plane = extent.out_height * extent.out_width;
    for (var t = 0u; t < 4u; t++) {
        if pixels[t] < extent.batch * out_plane {
            let plane = pixels[t] / out_plane * extent.out_channels + channel;
            finish(sums[t] + first, plane * out_plane + pixels[t] % out_plane);
        }
    }
}
