//! The figures of the design, one command each: `cargo run --release -p sabre-benches -- series`.
//!
//! A benchmark makes its data once, starts each program on it in turn, and prints one line per figure; what is compared is
//! compared within one run.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod caller;
#[allow(clippy::indexing_slicing, reason = "made-up data in arrays of known length")]
mod data;
mod process;
mod series;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, Command, value_parser};

/// A program to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
}

fn cli() -> Command {
    let series = Command::new("series")
        .about("Series over gRPC from a store gateway: the four rows of the design, and memory from a 5 MB to a 1 GB answer")
        .arg(
            Arg::new("program")
                .help("NAME=BINARY of a store gateway with Thanos' arguments; more than one are compared")
                .action(ArgAction::Append)
                .default_value("sabre=target/release/sabre"),
        )
        .arg(Arg::new("work").long("work").help("Folder that keeps the data").value_parser(value_parser!(PathBuf)).required(true))
        .arg(Arg::new("pods").long("pods").help("Size of the data: 61 series a pod").value_parser(value_parser!(u32)).default_value("400"))
        .arg(
            Arg::new("frame")
                .long("frame-bytes")
                .help("Largest HTTP/2 frame that the client accepts; most clients keep to 16384")
                .value_parser(value_parser!(u32))
                .default_value("1048576"),
        );
    Command::new("sabre-benches")
        .about("The figures of the design, one command each")
        .subcommand_required(true)
        .subcommand(series)
}

#[tokio::main]
async fn main() -> Result<()> {
    let matches = cli().get_matches();
    let Some(("series", args)) = matches.subcommand() else {
        bail!("no benchmark named")
    };
    let contenders = args
        .get_many::<String>("program")
        .into_iter()
        .flatten()
        .map(|text| {
            let (name, binary) = text
                .split_once('=')
                .context("a program is given as NAME=BINARY")?;
            Ok(Contender {
                name: name.to_string(),
                binary: binary.into(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let plan = series::Plan {
        contenders,
        work: args.get_one::<PathBuf>("work").context("--work")?.clone(),
        pods: *args.get_one("pods").context("--pods")?,
        frame_bytes: *args.get_one("frame").context("--frame-bytes")?,
    };
    series::run(&plan).await
}
