//! `Own`: what only the process that made it may use.

use pyo3::PyResult;
use pyo3::exceptions::PyRuntimeError;

/// A value that belongs to the process that made it. After a fork, drivers' threads are missing in the child, and calling a
/// driver there may hang or worse: the child may neither use the value nor drop it.
pub struct Own<T> {
    process: u32,
    value: Option<T>,
}

impl<T> Own<T> {
    pub fn new(value: T) -> Self {
        Self { process: std::process::id(), value: Some(value) }
    }

    /// The value; an error that says what is to be done in another process.
    pub fn get(&self, what: &str) -> PyResult<&T> {
        if self.process == std::process::id()
            && let Some(value) = &self.value
        {
            return Ok(value);
        }
        let message = format!(
            "{what} was made in process {}, of which this one, {}, is a fork; make one here",
            self.process,
            std::process::id()
        );
        Err(PyRuntimeError::new_err(message))
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
