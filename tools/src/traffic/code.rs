//! `Code`: a shader as naga knows it, and how its types lie in memory.

use std::borrow::Cow;

use naga::proc::TypeResolution;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ArraySize, Handle, Module, Scalar, ScalarKind, Type, TypeInner};

use crate::Outcome;

/// A shader, valid.
#[derive(Debug)]
pub struct Code {
    pub(super) module: Module,
    pub(super) info: ModuleInfo,
}

impl Code {
    /// Reads WGSL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(wgsl: &str) -> Outcome<Self> {
        let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
        let info = info.map_err(|error| error.emit_to_string(wgsl))?;
        Ok(Self { module, info })
    }

    pub(super) fn inner(&self, ty: Handle<Type>) -> &TypeInner {
        &self.module.types[ty].inner
    }

    pub(super) fn resolved<'a>(&'a self, ty: &'a TypeResolution) -> &'a TypeInner {
        ty.inner_with(&self.module.types)
    }

    /// How many words a value of a type has. In registers they lie one after another.
    pub(super) fn words(&self, inner: &TypeInner) -> Outcome<u32> {
        Ok(u32::try_from(self.layout(inner)?.len()).expect("a type of a shader"))
    }

    /// Where each word of a type lies in memory, in bytes.
    pub(super) fn layout(&self, inner: &TypeInner) -> Outcome<Vec<u32>> {
        let mut offsets = Vec::new();
        self.add_layout(inner, 0, &mut offsets)?;
        Ok(offsets)
    }

    fn add_layout(&self, inner: &TypeInner, start: u32, offsets: &mut Vec<u32>) -> Outcome<()> {
        match *inner {
            TypeInner::Scalar(scalar) => {
                check(scalar)?;
                offsets.push(start);
            }
            TypeInner::Vector { size, scalar } => {
                check(scalar)?;
                offsets.extend((0..size as u32).map(|index| start + 4 * index));
            }
            TypeInner::Array { base, size: ArraySize::Constant(count), stride } => {
                for index in 0..count.get() {
                    self.add_layout(self.inner(base), start + index * stride, offsets)?;
                }
            }
            TypeInner::Struct { ref members, .. } => {
                for member in members {
                    self.add_layout(self.inner(member.ty), start + member.offset, offsets)?;
                }
            }
            _ => return Err(format!("a value of {inner:?} is not interpreted")),
        }
        Ok(())
    }

    /// What a pointer leads to, and whether that lies in registers.
    pub(super) fn pointee(&self, pointer: &TypeInner) -> Option<(Cow<'_, TypeInner>, bool)> {
        let owned = |inner| Cow::Owned(inner);
        let (inner, space) = match *pointer {
            TypeInner::Pointer { base, space } => (Cow::Borrowed(self.inner(base)), space),
            TypeInner::ValuePointer { size: Some(size), scalar, space } => {
                (owned(TypeInner::Vector { size, scalar }), space)
            }
            TypeInner::ValuePointer { size: None, scalar, space } => (owned(TypeInner::Scalar(scalar)), space),
            _ => return None,
        };
        Some((inner, space == AddressSpace::Function))
    }

    /// How many elements a type has, none for as many as are bound, and how far apart they are: in words in registers, else
    /// in bytes.
    pub(super) fn elements(&self, inner: &TypeInner, in_registers: bool) -> Outcome<(Option<u32>, u32)> {
        match *inner {
            TypeInner::Vector { size, .. } => Ok((Some(size as u32), if in_registers { 1 } else { 4 })),
            TypeInner::Array { base, size, stride } => {
                let count = match size {
                    ArraySize::Constant(count) => Some(count.get()),
                    _ => None,
                };
                Ok((count, if in_registers { self.words(self.inner(base))? } else { stride }))
            }
            _ => Err(format!("an element of {inner:?} is not interpreted")),
        }
    }

    /// Where a part of a type with a known number starts.
    pub(super) fn part(&self, inner: &TypeInner, index: u32, in_registers: bool) -> Outcome<u32> {
        let TypeInner::Struct { members, .. } = inner else {
            return Ok(index * self.elements(inner, in_registers)?.1);
        };
        if !in_registers {
            return Ok(members[index as usize].offset);
        }
        members[..index as usize].iter().map(|member| self.words(self.inner(member.ty))).sum()
    }
}

/// The scalar of which a type consists, if it is one.
pub fn scalar_kind(inner: &TypeInner) -> Outcome<ScalarKind> {
    inner.scalar_kind().ok_or_else(|| format!("an operation on {inner:?} is not interpreted"))
}

fn check(scalar: Scalar) -> Outcome<()> {
    if scalar.width == 4 || scalar.kind == ScalarKind::Bool {
        Ok(())
    } else {
        Err(format!("a {:?} of {} bytes is not interpreted", scalar.kind, scalar.width))
    }
}
