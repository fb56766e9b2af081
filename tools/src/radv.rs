//! Mesa's driver for AMD's GPUs, without one: it compiles for the GPU that `RADV_FORCE_FAMILY` names and runs nothing.
//! Its null device has no fences, so `wgpu` cannot open it.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};

use ash::vk;

use crate::Outcome;
use crate::listing::{self, Count};
use crate::translate::{self, Shader};

/// Where Debian's package mesa-vulkan-drivers has the driver.
pub const DRIVER: &str = "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json";

/// The families of GPUs for which tables are made: what a table is called, and what Mesa calls a GPU of the family.
pub const FAMILIES: [(&str, &str); 2] = [("rdna2", "NAVI21"), ("rdna3", "GFX1100")];

/// What was made of a shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiled {
    /// Vector registers of an invocation.
    pub registers: u64,
    /// Registers, vector and scalar, that did not suffice.
    pub spills: u64,
    /// Bytes of memory of an invocation, for arrays that are not in registers.
    pub scratch: u64,
    /// Subgroups that one unit can hold at a time.
    pub waves: u64,
    pub instructions: u64,
    /// Of the loop with the most multiply-adds.
    pub main_loop: Option<Count>,
}

/// A driver that compiles.
pub struct Driver {
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
    /// Its name and version.
    pub name: String,
    // Last, so that they are dropped last.
    _instance: ash::Instance,
    _entry: ash::Entry,
}

fn failed(what: &str) -> impl Fn(vk::Result) -> String {
    move |error| format!("{what}: {error}")
}

impl Driver {
    /// Opens the first device that the Vulkan loader finds. What it is is up to `RADV_FORCE_FAMILY` and `VK_DRIVER_FILES`.
    ///
    /// # Errors
    /// If there is none.
    pub fn open() -> Outcome<Self> {
        // SAFETY: the Vulkan loader is a library that may be loaded; every structure outlives the call that reads it, and
        // the device is used by one thread.
        unsafe {
            let entry = ash::Entry::load().map_err(|error| error.to_string())?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None).map_err(failed("no instance"))?;
            let devices = instance.enumerate_physical_devices().map_err(failed("no devices"))?;
            let physical = *devices.first().ok_or("no Vulkan driver answers")?;
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(physical, &mut properties);
            let device = text(&properties.properties.device_name);
            let name = format!("{device}, {}", text(&driver.driver_info));
            let mut executable = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut of_11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut of_12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut executable)
                .push_next(&mut of_11)
                .push_next(&mut of_12);
            instance.get_physical_device_features2(physical, &mut features);
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let extensions = [
                ash::khr::pipeline_executable_properties::NAME.as_ptr(),
                ash::ext::subgroup_size_control::NAME.as_ptr(),
            ];
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut features);
            let device = instance.create_device(physical, &info, None).map_err(failed("no device"))?;
            let executables = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { device, executables, name, _instance: instance, _entry: entry })
        }
    }

    /// Compiles a shader that begins at this function, as `wgpu` has it compiled.
    ///
    /// # Errors
    /// What naga or the driver says.
    pub fn compile(&self, shader: &Shader, entry_point: &str) -> Outcome<Compiled> {
        let words = shader.spirv(entry_point)?;
        let bindings: Vec<_> = translate::bindings(&shader.module)
            .map(|(binding, space)| {
                let is_uniform = space == naga::AddressSpace::Uniform;
                let kind =
                    if is_uniform { vk::DescriptorType::UNIFORM_BUFFER } else { vk::DescriptorType::STORAGE_BUFFER };
                let stages = vk::ShaderStageFlags::COMPUTE;
                let layout = vk::DescriptorSetLayoutBinding::default().binding(binding.binding).descriptor_type(kind);
                layout.descriptor_count(1).stage_flags(stages)
            })
            .collect();
        let name = CString::new(entry_point).map_err(|error| error.to_string())?;
        // SAFETY: as in `open`; the shader was validated, and what is made is destroyed once, after its last use.
        unsafe {
            let info = vk::ShaderModuleCreateInfo::default().code(&words);
            let module = self.device.create_shader_module(&info, None).map_err(failed("no module"))?;
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [self.device.create_descriptor_set_layout(&info, None).map_err(failed("no set"))?];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.device.create_pipeline_layout(&info, None).map_err(failed("no layout"))?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&name);
            let captured = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().flags(captured).stage(stage).layout(layout);
            let made = self.device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let compiled = made.map_err(|(_, error)| failed("no pipeline")(error)).and_then(|pipelines| {
                let compiled = self.statistics(pipelines[0]);
                self.device.destroy_pipeline(pipelines[0], None);
                compiled
            });
            self.device.destroy_pipeline_layout(layout, None);
            self.device.destroy_descriptor_set_layout(sets[0], None);
            self.device.destroy_shader_module(module, None);
            compiled
        }
    }

    /// # Safety
    /// The pipeline must be this device's, made with its statistics and its internal representations captured.
    unsafe fn statistics(&self, pipeline: vk::Pipeline) -> Outcome<Compiled> {
        let which = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: the caller's.
        let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&which) };
        let statistics = statistics.map_err(failed("no statistics"))?;
        // SAFETY: every statistic of this driver is a whole number of 64 bits.
        let values = statistics.iter().map(|statistic| (text(&statistic.name), unsafe { statistic.value.u64 }));
        let values: HashMap<String, u64> = values.collect();
        let value = |name: &str| values.get(name).copied().ok_or_else(|| format!("no statistic {name}: {values:?}"));
        Ok(Compiled {
            registers: value("VGPRs")?,
            spills: value("Spilled SGPRs")? + value("Spilled VGPRs")?,
            scratch: value("Scratch size")?,
            waves: value("Subgroups per SIMD")?,
            instructions: value("Instructions")?,
            // SAFETY: the caller's.
            main_loop: listing::main_loop(&unsafe { self.listing(&which) }?),
        })
    }

    /// # Safety
    /// That of [`statistics`](Self::statistics).
    unsafe fn listing(&self, which: &vk::PipelineExecutableInfoKHR<'_>) -> Outcome<String> {
        let ask = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let device = self.device.handle();
        let mut count = 0;
        // SAFETY: the first call writes how many there are, the second how long each is, and the third their bytes, into
        // memory of that length.
        unsafe {
            ask(device, which, &raw mut count, std::ptr::null_mut()).result().map_err(failed("no listing"))?;
            let mut parts = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            ask(device, which, &raw mut count, parts.as_mut_ptr()).result().map_err(failed("no listing"))?;
            let mut texts: Vec<Vec<u8>> = parts.iter().map(|part| vec![0; part.data_size]).collect();
            for (part, text) in parts.iter_mut().zip(&mut texts) {
                part.p_data = text.as_mut_ptr().cast();
            }
            ask(device, which, &raw mut count, parts.as_mut_ptr()).result().map_err(failed("no listing"))?;
            let index =
                parts.iter().position(|part| text(&part.name) == "Assembly").ok_or("no listing of machine code")?;
            let bytes = &texts[index];
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
        }
    }
}

/// A text that ends at the first 0.
fn text(characters: &[c_char]) -> String {
    let bytes: Vec<u8> = characters.iter().map(|character| character.cast_unsigned()).collect();
    CStr::from_bytes_until_nul(&bytes).map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}
