//! Why the command stops, and with which exit status.

use std::fmt;

/// A reason to stop.
#[derive(Debug)]
pub enum Failure {
    /// The request was bad: exit status 2.
    Request(String),
    /// The computation failed: exit status 1.
    Computation(String),
}

/// What a subcommand returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The same, said of something.
    pub fn within(self, what: &str) -> Self {
        match self {
            Self::Request(message) => Self::Request(format!("{what}: {message}")),
            Self::Computation(message) => Self::Computation(format!("{what}: {message}")),
        }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Computation(_) => 1,
            Self::Request(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Request(message) | Self::Computation(message)) = self;
        f.write_str(message)
    }
}

impl From<sepconv::Error> for Failure {
    fn from(error: sepconv::Error) -> Self {
        if error.is_request() { Self::Request(error.to_string()) } else { Self::Computation(error.to_string()) }
    }
}
