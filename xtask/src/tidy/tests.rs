//! Each check with a good input and with bad ones.

use super::{
    Check, direction, documents, manifest, reasons, rows, size, source::Source, stories, words,
};
use crate::workspace::Workspace;

/// Runs a check over a table of files and compares what it prints.
#[track_caller]
fn check(check: Check, files: &[(&str, &str)], expect: &[&str]) {
    let findings = check(&Workspace::table(files));
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let met = shown.len() == expect.len()
        && shown.iter().zip(expect).all(|(shown, start)| shown.starts_with(start));
    assert!(met, "found {shown:#?}, expected {expect:#?}");
}

/// Runs a check over one Rust file.
#[track_caller]
fn check_rust(look: Check, text: &str, expect: &[&str]) {
    check(look, &[("request/a/src/b.rs", text)], expect);
}

fn package(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\n{rest}")
}

#[test]
fn code_is_told_from_comments_and_strings() {
    for (text, code, comments) in [
        ("a // b\nc", "a \nc", vec![(1, "// b")]),
        ("\"// x\" y", "\"    \" y", vec![]),
        ("r#\"a \" // {\"# y", "r\"        \" y", vec![]),
        ("br\"\\\" y", "br\" \" y", vec![]),
        ("a /* {\n } */ b", "a   \n      b", vec![(1, "/* {"), (2, " } */")]),
        ("'{' '\\'' '\\u{7b}' &'a x", "' ' '  ' '      ' &'a x", vec![]),
        ("\"\\\"{\" z", "\"   \" z", vec![]),
        ("for r in x { var(\"y\") }", "for r in x { var(\" \") }", vec![]),
    ] {
        let source = Source::scan("a.rs", text);
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let both = (squeezed(&source.code.join("\n")), squeezed(code));
        assert_eq!(both.0, both.1, "{text}");
        let comments: Vec<_> = comments.into_iter().map(|(l, t)| (l, t.to_owned())).collect();
        assert_eq!(source.comments, comments, "{text}");
    }
}

#[test]
fn functions_and_tests_are_measured() {
    let text = "fn a(x: [u8; 3]) -> u8 {\n    if x { 1 } else { 2 }\n}\ntrait T {\n    fn b();\n}\n\
                #[cfg(test)]\nmod tests {\n    fn c() {\n    }\n}\n#[cfg(test)]\nmod more;\n";
    let source = Source::scan("core/a/src/b.rs", text);
    let functions = source.functions();
    let shown: Vec<_> = functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(shown, [("a", 1, 3), ("c", 9, 2)]);
    assert_eq!(source.lines_without_tests(), 7);
    assert!(source.is_test(9) && !source.is_test(1));
    assert!(Source::scan("a/tests/b.rs", "").is_test_file());
    assert!(Source::scan("a/src/b/tests.rs", "").is_test_file());
    assert!(!Source::scan("a/src/latests.rs", "").is_test_file());
}

#[test]
fn dependencies_point_down() {
    let model = package("core-model", "");
    let wire = package("core-wire", "[dependencies]\ncore-model.workspace = true\n");
    let up = package("core-model", "[dependencies]\ncore-wire.workspace = true\n");
    let proxy = package("request-proxy", "");
    let plane = package("control-plane", "\n[dev-dependencies]\nrequest-proxy = { path = \"\" }\n");
    check(
        direction::downwards,
        &[("core/model/Cargo.toml", &model), ("core/wire/Cargo.toml", &wire)],
        &[],
    );
    check(
        direction::downwards,
        &[("core/model/Cargo.toml", &up), ("core/wire/Cargo.toml", &wire)],
        &["core/model/Cargo.toml:4: core/model may not depend on core/wire"],
    );
    check(
        direction::downwards,
        &[("request/proxy/Cargo.toml", &proxy), ("control/plane/Cargo.toml", &plane)],
        &["control/plane/Cargo.toml:5: control/plane may not depend on request/proxy"],
    );
    check(
        direction::downwards,
        &[("core/new/Cargo.toml", &package("core-new", ""))],
        &["core/new/Cargo.toml:1: has no level"],
    );
}

