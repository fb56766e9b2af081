//! Standard output, which its reader may close at any time.

use std::io::{self, Write};

use crate::failure::{Failure, Outcome};

/// Writes text and ends it with a newline. A closed pipe is no failure: its reader has seen enough.
pub fn print(text: &impl std::fmt::Display) -> Outcome {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Computation(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
