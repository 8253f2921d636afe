//! The figures of the design, one command each: `cargo run --release -p sabre-benches -- series`.
//!
//! A benchmark makes its data once, starts each program on it in turn, and prints one line per figure; what is compared is
//! compared within one run.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bucket;
mod caller;
mod compact;
#[allow(clippy::indexing_slicing, reason = "made-up data in arrays of known length")]
mod data;
mod metrics;
mod process;
mod query;
mod series;
mod sidecar_idle;
mod store_start;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// Names the binary of Thanos.
const THANOS_VARIABLE: &str = "SABRE_BENCH_THANOS";

/// A program to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
}

fn cli() -> Command {
    let series = Command::new("series")
        .about("Series over gRPC from a store gateway: the four rows of the design, and memory from a 5 MB to a 1 GB answer")
        .arg(programs("store gateway"))
        .arg(thanos())
        .arg(work())
        .arg(pods())
        .arg(
            Arg::new("frame")
                .long("frame-bytes")
                .help("Largest HTTP/2 frame that the client accepts; most clients keep to 16384")
                .value_parser(value_parser!(u32))
                .default_value("1048576"),
        )
        .arg(
            Arg::new("row")
                .long("row")
                .help("Only rows whose name has this in it: 'large answer', '4 callers', 'small answer', 'labels only'"),
        )
        .arg(
            Arg::new("bucket")
                .long("bucket")
                .help("Where the blocks lie; for an S3 server also requests, bytes and round trips, and a bare loop of range reads")
                .value_parser(bucket::Kind::NAMES)
                .default_value("filesystem"),
        )
        .arg(
            Arg::new("versitygw")
                .long("versitygw")
                .help("Binary of VersityGW, for the S3 servers")
                .value_parser(value_parser!(PathBuf))
                .default_value("versitygw"),
        );
    let sidecar_idle = Command::new("sidecar-idle")
        .about("Memory of a sidecar that has nothing to do, beside a real Prometheus")
        .arg(programs("sidecar"))
        .arg(thanos())
        .arg(
            Arg::new("prometheus")
                .long("prometheus")
                .help("Binary of Prometheus")
                .value_parser(value_parser!(PathBuf))
                .default_value("prometheus"),
        )
        .arg(work())
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .help("How long each is watched")
                .value_parser(value_parser!(u64))
                .default_value("45"),
        );
    let compact = Command::new("compact")
        .about("The rows of the compactor: compaction, penalty, downsampling; sparse for memory by the number of series")
        .arg(programs("compactor"))
        .arg(
            Arg::new("row")
                .long("row")
                .help("Which row")
                .value_parser(compact::Row::NAMES)
                .required(true),
        )
        .arg(work())
        .arg(pods());
    let query = Command::new("query")
        .about("PromQL over HTTP from a querier before a store gateway: time, CPU and memory of both")
        .arg(programs("store gateway and querier"))
        .arg(work())
        .arg(pods());
    let store_start = Command::new("store-start")
        .about("How a store gateway starts on a bucket of many tiny blocks: requests and seconds, from nothing and from disk")
        .arg(programs("store gateway"))
        .arg(thanos())
        .arg(work())
        .arg(
            Arg::new("blocks")
                .long("blocks")
                .help("Blocks in the bucket")
                .value_parser(value_parser!(u32))
                .default_value("10000"),
        );
    Command::new("sabre-benches")
        .about("The figures of the design, one command each")
        .subcommand_required(true)
        .subcommand(series)
        .subcommand(sidecar_idle)
        .subcommand(store_start)
        .subcommand(compact)
        .subcommand(query)
}

fn programs(what: &str) -> Arg {
    Arg::new("program")
        .help(format!(
            "NAME=BINARY of a {what} with Thanos' arguments; more than one are compared"
        ))
        .action(ArgAction::Append)
        .default_value("sabre=target/release/sabre")
}

fn work() -> Arg {
    Arg::new("work")
        .long("work")
        .help("Folder that keeps the data")
        .value_parser(value_parser!(PathBuf))
        .required(true)
}

fn pods() -> Arg {
    Arg::new("pods")
        .long("pods")
        .help("Size of the data: 61 series a pod")
        .value_parser(value_parser!(u32))
        .default_value("400")
}

