// padding: rows of a plane, and values that may lie in its padding.

// The sizes of the input, and which of its rows are bound. A kernel reads them once, before its loops.
struct Axes { height: i32, width: i32, first_row: i32, last_row: i32 }

fn input_axes() -> Axes {
    return Axes(i32(extent.in_height), i32(extent.in_width), extent.first_row, extent.last_row);
}

// A row of the input: where it starts, and whether there is one.
struct Row { start: u32, inside: bool }

// Row `y` of the plane that starts at `plane`. A row that is not bound is replaced by one that is: a kernel may ask for
// rows that no output needs, or that lie in zero padding.
fn row_at(axes: Axes, plane: u32, y: i32) -> Row {
    let row = clamp(source(y, axes.height), axes.first_row, axes.last_row);
    return Row(plane + u32(row) * u32(axes.width), is_inside(y, axes.height));
}

// The value of column `x` in a row, or zero. The position is clamped, and a value in zero padding becomes zero after it
// is read. A branch would make neighbouring invocations take turns at the edge of an image.
fn value_at(axes: Axes, row: Row, x: i32) -> f32 {
    let column = u32(clamp(source(x, axes.width), 0, axes.width - 1));
    return select(0.0, input_at(row.start + column), row.inside & is_inside(x, axes.width));
}
