// source: what stands at a position that may lie outside of an axis.

const PADDING_MODE: u32 = 0u;  // 0 zeros, 1 reflect, 2 replicate, 3 circular

// Which index along an axis of `size` stands for `position`. Callers leave out zero padding themselves.
fn source(position: i32, size: i32) -> i32 {
    switch PADDING_MODE {
        case 1u: { return size - 1 - abs(size - 1 - abs(position)); }
        case 2u: { return clamp(position, 0, size - 1); }
        case 3u: { return select(select(position, position - size, position >= size), position + size, position < 0); }
        default: { return position; }
    }
}

// Whether there is a value at a position along an axis of `size`: always, except in zero padding.
fn is_inside(position: i32, size: i32) -> bool {
    return (PADDING_MODE != 0u) | ((position >= 0) & (position < size));
}
