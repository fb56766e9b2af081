//! A model of GPUs: a table of some, and how long a step should take on one. It makes predictions, and no measurements.
//!
//! A step computes, moves values, and waits for values, each of which takes time of its own. It computes as long as the slower of
//! two things takes, issuing its instructions and workgroup memory, and moves as long as the slower of the caches and memory.
//! How much of each it takes, its kernel says in closed form (`Work`); the tests in `tools/` count the same in the shaders.
//! That these three are added up, and not the slowest taken alone, is what an H200 showed: `docs/PERFORMANCE.md`.

mod gpus;

#[cfg(any(test, feature = "unstable"))]
pub use gpus::GPUS;
pub use gpus::{Gpu, MIDDLE};

/// What a step takes, all its workgroups together. Operations and requests are those of subgroups of 32 invocations.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// How many workgroups.
    pub workgroups: f64,
    /// How many invocations a workgroup has.
    pub invocations: f64,
    /// Registers of an invocation: an estimate.
    pub registers: f64,
    /// Bytes of workgroup memory of a workgroup.
    pub workgroup_bytes: f64,
    /// Multiply-adds.
    pub multiply_adds: f64,
    /// Loads and stores of buffers.
    pub requests: f64,
    /// Stretches of 32 bytes that they touch.
    pub sectors: f64,
    /// Loads and stores of workgroup memory.
    pub shared_requests: f64,
    /// How often the banks of workgroup memory are asked.
    pub wavefronts: f64,
    /// All other instructions: an estimate.
    pub others: f64,
    /// How often an invocation waits for a buffer's values before it can go on, one time after the other: an estimate.
    pub waits: f64,
    /// Bytes that workgroups fetch, each value once per workgroup: an estimate.
    pub fetched: f64,
    /// Bytes of the layer's own tensors, each once.
    pub bytes: f64,
    /// Bytes that another step of the same layer wrote or will read. They stay in a cache that they fit in.
    pub between: f64,
}

/// How long a step should take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// To issue its instructions.
    pub issue: f64,
    /// For workgroup memory.
    pub workgroup_memory: f64,
    /// For the caches.
    pub cache: f64,
    /// For memory.
    pub memory: f64,
    /// To wait for values.
    pub latency: f64,
    /// Until it may start.
    pub launch: f64,
}

/// So many subgroups of a unit, at a time, hide what each of them waits for: an estimate. A GPU's unit issues to four at a time,
/// and waits four clocks for a sum; an invocation of our kernels has at least two sums under way.
const HIDING: f64 = 8.0;

/// How long a step should take. The unit with the most workgroups decides; it runs as many at a time as fit.
#[must_use]
pub fn predict(gpu: &Gpu, work: &Work) -> Prediction {
    let of_one = 1.0 / work.workgroups.max(1.0);
    let busiest = (work.workgroups / gpu.units).ceil();
    let fits = [
        gpu.registers / (work.invocations * work.registers),
        gpu.workgroup_memory / work.workgroup_bytes,
        gpu.invocations / work.invocations,
    ];
    let resident = fits.into_iter().fold(busiest, f64::min).floor().max(1.0);
    let subgroups = (work.invocations / 32.0).ceil();
    let hidden = (resident * subgroups / HIDING).min(1.0);
    let instructions = work.multiply_adds + work.requests + work.shared_requests + work.others;
    // What each unit does by itself, of its own workgroups.
    let of_unit = |amount: f64, rate: f64| busiest * amount * of_one / (rate * gpu.clock);
    let stays = work.between <= gpu.cache;
    Prediction {
        issue: of_unit(32.0 * instructions, gpu.issue) / hidden,
        workgroup_memory: of_unit(128.0 * work.wavefronts, gpu.workgroup_rate),
        // A request takes a unit's cache as long as 128 bytes, however few it touches.
        cache: of_unit((128.0 * work.requests).max(32.0 * work.sectors), gpu.near_rate)
            .max(work.fetched / gpu.cache_rate),
        latency: (busiest / resident).ceil() * work.waits * gpu.latency,
        memory: (work.bytes + if stays { 0.0 } else { work.between }) / gpu.memory_rate,
        launch: gpu.launch,
    }
}

