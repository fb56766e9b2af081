//! What must hold of a file's bytes before they are decoded: no message reaches past the one that it is in, and none is
//! nested too deeply. The decoder trusts both.
//!
//! A message of two bytes becomes some hundred bytes in memory; so there may only be so many.

/// How deep messages may be nested. A model's weights and types are eight deep; each graph inside a node is three more.
const DEEPEST: usize = 24;

/// The most messages. A large network has some hundred thousand.
const MOST: usize = 1 << 21;

/// The fields that are messages themselves, for each kind of message.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Other,
}

impl Message {
    /// The kind of message that a field holds; none if it holds no message that matters.
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Graph, 1) => Some(Self::Node),
            (Self::Node, 5) => Some(Self::Attribute),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Some(Self::Tensor),
            (Self::Model, 8 | 14 | 20 | 25)
            | (Self::Graph, 8 | 11..=15)
            | (Self::Attribute, 14 | 15)
            | (Self::Tensor, 3 | 13 | 16) => Some(Self::Other),
            _ => None,
        }
    }

    /// Whether a field of many numbers ends where one of them does.
    fn is_whole(self, number: u64, mut field: &[u8]) -> bool {
        match (self, number) {
            (Self::Tensor, 4) => field.len().is_multiple_of(4),
            (Self::Tensor, 10) => field.len().is_multiple_of(8),
            (Self::Tensor, 5 | 7) => {
                while !field.is_empty() {
                    if varint(&mut field).is_none() {
                        return false;
                    }
                }
                true
            }
            _ => true,
        }
    }
}

/// Checks the bytes of a model.
///
/// # Errors
/// Where they are damaged, and how.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    message(bytes, 0, Message::Model, 0, &mut 0)
}

/// Checks one message, which starts so many bytes into the file.
fn message(bytes: &[u8], offset: usize, kind: Message, depth: usize, seen: &mut usize) -> Result<(), String> {
    *seen += 1;
    if *seen > MOST {
        return Err(format!("at byte {offset}: there are more than {MOST} messages"));
    }
    if depth > DEEPEST {
        return Err(format!("at byte {offset}: messages are nested more than {DEEPEST} deep"));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = offset + bytes.len() - rest.len();
        let damaged = |what: &str| format!("at byte {at}: {what}");
        let tag = varint(&mut rest).ok_or_else(|| damaged("a field's number is cut off"))?;
        let length = match tag & 7 {
            0 => {
                varint(&mut rest).ok_or_else(|| damaged("a number is cut off"))?;
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut rest).ok_or_else(|| damaged("a length is cut off"))?,
            other => return Err(damaged(&format!("a field has the wire type {other}, which no model has"))),
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= rest.len());
        let length =
            length.ok_or_else(|| damaged(&format!("a field reaches past the {} bytes that are left", rest.len())))?;
        let (field, after) = rest.split_at(length);
        if tag & 7 == 2 {
            if let Some(inner) = kind.field(tag >> 3) {
                message(field, offset + bytes.len() - rest.len(), inner, depth + 1, seen)?;
            }
            if !kind.is_whole(tag >> 3, field) {
                return Err(damaged("the last of its numbers is cut off"));
            }
        }
        rest = after;
    }
    Ok(())
}

/// A number of seven bits a byte.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
