//! Expressions, and what they and stores ask of memory.

use std::rc::Rc;

use naga::{
    AddressSpace, BinaryOperator, Expression, Function, Handle, Literal, MathFunction, RelationalFunction, ScalarKind,
    TypeInner,
};

use super::arithmetic;
use super::code::scalar_kind;
use super::interpreter::{Frame, Pointer, Root, Value, Words, Workgroup, is_constant};
use super::mask::Mask;
use crate::Outcome;

impl<'a> Workgroup<'a> {
    /// What an expression is. Those that no statement makes are constants, variables and arguments.
    pub fn value(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Outcome<Value> {
        if let Some(value) = &frame.values[handle.index()] {
            return Ok(value.clone());
        }
        let all = self.all.clone();
        let value = self.evaluate(frame, handle, &all)?;
        frame.values[handle.index()] = Some(value.clone());
        Ok(value)
    }

    pub fn words_of(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Outcome<Rc<Words>> {
        match self.value(frame, handle)? {
            Value::Words(words) => Ok(words),
            Value::Pointer(_) => Err("a pointer as a value is not interpreted".to_owned()),
        }
    }

    pub fn pointer(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Outcome<Rc<Pointer>> {
        match self.value(frame, handle)? {
            Value::Pointer(pointer) => Ok(pointer),
            Value::Words(_) => Err("a value as a pointer is not interpreted".to_owned()),
        }
    }

    fn inner(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> &'a TypeInner {
        self.code.resolved(&frame.info[handle].ty)
    }

    /// Makes the value of an expression. Only loads and dynamic indices look at which invocations want it.
    pub fn evaluate(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>, mask: &Mask) -> Outcome<Value> {
        let function: &'a Function = frame.function;
        let to = |root, offsets| Ok(Value::Pointer(Rc::new(Pointer { root, offsets })));
        let words = match &function.expressions[handle] {
            Expression::FunctionArgument(index) => return Ok(frame.arguments[*index as usize].clone()),
            Expression::GlobalVariable(variable) => return to(Root::Global(*variable), vec![0; self.invocations]),
            Expression::LocalVariable(variable) => return to(Root::Local(*variable), vec![0; self.invocations]),
            Expression::Access { base, index } => {
                let index = self.words_of(frame, *index)?;
                return self.element(frame, *base, &index, mask);
            }
            Expression::AccessIndex { base, index } => return self.part(frame, *base, *index),
            Expression::Load { pointer } => {
                let pointer = self.pointer(frame, *pointer)?;
                self.load(frame, &pointer, self.inner(frame, handle), mask)?
            }
            Expression::Literal(literal) => vec![literal_bits(*literal)?; self.invocations],
            Expression::Constant(constant) => {
                let mut words = Vec::new();
                self.constant(self.code.module.constants[*constant].init, &mut words)?;
                words.into_iter().flat_map(|word| vec![word; self.invocations]).collect()
            }
            Expression::ZeroValue(ty) => vec![0; self.code.words(self.code.inner(*ty))? as usize * self.invocations],
            Expression::Compose { components, .. } => {
                let mut words = Vec::new();
                for component in components {
                    words.extend_from_slice(&self.words_of(frame, *component)?);
                }
                words
            }
            Expression::Splat { size, value } => self.words_of(frame, *value)?.repeat(*size as usize),
            Expression::Swizzle { size, vector, pattern } => {
                let vector = self.words_of(frame, *vector)?;
                let taken = pattern.iter().take(*size as usize).map(|&component| component as usize * self.invocations);
                taken.flat_map(|first| vector[first..first + self.invocations].to_vec()).collect()
            }
            Expression::Unary { op, expr } => {
                let kind = scalar_kind(self.inner(frame, *expr))?;
                let words = self.words_of(frame, *expr)?;
                self.count(kind, mask, words.len());
                let operation = arithmetic::unary(*op, kind)?;
                words.iter().map(|&word| operation(word)).collect()
            }
            Expression::Binary { op, left, right } => self.binary(frame, *op, [*left, *right], mask)?,
            Expression::Select { condition, accept, reject } => {
                let condition = self.words_of(frame, *condition)?;
                let [accept, reject] = [self.words_of(frame, *accept)?, self.words_of(frame, *reject)?];
                let one = condition.len() == self.invocations;
                let is_true = |index: usize| condition[if one { index % self.invocations } else { index }] != 0;
                (0..accept.len()).map(|index| if is_true(index) { accept[index] } else { reject[index] }).collect()
            }
            Expression::Relational { fun, argument } => {
                let words = self.words_of(frame, *argument)?;
                let of = |index: usize| words[index..].iter().step_by(self.invocations);
                let holds = |index: usize| match fun {
                    RelationalFunction::All => Ok(of(index).all(|&word| word != 0)),
                    RelationalFunction::Any => Ok(of(index).any(|&word| word != 0)),
                    other => Err(format!("{other:?} is not interpreted")),
                };
                (0..self.invocations).map(|index| holds(index).map(u32::from)).collect::<Outcome<_>>()?
            }
            Expression::Math { fun, arg, arg1, arg2, arg3: None } => {
                let kind = scalar_kind(self.inner(frame, *arg))?;
                let first = self.words_of(frame, *arg)?;
                let [second, third] = [*arg1, *arg2].map(|arg| arg.map(|arg| self.words_of(frame, arg)).transpose());
                let [second, third] = [second?, third?];
                let operation = arithmetic::math(*fun, kind)?;
                if *fun == MathFunction::Fma {
                    self.counts.multiply_adds.add(mask, first.len() / self.invocations);
                } else {
                    self.count(kind, mask, first.len());
                }
                let at = |words: &Option<Rc<Words>>, index: usize| words.as_ref().map_or(0, |words| words[index]);
                (0..first.len()).map(|index| operation([first[index], at(&second, index), at(&third, index)])).collect()
            }
            Expression::As { expr, kind, convert } => {
                let from = scalar_kind(self.inner(frame, *expr))?;
                let words = self.words_of(frame, *expr)?;
                match convert {
                    None => return Ok(Value::Words(words)),
                    Some(4 | 1) => {}
                    Some(width) => return Err(format!("a conversion to {width} bytes is not interpreted")),
                }
                let operation = arithmetic::convert(from, *kind)?;
                words.iter().map(|&word| operation(word)).collect()
            }
            other => return Err(format!("the expression {other:?} is not interpreted")),
        };
        Ok(Value::Words(Rc::new(words)))
    }

    /// The words of an expression outside of functions, once for all invocations.
    fn constant(&self, handle: Handle<Expression>, words: &mut Words) -> Outcome<()> {
        match &self.code.module.global_expressions[handle] {
            Expression::Literal(literal) => words.push(literal_bits(*literal)?),
            Expression::Constant(constant) => self.constant(self.code.module.constants[*constant].init, words)?,
            Expression::ZeroValue(ty) => words.extend(vec![0; self.code.words(self.code.inner(*ty))? as usize]),
            Expression::Compose { components, .. } => {
                components.iter().try_for_each(|component| self.constant(*component, words))?;
            }
            Expression::Splat { size, value } => (0..*size as usize).try_for_each(|_| self.constant(*value, words))?,
            other => return Err(format!("the constant {other:?} is not interpreted")),
        }
        Ok(())
    }

    fn count(&mut self, kind: ScalarKind, mask: &Mask, words: usize) {
        let times = words / self.invocations;
        match kind {
            ScalarKind::Float => self.counts.floats.add(mask, times),
            ScalarKind::Sint | ScalarKind::Uint => self.counts.integers.add(mask, times),
            _ => {}
        }
    }

    fn binary(
        &mut self,
        frame: &mut Frame<'a>,
        operator: BinaryOperator,
        operands: [Handle<Expression>; 2],
        mask: &Mask,
    ) -> Outcome<Words> {
        let kind = scalar_kind(self.inner(frame, operands[0]))?;
        let [left, right] = [self.words_of(frame, operands[0])?, self.words_of(frame, operands[1])?];
        let operation = arithmetic::binary(operator, kind)?;
        let length = left.len().max(right.len());
        let times = length / self.invocations;
        let is_product = |operand: &Handle<Expression>| {
            matches!(frame.function.expressions[*operand], Expression::Binary { op: BinaryOperator::Multiply, .. })
        };
        let adds = matches!(operator, BinaryOperator::Add | BinaryOperator::Subtract);
        if kind == ScalarKind::Float && adds && operands.iter().any(is_product) {
            // The product was counted when it was made.
            self.counts.floats.take_back(mask, times);
            self.counts.multiply_adds.add(mask, times);
        } else {
            self.count(kind, mask, length);
        }
        let divides = matches!(operator, BinaryOperator::Divide | BinaryOperator::Modulo);
        if kind != ScalarKind::Float && divides && !is_constant(frame.function, operands[1]) {
            self.counts.divisions.add(mask, times);
        }
        // One of them may be a scalar.
        let at =
            |words: &Words, index: usize| words[if words.len() == length { index } else { index % self.invocations }];
        Ok((0..length).map(|index| operation(at(&left, index), at(&right, index))).collect())
    }

    /// An element whose number each invocation has.
    fn element(
        &mut self,
        frame: &mut Frame<'a>,
        base: Handle<Expression>,
        index: &Words,
        mask: &Mask,
    ) -> Outcome<Value> {
        let inner = self.inner(frame, base);
        let target = self.code.pointee(inner);
        let (inner, in_registers) = target.as_ref().map_or((inner, true), |(inner, local)| (&**inner, *local));
        let (count, stride) = self.code.elements(inner, in_registers)?;
        let mut asked = mask.invocations().map(|invocation| index[invocation]);
        if let Some(wrong) = asked.find(|&index| count.is_some_and(|count| index >= count)) {
            return Err(format!("element {wrong} of {}", count.unwrap_or(0)));
        }
        match self.value(frame, base)? {
            Value::Pointer(pointer) => {
                let offsets = pointer.offsets.iter().zip(index);
                let offsets = offsets.map(|(offset, index)| offset.wrapping_add(index.wrapping_mul(stride))).collect();
                Ok(Value::Pointer(Rc::new(Pointer { root: pointer.root, offsets })))
            }
            Value::Words(words) => {
                let mut taken = vec![0; stride as usize * self.invocations];
                for word in 0..stride as usize {
                    for lane in mask.invocations() {
                        let from = index[lane] as usize * stride as usize + word;
                        taken[word * self.invocations + lane] = words[from * self.invocations + lane];
                    }
                }
                Ok(Value::Words(Rc::new(taken)))
            }
        }
    }

    /// A part whose number the shader names.
    fn part(&mut self, frame: &mut Frame<'a>, base: Handle<Expression>, index: u32) -> Outcome<Value> {
        let inner = self.inner(frame, base);
        let target = self.code.pointee(inner);
        let (inner, in_registers) = target.as_ref().map_or((inner, true), |(inner, local)| (&**inner, *local));
        let start = self.code.part(inner, index, in_registers)?;
        match self.value(frame, base)? {
            Value::Pointer(pointer) => {
                let offsets = pointer.offsets.iter().map(|offset| offset.wrapping_add(start)).collect();
                Ok(Value::Pointer(Rc::new(Pointer { root: pointer.root, offsets })))
            }
            Value::Words(words) => {
                let length = match inner {
                    TypeInner::Struct { members, .. } => {
                        self.code.words(self.code.inner(members[index as usize].ty))?
                    }
                    _ => self.code.elements(inner, true)?.1,
                };
                let [start, length] = [start, length].map(|words| words as usize * self.invocations);
                Ok(Value::Words(Rc::new(words[start..start + length].to_vec())))
            }
        }
    }

    fn load(&mut self, frame: &Frame<'a>, pointer: &Pointer, inner: &TypeInner, mask: &Mask) -> Outcome<Words> {
        let layout = self.code.layout(inner)?;
        let mut words = vec![0; layout.len() * self.invocations];
        let variable = match pointer.root {
            Root::Local(handle) => {
                let local = &frame.locals[handle.index()];
                for word in 0..layout.len() {
                    for lane in mask.invocations() {
                        let from = pointer.offsets[lane] as usize + word;
                        words[word * self.invocations + lane] = local[from * self.invocations + lane];
                    }
                }
                return Ok(words);
            }
            Root::Global(handle) => handle,
        };
        let global = &self.code.module.global_variables[variable];
        let count = u32::try_from(layout.len()).expect("a type of a shader");
        match (global.space, &global.binding) {
            (AddressSpace::Uniform, _) => {
                for (word, offset) in layout.iter().enumerate() {
                    for lane in mask.invocations() {
                        words[word * self.invocations + lane] = self.memory.uniform(pointer.offsets[lane] + offset)?;
                    }
                }
            }
            (AddressSpace::Storage { .. }, Some(binding)) => {
                let name = global.name.as_deref().unwrap_or_default();
                check_vector(inner, name)?;
                for lane in mask.invocations() {
                    let read = self.memory.read(binding.binding, pointer.offsets[lane], count);
                    let read = read.map_err(|error| format!("{name}: {error}"))?;
                    for (word, &bits) in read.iter().enumerate() {
                        words[word * self.invocations + lane] = bits;
                    }
                }
                let traffic = self.counts.buffers.entry(name.to_owned()).or_default();
                for request in Self::requests(pointer, mask) {
                    let addresses = request.iter().map(|(_, byte)| self.memory.address(binding.binding, *byte));
                    traffic.loads.add(&addresses.collect::<Vec<_>>(), count);
                }
            }
            (AddressSpace::WorkGroup, _) => {
                check_vector(inner, "workgroup memory")?;
                let shared = self.shared.get_mut(&variable).expect("every variable of the workgroup");
                for (word, offset) in layout.iter().enumerate() {
                    for lane in mask.invocations() {
                        let bits = shared.read(pointer.offsets[lane] + offset, lane, self.barriers)?;
                        words[word * self.invocations + lane] = bits;
                    }
                }
                for request in Self::requests(pointer, mask) {
                    self.counts.shared.loads.add(&request, count);
                }
            }
            (space, _) => return Err(format!("a load from {space:?} is not interpreted")),
        }
        Ok(words)
    }

    pub fn store(&mut self, frame: &mut Frame<'a>, pointer: &Pointer, words: &Words, mask: &Mask) -> Outcome<()> {
        let length = words.len() / self.invocations;
        let variable = match pointer.root {
            Root::Local(handle) => {
                let local = &mut frame.locals[handle.index()];
                for word in 0..length {
                    for lane in mask.invocations() {
                        let to = pointer.offsets[lane] as usize + word;
                        local[to * self.invocations + lane] = words[word * self.invocations + lane];
                    }
                }
                return Ok(());
            }
            Root::Global(handle) => handle,
        };
        let global = &self.code.module.global_variables[variable];
        let count = u32::try_from(length).expect("a vector");
        if count > 4 {
            return Err("a store of more than four values is not interpreted".to_owned());
        }
        match (global.space, &global.binding) {
            (AddressSpace::Storage { .. }, Some(binding)) => {
                let name = global.name.as_deref().unwrap_or_default();
                for lane in mask.invocations() {
                    let value: Words = (0..length).map(|word| words[word * self.invocations + lane]).collect();
                    let written = self.memory.write(binding.binding, pointer.offsets[lane], &value);
                    written.map_err(|error| format!("{name}: {error}"))?;
                }
                let traffic = self.counts.buffers.entry(name.to_owned()).or_default();
                for request in Self::requests(pointer, mask) {
                    let addresses = request.iter().map(|(_, byte)| self.memory.address(binding.binding, *byte));
                    traffic.stores.add(&addresses.collect::<Vec<_>>(), count);
                }
            }
            (AddressSpace::WorkGroup, _) => {
                let shared = self.shared.get_mut(&variable).expect("every variable of the workgroup");
                for (word, offset) in (0..length).zip((0_u32..).step_by(4)) {
                    for lane in mask.invocations() {
                        let bits = words[word * self.invocations + lane];
                        shared.write(pointer.offsets[lane] + offset, bits, lane, self.barriers)?;
                    }
                }
                for request in Self::requests(pointer, mask) {
                    self.counts.shared.stores.add(&request, count);
                }
            }
            (space, _) => return Err(format!("a store to {space:?} is not interpreted")),
        }
        Ok(())
    }
}

/// What is loaded at a time from where requests are counted.
fn check_vector(inner: &TypeInner, name: &str) -> Outcome<()> {
    match inner {
        TypeInner::Scalar(_) | TypeInner::Vector { .. } => Ok(()),
        _ => Err(format!("a load of a whole {inner:?} from {name} is not interpreted")),
    }
}

fn literal_bits(literal: Literal) -> Outcome<u32> {
    match literal {
        Literal::F32(value) => Ok(value.to_bits()),
        Literal::U32(value) => Ok(value),
        Literal::I32(value) => Ok(value.cast_unsigned()),
        Literal::Bool(value) => Ok(value.into()),
        other => Err(format!("the literal {other:?} is not interpreted")),
    }
}
