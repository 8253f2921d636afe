//! How the process ends.

use std::fmt;

/// A process that does not end with 0: the code, and what is to be said, which may have been said already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 1 failed, 2 bad configuration, 3 done in part.
    pub code: u8,
    /// Why.
    pub problem: String,
}

impl Exit {
    /// The configuration or a flag is wrong: trying again does not help.
    pub(crate) fn configuration(problem: impl fmt::Display) -> Self {
        Self {
            code: 2,
            problem: problem.to_string(),
        }
    }

    /// It failed: trying again may help.
    pub(crate) fn failed(problem: impl fmt::Display) -> Self {
        Self {
            code: 1,
            problem: problem.to_string(),
        }
    }

    /// A run that ended like this; `Ok` when all is done.
    pub(crate) fn of_run(code: u8) -> Result<(), Self> {
        let problem = match code {
            0 => return Ok(()),
            1 => "nothing that was due could be done",
            _ => "done in part, the table says what is left",
        };
        Err(Self {
            code,
            problem: problem.to_owned(),
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problem)
    }
}

impl std::error::Error for Exit {}
