//! The library's errors as Python's exceptions.

use pyo3::exceptions::{PyMemoryError, PyNotImplementedError, PyRuntimeError, PyValueError};
use pyo3::{PyErr, create_exception};

create_exception!(
    sepconv,
    DeviceError,
    PyRuntimeError,
    "There is no device, it does not open, it was lost, or it refused something."
);

/// `ValueError` for a mistake of the caller's, which it names; `NotImplementedError` for a model that needs what is missing;
/// `MemoryError` where the device has no room; `DeviceError` for the rest.
pub fn raised(error: sepconv::Error) -> PyErr {
    let words = error.to_string();
    match error {
        sepconv::Error::UnsupportedModel { .. } => PyNotImplementedError::new_err(words),
        sepconv::Error::OutOfMemory { .. } => PyMemoryError::new_err(words),
        error if error.is_request() => PyValueError::new_err(words),
        _ => DeviceError::new_err(words),
    }
}
