//! A caller's own `GPUDevice` and `GPUBuffer`. `wgpu` 30 wraps neither, so it is handed them when it asks the browser for new
//! ones.

use js_sys::{Function, Object, Promise, Reflect, global};
use sepconv::unstable::instead;
use sepconv::wgpu;
use wasm_bindgen::prelude::{Closure, JsCast, JsValue};

use crate::value::{Result, object, refused, thrown};

/// A context on a device that the caller has opened.
pub async fn context(device: JsValue) -> Result<sepconv::Context> {
    let [info, limits, features, queue] = ["adapterInfo", "limits", "features", "queue"]
        .map(|name| Reflect::get(&device, &name.into()).unwrap_or(JsValue::UNDEFINED));
    if [&info, &limits, &features, &queue].into_iter().any(|value| !value.is_object()) {
        return Err(refused("device must be a GPUDevice"));
    }
    let gpu = Reflect::get(&Reflect::get(&global(), &"navigator".into())?, &"gpu".into())?;
    // All that is asked of an adapter before its device is there.
    let opened = device.clone();
    let request = Closure::<dyn FnMut() -> Promise>::new(move || Promise::resolve(&opened));
    let names = [("info", info), ("limits", limits), ("features", features)];
    let adapter = object(names.into_iter().chain([("requestDevice", request.as_ref().clone())]))?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let answer = move |_| Promise::resolve(&adapter).into();
    let asked =
        instead(&gpu, "requestAdapter", answer, || instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = asked.await.map_err(|error| thrown(sepconv::Error::NoAdapter { reason: error.to_string() }))?;

    // The library listens to what the device refuses, and the caller still does so too.
    let (handler, event) = (JsValue::from("onuncapturederror"), JsValue::from("uncapturederror"));
    let callers = Reflect::get(&device, &handler)?;
    let context = sepconv::Context::from_adapter(&adapter).await.map_err(thrown)?;
    let own = Reflect::get(&device, &handler)?;
    Reflect::set(&device, &handler, &callers)?;
    let listen: Function = Reflect::get(&device, &"addEventListener".into())?.unchecked_into();
    listen.call2(&device, &event, &own)?;
    Ok(context)
}

/// A buffer that the caller has made.
pub fn buffer(context: &sepconv::Context, buffer: JsValue) -> Result<wgpu::Buffer> {
    let [size, usage] = ["size", "usage"].map(|name| Reflect::get(&buffer, &name.into()).ok()?.as_f64());
    let (Some(size), Some(usage), true) = (size, usage, buffer.is_instance_of::<Object>()) else {
        return Err(refused("buffer must be a GPUBuffer"));
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are whole numbers of the browser's"
    )]
    let (size, usage) = (size as u64, wgpu::BufferUsages::from_bits_truncate(usage as u32));
    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    let device = context.device();
    let own: JsValue = device.as_webgpu().map_or(JsValue::UNDEFINED, |own| own.unchecked_ref::<JsValue>().clone());
    Ok(instead(&own, "createBuffer", move |_| buffer.clone(), || device.create_buffer(&descriptor)))
}
