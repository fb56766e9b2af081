//! What the planner chooses for each GPU of the model's table: predictions, of which only those of an H200 were compared with
//! measurements. No device.

use sepconv::unstable::{GPUS, Planner};
use sepconv::{Conv2d, Layer, SeparableConv2d, Target};

fn conv(layer: Conv2d, shape: [u32; 4]) -> Layer {
    layer.bias(false).geometry(shape).unwrap().into()
}

fn separable(layer: SeparableConv2d, shape: [u32; 4]) -> Layer {
    layer.geometry(shape).unwrap().into()
}

/// The kernel with its tile: pixels by channels of a workgroup, and its teams; or an invocation's rounds by its steps in each.
fn choice(planner: &Planner, layer: &Layer) -> String {
    let way = planner.choice(layer).unwrap();
    let variant = way.kernel.variants(layer, planner.target()).swap_remove(way.variant);
    let the = |name| variant.constants.iter().find(|(constant, _)| *constant == name).map(|(_, value)| *value);
    let name = way.kernel.name;
    match (the("PIXEL_TILES"), the("ROUNDS").map(|rounds| format!("{rounds} x {}", the("AHEAD").unwrap()))) {
        (Some(tiles), _) => {
            let channels = the("CHANNEL_TILES").unwrap() * the("CHANNEL_TILE").unwrap();
            let pixels = 4 * tiles * the("PIXEL_FOURS").unwrap();
            let teams = the("SPLIT").filter(|teams| *teams > 1).map_or(String::new(), |teams| format!(" / {teams}"));
            format!("{name} {pixels} x {channels}{teams}")
        }
        (None, Some(steps)) => format!("{name} {steps}"),
        (None, None) => the("PARTS").map_or(name.to_owned(), |parts| format!("{name} / {parts}")),
    }
}

#[test]
fn each_gpu_has_its_choice() {
    let names = GPUS.each_ref().map(|gpu| gpu.name);
    assert_eq!(names, ["H100", "H200", "RTX 4090", "RX 7900 XTX", "M3", "Arc A770", "Adreno 730"]);
    #[rustfmt::skip]
    let table: &[(Layer, [&str; 7])] = &[
        (conv(Conv2d::new(512, 512, 3).padding(1), [1, 512, 14, 14]),
            ["winograd", "winograd", "split_sums / 8", "winograd",
             "winograd", "winograd", "winograd"]),
        (conv(Conv2d::new(64, 64, 3).padding(1), [1, 64, 56, 56]),
            ["tiled_gemm 32 x 16 / 4", "tiled_gemm 32 x 16 / 4", "tiled_gemm 32 x 16 / 4", "winograd",
             "winograd", "winograd", "winograd"]),
        (conv(Conv2d::new(64, 64, 3).padding(1), [32, 64, 56, 56]),
            ["tiled_gemm 128 x 64", "tiled_gemm 128 x 64", "tiled_gemm 128 x 64", "tiled_gemm 128 x 64",
             "tiled_gemm 128 x 64", "winograd", "tiled_gemm 128 x 64"]),
        (conv(Conv2d::new(3, 64, 7).stride(2).padding(3), [1, 3, 224, 224]),
            ["tiled_gemm 64 x 64", "tiled_gemm 64 x 64", "tiled_gemm 64 x 64", "tiled_gemm 64 x 64",
             "tiled_gemm 128 x 64", "tiled_gemm 64 x 64", "tiled_gemm 128 x 64"]),
        (conv(Conv2d::new(256, 64, 1), [1, 256, 56, 56]),
            ["tiled_pointwise 32 x 16 / 4", "tiled_pointwise 32 x 16 / 4", "tiled_pointwise 32 x 16 / 4", "tiled_pointwise 32 x 16 / 4",
             "tiled_pointwise 128 x 64", "tiled_pointwise 64 x 64", "tiled_pointwise 128 x 64"]),
        (conv(Conv2d::new(256, 64, 1), [32, 256, 56, 56]),
            ["tiled_pointwise 128 x 64", "tiled_pointwise 128 x 64", "tiled_pointwise 128 x 64", "tiled_pointwise 128 x 64",
             "tiled_pointwise 128 x 64", "tiled_pointwise 128 x 64", "tiled_pointwise 128 x 64"]),
        (conv(Conv2d::new(1024, 1024, 1), [1, 1024, 7, 7]),
            ["split_sums / 16", "split_sums / 16", "tiled_gemm 16 x 16 / 8", "tiled_gemm 16 x 16 / 8",
             "split_sums / 8", "split_sums / 8", "tiled_gemm 64 x 64"]),
        (conv(Conv2d::new(16, 16, 1), [1, 16, 112, 112]),
            ["tiled_pointwise 64 x 16", "tiled_pointwise 64 x 16", "tiled_pointwise 64 x 16", "tiled_pointwise 64 x 16",
             "tiled_pointwise 64 x 16", "tiled_pointwise 64 x 16", "pointwise"]),
        (conv(Conv2d::new(128, 128, 3).padding(1).groups(32), [1, 128, 56, 56]),
            ["gemm", "gemm", "gemm", "gemm",
             "gemm", "gemm", "gemm"]),
        (conv(Conv2d::new(64, 64, 3).padding(1).groups(64), [1, 64, 112, 112]),
            ["depthwise_fours 1 x 6", "depthwise_fours 1 x 6", "depthwise_fours 1 x 6", "depthwise_fours 2 x 5",
             "depthwise_fours 3 x 6", "depthwise_fours 3 x 6", "depthwise_fours 3 x 6"]),
        (conv(Conv2d::new(1024, 1024, 3).padding(1).groups(1024), [1, 1024, 7, 7]),
            ["depthwise_columns 1 x 4", "depthwise_columns 1 x 4", "depthwise_columns 1 x 4", "depthwise_columns 1 x 4",
             "depthwise_columns 1 x 9", "depthwise_columns 1 x 9", "depthwise_columns 1 x 9"]),
        (separable(SeparableConv2d::new(32, 64, 3).padding(1), [1, 32, 112, 112]),
            ["separable 64 x 64", "chained", "separable 64 x 64", "chained",
             "chained", "chained", "chained"]),
        (separable(SeparableConv2d::new(256, 256, 3).padding(1), [32, 256, 28, 28]),
            ["chained", "chained", "chained", "chained",
             "chained", "chained", "chained"]),
        (separable(SeparableConv2d::new(8, 12, 3).padding(1), [1, 8, 70, 70]),
            ["separable 64 x 16", "separable 64 x 16", "separable 64 x 16", "separable 64 x 16",
             "separable 64 x 16", "separable 64 x 16", "chained"]),
        // Computing 7 x 7 windows for 128 output channels at a time, again and again, costs more than moving them.
        (separable(SeparableConv2d::new(8, 600, 7).padding(3), [1, 8, 70, 70]),
            ["chained", "chained", "chained", "chained",
             "chained", "chained", "chained"]),
    ];
    let mut wrong = Vec::new();
    for (layer, expected) in table {
        for (gpu, expected) in GPUS.iter().zip(expected) {
            let planner = Planner::new(Target::from(wgpu::Limits::default()).taken_for(gpu));
            let chosen = choice(&planner, layer);
            if chosen != *expected {
                wrong.push(format!("{}: {chosen}, not {expected}, on {}", layer.text(), gpu.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
