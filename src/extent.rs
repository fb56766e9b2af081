//! `Extent`: the sizes of one step, as every shader knows them.

use crate::program::OFFSETS;

/// What the shaders know as `extent`: `shaders/shared/extent.wgsl`.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Extent {
    pub first_workgroup: [u32; 3],
    pub offsets: [u32; OFFSETS],
    pub batch: u32,
    pub in_channels: u32,
    pub in_height: u32,
    pub in_width: u32,
    pub out_channels: u32,
    pub out_height: u32,
    pub out_width: u32,
    pub in_channels_per_group: u32,
    pub out_channels_per_group: u32,
    pub top: i32,
    pub left: i32,
    pub first_row: i32,
    pub last_row: i32,
    pub first_in_channel: u32,
    pub last_in_channel: u32,
    pub depth_multiplier: u32,
    pub activation_limits: [f32; 2],
    pub between_limits: [f32; 2],
    pub count_start: [i32; 2],
    pub count_size: [u32; 2],
    pub first_tile_row: u32,
    pub tile_rows: u32,
}

impl Extent {
    /// The words of a step's uniform.
    pub fn words(&self) -> Vec<u32> {
        bytemuck::cast_slice(std::slice::from_ref(self)).to_vec()
    }
}
