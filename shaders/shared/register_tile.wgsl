// register_tile: the outputs that an invocation of gemm or pointwise keeps in registers. They are CHANNEL_TILE channels
// of a group times PIXEL_TILE pixels, WORKGROUP_WIDTH apart, so that neighbouring invocations read neighbouring values.

const WORKGROUP_WIDTH: u32 = 16u;  // invocations along the pixels
const WORKGROUP_HEIGHT: u32 = 4u;  // invocations along the channels
const CHANNEL_TILE: u32 = 8u;  // output channels per invocation, a multiple of 4
const PIXEL_TILE: u32 = 4u;  // output pixels per invocation, a multiple of 4

// Tiles are kept in fours: some compilers unroll short loops only, and sums are in registers only if their loops are
// unrolled.
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const PIXEL_FOURS: u32 = PIXEL_TILE / 4u;

struct Tile {
    first_pixel: u32,
    // How many pixels a plane has. A tile without pixels or without channels is idle.
    out_plane: u32,
    is_idle: bool,
    // The group's first input channel, counted over all images; where its plane starts; how many values each plane has.
    first_in_channel: u32,
    first_plane: u32,
    in_plane: u32,
    first_channel: u32,
    // How many of the tile's channels there are.
    channels: u32,
    // Where the image's first plane starts in the output.
    first_output: u32,
}

fn tile_of(workgroup: vec3u, local: vec3u) -> Tile {
    let first_pixel = (workgroup.x + extent.first_workgroup_x) * WORKGROUP_WIDTH * PIXEL_TILE + local.x;
    let channel_in_group = ((workgroup.y + extent.first_workgroup_y) * WORKGROUP_HEIGHT + local.y) * CHANNEL_TILE;
    let slice = workgroup.z + extent.first_workgroup_z;
    let groups = extent.out_channels / extent.out_channels_per_group;
    let group = slice % groups;
    let image = slice / groups;
    let in_plane = extent.in_height * extent.in_width;
    let out_plane = extent.out_height * extent.out_width;
    let first_in_channel = image * extent.in_channels + group * extent.in_channels_per_group;
    return Tile(
        first_pixel,
        out_plane,
        first_pixel >= out_plane || channel_in_group >= extent.out_channels_per_group,
        first_in_channel,
        extent.input_offset + first_in_channel * in_plane,
        in_plane,
        group * extent.out_channels_per_group + channel_in_group,
        min(CHANNEL_TILE, extent.out_channels_per_group - channel_in_group),
        image * extent.out_channels * out_plane,
    );
}

// The pixels of one of a tile's fours. Past the last pixel, the first one is read again and not stored.
fn pixels_of(tile: Tile, four: u32) -> vec4u {
    let ahead = tile.first_pixel + (4u * four + vec4u(0u, 1u, 2u, 3u)) * WORKGROUP_WIDTH;
    return select(vec4u(tile.first_pixel), ahead, ahead < vec4u(tile.out_plane));
}

// Where the weights of one of a tile's fours of channels start. Past the last channel, the first one's are read again.
fn filters_of(tile: Tile, four: u32, filter_size: u32) -> vec4u {
    let ahead = 4u * four + vec4u(0u, 1u, 2u, 3u);
    let channel = tile.first_channel + select(vec4u(0u), ahead, ahead < vec4u(tile.channels));
    return extent.weight_offset + channel * filter_size;
}