#[test]
fn core_has_no_runtime() {
    let good = package("core-wire", "[dependencies]\nmemchr.workspace = true\n");
    let bad = package("core-wire", "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n");
    check(direction::core_packages, &[("core/wire/Cargo.toml", &good)], &[]);
    check(direction::core_packages, &[("request/proxy/Cargo.toml", &bad)], &[]);
    let expect = ["core/wire/Cargo.toml:4: core may not depend on tokio"];
    check(direction::core_packages, &[("core/wire/Cargo.toml", &bad)], &expect);
}

#[test]
fn core_names_no_clock() {
    let bad = "//! x\nlet a = Instant::now(); // Instant::now\nuse std::collections::HashMap;\n";
    let tests = "//! Instant::now\n#[cfg(test)]\nmod tests {\n let a = Instant::now();\n}\n";
    let expect = ["core/a/src/b.rs:2: core does without `Instant::now`", "core/a/src/b.rs:3: core"];
    check(direction::core_words, &[("core/a/src/b.rs", bad)], &expect);
    check(direction::core_words, &[("core/a/src/b.rs", tests)], &[]);
    check(direction::core_words, &[("request/a/src/b.rs", bad)], &[]);
}

#[test]
fn members_inherit_lints_and_the_lock_is_there() {
    let bare = package("xtask", "");
    let inherits = package("xtask", "[lints]\nworkspace = true\n");
    check(manifest::lints, &[("xtask/Cargo.toml", &inherits)], &[]);
    check(manifest::lints, &[("xtask/Cargo.toml", &bare)], &["xtask/Cargo.toml:1: add `[lints]`"]);
    check(manifest::lock, &[("Cargo.lock", "")], &[]);
    check(manifest::lock, &[("a", "")], &["Cargo.lock:1: is missing"]);
    let ignored = [("Cargo.lock", ""), (".gitignore", "/target\nCargo.lock\n")];
    check(manifest::lock, &ignored, &[".gitignore:2: ignores the lock file"]);
}

#[test]
fn sizes_only_shrink() {
    let long_file = format!("//! x\n{}", "// y\n".repeat(600));
    let long_fn = format!("//! x\nfn a() {{\n{}}}\n", "    b();\n".repeat(69));
    let tests =
        format!("//! x\n#[cfg(test)]\nmod t {{\nfn a() {{\n{}}}\n}}\n", "b();\n".repeat(900));
    let path = "core/a/src/b.rs";
    let fits = format!("//! x\nfn a() {{\n{}}}\n", "    b();\n".repeat(68));
    check(size::ratchet, &[(path, &fits)], &[]);
    check(size::ratchet, &[(path, &tests)], &[]);
    check(size::ratchet, &[("core/a/tests/b.rs", &long_file)], &[]);
    let expect = ["core/a/src/b.rs:1: 601 lines without tests, over 600"];
    check(size::ratchet, &[(path, &long_file)], &expect);
    let expect = ["core/a/src/b.rs:2: `a` has 71 lines, over 70"];
    check(size::ratchet, &[(path, &long_fn)], &expect);
    for (sizes, expect) in [
        ("# x\ncore/a/src/b.rs a 71\n", vec![]),
        ("core/a/src/b.rs a 72\n", vec!["xtask/sizes.txt:1: allows 72 lines where 71"]),
        ("core/a/src/b.rs a 71\ncore/a/src/gone.rs 700\n", vec!["xtask/sizes.txt:2: allows 700"]),
        ("core/a/src/b.rs a 71\nwhat\n", vec!["xtask/sizes.txt:2: write `PATH"]),
    ] {
        check(size::ratchet, &[(path, &long_fn), ("xtask/sizes.txt", sizes)], &expect);
    }
}

