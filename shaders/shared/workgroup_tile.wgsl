// workgroup_tile: which outputs a workgroup makes that multiplies from workgroup memory: PIXELS pixels, of all images one
// after another, times CHANNELS output channels of one group. One invocation has PIXEL_FOURS fours of neighbouring pixels,
// PIXEL_TILES fours apart, times CHANNEL_TILE channels.

const PIXEL_TILES: u32 = 16u;  // invocations along the pixels
const CHANNEL_TILES: u32 = 8u;  // invocations along the channels
const PIXEL_FOURS: u32 = 1u;  // fours of pixels per invocation
const CHANNEL_TILE: u32 = 8u;  // output channels per invocation, a multiple of 4
const DEPTH: u32 = 16u;  // terms of the sum that are in workgroup memory at a time

const FOURS: u32 = PIXEL_FOURS * PIXEL_TILES;
const PIXELS: u32 = 4u * FOURS;
const CHANNELS: u32 = CHANNEL_TILE * CHANNEL_TILES;
const CHANNEL_FOURS: u32 = CHANNEL_TILE / 4u;
const TEAM: u32 = PIXEL_TILES * CHANNEL_TILES;
