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

#[cfg(test)]
mod tests {
    use sabre_runtime::flags::parse_groups;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tool_takes_no_longer_than_the_flag_says() {
        let bucket = crate::flags::command().commands.remove(0);
        for tool in ["ls", "inspect"] {
            let found = bucket.commands.iter().find(|command| command.name == tool);
            let arguments = [
                "--objstore.config={type: FILESYSTEM, config: {directory: /}}",
                "--timeout=7s",
            ];
            let groups = [&bucket.groups[..], &found.unwrap().groups].concat();
            let flags = parse_groups(&groups, &arguments)
                .map_err(|error| error.text)
                .unwrap();
            let start = tokio::time::Instant::now();
            let outcome = within(&flags, std::future::pending::<Result<(), ToolError>>()).await;
            assert_eq!(start.elapsed().as_secs(), 7);
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("7 s") && error.contains("--timeout"), "{error}");
            within(&flags, async { Ok(()) }).await.unwrap();
        }
    }
}
