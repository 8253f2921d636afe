use sabre_model::time::TimeOrDuration;

use super::*;

const STORE: &[FlagSpec] = &[
    FlagSpec::new("data-dir", Kind::Text, "./data", "Directory for local files"),
    FlagSpec::new("wait", Kind::Bool, "false", "Run for ever").short('w'),
    FlagSpec::new(
        "cache-index-header",
        Kind::Bool,
        "true",
        "Keep index-headers on disk",
    ),
    FlagSpec::new("output", Kind::Choice(&["", "wide", "json"]), "", "Format").short('o'),
    FlagSpec::new("min-time", Kind::Time, "0000-01-01T00:00:00Z", "Start"),
    FlagSpec::new(
        "sync-block-duration",
        Kind::DURATION,
        "15m",
        "How often blocks are listed",
    ),
    FlagSpec::new(
        "retention",
        Kind::Duration(DurationSyntax::Prometheus),
        "0d",
        "Age of deletion",
    ),
    FlagSpec::new("index-cache-size", Kind::Size, "250MB", "Size of the cache"),
    FlagSpec::new("concurrency", Kind::Int, "20", "Blocks at once").at_least(1),
    FlagSpec::new("ratio", Kind::Float, "0.5", "Share"),
    FlagSpec::new("endpoint", Kind::Text, "", "Endpoints").repeated(),
    FlagSpec::new("replica-label", Kind::Text, "", "Labels").comma_lists(),
    FlagSpec::new("debug.batch", Kind::Int, "10000", "Series in a batch").hidden(),
    FlagSpec::new("chunk-pool-size", Kind::Size, "2GB", "Pool")
        .ignored("memory is bounded by --sabre.memory-budget"),
    FlagSpec::new("web.prefix-header", Kind::Text, "", "Header").refused("use --web.external-prefix"),
    FlagSpec::new("web.special", Kind::Bool, "false", "Special").refused("do without"),
    FlagSpec::new(
        "even",
        Kind::Checked {
            noun: "even number",
            check: even,
        },
        "2",
        "An even number",
    ),
];

fn even(text: &str) -> Result<(), String> {
    let is_even = text.parse::<u64>().is_ok_and(|number| number % 2 == 0);
    is_even.then_some(()).ok_or_else(|| format!("{text} is not even"))
}

fn app() -> App {
    let store = CommandSpec::new("store", "Serve blocks")
        .group(FlagGroup::new("Store", STORE))
        .group(groups::objstore_required())
        .group(groups::request_logging())
        .group(groups::http())
        .group(groups::grpc_server())
        .example("Serve a bucket", "sabre store --objstore.config-file=bucket.yaml");
    let ls = CommandSpec::new("ls", "List blocks").group(FlagGroup::new("List", &STORE[3..4]));
    let bucket = CommandSpec::new("bucket", "Work on a bucket")
        .group(groups::objstore())
        .command(ls);
    let tools = CommandSpec::new("tools", "Helpers").command(bucket);
    let must = FlagSpec::new("id", Kind::Text, "", "Block").repeated().required();
    let mark = CommandSpec::new("mark", "Mark a block").group(FlagGroup::new("Mark", &[must]));
    App::new("sabre", "0.1.0 (revision abc)", "Storage for Prometheus")
        .global(groups::global())
        .command(store)
        .command(tools)
        .command(mark)
}

fn parse(arguments: &[&str]) -> Result<Parsed, CliError> {
    app().parse(["sabre"].iter().chain(arguments))
}

fn store(arguments: &[&str]) -> Result<Flags, String> {
    match parse(&[&["store"], arguments].concat()) {
        Ok(parsed) => Ok(parsed.flags),
        Err(error) => {
            assert_eq!(error.exit_code, 2);
            Err(error.text)
        }
    }
}

#[test]
fn the_tables_are_sound() {
    for path in [vec![], vec!["store"], vec!["tools", "bucket", "ls"]] {
        let app = app();
        let mut commands = app.commands().iter().collect::<Vec<_>>();
        let mut found = Vec::new();
        for name in path {
            let command = commands
                .iter()
                .find(|command| command.name == name)
                .copied()
                .unwrap();
            found.push(command);
            commands = command.commands.iter().collect();
        }
        help::command(&app, &found, true).debug_assert();
    }
}

