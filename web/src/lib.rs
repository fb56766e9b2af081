//! sepconv for JavaScript: the library's own types under their own names. `package/README.md` is its documentation.

mod context;
mod layer;
mod timing;
mod value;

use wasm_bindgen::prelude::wasm_bindgen;

/// A kernel, in words.
#[wasm_bindgen(getter_with_clone)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// What it does, in one line.
    pub summary: String,
    /// When the planner picks it.
    pub chosen: String,
}

impl<Layer> From<&sepconv::kernels::Kernel<Layer>> for Kernel {
    fn from(kernel: &sepconv::kernels::Kernel<Layer>) -> Self {
        let [name, summary, chosen] = [kernel.name, kernel.summary, kernel.chosen].map(str::to_owned);
        Self { name, summary, chosen }
    }
}

/// Every kernel there is, those of single layers before those of separable ones.
#[wasm_bindgen]
pub fn kernels() -> Vec<Kernel> {
    use sepconv::kernels::{ALL, SEPARABLE};
    ALL.into_iter().map(Kernel::from).chain(SEPARABLE.into_iter().map(Kernel::from)).collect()
}
