//! What `wgpu` 30 lacks in a browser: pipelines that are compiled in the background, and objects that the caller has made.
//!
//! `wgpu` calls methods of the browser's own objects. While it makes one call, an object is lent another method, which
//! hands `wgpu` what is already there.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Object, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::compile::{Parts, missing};
use super::device::Device;
use super::pipelines::Pipeline;
use crate::error::{Error, Result};
use crate::program::Program;

/// Makes calls during which `stand_in` is this object's method of this name. Nothing else runs meanwhile, and afterwards
/// the object is as it was.
pub fn instead<T>(
    object: &JsValue,
    method: &str,
    stand_in: impl FnMut(JsValue) -> JsValue + 'static,
    calls: impl FnOnce() -> T,
) -> T {
    let object: &Object = object.unchecked_ref();
    let method = JsValue::from(method);
    let stand_in = Closure::<dyn FnMut(JsValue) -> JsValue>::new(stand_in);
    // A property of the object itself comes before that of its class.
    let before = Object::get_own_property_descriptor(object, &method);
    // An object that takes no property keeps its method; then the calls do what they always do.
    let _ = Reflect::set(object, &method, stand_in.as_ref());
    let value = calls();
    let _ = Reflect::delete_property(object, &method);
    if !before.is_undefined() {
        Object::define_property(object, &method, before.unchecked_ref());
    }
    value
}

/// A pipeline that the browser is compiling.
struct Begun {
    parts: Parts,
    pipeline: JsFuture,
}

/// Compiles a program's pipelines that are not there yet, all at once and in the background, as `wgpu` 30 cannot.
/// `progress` is told how many of how many are done.
///
/// `wgpu` describes the pipeline; `createComputePipelineAsync` is called in the place of `createComputePipeline`, and what
/// it made is handed to `wgpu` when it is there.
pub(crate) async fn compile_program(device: &Device, program: &Program, progress: &dyn Fn(usize, usize)) -> Result<()> {
    const METHOD: &str = "createComputePipeline";
    let own = device.device().as_webgpu().expect("a browser's device");
    let object: &JsValue = own.as_ref();
    let failed = |reason: &JsValue| {
        let words = reason.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
        Error::Device { operation: "a pipeline", reason: words.unwrap_or_else(|| format!("{reason:?}")) }
    };
    let steps = missing(device, program.prepare.iter().chain(&program.steps));
    let mut begun = Vec::new();
    for step in &steps {
        let parts = device.guarded("a pipeline", 0, || Parts::new(device, step))?;
        let promise = Rc::new(RefCell::new(Err(JsValue::UNDEFINED)));
        let (begin, kept) = (object.clone(), promise.clone());
        let describe = move |descriptor: JsValue| {
            let method = Reflect::get(&begin, &"createComputePipelineAsync".into());
            *kept.borrow_mut() =
                method.and_then(|method| method.unchecked_into::<Function>().call1(&begin, &descriptor));
            Object::new().into()
        };
        instead(object, METHOD, describe, || drop(parts.pipeline(device, step)));
        let promise = promise.replace(Err(JsValue::UNDEFINED)).map_err(|reason| failed(&reason))?;
        begun.push(Begun { parts, pipeline: JsFuture::from(js_sys::Promise::from(promise)) });
    }
    let count = steps.len();
    for (index, (step, Begun { parts, pipeline })) in steps.into_iter().zip(begun).enumerate() {
        let made = pipeline.await.map_err(|reason| failed(&reason))?;
        let pipeline = instead(object, METHOD, move |_| made.clone(), || parts.pipeline(device, step));
        device.pipelines().insert(step, Pipeline { pipeline, layout: parts.layout });
        progress(index + 1, count);
    }
    device.check_alive()
}
