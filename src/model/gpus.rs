//! The GPUs that the model knows, and what an adapter is taken for.

/// A GPU, as far as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gpu {
    /// Its name.
    pub name: &'static str,
    /// An adapter whose name has one of these words is taken for it.
    pub known_by: &'static [&'static str],
    /// Its maker, as adapters name it.
    pub vendor: u32,
    /// Units that share no workgroup memory: multiprocessors, compute units, cores.
    pub units: f64,
    /// Clocks per second, boosted.
    pub clock: f64,
    /// Multiply-adds of `f32` per clock and unit, at the most.
    pub multiply_adds: f64,
    /// Invocations' instructions per clock and unit.
    pub issue: f64,
    /// Registers of 32 bits per unit.
    pub registers: f64,
    /// The most invocations that a unit has at a time.
    pub invocations: f64,
    /// Bytes of workgroup memory per unit.
    pub workgroup_memory: f64,
    /// Bytes per clock and unit from workgroup memory.
    pub workgroup_rate: f64,
    /// Bytes per clock and unit from the unit's own cache.
    pub near_rate: f64,
    /// Bytes per second from the cache that all units share.
    pub cache_rate: f64,
    /// How many bytes that cache holds.
    pub cache: f64,
    /// Bytes per second from memory.
    pub memory_rate: f64,
    /// Seconds that an invocation waits for a value, those in which others do their work not counted.
    pub latency: f64,
    /// Seconds from the end of one step to the start of the next.
    pub launch: f64,
}

/// What NVIDIA's Hopper cards have in common. NVIDIA's data sheet and architecture paper (2022), the SXM5 card: units, clock, rates,
/// registers, memories. Not looked up: 128 bytes per clock from a unit's memories, and 5.5 TB/s from the shared cache. Three figures are of an H200 on 2026-11-26, see docs/PERFORMANCE.md: 50.8 Tflop/s of
/// nothing but multiply-adds are an issue of 97, a network of small layers takes 4 us a step, and 0.2 us a wait fit the times
/// of 536 variants of layers best.
const HOPPER: Gpu = Gpu {
    name: "Hopper",
    known_by: &[],
    vendor: NVIDIA,
    units: 132.0,
    clock: 1.98e9,
    multiply_adds: 128.0,
    issue: 97.0,
    registers: 65_536.0,
    invocations: 2048.0,
    workgroup_memory: 228.0 * 1024.0,
    workgroup_rate: 128.0,
    near_rate: 128.0,
    cache_rate: 5.5e12,
    cache: 50e6,
    memory_rate: 3.35e12,
    latency: 0.2e-6,
    launch: 4e-6,
};