fn thanos() -> Arg {
    Arg::new("thanos")
        .long("thanos")
        .help(format!(
            "Binary of Thanos, to be run beside; {THANOS_VARIABLE} names it too"
        ))
        .value_parser(value_parser!(PathBuf))
}

/// Those that are named, and Thanos if it is said where that is. Figures are compared within one run, so a run without it
/// says so.
fn contenders_and_thanos(args: &ArgMatches) -> Result<Vec<Contender>> {
    let mut all = contenders(args)?;
    let given = args.get_one::<PathBuf>("thanos").cloned();
    let given = given.or_else(|| std::env::var_os(THANOS_VARIABLE).map(PathBuf::from));
    let is_named = all.iter().any(|contender| contender.name == "thanos");
    match given {
        Some(binary) if !is_named => all.push(Contender {
            name: "thanos".to_owned(),
            binary,
        }),
        _ if is_named => {}
        _ => println!("thanos\tnot run beside: neither --thanos nor {THANOS_VARIABLE} says where it is"),
    }
    Ok(all)
}

fn contenders(args: &ArgMatches) -> Result<Vec<Contender>> {
    args.get_many::<String>("program")
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
        .collect()
}

#[tokio::main]
async fn main() -> Result<()> {
    let matches = cli().get_matches();
    match matches.subcommand() {
        Some(("series", args)) => {
            let plan = series::Plan {
                contenders: contenders_and_thanos(args)?,
                work: args.get_one::<PathBuf>("work").context("--work")?.clone(),
                pods: *args.get_one("pods").context("--pods")?,
                frame_bytes: *args.get_one("frame").context("--frame-bytes")?,
                row: args.get_one::<String>("row").cloned(),
            };
            let kind = args.get_one::<String>("bucket").context("--bucket")?;
            let kind = bucket::Kind::named(kind).context("--bucket")?;
            let versitygw = args.get_one::<PathBuf>("versitygw").context("--versitygw")?;
            series::run(&plan, kind, versitygw).await
        }
        Some(("sidecar-idle", args)) => {
            let plan = sidecar_idle::Plan {
                contenders: contenders_and_thanos(args)?,
                prometheus: args
                    .get_one::<PathBuf>("prometheus")
                    .context("--prometheus")?
                    .clone(),
                work: args.get_one::<PathBuf>("work").context("--work")?.clone(),
                watch: Duration::from_secs(*args.get_one("seconds").context("--seconds")?),
            };
            sidecar_idle::run(&plan).await
        }
        Some(("query", args)) => {
            let plan = query::Plan {
                contenders: contenders(args)?,
                work: args.get_one::<PathBuf>("work").context("--work")?.clone(),
                pods: *args.get_one("pods").context("--pods")?,
            };
            query::run(&plan).await
        }
        Some(("store-start", args)) => {
            let plan = store_start::Plan {
                contenders: contenders_and_thanos(args)?,
                work: args.get_one::<PathBuf>("work").context("--work")?.clone(),
                blocks: *args.get_one("blocks").context("--blocks")?,
            };
            store_start::run(&plan).await
        }
        Some(("compact", args)) => {
            let row = args.get_one::<String>("row").context("--row")?;
            let plan = compact::Plan {
                contenders: contenders(args)?,
                work: args.get_one::<PathBuf>("work").context("--work")?.clone(),
                pods: *args.get_one("pods").context("--pods")?,
                row: compact::Row::named(row).context("--row")?,
            };
            compact::run(&plan).await
        }
        _ => bail!("no benchmark named"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Vec<String> {
        let matches =
            cli().get_matches_from([&["sabre-benches", "sidecar-idle", "--work=x"], arguments].concat());
        let (_, args) = matches.subcommand().unwrap();
        let all = contenders_and_thanos(args).unwrap();
        all.into_iter().map(|contender| contender.name).collect()
    }

    #[test]
    fn thanos_runs_beside_where_it_is_said_where_it_is() {
        assert_eq!(names(&["--thanos=/bin/thanos"]), ["sabre", "thanos"]);
        assert_eq!(names(&["sabre=a", "thanos=b"]), ["sabre", "thanos"]);
        if std::env::var_os(THANOS_VARIABLE).is_none() {
            assert_eq!(names(&[]), ["sabre"]);
        }
    }
}