#[test]
fn defaults_are_read_by_type() {
    let flags = store(&[]).unwrap();
    assert_eq!(flags.text("data-dir").unwrap(), "./data");
    assert!(!flags.bool("wait").unwrap() && flags.bool("cache-index-header").unwrap());
    assert_eq!(flags.duration_ms("sync-block-duration").unwrap(), 900_000);
    assert_eq!(flags.bytes("index-cache-size").unwrap(), Some(250 << 20));
    assert_eq!(flags.bytes(groups::MEMORY_BUDGET).unwrap(), None);
    assert_eq!(flags.count::<usize>("concurrency").unwrap(), 20);
    assert_eq!(flags.float("ratio").unwrap(), 0.5);
    assert_eq!(flags.list("endpoint").unwrap(), Vec::<String>::new());
    assert_eq!(
        flags.address("grpc-address").unwrap().to_string(),
        "0.0.0.0:10901"
    );
    assert!(!flags.is_given("data-dir"));
    assert_eq!(flags.notices(), Vec::<String>::new());
}

#[test]
fn values_come_with_an_equals_sign_or_as_the_next_word() {
    for arguments in [
        &["--data-dir=/d", "--min-time=-1d"][..],
        &["--data-dir", "/d", "--min-time", "-1d"],
    ] {
        let flags = store(arguments).unwrap();
        assert_eq!(
            (flags.text("data-dir").unwrap(), flags.text("min-time").unwrap()),
            ("/d", "-1d")
        );
    }
}

#[test]
fn a_value_is_cut_at_the_first_equals_sign_only() {
    let yaml = "\"config\":\n  \"addresses\": [\"dnssrv+_x._tcp=y\"]\n--data-dir=no\n";
    let flags = store(&[&format!("--objstore.config={yaml}")]).unwrap();
    assert_eq!(flags.content("objstore.config").unwrap().as_deref(), Some(yaml));
    let indented = "\n  - action: hashmod\n    regex: 0";
    let flags = store(&["--objstore.config", indented]).unwrap();
    assert_eq!(
        flags.content("objstore.config").unwrap().as_deref(),
        Some(indented)
    );
    assert_eq!(
        store(&["--data-dir==", "--endpoint="])
            .unwrap()
            .text("data-dir")
            .unwrap(),
        "="
    );
}

#[test]
fn booleans_are_written_in_five_ways() {
    for (arguments, wait, cache) in [
        (&["--wait", "--no-cache-index-header"][..], true, false),
        (&["-w", "--cache-index-header"], true, true),
        (&["--wait=true", "--cache-index-header=false"], true, false),
        (&["--no-wait"], false, true),
        (&["--wait=1", "--cache-index-header=F"], true, false),
    ] {
        let flags = store(arguments).unwrap();
        assert_eq!(
            (
                flags.bool("wait").unwrap(),
                flags.bool("cache-index-header").unwrap()
            ),
            (wait, cache)
        );
    }
    assert!(
        store(&["--wait=maybe"])
            .unwrap_err()
            .contains("--wait: true or false is wanted, not \"maybe\"")
    );
    assert!(
        store(&["--no-wait=true"])
            .unwrap_err()
            .contains("flag '--no-wait' takes no value")
    );
    assert!(
        store(&["--wait", "true"])
            .unwrap_err()
            .contains("unexpected argument 'true'")
    );
}

#[test]
fn a_single_flag_given_twice_is_refused_in_kingpins_words() {
    for arguments in [
        &["--data-dir=a", "--data-dir=a"][..],
        &["--wait", "--no-wait"],
        &["-w", "--wait"],
        &["--objstore.config-file=a", "--objstore.config-file=b"],
        &["--log.level=info", "--log.level=info"],
    ] {
        let error = store(arguments).unwrap_err();
        assert!(error.contains("cannot be repeated"), "{error}");
    }
    let error = store(&["--data-dir=a", "--data-dir=a"]).unwrap_err();
    assert!(
        error.starts_with("error: flag 'data-dir' cannot be repeated\n"),
        "{error}"
    );
    let error = store(&["--objstore.config-file=a", "--objstore.config-file=b"]).unwrap_err();
    assert!(error.contains("flag 'objstore.config-file' cannot"), "{error}");
    let error = parse(&["--log.level=info", "store", "--log.level=info"]).unwrap_err();
    assert!(error.text.contains("flag 'log.level' cannot be repeated"));
}

