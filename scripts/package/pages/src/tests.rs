use super::{MANUAL, markdown, programs, write};
use control::config;
use std::collections::BTreeMap;
use std::fs;

/// Every file that is written, by its path, with its text.
fn written() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "2026-01-31").unwrap();
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(place) = folders.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

/// The bold words of a page, as they are typed.
fn bold(page: &str) -> Vec<String> {
    let words = page.split("\\fB").skip(1).filter_map(|rest| rest.split("\\fR").next());
    words.map(|word| word.replace("\\-", "-")).collect()
}

#[test]
fn every_program_and_every_command_has_its_page() {
    let files = written();
    let lbctl = programs::lbctl();
    let commands: Vec<_> = lbctl.get_subcommands().filter(|command| command.get_name() != "help").collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let page = &files[&format!("man/man8/lbctl-{}.8", command.get_name())];
        let words = bold(page);
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(long) = argument.get_long() {
                assert!(words.contains(&format!("--{long}")), "{}: --{long}\n{page}", command.get_name());
            }
        }
    }
    for name in ["man8/lbd.8", "man8/lbctl.8", "man8/natlb-lvs.8", "man5/lbd.toml.5"] {
        let page = &files[&format!("man/{name}")];
        for heading in [".TH ", ".SH NAME\n", ".SH SEE ALSO\n"] {
            assert!(page.contains(heading), "{name} lacks {heading}");
        }
    }
}

#[test]
fn every_key_of_the_configuration_is_in_its_page() {
    let words = bold(&written()["man/man5/lbd.toml.5"]);
    let tables =
        ["[eal]", "[buffers]", "[control]", "[[port]]", "[[route]]", "[[neighbour]]", "[connections]"];
    let tables =
        [&tables[..], &["[steering]", "[forward]", "[timeouts]", "[[service]]", "[[service.real]]"]].concat();
    // A table is asked for its keys by one that it does not know.
    let strange = "qqqqqqqqqqqqqqqqqqqqqqqq = 1";
    let text: String = tables.iter().map(|table| format!("{table}\n{strange}\n")).collect();
    let problems = config::parse(&format!("{strange}\n{text}")).unwrap_err();
    let known: Vec<_> =
        problems.iter().filter_map(|problem| problem.message.split_once("; known: ")).collect();
    assert_eq!(known.len(), tables.len() + 1, "each table and the file itself: {problems:?}");
    for key in known.iter().flat_map(|(_, keys)| keys.split(", ")) {
        let spellings =
            [key.to_owned(), format!("[{key}]"), format!("[[{key}]]"), format!("[[service.{key}]]")];
        assert!(words.iter().any(|word| spellings.contains(word)), "lbd.toml.5 lacks {key}: {words:?}");
    }
}

/// The items of a page's lists, as they are read.
fn items(page: &str) -> Vec<String> {
    let lines: Vec<&str> = page.lines().collect();
    let items = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| pair[1]);
    items
        .map(|item| item.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\-", "-"))
        .collect()
}

#[test]
fn every_item_of_a_list_has_its_name() {
    let files = written();
    for (name, page) in files.iter().filter(|(name, _)| name.starts_with("man/")) {
        assert!(!items(page).contains(&"\\&".to_owned()), "{name} has an item without a name:\n{page}");
    }
    for option in ["-s", "--timeouts", "--on-removal", "--slow-start"] {
        assert!(items(&files["man/man8/lbctl.8"]).contains(&option.to_owned()), "{option}");
    }
    assert!(items(&files["man/man8/natlb-lvs.8"]).contains(&"NATLB_IPVS_LIBRARY".to_owned()));
}

#[test]
fn keys_of_the_log_and_changes_that_are_taken_back_are_explained() {
    let files = written();
    for key in ["config_version, change", "file, line", "thread, place, backtrace"] {
        assert!(items(&files["man/man8/lbd.8"]).contains(&key.to_owned()), "lbd.8 lacks {key}");
    }
    // What is an option of lbd's stands there once.
    assert_eq!(files["man/man8/lbd.8"].matches("\\-\\-take\\-over\\fR\n").count(), 1);
    for heading in
        [".SH CHANGES THAT CAN BE TAKEN BACK\n", ".SH EXIT CODES\n", ".SH ENVIRONMENT\n", ".SH FILES\n"]
    {
        assert!(files["man/man8/lbctl.8"].contains(heading), "lbctl.8 lacks {heading}");
    }
    assert!(bold(&files["man/man8/lbctl.8"]).contains(&"NO_COLOR".to_owned()));
}

#[test]
fn what_the_programs_read_of_their_environment_is_in_their_pages() {
    let files = written();
    for (page, variables) in [
        ("lbd", &["NOTIFY_SOCKET", "RUNTIME_DIRECTORY", "RUST_BACKTRACE"][..]),
        ("lbctl", &["LBCTL_SOCKET", "NO_COLOR"]),
        ("natlb-lvs", &["NATLB_IPVS_SOCKET", "NATLB_IPVS_WAIT", "NATLB_IPVS_LIBRARY"]),
    ] {
        let page = &files[&format!("man/man8/{page}.8")];
        let (_, environment) = page.split_once(".SH ENVIRONMENT\n").expect("a section of variables");
        let environment = environment.split(".SH ").next().unwrap();
        for variable in variables {
            assert!(environment.contains(variable), "{page} lacks {variable}");
        }
    }
}

#[test]
fn completions_know_every_command() {
    let files = written();
    for name in [
        "bash-completion/completions/lbctl",
        "zsh/vendor-completions/_lbctl",
        "fish/vendor_completions.d/lbctl.fish",
    ] {
        for command in programs::lbctl().get_subcommands() {
            assert!(files[name].contains(command.get_name()), "{name} lacks {}", command.get_name());
        }
    }
    assert!(files["bash-completion/completions/lbd"].contains("--take-over"));
    assert!(files["bash-completion/completions/lbd"].contains("\"error warn info debug trace\""));
    assert!(files["zsh/vendor-completions/_natlb-lvs"].contains("--socket"));
}

#[test]
fn markdown_becomes_roff() {
    let text = "# A\n## B\nOne `a-b` of\n**two** [links](x.md).\n\n- it's\n\n| key | default | meaning |\n|---|---|---|\n\
                | `k` | 1 | `a\\|b` |\n| `r` | required | . |\n\n```\n.x\n# no heading\n```\n### C\n## D\nno\n";
    let section = markdown::section(text, "B");
    assert_eq!(section.last(), Some(&"### C"));
    assert_eq!(
        markdown::to_roff(&section),
        ".PP\nOne \\fBa\\-b\\fR of \\fBtwo\\fR links.\n.IP \\(bu 2\nit\\(aqs\n.TP\n\\fBk\\fR\n\\fBa|b\\fR. Default: 1.\n\
         .TP\n\\fBr\\fR\n\\&. Required.\n.PP\n.RS 4\n.EX\n\\&.x\n# no heading\n.EE\n.RE\n.SS C\n"
    );
    let table =
        ["| code | meaning | on stderr |", "|---|---|---|", "| 1 | refused | why |", "| | `x` | why |"];
    assert_eq!(
        markdown::to_roff(&table),
        ".TP\n1\nrefused. on stderr: why.\n.TP\n\\fBx\\fR\non stderr: why.\n"
    );
}

#[test]
fn nothing_of_markdown_is_left() {
    for (name, page) in written().iter().filter(|(name, _)| name.starts_with("man/")) {
        for mark in ["](", "**", "```", "|--"] {
            assert!(!page.contains(mark), "{name} has {mark}");
        }
    }
    assert!(MANUAL.contains("**Signals.**"));
}
