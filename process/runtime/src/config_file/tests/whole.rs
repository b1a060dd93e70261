//! Whole files: the printed defaults, the JSON schema, the examples and the fuzz corpus.

use super::super::{fuzz_check, fuzz_items, json_schema, load_in, print_defaults, render_json};
use super::{Folder, no_env, read, repository, right, shown, world};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use std::fs;

/// The lines that start with one of these marks, without it; other lines stay.
fn uncommented(text: &str, marks: &[&str]) -> String {
    let one = |line: &str| {
        for mark in marks {
            let rest = line.strip_prefix(mark);
            if let Some(rest) =
                rest.filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
            {
                return format!("{rest}\n");
            }
        }
        format!("{line}\n")
    };
    text.lines().map(one).collect()
}

#[test]
fn the_printed_defaults_are_the_defaults() {
    let printed = print_defaults();
    assert!(printed.lines().all(|line| line.is_empty() || line.starts_with('#')));
    assert!(printed.lines().all(|line| line.chars().count() <= 110), "too wide");
    right(&printed);
    let shown_defaults = right(&uncommented(&printed, &["#"])).config;
    let least = right(
        "[[listener]]\nname = \"public\"\naddress = \"0.0.0.0:8080\"\n\
         [[monitor]]\nname = \"web\"\n\
         [[pool]]\nname = \"api\"\norigins = [{ name = \"api-1\", address = \"127.0.0.1\" }]\n\
         [[load_balancer]]\nname = \"example.com\"\ndefault_pools = [\"api\"]\n",
    );
    assert_eq!(shown_defaults, least.config);
}

#[test]
fn the_printed_examples_load() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    for name in ["example", "client", "client-ca", "origin-ca"] {
        folder.write(&format!("tls/{name}.crt"), &certificate);
        folder.write(&format!("tls/{name}.key"), key.serialize_pem());
    }
    folder.write("tls/ticket.key", [1; 80]);
    folder.write("tls/example.ocsp", [0x30, 0x05, 0x0a, 0x01, 0x00, 0xa0, 0x00]);
    let all = uncommented(&print_defaults(), &["#? ", "#"]);
    let all = all.replace("client_auth = \"none\"", "client_auth = \"optional\"");
    // Each of the two dissectors has settings, of which one file can have one.
    let all = all.replace("dissector = \"4-tuple\"", "dissector = \"quic\"");
    let (before, session) = all.split_once("[trafficset.session]").unwrap();
    let (_, after) = session.split_once("\n\n").unwrap();
    let all = format!("{before}\n{after}");
    folder.write("packet.key", "000102030405060708090a0b0c0d0e0f\n");
    folder.write("weir.toml", all);
    let loaded = folder.load("weir.toml").unwrap_or_else(|faults| panic!("{}", shown(&faults)));
    let config = loaded.config;
    assert!(config.listeners[0].tls.is_some() && config.pools[0].tls.is_some());
    assert_eq!(config.load_balancers[0].routes.len(), 1);
    assert_eq!(config.logging.access.unwrap().buffer_lines, 16_384);
    let packet = config.packet.unwrap();
    assert_eq!(
        (packet.servers.len(), packet.trafficsets.len(), packet.shield_rules.len()),
        (1, 1, 1)
    );
}

#[test]
fn every_key_is_printed_with_a_reason() {
    let printed = print_defaults();
    for word in
        ["header_bytes = \"32KiB\"", "Cookies of large sites pass", "#drain_timeout = \"30s\""]
    {
        assert!(printed.contains(word), "{word}");
    }
    let schema = json_schema();
    each_key(&schema, &mut |name, _| {
        let there = printed.lines().any(|line| {
            let line = line.trim_start_matches(['#', '?', '!', ' ', '[']);
            let key = line.split([' ', ']']).next().unwrap_or("");
            key.rsplit('.').next() == Some(name)
        });
        assert!(there, "{name}");
    });
}

fn each_key(schema: &Value, see: &mut dyn FnMut(&str, &Value)) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, inner) in properties {
            see(name, inner);
            each_key(inner, see);
        }
    }
    if schema["items"].is_object() {
        each_key(&schema["items"], see);
    }
}