impl Prediction {
    /// All of it.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.launch + self.issue.max(self.workgroup_memory) + self.cache.max(self.memory) + self.latency
    }
}

/// How long steps should take, one after the other.
#[must_use]
pub fn seconds(gpu: &Gpu, steps: &[Work]) -> f64 {
    steps.iter().map(|work| predict(gpu, work).seconds()).sum()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "round numbers")]
mod tests {
    use super::*;

    /// Round numbers: 10 units of 32 invocations, at a clock a second.
    const ROUND: Gpu = Gpu {
        units: 10.0,
        clock: 1.0,
        issue: 32.0,
        registers: 65_536.0,
        workgroup_memory: 4096.0,
        workgroup_rate: 128.0,
        near_rate: 128.0,
        cache_rate: 100.0,
        cache: 1000.0,
        memory_rate: 10.0,
        latency: 10.0,
        launch: 1.0,
        ..GPUS[0]
    };

    #[test]
    fn what_is_computed_moved_and_waited_for_is_added_up() {
        let work =
            Work { workgroups: 10.0, invocations: 512.0, registers: 32.0, multiply_adds: 1000.0, ..Work::default() };
        // Each unit has one workgroup of 100 instructions, whose 16 subgroups hide what they wait for.
        assert_eq!((predict(&ROUND, &work).issue, predict(&ROUND, &work).seconds()), (100.0, 101.0));
        let of = |work: Work| predict(&ROUND, &work);
        assert_eq!(of(Work { wavefronts: 3000.0, ..work }).seconds(), 301.0);
        // Of a unit's own cache, 4 sectors a clock; of the shared one, 100 bytes.
        assert_eq!(of(Work { sectors: 8000.0, ..work }).cache, 200.0);
        assert_eq!(of(Work { sectors: 8000.0, requests: 2500.0, ..work }).cache, 250.0);
        assert_eq!(of(Work { sectors: 8000.0, fetched: 30_000.0, ..work }).cache, 300.0);
        assert_eq!(of(Work { bytes: 4000.0, ..work }).seconds(), 501.0);
        assert_eq!(of(Work { bytes: 4000.0, sectors: 12_000.0, ..work }).seconds(), 501.0);
        assert_eq!(of(Work { waits: 50.0, ..work }).seconds(), 601.0);
        // What is between two steps costs nothing if it fits in the cache.
        assert_eq!(of(Work { bytes: 4000.0, between: 900.0, ..work }).memory, 400.0);
        assert_eq!(of(Work { bytes: 4000.0, between: 2000.0, ..work }).memory, 600.0);
    }

    #[test]
    fn an_empty_unit_costs_time() {
        let work =
            Work { workgroups: 10.0, invocations: 512.0, registers: 32.0, multiply_adds: 1000.0, ..Work::default() };
        // An eleventh workgroup takes as long as ten more.
        let eleven = Work { workgroups: 11.0, multiply_adds: 1100.0, ..work };
        assert_eq!(predict(&ROUND, &eleven).issue, 200.0);
        assert_eq!(predict(&ROUND, &Work { workgroups: 0.0, ..work }).seconds(), 1.0);
        // 4 subgroups hide half of it.
        let small = Work { invocations: 128.0, ..work };
        assert_eq!(predict(&ROUND, &small).issue, 200.0);
        // Of 40 such workgroups four run at a time on each unit, but only one of those that take half of its memory or more.
        let many = Work { workgroups: 40.0, multiply_adds: 4000.0, ..small };
        assert_eq!(predict(&ROUND, &many).issue, 400.0);
        let greedy = Work { workgroup_bytes: 2100.0, ..many };
        assert_eq!(predict(&ROUND, &greedy).issue, 800.0);
    }
}
