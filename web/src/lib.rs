//! sepconv for JavaScript: the library's own types under their own names. `package/README.md` is its documentation.

mod adopted;
mod any_layer;
mod context;
mod layer;
mod network;
mod plan;
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

/// Every kernel there is.
#[wasm_bindgen]
pub fn kernels() -> Vec<Kernel> {
    let words = |kernel: &&sepconv::kernels::Kernel| {
        let [name, summary, chosen] = [kernel.name, kernel.summary, kernel.chosen].map(str::to_owned);
        Kernel { name, summary, chosen }
    };
    sepconv::kernels::ALL.iter().map(words).collect()
}
