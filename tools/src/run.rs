//! The tools as commands.

use std::io::Write;

use sabre_runtime::clock;
use sabre_runtime::flags::Flags;

use crate::error::ToolError;
use crate::{cleanup, inspect, ls, mark, verify};

/// Runs the tool that the words of the command name, such as `["tools", "bucket", "ls"]`, and writes its answer to `out`.
///
/// # Errors
/// Whatever keeps it from its answer, and what it found that an operator has to look at.
pub async fn run(command: &[&str], flags: &Flags, out: &mut (dyn Write + Send)) -> Result<(), ToolError> {
    let now_ms = clock::now_ms();
    match command {
        [_, "bucket", "ls"] => ls::run(flags, out, now_ms).await,
        [_, "bucket", "inspect"] => inspect::run(flags, out, now_ms).await,
        [_, "bucket", "verify"] => verify::run(flags, out, now_ms).await,
        [_, "bucket", "mark"] => mark::run(flags, out, now_ms).await,
        [_, "bucket", "cleanup"] => cleanup::run(flags, out, now_ms).await,
        other => Err(ToolError::Found(format!("there is no tool {}", other.join(" ")))),
    }
}

/// Runs `work` no longer than `--timeout`.
pub(crate) async fn within<T>(
    flags: &Flags,
    work: impl Future<Output = Result<T, ToolError>>,
) -> Result<T, ToolError> {
    let patience = flags.duration("timeout")?;
    let done = tokio::time::timeout(patience, work).await;
    done.unwrap_or_else(|_| Err(ToolError::Timeout(patience.as_secs())))
}
