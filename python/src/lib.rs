//! sepconv for Python: what `package/sepconv` is made on. What a user calls is documented there.

mod array;
mod device;
mod error;
mod layer;
mod network;
mod own;
mod session;

use pyo3::pymodule;

#[pymodule]
mod _sepconv {
    #[pymodule_export]
    use crate::device::{Context, Device, devices};
    #[pymodule_export]
    use crate::error::DeviceError;
    #[pymodule_export]
    use crate::layer::{conv2d, separable_conv2d};
    #[pymodule_export]
    use crate::network::{separate, tune};
    #[pymodule_export]
    use crate::session::Session;
}