#[test]
fn lines_and_mains_fit() {
    let wide = format!("//! {}\n", "é".repeat(97));
    check_rust(size::lines, &format!("//! {}\n", "é".repeat(96)), &[]);
    check_rust(size::lines, &wide, &["request/a/src/b.rs:1: 101 columns, over 100"]);
    check_rust(size::lines, &format!("//! https://{}\n", "a".repeat(99)), &[]);
    check(size::mains, &[("xtask/src/main.rs", &"a\n".repeat(80))], &[]);
    let expect = ["xtask/src/main.rs:1: 81 lines, over 80"];
    check(size::mains, &[("xtask/src/main.rs", &"a\n".repeat(81))], &expect);
}

#[test]
fn files_say_what_they_are() {
    check_rust(words::header, "//! A job.\n", &[]);
    check_rust(words::header, "// A job.\n", &["request/a/src/b.rs:1: open with a `//!` line"]);
    check_rust(words::header, "", &["request/a/src/b.rs:1: open with a `//!` line"]);
}

#[test]
fn limits_say_why() {
    check_rust(words::limits, "/// Why.\npub const A_MAX: u8 = 1;\n", &[]);
    check_rust(words::limits, "/// Why.\n#[rustfmt::skip]\nconst A_MAX: u8 = 1;\n", &[]);
    check_rust(words::limits, "const fn a_max() {}\nconst A: u8 = 1;\nconst _: () = ();\n", &[]);
    let expect = ["request/a/src/b.rs:1: say above `A_MAX`"];
    check_rust(words::limits, "pub const A_MAX: u8 = 1;\n", &expect);
    let expect = ["request/a/src/b.rs:3: say above `B_LIMIT`"];
    check_rust(words::limits, "/// Why.\nconst A_MAX: u8 = 1;\nconst B_LIMIT: u8 = 1;\n", &expect);
    let expect = ["core/a/src/limits.rs:1: say above `HEAD`"];
    check(words::limits, &[("core/a/src/limits.rs", "const HEAD: u8 = 1;\n")], &expect);
}

#[test]
fn unsafe_has_a_place_and_a_reason() {
    let good = "// SAFETY: the pointer is ours.\nunsafe { a() }\n";
    let allowed = "process/runtime/src/sockets.rs";
    check(words::unsafe_places, &[(allowed, good)], &[]);
    check_rust(words::unsafe_places, "#[expect(unsafe_code)] // unsafe\n", &[]);
    check_rust(words::unsafe_places, good, &["request/a/src/b.rs:2: `unsafe` belongs in"]);
    check(words::unsafe_reasons, &[(allowed, good)], &[]);
    let expect = ["process/runtime/src/sockets.rs:1: say why it is sound"];
    check(words::unsafe_reasons, &[(allowed, "unsafe { a() }\n")], &expect);
}

#[test]
fn nothing_is_left_over() {
    let place = "request/a/src/b.rs";
    check_rust(words::leftovers, "let todo = \"#[ignore]\"; // a list of things to do\n", &[]);
    for (text, word) in [
        ("#[ignore = \"slow\"]\n", "#[ignore"),
        ("dbg!(a);\n", "dbg!"),
        (concat!("to", "do!()\n"), concat!("to", "do!")),
        (concat!("// TO", "DO: later\n"), concat!("TO", "DO")),
    ] {
        check_rust(words::leftovers, text, &[&format!("{place}:1: `{word}`")]);
    }
    check_rust(words::allows, "#[expect(dead_code, reason = \"x\")]\n// #[allow(x)]\n", &[]);
    check_rust(
        words::allows,
        "\n#[allow(dead_code)]\n",
        &["request/a/src/b.rs:2: write `#[expect"],
    );
}

#[test]
fn comments_do_not_age() {
    let ages = concat!("// It no lon", "ger waits.\n");
    check_rust(words::ageing, ages, &["request/a/src/b.rs:1: \""]);
    let ages = concat!("let a = 1; // Now", " we wait.\n");
    check_rust(words::ageing, ages, &["request/a/src/b.rs:1: \""]);
    check_rust(words::ageing, concat!("// A head no lon", "ger than that.\n"), &[]);
    check_rust(words::ageing, concat!("let a = \"no lon", "ger\";\n"), &[]);
}

