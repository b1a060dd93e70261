//! Row 71: hosts and paths are matched alike however many there are: by the tables of Weir, and by
//! a loop over all patterns here.

use crate::support::client::Client;
use crate::support::edge::Edge;
use crate::support::process::Weir;
use std::fmt::Write;

/// Requests for each number of patterns.
const REQUESTS: usize = 400;
/// Requests on one connection before their replies are read.
const TOGETHER: usize = 20;

/// A small generator; the cases of a run are those of its seed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(71);
        println!("WEIR_SEED={seed} cargo test -p process-weir --test edge row_71");
        Self(seed)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).expect("31 bits") % n
    }
}

/// Adds tables to a configuration, each a redirect that names the pattern.
fn with_tables(tables: &str) -> Edge {
    Edge::new().listener("web", "").runtime(tables)
}

/// Where each of these requests is sent; they go in groups, as clients pipeline them.
fn answers(client: &mut Client, requests: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for group in requests.chunks(TOGETHER) {
        client.send(group.concat()).expect("they are sent");
        for request in group {
            let reply = client.reply_within("GET", crate::support::wait::SOON);
            let reply = reply.unwrap_or_else(|error| panic!("{request}: {error}"));
            assert!([302, 404].contains(&reply.status), "{request}: {reply:?}");
            found.push(reply.field("location").unwrap_or("none").to_owned());
        }
    }
    found
}

/// The pattern number `n` of a list of hosts: exact names, and wildcards within each other.
fn host_pattern(n: usize) -> String {
    match n % 4 {
        0 | 1 => format!("h{n}.test"),
        2 => format!("*.h{}.test", n - 2),
        _ => format!("*.deep.h{}.test", n - 3),
    }
}

/// What a host should match: the exact pattern, then the longest wildcard.
fn host_matched(patterns: &[String], host: &str) -> String {
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let fits = |pattern: &&String| match pattern.strip_prefix('*') {
        None => **pattern == host,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
    };
    let rank = |pattern: &&String| (!pattern.starts_with('*'), pattern.len());
    let best = patterns.iter().filter(fits).max_by_key(rank);
    best.map_or("none".to_owned(), |best| format!("/{best}"))
}

/// A host that is one of the patterns, or nearly.
fn some_host(random: &mut Random, count: usize) -> String {
    // Now and then a number beyond the list.
    let number = random.below(count + count / 4 + 2);
    let prefix = ["", "", "", "x.", "deep.", "x.deep.", "x.y.deep.", "xdeep.", "h"];
    let suffix = ["", "", "", "", ":80", ".test", "x"];
    let (prefix, suffix) = (prefix[random.below(9)], suffix[random.below(7)]);
    let host = format!("{prefix}h{}.test{suffix}", number - number % 2);
    match random.below(4) {
        0 => host.to_uppercase(),
        1 => host.replace('h', "H").replace("es", "Es"),
        _ => host,
    }
}

#[test]
fn row_71_hosts_match_alike_at_any_number() {
    let mut random = Random::new();
    for count in [1, 100, 101, 10_000] {
        let patterns: Vec<String> = (0..count).map(host_pattern).collect();
        let mut tables = String::new();
        for pattern in &patterns {
            let location = format!("redirect = {{ location = \"/{pattern}\" }}");
            writeln!(tables, "[[load_balancer]]\nname = \"{pattern}\"\n{location}").expect("text");
        }
        let weir = Weir::start(with_tables(&tables));
        let hosts: Vec<String> = (0..REQUESTS).map(|_| some_host(&mut random, count)).collect();
        let requests = hosts.iter().map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let found = answers(&mut weir.client(), &requests.collect::<Vec<_>>());
        let mut hits = 0;
        for (host, found) in hosts.iter().zip(found) {
            assert_eq!(found, host_matched(&patterns, host), "{host} among {count}");
            hits += usize::from(found != "none");
        }
        assert!((10..REQUESTS - 10).contains(&hits), "{hits} of {REQUESTS} matched at {count}");
    }
}

/// What a path without escapes and dots should match: the exact one, then the longest prefix.
fn path_matched(count: usize, path: &str) -> String {
    let exact = |n: usize| n.is_multiple_of(3) && path == format!("/r{n}");
    let below = |n: usize| {
        let prefix = format!("/r{n}/b");
        n % 3 == 1 && (path == prefix || path.starts_with(&format!("{prefix}/")))
    };
    let wide =
        |n: usize| n % 3 == 2 && (path == format!("/r{n}") || path.starts_with(&format!("/r{n}/")));
    let all = || 0..count;
    let found =
        all().find(|n| exact(*n)).or(all().find(|n| below(*n))).or(all().find(|n| wide(*n)));
    found.map_or("/other".to_owned(), |n| format!("/{n}"))
}

#[test]
fn row_71_paths_match_alike_at_any_number() {
    let mut random = Random::new();
    for count in [1, 100, 101, 1000] {
        let other = "redirect = { location = \"/other\" }";
        let mut tables = format!("[[load_balancer]]\nname = \"*\"\n{other}\n");
        for n in 0..count {
            let key = match n % 3 {
                0 => format!("path = \"/r{n}\""),
                1 => format!("path_prefix = \"/r{n}/b\""),
                _ => format!("path_prefix = \"/r{n}\""),
            };
            let location = format!("redirect = {{ location = \"/{n}\" }}");
            writeln!(tables, "[[load_balancer.routes]]\n{key}\n{location}").expect("text");
        }
        let weir = Weir::start(with_tables(&tables));
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..REQUESTS {
            let number = random.below(count + count / 4 + 2);
            let tail = ["", "", "/b", "/b/c", "/c", "b", "/"][random.below(7)];
            let normal = format!("/r{number}{tail}");
            // Spelled in another way, it is the same path.
            let (sent, normal) = match random.below(7) {
                0 => (normal.replace('r', "%72"), normal),
                1 => (normal.replace("/r", "//r"), normal),
                2 => (format!("/x/..{normal}"), normal),
                3 => (format!("{normal}?/r0"), normal),
                // Paths tell upper from lower case.
                4 => (normal.replace('r', "R"), normal.replace('r', "R")),
                _ => (normal.clone(), normal),
            };
            requests.push(format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n"));
            expected.push(path_matched(count, &normal));
        }
        let found = answers(&mut weir.client(), &requests);
        for ((request, found), expected) in requests.iter().zip(found).zip(expected) {
            assert_eq!(found, expected, "{request:?} among {count}");
        }
    }
}
