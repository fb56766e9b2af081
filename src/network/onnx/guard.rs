//! What must hold of a file's bytes before they are decoded: no message reaches past the one that it is in, and none is
//! nested too deeply. The decoder trusts both.

/// How deep messages may be nested. A model's weights and types are eight deep; each graph inside a node is three more.
const DEEPEST: usize = 24;

/// The fields that are messages themselves, for each kind of message.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Other,
}

impl Message {
    /// The kind of message that a field holds; none if it holds no message that matters.
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Graph, 1) => Some(Self::Node),
            (Self::Node, 5) => Some(Self::Attribute),
            (Self::Model, 8 | 14 | 20 | 25) | (Self::Graph, 5 | 8 | 11..=15) | (Self::Attribute, 5 | 10 | 14 | 15) => {
                Some(Self::Other)
            }
            _ => None,
        }
    }
}

/// Checks the bytes of a model.
///
/// # Errors
/// Where they are damaged, and how.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    message(bytes, 0, Message::Model, 0)
}

/// Checks one message, which starts so many bytes into the file.
fn message(bytes: &[u8], offset: usize, kind: Message, depth: usize) -> Result<(), String> {
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
        if tag & 7 == 2
            && let Some(inner) = kind.field(tag >> 3)
        {
            message(field, offset + bytes.len() - rest.len(), inner, depth + 1)?;
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