#[test]
fn no_file_names_a_machine() {
    let file = |text: &'static str| [("docs/a.md", text)];
    check(words::machine_paths, &file("see `core/wire` and https://x.org/home/a\n"), &[]);
    let bad = file(concat!("\nrun /ho", "me/someone/weir\n"));
    check(words::machine_paths, &bad, &["docs/a.md:2: names a folder of one machine"]);
    let bad = file(concat!("\"/ro", "ot/.config\"\n"));
    check(words::machine_paths, &bad, &["docs/a.md:1: names a folder of one machine"]);
}

#[test]
fn documents_have_their_form() {
    check(documents::titles, &[("a.md", "# A\n## B\n```sh\n# c\n```\n")], &[]);
    check(documents::titles, &[("a.md", "## A\n")], &["a.md:1: has no `# title`"]);
    check(documents::titles, &[("a.md", "# A\n\n# B\n")], &["a.md:3: a second title"]);
    check(documents::titles, &[("a.md", "x\n# A\n")], &["a.md:2: the title belongs"]);
    let good = "# 1\n## Question\n## Choice\n## What would reverse it\n";
    let path = "docs/decisions/0001-a.md";
    check(documents::decisions, &[(path, good)], &[]);
    let long = format!("{good}{}", "x\n".repeat(57));
    check(documents::decisions, &[(path, &long)], &["docs/decisions/0001-a.md:1: over 60 lines"]);
    let bare = [(path, "# 1\n## Question\n## Choice\n")];
    check(documents::decisions, &bare, &["docs/decisions/0001-a.md:1: has no `## What would"]);
    let same = [(path, good), ("docs/decisions/0001-b.md", good)];
    check(documents::decisions, &same, &["docs/decisions/0001-b.md:1: 0001 is taken"]);
    let misnamed = [("docs/decisions/a.md", good)];
    check(documents::decisions, &misnamed, &["docs/decisions/a.md:1: name it"]);
}

#[test]
fn lives_and_promises_hold() {
    let look: Check = stories::lives_and_promises;
    let life = "docs/life-of-a-request.md";
    let named = "# A\n`core/a.rs` then `core/a.rs`\n";
    check(look, &[(life, named), ("core/a.rs", "")], &[]);
    check(look, &[(life, named)], &["docs/life-of-a-request.md:2: `core/a.rs` does not exist"; 2]);
    check(look, &[(life, "# A\n")], &["docs/life-of-a-request.md:1: names no file"]);
    let names: Vec<String> = (0..13).map(|n| format!("core/{n}.rs")).collect();
    let text = format!("# A\n`{}`\n", names.join("` `"));
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    files.push((life, &text));
    check(look, &files, &["docs/life-of-a-request.md:1: names 13 files, over 12"]);

    let promises = |text: &'static str| [("docs/promises.md", text)];
    let table =
        "# P\n| Says | Command |\n|---|:--|\n| a | `cargo xtask soak a` |\n| b | unproven |\n";
    check(look, &promises(table), &[]);
    let bad = promises("# P\n| Says | Command |\n|---|---|\n| a | `make b` |\n| b | |\n");
    let expect = ["docs/promises.md:4: give the command", "docs/promises.md:5: give the command"];
    check(look, &bad, &expect);
    check(look, &promises("# P\n```sh\ncargo xtask test\nA=b weir check x\n# y\n```\n"), &[]);
    let bad = promises("# P\n```sh\nmake\n```\n");
    check(look, &bad, &["docs/promises.md:3: a command here starts"]);
}

