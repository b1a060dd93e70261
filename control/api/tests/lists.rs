//! The operations are complete, and the committed lists of docs/api say what the tables say.
//!
//! `WEIR_WRITE=1` writes the lists anew.

use control_api::{OPERATIONS, Operation, Resource, SHAPES};
use std::collections::BTreeSet;
use std::path::Path;

/// Methods, paths and ids of the part of Cloudflare's OpenAPI document that Weir's products are in
/// (August 2026); `-` is an operation without an id.
const FACTS: &str = include_str!("facts/operations.txt");

#[test]
fn every_operation_is_in_the_table() {
    let of = |operation: &Operation| format!("{} {}", operation.method.as_str(), operation.path);
    let known: BTreeSet<String> = OPERATIONS.iter().map(of).collect();
    assert_eq!((known.len(), OPERATIONS.len(), FACTS.lines().count()), (269, 269, 269));
    for fact in FACTS.lines() {
        let (call, id) = fact.rsplit_once(' ').expect("three words");
        let row = OPERATIONS.iter().find(|operation| of(operation) == call);
        let row = row.unwrap_or_else(|| panic!("{call} is missing"));
        assert!(id == "-" || row.id == id, "{call} is {id}, not {}", row.id);
    }
}

#[test]
fn ids_of_operations_differ() {
    let ids: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), OPERATIONS.len());
}

#[test]
fn what_is_built_is_what_was_asked_for() {
    let built = |part: &str| {
        let of = |operation: &&Operation| operation.path.contains(part);
        OPERATIONS.iter().filter(of).all(|operation| operation.resource.is_some())
    };
    for part in ["load_balancers", "healthchecks", "webhooks", "tokens/verify"] {
        assert!(built(part), "{part}");
    }
    for part in ["spectrum", "rulesets", "waiting_rooms", "cfd_tunnel", "magic", "dns_records"] {
        let of = |operation: &&Operation| operation.path.contains(part);
        assert!(
            OPERATIONS.iter().filter(of).all(|operation| operation.resource.is_none()),
            "{part}"
        );
    }
    let pools = OPERATIONS.iter().filter(|operation| operation.resource == Some(Resource::Pool));
    assert_eq!(pools.count(), 2 * 7, "list, create, bulk change, read, put, patch, delete; twice");
}

#[test]
fn shapes_and_properties_have_names_of_their_own() {
    let shapes: BTreeSet<&str> = SHAPES.iter().map(|shape| shape.name).collect();
    assert_eq!(shapes.len(), SHAPES.len());
    for shape in SHAPES {
        let names: BTreeSet<&str> = shape.fields.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), shape.fields.len(), "{}", shape.name);
    }
}

#[track_caller]
fn check_list(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api").join(file);
    if std::env::var_os("WEIR_WRITE").is_some() {
        std::fs::write(&path, made).expect("it can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, made, "{file} is not what the tables say: WEIR_WRITE=1 writes it anew");
}

#[test]
fn the_list_of_what_is_not_in_effect_is_committed() {
    check_list("not-in-effect.md", &control_api::not_in_effect_list());
}

#[test]
fn the_list_of_operations_is_committed() {
    check_list("operations.md", &control_api::operations_list());
}
