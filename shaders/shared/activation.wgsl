// activation: the functions that may follow a sum.

// 0 none, 1 limits, 2 leaky relu, 3 silu, 4 hardswish. `low` and `high` are the limits, or `low` is the slope.
// Comparisons, and not min and max, let a NaN pass through.
fn activate(x: f32, activation: u32, low: f32, high: f32) -> f32 {
    switch activation {
        case 1u: {
            let raised = select(x, low, x < low);
            return select(raised, high, x > high);
        }
        case 2u: { return select(x, x * low, x < 0.0); }
        case 3u: { return x / (1.0 + exp(-x)); }
        case 4u: { return select(x * (min(x + 3.0, 6.0) / 6.0), 0.0, x <= -3.0); }
        default: { return x; }
    }
}