#[test]
fn repeatable_flags_add_up_and_comma_lists_are_cut() {
    let flags = store(&[
        "--endpoint=a,b",
        "--endpoint",
        "c",
        "--replica-label=x, y",
        "--replica-label=z,",
    ])
    .unwrap();
    assert_eq!(flags.list("endpoint").unwrap(), ["a,b", "c"]);
    assert_eq!(flags.list("replica-label").unwrap(), ["x", "y", "z"]);
}

#[test]
fn letters_take_values_and_combine() {
    for arguments in [
        &["-o", "wide"][..],
        &["-owide"],
        &["-o=wide"],
        &["-wo", "wide"],
        &["-wowide"],
    ] {
        let flags = store(arguments).unwrap();
        assert_eq!(flags.text("output").unwrap(), "wide", "{arguments:?}");
    }
    assert!(store(&["-x"]).unwrap_err().contains("unknown flag '-x'"));
    assert!(
        store(&["-o"])
            .unwrap_err()
            .contains("expected argument for flag '--output'")
    );
}

#[test]
fn a_flag_is_no_value_of_the_flag_before_it() {
    let error = store(&["--data-dir", "--wait"]).unwrap_err();
    assert_eq!(error, "error: expected argument for flag '--data-dir'\n");
    assert!(store(&["--data-dir"]).is_err());
    assert_eq!(
        store(&["--data-dir", "--unknown"])
            .unwrap()
            .text("data-dir")
            .unwrap(),
        "--unknown"
    );
}

#[test]
fn an_unknown_flag_suggests_the_nearest() {
    let error = store(&["--data-dirr=x"]).unwrap_err();
    assert_eq!(
        error,
        "error: unknown flag '--data-dirr'; did you mean '--data-dir'?\nrun 'sabre store --help' for the flags\n"
    );
    assert!(
        store(&["--zzz"])
            .unwrap_err()
            .starts_with("error: unknown flag '--zzz'\n")
    );
    let error = parse(&["--data-dirr=x", "store"]).unwrap_err();
    assert!(
        error.text.contains("did you mean '--data-dir'?"),
        "{}",
        error.text
    );
}

#[test]
fn wrong_values_name_the_flag() {
    for (argument, problem) in [
        ("--sync-block-duration=15", "--sync-block-duration: "),
        ("--retention=1.5h", "--retention: "),
        (
            "--index-cache-size=much",
            "--index-cache-size: not a size in bytes: \"much\"",
        ),
        (
            "--concurrency=0",
            "--concurrency: 0 is too small, at least 1 is wanted",
        ),
        (
            "--concurrency=many",
            "--concurrency: a whole number is wanted, not \"many\"",
        ),
        ("--ratio=NaN", "--ratio: a number is wanted, not \"NaN\""),
        (
            "--output=Wide",
            "--output: one of , wide, json is wanted, not \"Wide\"",
        ),
        (
            "--http-address=10902",
            "--http-address: \"10902\" is no listen address: the port is missing",
        ),
        ("--even=3", "--even: 3 is not even"),
        (
            "--log.level=trace",
            "--log.level: one of error, warn, info, debug is wanted",
        ),
    ] {
        let error = store(&[argument]).unwrap_err();
        assert!(error.contains(problem), "{argument}: {error}");
    }
    let flags = store(&["--retention=2w", "--concurrency=300"]).unwrap();
    assert_eq!(flags.duration_ms("retention").unwrap(), 14 * 86_400_000);
    assert!(
        flags
            .count::<u8>("concurrency")
            .unwrap_err()
            .to_string()
            .contains("out of range")
    );
    assert!(
        flags
            .text("nonsense")
            .unwrap_err()
            .to_string()
            .contains("--nonsense: this command has no such flag")
    );
}

