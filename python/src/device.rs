//! `Device` and `Context`: what there is, and what is opened.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sepconv::wgpu;
use sepconv::{DType, Tuning};

use crate::error::raised;
use crate::own::Own;

/// An adapter that can run the library's shaders.
#[pyclass(frozen, get_all, module = "sepconv")]
#[derive(Debug, Clone)]
pub struct Device {
    /// Its place in the list, which is that of the best first.
    index: usize,
    name: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    kind: &'static str,
    /// `Vulkan`, `Metal` or `Dx12`.
    backend: String,
    driver: String,
    /// Such as `0000:3b:00.0`; empty where the driver does not say it.
    pci_address: String,
}

#[pymethods]
impl Device {
    fn __repr__(&self) -> String {
        let Self { index, name, kind, backend, driver, pci_address } = self;
        format!(
            "Device(index={index}, name={name:?}, kind={kind:?}, backend={backend:?}, driver={driver:?}, \
             pci_address={pci_address:?})"
        )
    }
}

impl Device {
    fn new(index: usize, info: wgpu::AdapterInfo) -> Self {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "cpu",
            wgpu::DeviceType::Other => "other",
        };
        Self {
            index,
            name: info.name,
            kind,
            backend: format!("{:?}", info.backend),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            pci_address: info.device_pci_bus_id,
        }
    }
}

/// Every adapter that can run the library's shaders, best first.
#[pyfunction]
pub fn devices(py: Python<'_>) -> Vec<Device> {
    let adapters = py.detach(|| pollster::block_on(sepconv::adapters()));
    adapters.iter().enumerate().map(|(index, adapter)| Device::new(index, adapter.get_info())).collect()
}

/// An open device, with the pipelines compiled on it.
#[pyclass(frozen, module = "sepconv._sepconv")]
pub struct Context(Own<sepconv::Context>);

impl Context {
    pub fn get(&self) -> PyResult<&sepconv::Context> {
        self.0.get("a device that is open")
    }
}

#[pymethods]
impl Context {
    /// Opens the device of this index, or else the best.
    #[new]
    #[pyo3(signature = (index=None))]
    fn new(py: Python<'_>, index: Option<usize>) -> PyResult<Self> {
        let open = || match index {
            None => sepconv::Context::new_blocking().map_err(raised),
            Some(index) => {
                let adapters = pollster::block_on(sepconv::adapters());
                let none = || PyValueError::new_err(format!("device is {index}; there are {}", adapters.len()));
                let adapter = adapters.get(index).ok_or_else(none)?;
                pollster::block_on(sepconv::Context::from_adapter(adapter)).map_err(raised)
            }
        };
        Ok(Self(Own::new(py.detach(open)?)))
    }

    /// Why the device is gone, if it is.
    #[getter]
    fn lost(&self) -> PyResult<Option<String>> {
        Ok(self.get()?.lost())
    }

    /// The same device, with layers planned as this table says.
    fn with_tuning(&self, table: &str) -> PyResult<Self> {
        let table: Tuning = table.parse().map_err(raised)?;
        Ok(Self(Own::new(self.get()?.with_tuning(table))))
    }

    /// The same device, with tensors of 16 bits.
    fn with_f16(&self) -> PyResult<Self> {
        let half = self.get()?.with_dtype(DType::F16).map_err(raised)?;
        Ok(Self(Own::new(half)))
    }
}
