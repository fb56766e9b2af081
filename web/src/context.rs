//! `Context` and `Tensor`.

use js_sys::Float32Array;
use sepconv::unstable::text;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

use crate::adopted;
use crate::value::{Result, read, refused, thrown};

/// A device of the browser's, with the pipelines compiled on it.
#[wasm_bindgen]
pub struct Context(pub(crate) sepconv::Context);

#[wasm_bindgen]
impl Context {
    /// Opens the browser's adapter with all its limits, and with timestamps where it has them.
    pub async fn create() -> Result<Context> {
        sepconv::Context::new().await.map(Self).map_err(thrown)
    }

    /// Uses a device that you have opened, with the features and limits that it has.
    #[wasm_bindgen(js_name = fromDevice)]
    pub async fn from_device(#[wasm_bindgen(unchecked_param_type = "GPUDevice")] device: JsValue) -> Result<Context> {
        adopted::context(device).await.map(Self)
    }

    /// The browser's own handle, for programs that do more on the same device.
    #[wasm_bindgen(getter, unchecked_return_type = "GPUDevice")]
    pub fn device(&self) -> JsValue {
        self.0.device().as_webgpu().map_or(JsValue::UNDEFINED, |device| device.unchecked_ref::<JsValue>().clone())
    }

    /// Whether plans are made for a processor that runs shaders in software, rather than for a GPU.
    #[wasm_bindgen(getter)]
    pub fn software(&self) -> bool {
        self.0.target().software
    }

    /// The same device, planned for as one in software or as a GPU. Default what the browser says it is.
    #[wasm_bindgen(js_name = withSoftware)]
    pub fn with_software(&self, software: bool) -> Context {
        Self(self.0.with_software(software))
    }

    /// What the numbers of tensors on the device are.
    #[wasm_bindgen(getter, unchecked_return_type = "DType")]
    pub fn dtype(&self) -> String {
        self.0.dtype().to_string()
    }

    /// The same device, with tensors of this type from now on: those that are made with the new context, and its plans and
    /// networks. Values are given and read as numbers of 32 bits in any case. `"f16"` needs a device with `shader-f16`.
    #[wasm_bindgen(js_name = withDtype)]
    pub fn with_dtype(&self, #[wasm_bindgen(unchecked_param_type = "DType")] dtype: &JsValue) -> Result<Context> {
        self.0.with_dtype(read("dtype", dtype, text::dtype)?).map(Self).map_err(thrown)
    }

    /// The table that layers are planned by, as text to keep.
    #[wasm_bindgen(getter)]
    pub fn tuning(&self) -> String {
        self.0.tuning().to_string()
    }

    /// The same device, with layers planned as this table says: what `tuning` was after `network.tune`. A table of another
    /// device, browser or version of this package is ignored.
    #[wasm_bindgen(js_name = withTuning)]
    pub fn with_tuning(&self, table: &str) -> Result<Context> {
        Ok(Self(self.0.with_tuning(table.parse().map_err(thrown)?)))
    }

    /// Why the device is gone, if it is: then every call throws and a new context is needed.
    #[wasm_bindgen(getter)]
    pub fn lost(&self) -> Option<String> {
        self.0.lost()
    }

    /// Waits until the device has done all that was submitted, and throws what it refused since the last call.
    pub async fn wait(&self) -> Result<()> {
        self.0.wait().await.map_err(thrown)
    }
}

/// Values in NCHW order in a buffer on the device, of the type that its context says.
#[wasm_bindgen]
#[derive(Clone)]
pub struct Tensor(pub(crate) sepconv::Tensor);

#[wasm_bindgen]
impl Tensor {
    /// A tensor of `[batch, channels, height, width]`, or of `[channels]` for a bias; of zeros without values.
    #[wasm_bindgen(constructor)]
    pub fn new(
        context: &Context,
        #[wasm_bindgen(unchecked_param_type = "Shape")] shape: &JsValue,
        values: Option<Float32Array>,
    ) -> Result<Tensor> {
        let shape = tensor_shape(shape)?;
        let tensor = match values {
            Some(values) => sepconv::Tensor::from_slice(&context.0, shape, &values.to_vec()),
            None => sepconv::Tensor::zeros(&context.0, shape),
        };
        tensor.map(Self).map_err(thrown)
    }

    /// A tensor in a buffer of yours that has `STORAGE` usage, from an offset in bytes that is a multiple of 4.
    #[wasm_bindgen(js_name = fromBuffer)]
    pub fn from_buffer(
        context: &Context,
        #[wasm_bindgen(unchecked_param_type = "Shape")] shape: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "GPUBuffer")] buffer: JsValue,
        offset: Option<u32>,
    ) -> Result<Tensor> {
        let buffer = adopted::buffer(&context.0, buffer)?;
        let offset = offset.unwrap_or(0).into();
        sepconv::Tensor::from_buffer(&context.0, &buffer, offset, tensor_shape(shape)?).map(Self).map_err(thrown)
    }

    /// Batch, channels, height, width.
    #[wasm_bindgen(getter)]
    pub fn shape(&self) -> Vec<u32> {
        self.0.shape().to_vec()
    }

    /// The browser's own handle: usable in a program's own passes, and destroyed by its own `destroy()`.
    #[wasm_bindgen(getter, unchecked_return_type = "GPUBuffer")]
    pub fn buffer(&self) -> JsValue {
        self.0.buffer().as_webgpu().map_or(JsValue::UNDEFINED, |buffer| buffer.unchecked_ref::<JsValue>().clone())
    }

    /// Another handle to the same memory.
    pub fn handle(&self) -> Tensor {
        self.clone()
    }

    /// Replaces the values, before whatever is submitted after this call.
    pub fn write(&self, values: &Float32Array) -> Result<()> {
        self.0.write(&values.to_vec()).map_err(thrown)
    }

    /// Copies the values back.
    pub async fn read(&self) -> Result<Float32Array> {
        let values = self.0.read().await.map_err(thrown)?;
        Ok(Float32Array::from(values.as_slice()))
    }
}

/// `[batch, channels, height, width]`, or `[channels]` of a bias.
fn tensor_shape(shape: &JsValue) -> Result<sepconv::Shape> {
    match read("shape", shape, text::numbers)?[..] {
        [channels] => Ok([channels].into()),
        [n, c, h, w] => Ok([n, c, h, w].into()),
        ref sizes => Err(refused(&format!("shape has {} sizes; it must have 4, or 1 for a bias", sizes.len()))),
    }
}