#[test]
fn times_are_fixed_or_relative() {
    let flags = store(&["--min-time=-1d"]).unwrap();
    assert_eq!(
        flags.time("min-time").unwrap(),
        TimeOrDuration::Relative(-86_400_000)
    );
    assert_eq!(
        store(&[]).unwrap().time("min-time").unwrap(),
        TimeOrDuration::Time(-62_167_219_200_000)
    );
    assert!(
        store(&["--min-time=yesterday"])
            .unwrap_err()
            .contains("--min-time: neither a time")
    );
}

#[test]
fn ignored_flags_are_noted_and_refused_ones_end_the_process() {
    let flags = store(&["--chunk-pool-size=lots", "--chunk-pool-size=2GB"]).unwrap();
    assert_eq!(
        flags.notices(),
        ["flag --chunk-pool-size is accepted and ignored: memory is bounded by --sabre.memory-budget"]
    );
    let error = store(&["--web.prefix-header=X"]).unwrap_err();
    assert!(
        error.contains("flag --web.prefix-header is not built yet: use --web.external-prefix\n"),
        "{error}"
    );
    assert!(store(&["--web.special"]).is_err());
    assert!(
        store(&["--web.prefix-header=", "--no-web.special"]).is_ok(),
        "an empty value changes nothing"
    );
}

#[test]
fn commands_nest_and_inherit_flags_from_where_they_are_declared() {
    let parsed = parse(&[
        "--log.level=debug",
        "tools",
        "bucket",
        "--objstore.config=a: b",
        "ls",
        "-o",
        "json",
    ])
    .unwrap();
    assert_eq!(parsed.command(), ["tools", "bucket", "ls"]);
    assert_eq!(parsed.flags.text("log.level").unwrap(), "debug");
    assert_eq!(
        parsed.flags.content("objstore.config").unwrap().as_deref(),
        Some("a: b")
    );
    assert_eq!(parsed.flags.text("output").unwrap(), "json");
}

#[test]
fn a_missing_or_unknown_command_is_a_mistake() {
    for arguments in [&[][..], &["tools"], &["tools", "bucket"], &["--log.level=info"]] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code, 2);
        assert!(
            error.text.ends_with("error: a command is missing\n"),
            "{}",
            error.text
        );
    }
    let error = parse(&["stor"]).unwrap_err();
    assert!(
        error
            .text
            .contains("unknown command 'stor'; did you mean 'store'?"),
        "{}",
        error.text
    );
    assert!(
        parse(&["store", "extra"])
            .unwrap_err()
            .text
            .contains("unexpected argument 'extra'")
    );
    assert!(parse(&["store", "--", "--wait"]).is_err());
}

#[test]
fn required_flags_are_named() {
    let error = parse(&["mark"]).unwrap_err();
    assert!(error.text.contains("required flag --id not provided"));
    assert_eq!(
        parse(&["mark", "--id=a", "--id=b"])
            .unwrap()
            .flags
            .list("id")
            .unwrap(),
        ["a", "b"]
    );
}

#[test]
fn help_teaches() {
    for arguments in [
        &["store", "--help"][..],
        &["--help", "store"],
        &["store", "-h"],
        &["help", "store"],
    ] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code, 0);
        for expected in [
            "Serve blocks",
            "sabre store [flags]",
            "Store:",
            "gRPC server:",
            "Logging:",
            "--data-dir <text>",
            "[default: ./data]",
            "--objstore.config-file <path>",
            "--no-cache-index-header turns it off",
            "-o, --output <wide|json>",
            "--sabre.memory-budget <size>",
            "# Serve a bucket\n  sabre store --objstore.config-file=bucket.yaml",
        ] {
            assert!(
                error.text.contains(expected),
                "{expected:?} is missing from\n{}",
                error.text
            );
        }
        for hidden in ["debug.batch", "chunk-pool-size", "web.prefix-header"] {
            assert!(
                !error.text.contains(hidden),
                "{hidden} is not hidden in\n{}",
                error.text
            );
        }
    }
    let root = parse(&["--help"]).unwrap_err().text;
    assert!(root.contains("Commands:\n  store  Serve blocks\n"), "{root}");
}

