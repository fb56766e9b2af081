// pixels: four neighbouring pixels of the output, of all images one after another. To find them takes two divisions.

struct Pixels {
    images: vec4u, rows: vec4u, columns: vec4u,
}

fn pixels_from(first: u32) -> Pixels {
    let out_plane = extent.out_height * extent.out_width;
    let all = extent.batch * out_plane;
    let pixel = min(first, all - 1u);
    var image = pixel / out_plane;
    let place = pixel - image * out_plane;
    var row = place / extent.out_width;
    var column = place - row * extent.out_width;
    var pixels = Pixels(vec4u(), vec4u(), vec4u());
    for (var t = 0u; t < 4u; t++) {
        pixels.images[t] = image;
        pixels.rows[t] = row;
        pixels.columns[t] = column;
        column += 1u;
        let ends_row = column == extent.out_width;
        row = select(row, row + 1u, ends_row);
        column = select(column, 0u, ends_row);
        let ends_image = row == extent.out_height;
        row = select(row, 0u, ends_image);
        image = select(image, min(image + 1u, extent.batch - 1u), ends_image);
    }
    return pixels;
}
