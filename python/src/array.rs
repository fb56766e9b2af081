//! numpy's arrays and Python's values, as the library takes them.

use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

/// An array of `f32` that nobody may write while it is read. The package sees to it that it is contiguous.
pub type Floats<'py> = PyReadonlyArrayDyn<'py, f32>;

/// An array that is returned.
pub type Made<'py> = Bound<'py, PyArrayDyn<f32>>;

/// Its values, without a copy.
pub fn values<'a>(argument: &str, array: &'a Floats<'_>) -> PyResult<&'a [f32]> {
    array.as_slice().map_err(|_| PyTypeError::new_err(format!("{argument} is not contiguous; it must be")))
}

/// Its sizes.
pub fn shape(argument: &str, array: &Floats<'_>) -> PyResult<Vec<u32>> {
    let sizes: Result<Vec<u32>, _> = array.shape().iter().map(|&size| u32::try_from(size)).collect();
    sizes.map_err(|_| {
        PyValueError::new_err(format!("{argument} has shape {:?}; a size may be at most {}", array.shape(), u32::MAX))
    })
}

/// Values as an array, without a copy.
pub fn made<'py>(py: Python<'py>, values: Vec<f32>, shape: &[u32]) -> PyResult<Made<'py>> {
    let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
    numpy::PyArray1::from_vec(py, values).reshape(shape)
}

/// A value as people write it: a list as its items with commas between them.
fn written(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_string());
    }
    if value.is_instance_of::<PyTuple>() || value.is_instance_of::<PyList>() {
        let items: Vec<String> = value.try_iter()?.map(|item| written(&item?)).collect::<PyResult<_>>()?;
        return Ok(items.join(","));
    }
    Ok(value.str()?.to_string())
}

/// A value read by one of the functions of [`sepconv::unstable::text`].
pub fn read<T>(argument: &str, value: &Bound<'_, PyAny>, parse: fn(&str) -> Result<T, String>) -> PyResult<T> {
    parse(&written(value)?).map_err(|reason| {
        let repr = value.repr().map_or_else(|_| "?".to_owned(), |repr| repr.to_string());
        PyValueError::new_err(format!("{argument} is {repr}: {reason}"))
    })
}
