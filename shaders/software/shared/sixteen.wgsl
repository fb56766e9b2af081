// sixteen: the sums of 16 of a tile's channels, or of all if it has fewer.
//
// What finishes a sum is a long text for a compiler. With a copy of 16 channels at a time, a loop that is not unrolled
// finishes them all, and a driver in software compiles a kernel in a quarter of the time.

const FOURS_AT_ONCE: u32 = min(4u, CHANNEL_FOURS);

alias Sums = array<array<array<vec4f, PIXEL_FOURS>, 4>, CHANNEL_FOURS>;
alias Sixteen = array<array<array<vec4f, PIXEL_FOURS>, 4>, FOURS_AT_ONCE>;

// Those of the four channels with this number, and of the next ones that are finished with them.
fn sixteen(sums: ptr<function, Sums>, first_four: u32) -> Sixteen {
    var some = Sixteen();
    for (var o = 0u; o < CHANNEL_FOURS; o++) {
        if o / FOURS_AT_ONCE == first_four / FOURS_AT_ONCE { some[o % FOURS_AT_ONCE] = (*sums)[o]; }
    }
    return some;
}

// Where the loop that finishes them ends. If all are finished at once, it has one round, which a compiler should know.
fn end_of_sixteens(channels: u32) -> u32 { return select((channels + 3u) / 4u, 1u, CHANNEL_FOURS == FOURS_AT_ONCE); }
