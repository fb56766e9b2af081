//! What `wgpu` makes of a shader for each kind of driver, with its options for a module that is trusted.

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};

use crate::Outcome;

const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// A shader that was read and found valid.
pub struct Shader {
    pub module: Module,
    info: ModuleInfo,
}

impl Shader {
    /// # Errors
    /// If it is not valid.
    pub fn new(wgsl: &str) -> Outcome<Self> {
        let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
        let mut validator = Validator::new(
            ValidationFlags::all(),
            Capabilities::SUBGROUP | Capabilities::SHADER_INT64 | Capabilities::SHADER_FLOAT16,
        );
        let info = validator.validate(&module).map_err(|error| error.emit_to_string(wgsl))?;
        Ok(Self { module, info })
    }

    /// For Vulkan.
    ///
    /// # Errors
    /// What naga says.
    pub fn spirv(&self, entry_point: &str) -> Outcome<Vec<u32>> {
        let options = spv::Options {
            // Of Vulkan 1.2, which spirv-val and drivers of some age know.
            lang_version: (1, 5),
            flags: spv::WriterFlags::LABEL_VARYINGS,
            fake_missing_bindings: true,
            bounds_check_policies: UNCHECKED,
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            emit_int_div_checks: false,
            ..Default::default()
        };
        let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: entry_point.to_owned() };
        spv::write_vec(&self.module, &self.info, &options, Some(&pipeline)).map_err(|error| error.to_string())
    }

    /// For Metal.
    ///
    /// # Errors
    /// What naga says.
    pub fn msl(&self, entry_point: &str) -> Outcome<String> {
        let mut resources = msl::EntryPointResources { sizes_buffer: Some(30), ..Default::default() };
        for (binding, space) in bindings(&self.module) {
            let target = msl::BindTarget {
                buffer: Some(u8::try_from(binding.binding).map_err(|error| error.to_string())?),
                mutable: matches!(space, AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE)),
                ..Default::default()
            };
            resources.resources.insert(binding, target);
        }
        let options = msl::Options {
            lang_version: (2, 4),
            fake_missing_bindings: false,
            per_entry_point_map: msl::EntryPointResourceMap::from([(entry_point.to_owned(), resources)]),
            bounds_check_policies: UNCHECKED,
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            emit_int_div_checks: false,
            ..Default::default()
        };
        let entry_point = Some((ShaderStage::Compute, entry_point.to_owned()));
        let pipeline = msl::PipelineOptions { entry_point, ..Default::default() };
        let (text, info) =
            msl::write_string(&self.module, &self.info, &options, &pipeline).map_err(|error| error.to_string())?;
        info.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(text)
    }

    /// For DX12.
    ///
    /// # Errors
    /// What naga says.
    pub fn hlsl(&self, entry_point: &str) -> Outcome<String> {
        let options = hlsl::Options {
            shader_model: hlsl::ShaderModel::V6_0,
            fake_missing_bindings: true,
            zero_initialize_workgroup_memory: false,
            restrict_indexing: false,
            force_loop_bounding: false,
            ..Default::default()
        };
        let entry_point = Some((ShaderStage::Compute, entry_point.to_owned()));
        let pipeline = hlsl::PipelineOptions { entry_point };
        let mut text = String::new();
        let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
        let info = writer.write(&self.module, &self.info, None).map_err(|error| error.to_string())?;
        info.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(text)
    }
}

/// The bindings of a shader, and whose memory each is.
pub fn bindings(module: &Module) -> impl Iterator<Item = (naga::ResourceBinding, AddressSpace)> {
    module.global_variables.iter().filter_map(|(_, variable)| Some((variable.binding?, variable.space)))
}