#[test]
fn long_help_shows_every_command_and_every_flag() {
    let text = parse(&["--help-long"]).unwrap_err().text;
    for expected in [
        "sabre tools bucket ls [flags]",
        "debug.batch",
        "accepted and ignored: memory is bounded",
        "not built yet: use --web.external-prefix",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing from\n{text}");
    }
    let store_only = parse(&["store", "--help-long"]).unwrap_err().text;
    assert!(store_only.contains("debug.batch") && !store_only.contains("List blocks"));
}

#[test]
fn the_version_is_shown_wherever_it_is_asked_for() {
    for arguments in [&["--version"][..], &["store", "--version"]] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(
            (error.exit_code, error.text.as_str()),
            (0, "sabre, version 0.1.0 (revision abc)\n")
        );
    }
}

#[test]
fn documents_come_inline_or_from_a_file_never_both() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bucket.yaml");
    std::fs::write(&file, "type: $(KIND)\n").unwrap();
    let file = format!("--objstore.config-file={}", file.display());
    let lookup = |name: &str| (name == "KIND").then(|| "S3".to_owned());
    let content = |arguments: &[&str]| {
        store(arguments)
            .unwrap()
            .content_with("objstore.config", &lookup)
            .map_err(|error| error.to_string())
    };
    assert_eq!(content(&[&file]).unwrap().as_deref(), Some("type: S3\n"));
    assert_eq!(
        content(&["--objstore.config=type: $(KIND)"]).unwrap().as_deref(),
        Some("type: S3")
    );
    assert_eq!(
        content(&[&file, "--objstore.config="]).unwrap().as_deref(),
        Some("type: S3\n")
    );
    assert_eq!(
        content(&[&file, "--objstore.config=a"]).unwrap_err(),
        "both --objstore.config and --objstore.config-file are given, one of them is wanted"
    );
    for nothing in [&[][..], &["--objstore.config="]] {
        assert_eq!(
            content(nothing).unwrap_err(),
            "--objstore.config or --objstore.config-file is required and must not be empty"
        );
    }
    assert!(
        content(&["--objstore.config=$(NO)"])
            .unwrap_err()
            .contains("environment variable NO is not set")
    );
    let missing = content(&["--objstore.config-file=/does/not/exist"]).unwrap_err();
    assert!(
        missing.starts_with("--objstore.config-file: cannot read /does/not/exist: "),
        "{missing}"
    );
    let optional = store(&[]).unwrap().content("request.logging-config").unwrap();
    assert_eq!(optional, None);
}

#[test]
fn inline_documents_are_redacted_when_shown() {
    let flags = store(&["--objstore.config=secret_key: hunter2", "--data-dir=/d"]).unwrap();
    let shown = flags.shown();
    let value = |name: &str| shown.iter().find(|flag| flag.name == name).unwrap();
    assert_eq!(value("objstore.config").value, "<REDACTED>");
    assert_eq!(value("objstore.config-file").value, "");
    assert_eq!(
        value("data-dir"),
        &FlagValue {
            name: "data-dir".into(),
            value: "/d".into(),
            given: true
        }
    );
    assert!(!format!("{flags:?}").contains("hunter2"));
}

#[test]
fn the_budget_is_what_the_flag_says_or_a_share_of_the_memory() {
    let flags = store(&["--sabre.memory-budget=64MiB"]).unwrap();
    assert_eq!(groups::budget(&flags).unwrap().limit_bytes(), 64 << 20);
    assert!(groups::budget(&store(&[]).unwrap()).unwrap().limit_bytes() > 1 << 20);
    let error = groups::budget(&store(&["--sabre.memory-budget=0"]).unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("--sabre.memory-budget: "));
}

#[test]
fn a_budget_beyond_the_memory_is_refused_with_both_numbers_and_a_way_out() {
    let flags = store(&["--sabre.memory-budget=2GiB"]).unwrap();
    let error = groups::budget_within(&flags, Some(1 << 30)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--sabre.memory-budget: 2147483648 bytes are more than the 1073741824 bytes of memory this process may use \
         (limit of its cgroup or memory of the machine); lower the flag, raise the memory limit, or leave the flag \
         out for 60 % of the limit"
    );
    for memory_bytes in [Some(2 << 30), None] {
        let budget = groups::budget_within(&flags, memory_bytes).unwrap();
        assert_eq!(budget.limit_bytes(), 2 << 30);
    }
}