/// The GPUs of the table. Beside each stands what its figures are from, and which were not looked up but are from memory or
/// assumed. For no other than Hopper's cards a source was found for `latency` and `launch`: they are assumed to be like those, and on
/// a phone five times as long.
pub const GPUS: [Gpu; 7] = [
    // 66.9 Tflop/s, 3.35 TB/s.
    Gpu { name: "H100", known_by: &["H100", "A100"], memory_rate: 3.35e12, ..HOPPER },
    // NVIDIA's data sheet (2023): an H100 with faster memory.
    Gpu { name: "H200", known_by: &["H200"], memory_rate: 4.8e12, ..HOPPER },
    // NVIDIA's Ada architecture paper (2022): 82.6 Tflop/s; Chips and Cheese, Microbenchmarking Nvidia's RTX 4090 (2022): units.
    // Not looked up: the shared cache's 72 MB and rate, 128 bytes per clock from a unit's memories, 1536 invocations.
    Gpu {
        name: "RTX 4090",
        known_by: &["RTX"],
        vendor: NVIDIA,
        units: 128.0,
        clock: 2.52e9,
        multiply_adds: 128.0,
        issue: 128.0,
        registers: 65_536.0,
        invocations: 1536.0,
        workgroup_memory: 100.0 * 1024.0,
        workgroup_rate: 128.0,
        near_rate: 128.0,
        cache_rate: 128.0 * 16.0 * 2.52e9,
        cache: 72e6,
        memory_rate: 1.008e12,
        latency: 0.2e-6,
        launch: 4e-6,
    },
    // AMD's product page (2022): 96 compute units, 61.4 Tflop/s, 96 MB of Infinity Cache at an "effective" 3.5 TB/s. That rate of
    // multiply-adds counts two instructions at a time, which compilers seldom find: the model issues one.
    // Not looked up: registers, invocations, and the rates of a unit's memories, all of them those of RDNA 3's manuals.
    Gpu {
        name: "RX 7900 XTX",
        known_by: &["RX 7", "RX 6", "GFX11", "NAVI3"],
        vendor: AMD,
        units: 96.0,
        clock: 2.5e9,
        multiply_adds: 128.0,
        issue: 64.0,
        registers: 98_304.0,
        invocations: 1024.0,
        workgroup_memory: 64.0 * 1024.0,
        workgroup_rate: 128.0,
        near_rate: 64.0,
        cache_rate: 3.5e12,
        cache: 96e6,
        memory_rate: 0.96e12,
        latency: 0.2e-6,
        launch: 4e-6,
    },
    // Apple's product page (2023): 10 cores, 100 GB/s; 3.58 Tflop/s at 1.398 GHz by hmc-tech.com. For a core: philipturner's
    // metal-benchmarks, which are of the M1 and the M2. Not looked up: registers (an M3 shares them out as it runs), the rates of
    // a core's memories, and the shared cache.
    Gpu {
        name: "M3",
        known_by: &["Apple"],
        vendor: APPLE,
        units: 10.0,
        clock: 1.398e9,
        multiply_adds: 128.0,
        issue: 128.0,
        registers: 53_248.0,
        invocations: 1024.0,
        workgroup_memory: 60.0 * 1024.0,
        workgroup_rate: 128.0,
        near_rate: 64.0,
        cache_rate: 10.0 * 32.0 * 1.398e9,
        cache: 8e6,
        memory_rate: 0.1e12,
        latency: 0.2e-6,
        launch: 4e-6,
    },
    // Intel's product page (2022): 32 Xe cores, 2.1 GHz, 560 GB/s; Chips and Cheese, Microbenchmarking Intel's Arc A770 (2022):
    // 4,096 lanes. Not looked up: registers, invocations, the memories of a core, and the shared cache.
    Gpu {
        name: "Arc A770",
        known_by: &["Arc"],
        vendor: INTEL,
        units: 32.0,
        clock: 2.1e9,
        multiply_adds: 128.0,
        issue: 128.0,
        registers: 131_072.0,
        invocations: 2048.0,
        workgroup_memory: 128.0 * 1024.0,
        workgroup_rate: 128.0,
        near_rate: 64.0,
        cache_rate: 32.0 * 32.0 * 2.1e9,
        cache: 16e6,
        memory_rate: 0.56e12,
        latency: 0.2e-6,
        launch: 4e-6,
    },
    // Chips and Cheese, Inside Snapdragon 8+ Gen 1's iGPU (2024): 900 MHz, twice the Adreno 530's two processors.
    // Not looked up: all the rest, which is assumed.
    Gpu {
        name: "Adreno 730",
        known_by: &["Adreno"],
        vendor: QUALCOMM,
        units: 4.0,
        clock: 0.9e9,
        multiply_adds: 256.0,
        issue: 256.0,
        registers: 49_152.0,
        invocations: 2048.0,
        workgroup_memory: 32.0 * 1024.0,
        workgroup_rate: 128.0,
        near_rate: 64.0,
        cache_rate: 4.0 * 32.0 * 0.9e9,
        cache: 1e6,
        memory_rate: 0.0512e12,
        latency: 1e-6,
        launch: 20e-6,
    },
];

