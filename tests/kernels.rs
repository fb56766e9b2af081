//! Every kernel, forced, against the reference.

mod common;

use common::{check, context};
use sepconv::{Conv2d, SeparableConv2d};

#[test]
fn the_starting_example() {
    let Some(context) = context() else { return };
    check(context, &Conv2d::new(3, 4, 3).padding(1), [1, 3, 64, 64], "direct", 1);
    let (depthwise, pointwise) = SeparableConv2d::new(3, 4, 3).padding(1).layers().unwrap();
    check(context, &depthwise, [1, 3, 64, 64], "depthwise", 2);
    check(context, &pointwise, [1, 3, 64, 64], "pointwise", 3);
}