#[test]
fn security_rows_have_their_tests() {
    let numbers = (1..=91)
        .filter(|n| ![13, 24, 30, 34, 36, 37, 38, 39, 46].contains(n) && !(61..70).contains(n));
    let list = |change: &dyn Fn(u32) -> String| -> String {
        let lines = numbers.clone().map(|n| format!("{}\n", change(n)));
        format!("# Rows\n\n| row | what | tests |\n|---|---|---|\n{}", lines.collect::<String>())
    };
    let waits = |n: u32| format!("| {n} | x | waits for HTTP/2 |");
    let with = |row: u32, line: &'static str| {
        list(&move |n| if n == row { line.to_owned() } else { waits(n) })
    };
    let test = "#[test]\nfn row_07_a() {\n}\nfn row_00_b() {\n}\n";
    let path = "process/weir/tests/a.rs";
    let look = |list: &str, tests: &str, expect: &[&str]| {
        check(rows::rows, &[("docs/security-rows.md", list), (path, tests)], expect);
    };
    look(&list(&waits), "", &[]);
    look(&with(7, "| 7 | x | `row_07_a` |"), test, &[]);
    let at = "docs/security-rows.md:11: ";
    let told = |what: &str| format!("{at}{what}");
    look(&list(&waits), test, &[&told("row 7 has tests that its line does not name: `row_07_a`")]);
    look(&with(7, "| 7 | x | `row_07_a` |"), "", &[&told("row 7 has no test `row_07_a`")]);
    look(&with(7, "| 7 | x | `row_08_a` |"), "", &[&told("row 7 has no test `row_08_a`")]);
    look(&with(7, "| 7 | x | later |"), "", &[&told("name the tests of row 7")]);
    look(&with(7, "| 7 | x | waits for rain |"), "", &[&told("name the tests of row 7")]);
    look(&with(7, ""), "", &["docs/security-rows.md:1: row 7 is missing"]);
    look(
        &with(7, "| 8 | x | waits for HTTP/2 |"),
        "",
        &[
            "docs/security-rows.md:12: row 8 is here twice",
            "docs/security-rows.md:1: row 7 is missing",
        ],
    );
    look(
        &with(7, "| 13 | x | waits for HTTP/2 |"),
        "",
        &[
            "docs/security-rows.md:11: there is no row 13",
            "docs/security-rows.md:1: row 7 is missing",
        ],
    );
    let elsewhere = [("docs/security-rows.md", &*list(&waits)), ("core/a/tests/a.rs", test)];
    check(rows::rows, &elsewhere, &[]);
}

#[test]
fn every_reason_has_a_fixture() {
    use packet_abi::verdict::Reason;
    let folder = "packet/loader/tests/fixtures";
    let (list, table) = (format!("{folder}/elsewhere.txt"), format!("{folder}/all.txt"));
    let maps = (
        "packet/ebpf/src/kernel/maps.rs",
        "COUNTERS: PerCpuArray<Count> = PerCpuArray::with_max_entries(REASONS, 0);",
    );
    let all: Vec<String> =
        Reason::ALL.iter().map(|one| format!("is: {} {}", one.kind().word(), one.word())).collect();
    let but_two = all.get(2..).unwrap_or_default().join("\n");
    let (first, second) = (Reason::NotIp, Reason::ShortFrame);
    assert_eq!(Reason::ALL.get(..2), Some(&[first, second][..]));
    check(reasons::reasons, &[maps, (&table, &all.join("\n"))], &[]);
    let test = ("packet/loader/tests/a.rs", "Reason::ShortFrame");
    let good = "# a\nnot_ip waits for tests\nshort_frame packet/loader/tests/a.rs";
    check(reasons::reasons, &[maps, (&table, &but_two), (&list, good), test], &[]);
    let lines = "not_ip packet/loader/tests/a.rs\nshort_frame packet/none.rs\nno packet/x\n\
                 not_vip waits for a";
    check(
        reasons::reasons,
        &[maps, (&table, &but_two), (&list, lines), test],
        &[
            &format!("{list}:1: `packet/loader/tests/a.rs` does not name `not_ip`"),
            &format!("{list}:2: there is no file `packet/none.rs`"),
            &format!("{list}:3: there is no reason `no`"),
            &format!("{list}:4: `not_vip` has a fixture"),
            "packet/abi/src/verdict.rs:1: `not_ip` has no fixture",
            "packet/abi/src/verdict.rs:1: `short_frame` has no fixture",
        ],
    );
    let without = "packet/ebpf/src/kernel/maps.rs:1: reasons have one counter each";
    check(reasons::reasons, &[(&table, &all.join("\n"))], &[without]);
}
