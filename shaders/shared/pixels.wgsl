// pixels: four neighbouring pixels of the output, of all images one after another. To find them takes two divisions.

struct Pixels {
    images: vec4u, rows: vec4u, columns: vec4u,
    // Where they are in the output, in its first channel.
    outputs: vec4u,
    // How many of them there are. Past the last one, others of the last image are read and not stored.
    count: u32,
}

fn pixels_from(first: u32) -> Pixels {
    let out_plane = extent.out_height * extent.out_width;
    let all = extent.batch * out_plane;
    let pixel = min(first, all - 1u);
    var image = pixel / out_plane;
    var place = pixel - image * out_plane;
    var row = place / extent.out_width;
    var column = place - row * extent.out_width;
    var pixels = Pixels(vec4u(), vec4u(), vec4u(), vec4u(), min(4u, max(all, first) - first));
    for (var t = 0u; t < 4u; t++) {
        pixels.images[t] = image;
        pixels.rows[t] = row;
        pixels.columns[t] = column;
        pixels.outputs[t] = image * extent.out_channels * out_plane + place;
        column += 1u;
        let ends_row = column == extent.out_width;
        row = select(row, row + 1u, ends_row);
        column = select(column, 0u, ends_row);
        place += 1u;
        let ends_image = place == out_plane;
        row = select(row, 0u, ends_image);
        place = select(place, 0u, ends_image);
        image = select(image, min(image + 1u, extent.batch - 1u), ends_image);
    }
    return pixels;
}

// Finishes the sums of one channel of a group at these pixels. Past the group's last channel, nothing is stored.
fn finish_pixels(sums: vec4f, pixels: Pixels, group: u32, channel_in_group: u32) {
    let channels = extent.out_channels_per_group;
    let channel = group * channels + min(channel_in_group, channels - 1u);
    let first = start(channel);
    let places = pixels.outputs + channel * extent.out_height * extent.out_width;
    for (var t = 0u; t < 4u; t++) {
        let y = finished(sums[t] + first, places[t]);
        let place = extent.output_offset + places[t];
        if t < select(0u, pixels.count, channel_in_group < channels) { output[place] = OutputElement(y); }
    }
}
