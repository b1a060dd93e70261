//! `weir packet simulate`: what it says about a fleet, the same each time, and what it refuses.

use crate::support::files::TempDir;
use crate::support::process::command;
use serde_json::Value;
use std::process::Output;

fn simulate(arguments: &[&str]) -> Output {
    let mut command = command();
    command.args(["packet", "simulate", "--servers", "40"]).args(arguments);
    command.output().expect("weir can be started")
}

fn json(arguments: &[&str]) -> Value {
    let output = simulate(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Connections that broke under a way of placing them.
fn broken(summary: &Value, name: &str) -> f64 {
    let outcomes = summary["outcomes"].as_array().expect("outcomes");
    let outcome = outcomes.iter().find(|outcome| outcome["name"] == name).expect("a name");
    outcome["broken"].as_f64().expect("a number")
}

#[test]
fn a_fleet_loses_next_to_nothing_and_comes_to_even_load() {
    let summary = json(&["--days", "3", "--seed", "2"]);
    assert!(summary["drains"].as_u64() > Some(0) && summary["crashes"].as_u64() > Some(0));
    let opened = summary["opened"].as_f64().expect("a number");
    assert!(broken(&summary, "two slots") < opened / 1e6, "{summary}");
    assert!(broken(&summary, "Maglev") > opened / 1e5, "{summary}");
    assert!(broken(&summary, "plain ECMP") > broken(&summary, "rendezvous"), "{summary}");
    let highest = summary["load_max"].as_array().expect("a series");
    let middle = highest[highest.len() / 2].as_f64().expect("a number");
    assert!(highest[0].as_f64() > Some(1.2) && middle < 1.15, "{highest:?}");
    assert_eq!(summary, json(&["--days", "3", "--seed", "2"]), "the same each time");
    assert_ne!(summary, json(&["--days", "3", "--seed", "3"]));
}

#[test]
fn measured_load_is_brought_to_the_mean() {
    let dir = TempDir::new();
    let lines: Vec<String> = (1..=40).map(|id| format!("0,{id},{}", 1 + id % 3)).collect();
    let file = dir.write("load.csv", lines.join("\n"));
    let path = file.to_str().expect("a path");
    let summary = json(&["--days", "1", "--load", path]);
    let highest = summary["load_max"].as_array().expect("a series");
    assert!(highest[0].as_f64() > Some(1.4), "{highest:?}");
    assert!(highest[40].as_f64() < Some(1.15), "{highest:?}");

    let file = dir.write("wrong.csv", "0,1,1\n0,41,1\n");
    let output = simulate(&["--load", file.to_str().expect("a path")]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("line 2: server 41, of a fleet of 1 to 40"), "{text}");
}

#[test]
fn people_get_charts_and_the_command_that_repeats_them() {
    let output = simulate(&["--days", "1"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let first = "weir packet simulate --servers 40 --days 1 --seed 1 --round 5 --life 10";
    assert_eq!(text.lines().next(), Some(first));
    for part in ["# highest, o lowest", "two slots", "plain ECMP", "ended with their server"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_printed_command_repeats_the_run() {
    let dir = TempDir::new();
    let file = dir.write("a day's load.csv", "0,1,2\n");
    let path = file.to_str().expect("a path");
    let first = simulate(&["--days", "1", "--seed", "5", "--round", "10", "--load", path]);
    let text = String::from_utf8_lossy(&first.stdout).into_owned();
    let line = text.lines().next().expect("a command").to_owned();
    let arguments = line.strip_prefix("weir ").expect("a command of weir");
    // As a shell reads it.
    let program = command().get_program().to_owned();
    let mut again = std::process::Command::new("sh");
    again.args(["-c", &format!("\"$0\" {arguments}")]).arg(program);
    let again = again.output().expect("a shell");
    assert!(again.status.success(), "{line}: {again:?}");
    assert_eq!(String::from_utf8_lossy(&again.stdout), text);
}
