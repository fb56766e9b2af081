//! From JavaScript's values to the library's, and from its errors to JavaScript's.

use js_sys::{Array, Error, Object, RangeError, Reflect};
use sepconv::unstable::text;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

/// An object with these properties.
pub fn object<'a>(properties: impl IntoIterator<Item = (&'a str, JsValue)>) -> Result<Object> {
    let object = Object::new();
    for (name, value) in properties {
        Reflect::set(&object, &name.into(), &value)?;
    }
    Ok(object)
}

/// What a call that failed throws.
pub type Result<T> = std::result::Result<T, JsValue>;

/// A `RangeError` for a mistake of the caller's, an `Error` for a failure of the device.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err takes")]
pub fn thrown(error: sepconv::Error) -> JsValue {
    let words = error.to_string();
    if error.is_request() { RangeError::new(&words).into() } else { Error::new(&words).into() }
}

/// An error of the caller's.
pub fn refused(words: &str) -> JsValue {
    RangeError::new(words).into()
}

/// A value as `String(value)` writes it: a list as its items with commas between them.
pub fn written(value: &JsValue) -> String {
    if let Some(text) = value.as_string() {
        text
    } else if let Some(number) = value.as_f64() {
        number.to_string()
    } else if let Some(flag) = value.as_bool() {
        flag.to_string()
    } else if value.is_object() {
        let items: Vec<_> = Array::from(value).iter().map(|item| written(&item)).collect();
        items.join(",")
    } else {
        format!("{value:?}")
    }
}

/// A value read by one of [`text`]'s functions.
pub fn read<T>(argument: &str, value: &JsValue, parse: fn(&str) -> std::result::Result<T, String>) -> Result<T> {
    let written = written(value);
    parse(&written).map_err(|reason| refused(&format!("{argument} is {written:?}: {reason}")))
}

/// `[batch, channels, height, width]`
pub fn shape(argument: &str, value: &JsValue) -> Result<[u32; 4]> {
    read(argument, value, text::shape)
}

/// Sizes as JavaScript has them.
pub fn sizes(shape: &[u32]) -> JsValue {
    shape.iter().map(|&size| JsValue::from(size)).collect::<Array>().into()
}

/// The properties of an object; `undefined` has none.
pub fn entries(argument: &str, value: &JsValue) -> Result<Vec<(String, JsValue)>> {
    if value.is_undefined() {
        return Ok(Vec::new());
    }
    let object = value.dyn_ref::<Object>().ok_or_else(|| refused(&format!("{argument} must be an object")))?;
    let entries = Object::entries(object).into_iter().map(|entry| Array::from(&entry));
    Ok(entries.map(|entry| (entry.get(0).as_string().unwrap_or_default(), entry.get(1))).collect())
}

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

/// A JavaScript object whose properties have names that are known.
pub struct Fields(Object);

impl Fields {
    /// An object that has no property besides these; `undefined` has none.
    pub fn new(argument: &str, value: &JsValue, names: &[&str]) -> Result<Self> {
        if value.is_undefined() {
            return Ok(Self(Object::new()));
        }
        let object = value.dyn_ref::<Object>().ok_or_else(|| refused(&format!("{argument} must be an object")))?;
        for key in Object::keys(object).iter().filter_map(|key| key.as_string()) {
            if !names.contains(&key.as_str()) {
                return Err(refused(&format!("{argument} has {key:?}; it may have {}", names.join(", "))));
            }
        }
        Ok(Self(object.clone()))
    }

    /// A property, none where it is undefined.
    pub fn value(&self, name: &str) -> Result<Option<JsValue>> {
        Ok(Some(Reflect::get(&self.0, &name.into())?).filter(|value| !value.is_undefined()))
    }

    /// A property read by one of [`text`]'s functions.
    pub fn read<T>(&self, name: &str, parse: fn(&str) -> std::result::Result<T, String>) -> Result<Option<T>> {
        self.value(name)?.map(|value| read(name, &value, parse)).transpose()
    }
}
