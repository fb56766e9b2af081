// weight: the filters.

@group(0) @binding(2) var<storage, read> weight: array<Element>;

fn weight_at(index: u32) -> f32 { return f32(weight[index]); }
