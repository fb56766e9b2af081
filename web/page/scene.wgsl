// What becomes of a network's results on the page: a picture whose background is another one, and a picture with the
// faces that were found in it. Nothing is read back.

@group(0) @binding(0) var picture: texture_2d<f32>;
@group(0) @binding(1) var smooth_sampler: sampler;

@vertex
fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    // One triangle that is larger than the canvas.
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

const CANVAS: f32 = 512.0;

// The picture's middle square, which is what the network saw.
fn colour_at(place: vec2f) -> vec3f {
    let extent = vec2f(textureDimensions(picture));
    let square = vec2f(min(extent.x, extent.y));
    return textureSampleLevel(picture, smooth_sampler, ((extent - square) / 2.0 + place * square) / extent, 0.0).rgb;
}

// A person's mask of the middle square, 1 where the person is.

const MASK: u32 = 256u;

@group(0) @binding(2) var<storage, read> mask: array<f32>;

fn mask_at(place: vec2f) -> f32 {
    let at = clamp(place * f32(MASK) - 0.5, vec2f(0.0), vec2f(f32(MASK) - 1.001));
    let corner = vec2u(at);
    let part = at - vec2f(corner);
    let index = corner.y * MASK + corner.x;
    let upper = mix(mask[index], mask[index + 1u], part.x);
    let lower = mix(mask[index + MASK], mask[index + MASK + 1u], part.x);
    return mix(upper, lower, part.y);
}

@fragment
fn person(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let place = position.xy / CANVAS;
    let stripe = f32((u32(position.x + position.y) >> 5u) & 1u);
    let background = mix(vec3f(0.05, 0.35, 0.55), vec3f(0.95, 0.75, 0.35), place.y) + 0.03 * stripe;
    return vec4f(mix(background, colour_at(place), mask_at(place)), 1.0);
}

// Faces. The network asks two times at each of 16 x 16 places and six times at each of 8 x 8 whether a face is near.

const PLACES: u32 = 896u;
const FINE: u32 = 512u;
const MOST_FACES: u32 = 16u;
const LEAST_SCORE: f32 = 0.5;
const MOST_SHARED: f32 = 0.3;

struct Face {
    box: vec4f,     // left, top, right, bottom, from 0 to 1
    points: array<vec2f, 6>,
}

struct Faces {
    count: atomic<u32>,
    all: array<Face, MOST_FACES>,
}

@group(0) @binding(3) var<storage, read> regressors: array<f32>;
@group(0) @binding(4) var<storage, read> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> faces: Faces;

fn centre(place: u32) -> vec2f {
    if place < FINE { return (vec2f(f32(place / 2u % 16u), f32(place / 32u)) + 0.5) / 16.0; }
    let at = (place - FINE) / 6u;
    return (vec2f(f32(at % 8u), f32(at / 8u)) + 0.5) / 8.0;
}

fn pair(place: u32, index: u32) -> vec2f {
    let at = place * 16u + index * 2u;
    return vec2f(regressors[at], regressors[at + 1u]) / 128.0;
}

fn box_of(place: u32) -> vec4f {
    let middle = centre(place) + pair(place, 0u);
    let half_size = pair(place, 1u) / 2.0;
    return vec4f(middle - half_size, middle + half_size);
}

fn area(box: vec4f) -> f32 {
    let size = max(box.zw - box.xy, vec2f(0.0));
    return size.x * size.y;
}

// How much of two boxes together is in both.
fn shared_part(a: vec4f, b: vec4f) -> f32 {
    let both = area(vec4f(max(a.xy, b.xy), min(a.zw, b.zw)));
    return both / (area(a) + area(b) - both);
}

// A face is kept if none that is likelier shows the same.
@compute @workgroup_size(64)
fn find(@builtin(global_invocation_id) id: vec3u) {
    let place = id.x;
    let score = scores[place];
    if score < log(LEAST_SCORE / (1.0 - LEAST_SCORE)) { return; }
    let box = box_of(place);
    for (var other = 0u; other < PLACES; other++) {
        let is_likelier = scores[other] > score || (scores[other] == score && other < place);
        if is_likelier && shared_part(box, box_of(other)) > MOST_SHARED { return; }
    }
    let index = atomicAdd(&faces.count, 1u);
    if index >= MOST_FACES { return; }
    faces.all[index].box = box;
    for (var point = 0u; point < 6u; point++) {
        faces.all[index].points[point] = centre(place) + pair(place, 2u + point);
    }
}

struct FoundFaces {
    count: u32,
    all: array<Face, MOST_FACES>,
}

@group(0) @binding(6) var<storage, read> found: FoundFaces;

@fragment
fn boxes(@builtin(position) position: vec4f) -> @location(0) vec4f {
    let place = position.xy / CANVAS;
    var colour = colour_at(place);
    let mark = vec3f(1.0, 0.86, 0.24);
    for (var index = 0u; index < min(found.count, MOST_FACES); index++) {
        let box = found.all[index].box;
        // How far outside of the box: below zero inside.
        let beyond = max(box.xy - place, place - box.zw);
        let outside = max(beyond.x, beyond.y) * CANVAS;
        if abs(outside) < 2.0 { colour = mark; }
        for (var point = 0u; point < 6u; point++) {
            if distance(place, found.all[index].points[point]) * CANVAS < 4.0 { colour = mark; }
        }
    }
    return vec4f(colour, 1.0);
}