#[test]
fn a_budget_that_is_not_given_is_a_share_of_the_limit_and_never_refused() {
    let flags = store(&[]).unwrap();
    for (memory_bytes, expected_bytes) in [(Some(1_000), 600), (None, 1 << 30)] {
        let budget = groups::budget_within(&flags, memory_bytes).unwrap();
        assert_eq!(budget.limit_bytes(), expected_bytes);
    }
}

#[test]
fn the_budget_is_refused_by_the_memory_of_this_machine() {
    let flags = store(&["--sabre.memory-budget=1PiB"]).unwrap();
    let error = groups::budget(&flags).unwrap_err().to_string();
    assert!(
        error.contains("1125899906842624 bytes are more than the "),
        "{error}"
    );
}

#[test]
fn flags_of_a_component_are_tested_without_an_app() {
    let flags = parse_groups(&[groups::http()], &["--http-address=:0"]).unwrap();
    assert_eq!(flags.address("http-address").unwrap().to_string(), ":0");
}

#[test]
fn the_table_can_be_walked_for_documentation() {
    let app = app();
    let names: Vec<&str> = app
        .commands()
        .iter()
        .flat_map(|command| &command.groups)
        .chain(app.global_groups())
        .flat_map(|group| &group.flags)
        .filter(|spec| matches!(spec.status, Status::Ignored(_)))
        .map(|spec| spec.name)
        .collect();
    assert!(names.contains(&"chunk-pool-size") && names.contains(&"enable-auto-gomemlimit"));
}

#[test]
fn a_bare_word_is_the_value_of_the_flag_that_the_command_names() {
    const INDEX: &[FlagSpec] = &[FlagSpec::new("index", Kind::Text, "", "Which").required()];
    let restore = CommandSpec::new("restore", "Restore")
        .group(FlagGroup::new("Restore", INDEX))
        .operand("index");
    let app = App::new("sabre", "1", "").command(restore);
    let index = |arguments: &[&str]| {
        let parsed = app.parse(["sabre", "restore"].iter().chain(arguments));
        parsed
            .map(|parsed| parsed.flags.text("index").unwrap().to_owned())
            .map_err(|error| error.text)
    };
    assert_eq!(
        index(&["logging-2026.01.01"]),
        Ok("logging-2026.01.01".to_owned())
    );
    assert_eq!(index(&["--index=a"]), Ok("a".to_owned()));
    assert!(index(&["a", "b"]).unwrap_err().contains("cannot be repeated"));
    assert!(index(&[]).unwrap_err().contains("--index"));
    let help = app.parse(["sabre", "restore", "--help"]).unwrap_err().text;
    assert!(help.contains("sabre restore <index> [flags]"), "{help}");
}

#[test]
fn a_command_that_is_not_built_ends_with_code_1_and_says_what_to_use() {
    let store = CommandSpec::new("store", "Serve blocks");
    let bucket =
        CommandSpec::new("bucket", "Look at a bucket").command(CommandSpec::not_built("web", "use ls"));
    let app = App::new("sabre", "1.2.3", "Storage")
        .global(groups::global())
        .command(store)
        .command(CommandSpec::not_built("rule", "run Thanos' own"))
        .command(CommandSpec::new("tools", "Tools").command(bucket));

    for line in [
        "thanos rule --rule-file=a --never-heard-of -x",
        "thanos --log.level debug rule",
    ] {
        let error = app.parse(line.split(' ')).unwrap_err();
        assert_eq!(error.exit_code, 1, "{line}");
        assert_eq!(error.text, "error: sabre rule is not built: run Thanos' own\n");
    }
    let error = app
        .parse(["sabre", "tools", "bucket", "web", "--refresh=5m"])
        .unwrap_err();
    assert_eq!(error.text, "error: sabre tools bucket web is not built: use ls\n");

    let help = app.parse(["sabre", "--help"]).unwrap_err();
    assert_eq!(help.exit_code, 0);
    assert!(
        help.text.contains("rule   Not built: run Thanos' own"),
        "{}",
        help.text
    );
    let help = app.parse(["sabre", "rule", "--help"]).unwrap_err();
    assert_eq!(
        (help.exit_code, help.text.as_str()),
        (0, "sabre rule is not built: run Thanos' own\n")
    );
}
