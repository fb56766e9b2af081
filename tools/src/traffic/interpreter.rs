//! Statements: all invocations of a workgroup in step.

use std::collections::BTreeMap;
use std::rc::Rc;

use naga::valid::FunctionInfo;
use naga::{
    AddressSpace, Block, BuiltIn, Expression, Function, GlobalVariable, Handle, LocalVariable, Statement, SwitchValue,
};

use super::SUBGROUP;
use super::code::Code;
use super::counts::Counts;
use super::mask::Mask;
use super::memory::{Memory, SharedVariable};
use crate::Outcome;

/// A value of every invocation: the first word of all of them, then the second, and so on.
pub type Words = Vec<u32>;

/// What an expression is.
#[derive(Debug, Clone)]
pub enum Value {
    Words(Rc<Words>),
    Pointer(Rc<Pointer>),
}

/// Where each invocation points to: in words in a local variable, else in bytes.
#[derive(Debug)]
pub struct Pointer {
    pub root: Root,
    pub offsets: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
pub enum Root {
    Global(Handle<GlobalVariable>),
    Local(Handle<LocalVariable>),
}

/// A workgroup that runs.
pub struct Workgroup<'a> {
    pub code: &'a Code,
    pub memory: &'a mut Memory,
    pub counts: &'a mut Counts,
    pub shared: BTreeMap<Handle<GlobalVariable>, SharedVariable>,
    /// How many barriers all invocations have met at, the workgroup's start among them.
    pub barriers: u64,
    pub invocations: usize,
    pub all: Mask,
}

/// A call of a function that runs.
pub struct Frame<'a> {
    pub function: &'a Function,
    pub info: &'a FunctionInfo,
    pub arguments: Vec<Value>,
    /// By the expression's index.
    pub values: Vec<Option<Value>>,
    /// By the local variable's index.
    pub locals: Vec<Words>,
    /// Those that left the innermost loop or switch, and those that left a round of the innermost loop.
    breaks: Mask,
    continues: Mask,
    /// What those returned that have.
    result: Words,
}

/// Runs one workgroup of a step.
///
/// # Errors
/// What cannot be interpreted, or what the shader does wrong.
///
/// # Panics
/// With more than 2³² invocations in a workgroup.
pub fn run_workgroup(
    code: &Code,
    entry_point: &str,
    workgroup: [u32; 3],
    memory: &mut Memory,
    counts: &mut Counts,
) -> Outcome<()> {
    let found = code.module.entry_points.iter().position(|entry| entry.name == entry_point);
    let index = found.ok_or_else(|| format!("there is no entry point {entry_point}"))?;
    let entry = &code.module.entry_points[index];
    let size = entry.workgroup_size;
    let invocations = size.iter().product::<u32>() as usize;
    let mut shared = BTreeMap::new();
    for (handle, variable) in code.module.global_variables.iter() {
        if variable.space == AddressSpace::WorkGroup {
            let layout = code.layout(code.inner(variable.ty))?;
            shared.insert(handle, SharedVariable::new(layout.last().map_or(0, |last| last / 4 + 1)));
        }
    }
    let local = |invocation: usize| {
        let index = u32::try_from(invocation).expect("few invocations");
        [index % size[0], index / size[0] % size[1], index / size[0] / size[1]]
    };
    let three = |of: &dyn Fn(usize, usize) -> u32| {
        let words = (0..3).flat_map(|axis| (0..invocations).map(move |invocation| of(invocation, axis)));
        Value::Words(Rc::new(words.collect()))
    };
    let mut arguments = Vec::new();
    for argument in &entry.function.arguments {
        arguments.push(match argument.binding {
            Some(naga::Binding::BuiltIn(BuiltIn::LocalInvocationId)) => three(&|index, axis| local(index)[axis]),
            Some(naga::Binding::BuiltIn(BuiltIn::WorkGroupId)) => three(&|_, axis| workgroup[axis]),
            Some(naga::Binding::BuiltIn(BuiltIn::GlobalInvocationId)) => {
                three(&|index, axis| workgroup[axis] * size[axis] + local(index)[axis])
            }
            ref other => return Err(format!("an argument from {other:?} is not interpreted")),
        });
    }
    let all = Mask::of(invocations, |_| true);
    let mut running = Workgroup { code, memory, counts, shared, barriers: 1, invocations, all: all.clone() };
    running.call(&entry.function, code.info.get_entry_point(index), arguments, &all)?;
    Ok(())
}

