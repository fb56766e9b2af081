// packed_weight: filters that were packed as [group][term][channels, padded to 4], and workgroup memory for some of them and
// for the values that they are multiplied with. SPLIT teams of invocations take turns over the terms, DEPTH at a time.

const SPLIT: u32 = 1u;  // teams along the sum, of which each has DEPTH terms in workgroup memory
const HAS_REST: bool = true;  // whether a round of all teams may have terms past the last one

@group(0) @binding(2) var<storage, read> packed_weight: array<Four>;

// Per team: input values by term and pixel, weights by term and channel.
var<workgroup> values: array<array<array<vec4f, FOURS>, DEPTH>, SPLIT>;
var<workgroup> factors: array<array<array<vec4f, CHANNELS / 4u>, DEPTH>, SPLIT>;

// A team fetches the values, and the weights, of so many terms at once. An invocation fetches four of each so often.
const VALUE_TERMS: u32 = TEAM / FOURS;
const VALUE_FETCHES: u32 = DEPTH / VALUE_TERMS;
const FACTOR_TERMS: u32 = TEAM / (CHANNELS / 4u);
const FACTOR_FETCHES: u32 = DEPTH / FACTOR_TERMS;

// Whether there is such a term.
fn is_there(term: u32, last_term: u32) -> bool { return !HAS_REST | (term < last_term); }

// Where the weights that an invocation fetches are, at term 0. Past the group's last channel, that one is read again.
fn first_factor(member: u32, group: u32, first_channel: u32) -> u32 {
    let fours = (extent.out_channels_per_group + 3u) / 4u;
    let four = min(first_channel / 4u + member % (CHANNELS / 4u), fours - 1u);
    return extent.weight_offset / 4u + group * extent.in_channels_per_group * TAPS * fours + four;
}

// Its weights of the terms from `first_term` on. Those past the last one are zero, as the values are.
fn fetch_factors(first: u32, member: u32, first_term: u32, last_term: u32) -> array<vec4f, FACTOR_FETCHES> {
    let fours = (extent.out_channels_per_group + 3u) / 4u;
    var fetched: array<vec4f, FACTOR_FETCHES>;
    for (var n = 0u; n < FACTOR_FETCHES; n++) {
        let term = first_term + member / (CHANNELS / 4u) + n * FACTOR_TERMS;
        var four = vec4f();
        if is_there(term, last_term) { four = vec4f(packed_weight[first + term * fours]); }
        fetched[n] = four;
    }
    return fetched;
}

// Puts what an invocation has fetched where its team finds it.
fn share_fetched(
    team: u32,
    member: u32,
    fetched_values: array<vec4f, VALUE_FETCHES>,
    fetched_factors: array<vec4f, FACTOR_FETCHES>,
) {
    for (var n = 0u; n < VALUE_FETCHES; n++) {
        values[team][member / FOURS + n * VALUE_TERMS][member % FOURS] = fetched_values[n];
    }
    for (var n = 0u; n < FACTOR_FETCHES; n++) {
        factors[team][member / (CHANNELS / 4u) + n * FACTOR_TERMS][member % (CHANNELS / 4u)] = fetched_factors[n];
    }
}
