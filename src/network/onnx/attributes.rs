//! The attributes of a node, and which of them were read; its name and its domain.

use std::cell::RefCell;

use rten_onnx::onnx::{AttributeProto, NodeProto, TensorProto};

/// A node's attributes. What is never asked for is not supported.
pub(super) struct Attributes<'a> {
    node: &'a NodeProto,
    read: RefCell<Vec<&'static str>>,
}

impl<'a> Attributes<'a> {
    pub fn new(node: &'a NodeProto) -> Self {
        Self { node, read: RefCell::new(Vec::new()) }
    }

    fn get(&self, name: &'static str) -> Option<&'a AttributeProto> {
        self.read.borrow_mut().push(name);
        self.node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    pub fn int(&self, name: &'static str, default: i64) -> i64 {
        self.get(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub fn optional_int(&self, name: &'static str) -> Option<i64> {
        self.get(name)?.i
    }

    pub fn ints(&self, name: &'static str) -> Option<&'a [i64]> {
        Some(&self.get(name)?.ints[..])
    }

    pub fn float(&self, name: &'static str, default: f32) -> f32 {
        self.get(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub fn optional_float(&self, name: &'static str) -> Option<f32> {
        self.get(name)?.f
    }

    pub fn floats(&self, name: &'static str) -> Option<&'a [f32]> {
        Some(&self.get(name)?.floats[..])
    }

    pub fn text(&self, name: &'static str, default: &'static str) -> &'a str {
        self.get(name).and_then(|attribute| attribute.s.as_deref()).unwrap_or(default)
    }

    pub fn tensor(&self, name: &'static str) -> Option<&'a TensorProto> {
        self.get(name)?.t.as_ref()
    }

    /// Says that an attribute changes nothing here.
    pub fn ignore(&self, names: &[&'static str]) {
        self.read.borrow_mut().extend(names);
    }

    /// The attributes that nobody asked for.
    pub fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let names = self.node.attribute.iter().filter_map(|attribute| attribute.name.as_deref());
        names.filter(|name| !read.contains(name)).map(|name| format!("attribute {name}")).collect()
    }

    /// How many outputs the node has.
    pub fn outputs(&self) -> usize {
        self.node.output.iter().filter(|name| !name.is_empty()).count()
    }
}

/// Whether operators of this domain are those of the standard.
pub(super) fn is_standard(domain: Option<&str>) -> bool {
    matches!(domain, None | Some("" | "ai.onnx"))
}

/// What a node is called: by its name, or else by its first output.
pub(super) fn node_name(number: usize, node: &NodeProto) -> String {
    match node.name.as_deref() {
        None | Some("") => node.output.first().cloned().unwrap_or_else(|| format!("node {number}")),
        Some(name) => name.to_owned(),
    }
}