#[test]
fn the_json_schema_describes_every_key() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let mut keys = 0;
    each_key(&schema, &mut |name, inner| {
        keys += 1;
        assert!(inner["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        let typed = ["type", "anyOf", "enum", "const"].iter().any(|word| !inner[word].is_null());
        assert!(typed, "{name}: {inner}");
        if inner["type"] == "object" && inner["propertyNames"].is_null() {
            assert_eq!(inner["additionalProperties"], false, "{name}");
        }
        if !inner["default"].is_null() {
            assert_eq!(violation(inner, &inner["default"]), None, "{name}");
        }
    });
    assert!(keys > 120, "{keys}");
}

/// The part of JSON Schema that the schema uses; says what is wrong first.
fn violation(schema: &Value, value: &Value) -> Option<String> {
    let wrong = || Some(format!("{value} is not {schema}"));
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().all(|one| violation(one, value).is_some()).then(wrong).flatten();
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return wrong();
    }
    if !schema["const"].is_null() && &schema["const"] != value {
        return wrong();
    }
    if let Some((pattern, text)) = schema["pattern"].as_str().zip(value.as_str()) {
        let variable = text.contains("${");
        let number = pattern.starts_with('^') && text.starts_with(|c: char| c.is_ascii_digit());
        if !variable && !number {
            return wrong();
        }
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    let number = value.as_f64().unwrap_or(0.0);
    let low = schema["minimum"].as_f64().is_some_and(|min| number < min);
    let high = schema["maximum"].as_f64().is_some_and(|max| number > max);
    let few = schema["minItems"].as_u64().zip(value.as_array());
    let few = few.is_some_and(|(min, items)| (items.len() as u64) < min);
    if !right || low || high || few {
        return wrong();
    }
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| violation(&schema["items"], item));
    }
    let object = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required {
        if !object.contains_key(name.as_str().unwrap()) {
            return Some(format!("{name} is missing in {value}"));
        }
    }
    object.iter().find_map(|(name, inner)| match schema["properties"].get(name) {
        Some(one) => violation(one, inner),
        None if schema["additionalProperties"] == false => Some(format!("{name} is unknown")),
        None => violation(&schema["additionalProperties"], inner),
    })
}

fn as_json(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn the_json_schema_agrees_with_the_reader() {
    let schema = json_schema();
    for (name, text) in examples() {
        assert_eq!(violation(&schema, &as_json(&text)), None, "{name}");
    }
    let printed = uncommented(&print_defaults(), &["#"]);
    assert_eq!(violation(&schema, &as_json(&printed)), None);
    for wrong in [
        "x = 1",
        "[runtime]\nworkers = 0",
        "[runtime]\nworkers = \"1\"",
        "[[listener]]\nname = \"x\"",
        "[logging]\nlevel = \"loud\"",
        "[[load_balancer]]\nname = \"h\"\nproxied = false",
        "[[pool]]\nname = \"p\"\norigins = []",
        "[[pool]]\nname = \"p\"\norigins = [{ name = \"x\", address = \"::1\", weight = 2 }]",
    ] {
        assert!(violation(&schema, &as_json(wrong)).is_some(), "{wrong}");
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

fn examples() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.len() >= 7, "{found:?}");
    found
}

#[test]
fn every_example_loads_without_a_warning() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    folder.write("localhost.crt", params.self_signed(&key).unwrap().pem());
    folder.write("localhost.key", key.serialize_pem());
    for (name, text) in examples() {
        let file = folder.0.join("weir.toml").display().to_string();
        let loaded = load_in(&file, text.clone().into_bytes(), &world(&no_env));
        let loaded = loaded.unwrap_or_else(|faults| panic!("{name}\n{}", shown(&faults)));
        assert!(loaded.warnings.is_empty(), "{name} {:?}", loaded.warnings);
        assert!(text.starts_with("# "), "{name}");
        // What handles packets needs root and interfaces, so nothing can be asked of it here.
        let tried = text.contains("\n# curl ") || loaded.config.packet.is_some();
        assert!(tried, "{name}");
        for listener in &loaded.config.listeners {
            assert!(
                listener.address.ip().is_loopback() && listener.address.port() > 1024,
                "{name}"
            );
        }
    }
}

#[test]
fn faults_as_json() {
    let faults = read("[runtime]\nworker = 1").unwrap_err();
    let json = render_json(&faults);
    assert_eq!(json[0]["line"], 2);
    assert_eq!(json[0]["column"], 1);
    assert_eq!(json[0]["path"], "runtime.worker");
    assert_eq!(json[0]["nearest"], "workers");
    assert_eq!(json[0]["file"], "t.toml");
}

#[test]
fn the_fuzz_corpus_passes() {
    let mut count = 0;
    for entry in fs::read_dir(repository().join("fuzz/corpus/config")).unwrap() {
        fuzz_check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 10, "{count} files");
}

#[test]
fn the_corpus_of_published_items_passes() {
    let mut count = 0;
    for entry in fs::read_dir(repository().join("fuzz/corpus/published_items")).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| fuzz_items(&input));
        assert!(outcome.is_ok(), "{} breaks an invariant", path.display());
        count += 1;
    }
    assert!(count >= 30, "{count} files");
}

/// Words of the file's language in any order: closer to it than arbitrary characters are.
const WORDS: &str = concat!(
    "(\\[{1,2}(pool|listener|load_balancer|monitor|runtime|pool.origins|load_balancer.routes",
    "|packet|server|trafficset|shield_rule",
    "|listener.tls)\\]{1,2}|name|address|weight|path|origins",
    "|default_pools|id|prefixes|ports|buckets|servers|action|payload",
    "|[=\n\"{}\\[\\],.$ \\-0-9x:/*_é]){0,80}",
);

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in WORDS) {
        fuzz_check(text.as_bytes());
    }

    #[test]
    fn an_example_with_a_piece_cut_out_never_panics(
        from in 0usize..2_000,
        length in 0usize..40,
        junk in "\\PC{0,6}",
    ) {
        let text = include_str!("../../../../../examples/routes.toml");
        let until = text.floor_char_boundary(from + length);
        let from = text.floor_char_boundary(from);
        fuzz_check(format!("{}{junk}{}", &text[..from], &text[until..]).as_bytes());
    }
}