impl<'a> Workgroup<'a> {
    /// Runs a function and returns what it returned.
    fn call(
        &mut self,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<Value>,
        mask: &Mask,
    ) -> Outcome<Value> {
        let result = match &function.result {
            Some(result) => self.code.words(self.code.inner(result.ty))? as usize,
            None => 0,
        };
        let none = Mask::none(self.invocations);
        let mut frame = Frame {
            function,
            info,
            arguments,
            values: vec![None; function.expressions.len()],
            locals: Vec::new(),
            breaks: none.clone(),
            continues: none,
            result: vec![0; result * self.invocations],
        };
        for (_, local) in function.local_variables.iter() {
            let words = match local.init {
                Some(init) => (*self.words_of(&mut frame, init)?).clone(),
                None => vec![0; self.code.words(self.code.inner(local.ty))? as usize * self.invocations],
            };
            frame.locals.push(words);
        }
        self.block(&mut frame, &function.body, mask.clone())?;
        Ok(Value::Words(Rc::new(frame.result)))
    }

    /// Runs a block for some invocations and returns those that come to its end.
    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, mut mask: Mask) -> Outcome<Mask> {
        for statement in block {
            if mask.is_empty() {
                break;
            }
            mask = self.statement(frame, statement, mask)?;
        }
        Ok(mask)
    }

    /// Runs a statement for some invocations and returns those that go on to the next.
    fn statement(&mut self, frame: &mut Frame<'a>, statement: &'a Statement, mask: Mask) -> Outcome<Mask> {
        let none = Mask::none(self.invocations);
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    let value = self.evaluate(frame, handle, &mask)?;
                    frame.values[handle.index()] = Some(value);
                }
            }
            Statement::Block(block) => return self.block(frame, block, mask),
            Statement::If { condition, accept, reject } => {
                let taken = self.where_true(frame, *condition, &mask)?;
                let [accepted, rejected] = [mask.and(&taken), mask.and_not(&taken)];
                self.count_branch(frame, *condition, &mask, [&accepted, &rejected]);
                let accepted = self.block(frame, accept, accepted)?;
                return Ok(accepted.or(&self.block(frame, reject, rejected)?));
            }
            Statement::Switch { selector, cases } => {
                let selected = self.words_of(frame, *selector)?;
                let has = |value: u32| Mask::of(self.invocations, |index| selected[index] == value);
                let value = |case: &SwitchValue| match *case {
                    SwitchValue::I32(value) => Some(value.cast_unsigned()),
                    SwitchValue::U32(value) => Some(value),
                    SwitchValue::Default => None,
                };
                let named =
                    cases.iter().filter_map(|case| value(&case.value)).fold(none.clone(), |all, v| all.or(&has(v)));
                let of: Vec<Mask> = cases
                    .iter()
                    .map(|case| value(&case.value).map_or_else(|| mask.and_not(&named), |v| mask.and(&has(v))))
                    .collect();
                self.count_branch(frame, *selector, &mask, [&of[0], &mask.and_not(&of[0])]);
                let outer = std::mem::replace(&mut frame.breaks, none.clone());
                let (mut ended, mut falls) = (none.clone(), none);
                for (case, own) in cases.iter().zip(of) {
                    let after = self.block(frame, &case.body, own.or(&falls))?;
                    falls = if case.fall_through { after.clone() } else { after.and_not(&after) };
                    ended = if case.fall_through { ended } else { ended.or(&after) };
                }
                return Ok(ended.or(&falls).or(&std::mem::replace(&mut frame.breaks, outer)));
            }
            Statement::Loop { body, continuing, break_if } => {
                let outer = [&mut frame.breaks, &mut frame.continues].map(|mask| std::mem::replace(mask, none.clone()));
                let mut round = mask;
                while !round.is_empty() {
                    let ended = self.block(frame, body, round)?;
                    let goes_on = ended.or(&std::mem::replace(&mut frame.continues, none.clone()));
                    round = self.block(frame, continuing, goes_on)?;
                    if let Some(condition) = break_if.filter(|_| !round.is_empty()) {
                        let breaks = round.and(&self.where_true(frame, condition, &round)?);
                        let stays = round.and_not(&breaks);
                        self.count_branch(frame, condition, &round, [&breaks, &stays]);
                        frame.breaks = frame.breaks.or(&breaks);
                        round = stays;
                    }
                }
                let [breaks, continues] = outer;
                frame.continues = continues;
                return Ok(std::mem::replace(&mut frame.breaks, breaks));
            }
            Statement::Break => {
                frame.breaks = frame.breaks.or(&mask);
                return Ok(none);
            }
            Statement::Continue => {
                frame.continues = frame.continues.or(&mask);
                return Ok(none);
            }
            Statement::Return { value } => {
                if let Some(value) = value {
                    let words = self.words_of(frame, *value)?;
                    for first in (0..words.len()).step_by(self.invocations) {
                        mask.invocations().for_each(|index| frame.result[first + index] = words[first + index]);
                    }
                }
                return Ok(none);
            }
            Statement::ControlBarrier(_) => {
                if mask != self.all {
                    return Err("not all invocations of a workgroup meet at a barrier".to_owned());
                }
                self.barriers += 1;
                self.counts.barriers += 1;
            }
            Statement::Store { pointer, value } => {
                let pointer = self.pointer(frame, *pointer)?;
                let value = self.words_of(frame, *value)?;
                self.store(frame, &pointer, &value, &mask)?;
            }
            Statement::Call { function, arguments, result } => {
                let arguments: Outcome<_> = arguments.iter().map(|argument| self.value(frame, *argument)).collect();
                let callee = &self.code.module.functions[*function];
                let returned = self.call(callee, &self.code.info[*function], arguments?, &mask)?;
                if let Some(result) = result {
                    frame.values[result.index()] = Some(returned);
                }
            }
            other => return Err(format!("the statement {other:?} is not interpreted")),
        }
        Ok(mask)
    }

    fn where_true(&mut self, frame: &mut Frame<'a>, condition: Handle<Expression>, mask: &Mask) -> Outcome<Mask> {
        let words = self.words_of(frame, condition)?;
        Ok(Mask::of(self.invocations, |index| words[index] != 0).and(mask))
    }

    /// Compilers know which way a constant leads.
    fn count_branch(&mut self, frame: &Frame<'a>, condition: Handle<Expression>, mask: &Mask, [a, b]: [&Mask; 2]) {
        if !is_constant(frame.function, condition) {
            self.counts.branches.add(mask, 1);
            self.counts.divergences += a.subgroups() + b.subgroups() - mask.subgroups();
        }
    }

    /// The numbers that a subgroup's invocations have in it, with their addresses.
    pub fn requests(pointer: &Pointer, mask: &Mask) -> Vec<Vec<(usize, u32)>> {
        mask.by_subgroup()
            .map(|lanes| lanes.map(|index| (index % SUBGROUP, pointer.offsets[index])).collect())
            .collect()
    }
}

/// Whether an expression is a constant.
pub fn is_constant(function: &Function, handle: Handle<Expression>) -> bool {
    match &function.expressions[handle] {
        Expression::Literal(_) | Expression::Constant(_) | Expression::ZeroValue(_) => true,
        Expression::Splat { value, .. } => is_constant(function, *value),
        Expression::Compose { components, .. } => components.iter().all(|&value| is_constant(function, value)),
        _ => false,
    }
}
