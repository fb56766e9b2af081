//! What shaders read and write: buffers, and the memory of a workgroup.

use std::collections::BTreeMap;

use crate::Outcome;

/// Buffers of 32-bit words, the stretches of them that are bound, and the uniform.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The buffers.
    pub buffers: Vec<Vec<u32>>,
    /// What is bound, by the binding's number.
    pub views: BTreeMap<u32, View>,
    /// What is bound at number 0.
    pub uniform: Vec<u32>,
}

/// A stretch of a buffer.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The buffer's index.
    pub buffer: usize,
    /// Where it starts, in words. The buffer itself starts at a multiple of 32 bytes.
    pub start: u32,
    /// How many words it has.
    pub length: u32,
    /// Whether it may be written.
    pub writes: bool,
}

impl Memory {
    /// Where a stretch of a binding is: the buffer, and the first word in there.
    fn place(&self, binding: u32, byte: u32, words: u32) -> Outcome<(View, usize)> {
        let view = *self.views.get(&binding).ok_or_else(|| format!("nothing is bound at {binding}"))?;
        let word = byte / 4;
        if !byte.is_multiple_of(4) || word.checked_add(words).is_none_or(|end| end > view.length) {
            return Err(format!("byte {byte} of binding {binding} is outside of its {} words", view.length));
        }
        Ok((view, (view.start + word) as usize))
    }

    /// Where in its buffer, in bytes, a byte of a binding is.
    pub(super) fn address(&self, binding: u32, byte: u32) -> u32 {
        self.views.get(&binding).map_or(0, |view| 4 * view.start) + byte
    }

    pub(super) fn read(&self, binding: u32, byte: u32, words: u32) -> Outcome<&[u32]> {
        let (view, first) = self.place(binding, byte, words)?;
        Ok(&self.buffers[view.buffer][first..first + words as usize])
    }

    pub(super) fn write(&mut self, binding: u32, byte: u32, values: &[u32]) -> Outcome<()> {
        let words = u32::try_from(values.len()).expect("a vector");
        let (view, first) = self.place(binding, byte, words)?;
        if !view.writes {
            return Err(format!("binding {binding} is written, which the program does not say"));
        }
        self.buffers[view.buffer][first..first + values.len()].copy_from_slice(values);
        Ok(())
    }

    pub(super) fn uniform(&self, byte: u32) -> Outcome<u32> {
        let word = self.uniform.get(byte as usize / 4).copied();
        word.ok_or_else(|| format!("byte {byte} of the uniform is past its {} words", self.uniform.len()))
    }
}

/// A variable in workgroup memory. Running in step hides a barrier that is missing, so it is looked for here.
#[derive(Debug, Clone)]
pub struct SharedVariable {
    words: Vec<Word>,
}

/// A word, and who used it last: between which barriers, and which invocation.
#[derive(Debug, Clone, Copy)]
struct Word {
    bits: u32,
    written: (u64, usize),
    read: (u64, usize),
}

/// No invocation's number: several have read the word.
const SEVERAL: usize = usize::MAX;

impl SharedVariable {
    /// Its words are NaN before they are written: a kernel may not read what it has not written.
    pub fn new(words: u32) -> Self {
        let word = Word { bits: f32::NAN.to_bits(), written: (0, 0), read: (0, 0) };
        Self { words: vec![word; words as usize] }
    }

    fn word(&mut self, byte: u32) -> Outcome<&mut Word> {
        let count = self.words.len();
        let word = self.words.get_mut(byte as usize / 4);
        word.ok_or_else(|| format!("byte {byte} of workgroup memory is past its {count} words"))
    }

    /// Reads a word after so many barriers, the first of which is the workgroup's start.
    pub fn read(&mut self, byte: u32, invocation: usize, barriers: u64) -> Outcome<u32> {
        let word = self.word(byte)?;
        if word.written.0 == barriers && word.written.1 != invocation {
            return Err(format!("byte {byte} of workgroup memory is read without a barrier after it was written"));
        }
        let is_shared = word.read.0 == barriers && word.read.1 != invocation;
        word.read = (barriers, if is_shared { SEVERAL } else { invocation });
        Ok(word.bits)
    }

    /// Writes a word.
    pub fn write(&mut self, byte: u32, bits: u32, invocation: usize, barriers: u64) -> Outcome<()> {
        let word = self.word(byte)?;
        let is_others = |(at, by): (u64, usize)| at == barriers && by != invocation;
        if is_others(word.written) || is_others(word.read) {
            return Err(format!("byte {byte} of workgroup memory is written without a barrier after another's use"));
        }
        (word.bits, word.written) = (bits, (barriers, invocation));
        Ok(())
    }
}