/// The makers' numbers on the PCI bus, by which drivers name them on other buses too.
const NVIDIA: u32 = 0x10DE;
const AMD: u32 = 0x1002;
const APPLE: u32 = 0x106B;
const INTEL: u32 = 0x8086;
const QUALCOMM: u32 = 0x5143;

/// Of all that the table has, the one with about the middle number of units and rates.
pub const MIDDLE: &Gpu = &GPUS[5];

/// What a GPU is taken for that shares its memory with a processor.
const INTEGRATED: &Gpu = &GPUS[4];

impl Gpu {
    /// The GPU of this name, in any case and with or without spaces.
    #[cfg(any(test, feature = "unstable"))]
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let plain = |name: &str| name.replace([' ', '-', '_'], "").to_lowercase();
        GPUS.iter().find(|gpu| plain(gpu.name) == plain(name))
    }

    /// What an adapter is taken for: by its name, then an M3 if its memory is the processor's, then the last one of the same maker,
    /// and at last the one in the middle of the table.
    #[must_use]
    pub fn like(adapter: &wgpu::AdapterInfo) -> &'static Self {
        let name = adapter.name.to_lowercase();
        let is_named = |gpu: &&Self| gpu.known_by.iter().any(|word| name.contains(&word.to_lowercase()));
        let is_made_by = |gpu: &&Self| gpu.vendor == adapter.vendor;
        let integrated = (adapter.device_type == wgpu::DeviceType::IntegratedGpu).then_some(INTEGRATED);
        GPUS.iter().find(is_named).or(integrated).or_else(|| GPUS.iter().rfind(is_made_by)).unwrap_or(MIDDLE)
    }

    /// The least seconds that a layer can take which moves so many bytes and makes so many multiply-adds.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn floor(&self, bytes: u64, multiply_adds: u64) -> f64 {
        (bytes as f64 / self.memory_rate).max(multiply_adds as f64 / (self.units * self.multiply_adds * self.clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_taken_for_the_nearest() {
        let like = |name: &str, vendor, device_type| {
            let mut info = wgpu::AdapterInfo::new(device_type, wgpu::Backend::Vulkan);
            (info.name, info.vendor) = (name.to_owned(), vendor);
            Gpu::like(&info).name
        };
        let [discrete, integrated] = [wgpu::DeviceType::DiscreteGpu, wgpu::DeviceType::IntegratedGpu];
        for (name, vendor, device_type, taken_for) in [
            ("NVIDIA H100 80GB HBM3", NVIDIA, discrete, "H100"),
            ("NVIDIA H200", NVIDIA, discrete, "H200"),
            ("AMD Radeon RX 7900 XTX (RADV NAVI31)", AMD, discrete, "RX 7900 XTX"),
            ("Apple M3", 0, integrated, "M3"),
            ("Adreno (TM) 740", QUALCOMM, integrated, "Adreno 730"),
            ("NVIDIA GeForce GTX 1080", NVIDIA, discrete, "RTX 4090"),
            ("AMD Radeon 780M", AMD, integrated, "M3"),
            ("a GPU", 1, discrete, "Arc A770"),
        ] {
            assert_eq!(like(name, vendor, device_type), taken_for, "{name}");
        }
    }

    #[test]
    fn each_has_a_name_of_its_own() {
        for gpu in &GPUS {
            assert_eq!(Gpu::by_name(&gpu.name.to_uppercase().replace(' ', "-")), Some(gpu));
        }
        assert_eq!(Gpu::by_name("Voodoo 2"), None);
    }

    /// The multiply-add rates that the makers name.
    #[test]
    fn rates_are_the_makers() {
        let tflops = |gpu: &Gpu| format!("{:.1}", 2.0 * gpu.units * gpu.multiply_adds * gpu.clock / 1e12);
        assert_eq!(GPUS.each_ref().map(tflops), ["66.9", "66.9", "82.6", "61.4", "3.6", "17.2", "1.8"]);
    }
}
