//! One row for each fault: the text, where it is told, and what is said.

use super::{BASE, read, shown};

/// Exactly one fault, at this place and path, saying this.
fn check(text: &str, place: &str, path: &str, says: &str) {
    let text = format!("{text}\n{BASE}");
    let faults = read(&text).expect_err(&text);
    assert_eq!(faults.len(), 1, "{}\n{text}", shown(&faults));
    let fault = &faults[0];
    assert_eq!(fault.place.to_string(), format!("t.toml:{place}"), "{fault}\n{text}");
    assert_eq!(fault.place.path, path, "{fault}\n{text}");
    assert!(fault.to_string().contains(says), "{fault}\n{text}");
}

/// As `check`, within a listener that is right otherwise.
fn in_listener(text: &str, place: &str, path: &str, says: &str) {
    let text = format!("[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:2\"\n{text}");
    check(&text, place, path, says);
}

/// As `check`, within a pool that is right otherwise; its origins stand at its end.
fn in_pool(text: &str, place: &str, path: &str, says: &str) {
    let origin = "[[pool.origins]]\nname = \"x\"\naddress = \"127.0.0.2\"";
    check(&format!("[[pool]]\nname = \"p\"\n{text}\n{origin}"), place, path, says);
}

/// As `check`, within an origin that has a name.
fn in_origin(text: &str, place: &str, path: &str, says: &str) {
    let text = format!("[[pool]]\nname = \"p\"\n[[pool.origins]]\nname = \"x\"\n{text}");
    check(&text, place, path, says);
}

/// As `check`, within a monitor that has a name.
fn in_monitor(text: &str, place: &str, path: &str, says: &str) {
    check(&format!("[[monitor]]\nname = \"m\"\n{text}"), place, path, says);
}

/// As `check`, within a host that is right otherwise.
fn in_host(text: &str, place: &str, path: &str, says: &str) {
    let text = format!("[[load_balancer]]\nname = \"h.test\"\ndefault_pools = [\"base\"]\n{text}");
    check(&text, place, path, says);
}

/// As `check`, within a route of a host.
fn in_route(text: &str, place: &str, path: &str, says: &str) {
    in_host(&format!("[[load_balancer.routes]]\n{text}"), place, path, says);
}

#[test]
fn the_file_as_a_whole() {
    check("bogus = 1", "1:1", "bogus", "`bogus` is not a key");
    check("[runtim]", "1:2", "runtim", "did you mean `runtime`?");
    check("runtime = 1", "1:11", "runtime", "found the number `1`");
    let faults = read("[listener]\nname = \"x\"\npool = [1]").unwrap_err();
    assert!(shown(&faults).contains("t.toml:1:1: listener: found a table"), "{}", shown(&faults));
    assert!(shown(&faults).contains("double brackets"), "{}", shown(&faults));
    let faults = read("pool = [1]").unwrap_err();
    assert!(shown(&faults).contains("t.toml:1:9: pool[0]: found the number"), "{}", shown(&faults));
}

#[test]
fn control_planes() {
    let at = "control.urls[1]";
    for wrong in ["http://b", "b:8781", "https://b/path", "https://"] {
        let text = format!("[control]\nurls = [\"https://a\", \"{wrong}\"]");
        check(&text, "2:22", at, "https://HOST:PORT");
    }
    check("[control]\nurls = []", "2:8", "control.urls", "found 0 entries");
    check("[control]", "1:1", "control", "`urls` is missing");
    let named = "[control]\nurls = [\"https://a\"]\nname = \"a b\"";
    check(named, "3:8", "control.name", "1 to 64 letters");
    check("[published.pool]\nname = \"p\"", "2:1", "published.pool.name", "is not a key");
}

#[test]
fn the_process() {
    let at = "runtime.workers";
    check("[runtime]\nworkers = 0", "2:11", at, "`0` is out of range");
    check("[runtime]\nworkers = -1", "2:11", at, "1..=256");
    check("[runtime]\nworkers = 257", "2:11", at, "`257`");
    check("[runtime]\nworkers = \"4\"", "2:11", at, "found the text `4`");
    check("[runtime]\nworkers = 1.5", "2:11", at, "found the number `1.5`");
    check("[runtime]\nworkers = true", "2:11", at, "found `true`");
    check("[runtime]\nworkers = 2026-01-01", "2:11", at, "found a date");
    check("[runtime]\nworkers = 99999999999999999999", "2:11", at, "out of range");
    check("[runtime]\nworker = 2", "2:1", "runtime.worker", "did you mean `workers`?");
    let at = "runtime.drain_timeout";
    check("[runtime]\ndrain_timeout = 30", "2:17", at, "\"10s\"");
    check("[runtime]\ndrain_timeout = \"30\"", "2:17", at, "found `30`");
    check("[runtime]\ndrain_timeout = \"2d\"", "2:17", at, "\"1ms\" to \"1d\"");
    check("[runtime]\ndrain_timeout = \"1.5s\"", "2:17", at, "`1.5s`");
    let at = "runtime.dns_min_ttl";
    check("[runtime]\ndns_min_ttl = \"10m\"", "2:15", at, "exceeds dns_max_ttl");
    let at = "runtime.dns_servers[1]";
    check("[runtime]\ndns_servers = [\"1.1.1.1:53\", \"dns\"]", "2:30", at, "`dns`");
    check("[runtime]\ngroup = \"g\"", "2:9", "runtime.group", "without `user`");
    check("[runtime]\nuser = \"a b\"", "2:8", "runtime.user", "`a b`");
    let at = "admin.address";
    check("[admin]\naddress = \"0.0.0.0:99\"", "2:11", at, "allow_remote");
    check("[admin]\naddress = \"[::]:99\"", "2:11", at, "reached by other machines");
    check("[admin]\naddress = \"unix:rel.sock\"", "2:11", at, "unix:/path");
    check("[admin]\naddress = \"localhost:99\"", "2:11", at, "`localhost:99`");
    check("[logging]\nlevel = \"loud\"", "2:9", "logging.level", "\"error\", \"warn\"");
    check("[logging]\nlevel = \"inf\"", "2:9", "logging.level", "did you mean `info`?");
    let at = "logging.access.format";
    check("[logging.access]\nformat = \"comibned\"", "2:10", at, "did you mean `combined`?");
    let at = "logging.access.buffer_lines";
    check("[logging]\naccess = { buffer_lines = 0 }", "2:27", at, "1..=");
}

#[test]
fn listeners() {
    check("[[listener]]\nname = \"l\"", "1:1", "listener[0]", "`address` is missing");
    let text = "[[listener]]\nname = \"base\"\naddress = \"127.0.0.1:3\"";
    check(text, "6:8", "listener[1].name", "stands at t.toml:2:8 already");
    let text = "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:1\"";
    check(text, "7:11", "listener[1].address", "the address of listener `l` too");
    let text = "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:9900\"";
    check(text, "3:11", "listener[0].address", "the address of [admin] too");
    let text = "[[listener]]\nname = \"a/b\"\naddress = \"127.0.0.1:2\"";
    check(text, "2:8", "listener[0].name", "`a/b` is not valid here");
    let text = "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1\"";
    check(text, "3:11", "listener[0].address", "an address with a port");
    let twice = "protocols = [\"h2\", \"h2\"]";
    in_listener(twice, "4:13", "listener[0].protocols", "`h2` is there twice");
    in_listener("protocols = [\"h3\"]", "4:14", "listener[0].protocols[0]", "not speak `h3` yet");
    in_listener("protocols = []", "4:13", "listener[0].protocols", "found 0 entries");
    let at = "listener[0].protocols[0]";
    in_listener("protocols = [\"http1.1\"]", "4:14", at, "did you mean `http/1.1`?");
    let at = "listener[0].trusted_proxies[0]";
    in_listener("trusted_proxies = [\"10.0.0.0/33\"]", "4:20", at, "10.0.0.0/8");
    in_listener("header_names = \"allow\"", "4:16", "listener[0].header_names", "\"keep\"");
    let at = "listener[0].redirect_https";
    in_listener("redirect_https = 0", "4:18", at, "out of range");
    in_listener("redirect_https = \"443\"", "4:18", at, "true, false, or a port");
    in_listener("hsts = true", "4:8", "listener[0].hsts", "found `true`");
    let at = "listener[0].hsts.max_age";
    in_listener("hsts = { max_age = \"1500ms\" }", "4:20", at, "whole seconds");
    let at = "listener[0].limits.header_bytes";
    in_listener("limits = { header_bytes = \"1GiB\" }", "4:27", at, "1KiB to 1MiB");
    in_listener("limits = { header_bytes = \"32 KiB\" }", "4:27", at, "`32 KiB`");
    in_listener("limits = { header_bytes = 10 }", "4:27", at, "`10` is out of range");
    let at = "listener[0].limits.header_byte";
    in_listener("limits = { header_byte = 10 }", "4:12", at, "did you mean `header_bytes`?");
    let at = "listener[0].timeouts.head";
    in_listener("timeouts = { head = \"0s\" }", "4:21", at, "`0s`");
    let at = "listener[0].proxy_protocol";
    in_listener("proxy_protocol = {}", "4:18", at, "`trusted` is missing");
    in_listener("proxy_protocol = \"v2\"", "4:18", at, "found the text `v2`");
}

#[test]
fn headers() {
    let at = "listener[0].request_headers.set.\"a b\"";
    in_listener("request_headers = { set = { \"a b\" = \"x\" } }", "4:29", at, "a field name");
    let at = "listener[0].request_headers.set.X";
    in_listener("request_headers = { set = { X = \"a\\nb\" } }", "4:33", at, "without line ends");
    in_listener("request_headers = { set = { X = 1 } }", "4:33", at, "found the number `1`");
    let at = "listener[0].request_headers.set.Content-Length";
    in_listener(
        "request_headers = { set = { Content-Length = \"1\" } }",
        "4:29",
        at,
        "Weir writes `Content-Length` itself",
    );
    let at = "listener[0].request_headers.set.Host";
    let text = "request_headers = { set = { Host = \"x\" } }";
    in_listener(text, "4:29", at, "of an origin");
    let at = "listener[0].request_headers.set.x-a";
    let text = "request_headers = { set = { X-A = \"1\", x-a = \"2\" } }";
    in_listener(text, "4:40", at, "`x-a` stands here twice");
    let at = "listener[0].response_headers.remove[0]";
    let text = "response_headers = { set = { X-A = \"1\" }, remove = [\"x-a\"] }";
    in_listener(text, "4:53", at, "both set and removed");
    let text = "response_headers = { remove = [\"Connection\"] }";
    in_listener(text, "4:32", at, "Weir writes `connection` itself");
}

#[test]
fn tls_without_files() {
    let at = "listener[0].tls";
    in_listener("tls = {}", "4:7", at, "`certificates` is missing");
    in_listener("tls = { certificates = [] }", "4:24", "listener[0].tls.certificates", "1 to");
    let some = "tls = { certificates = [{ certificate = \"none.crt\" }] }";
    let faults =
        read(&format!("[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:2\"\n{some}\n{BASE}"))
            .unwrap_err();
    assert_eq!(faults.len(), 2, "{}", shown(&faults));
    assert!(shown(&faults).contains("`key` is missing"), "{}", shown(&faults));
    assert!(shown(&faults).contains("cannot read none.crt: no such file"), "{}", shown(&faults));
}

#[test]
fn monitors() {
    in_monitor("type = \"icmp_ping\"", "3:8", "monitor[0].type", "Cloudflare has `icmp_ping`");
    in_monitor("type = \"udp_icmp\"", "3:8", "monitor[0].type", "does not yet");
    in_monitor("type = \"smtp\"", "3:8", "monitor[0].type", "does not yet");
    in_monitor("type = \"https2\"", "3:8", "monitor[0].type", "did you mean `https`?");
    in_monitor("probe_zone = \"x\"", "3:1", "monitor[0].probe_zone", "Cloudflare has");
    in_monitor("interval = 15", "3:12", "monitor[0].interval", "= 15 s");
    in_monitor("interval = \"60s\"", "3:12", "monitor[0].interval", "(seconds)");
    in_monitor("timeout = 30", "1:1", "monitor[0].interval", "(retries + 1) × timeout = 90 s");
    in_monitor("path = \"health\"", "3:8", "monitor[0].path", "starts with `/`");
    in_monitor("port = 65536", "3:8", "monitor[0].port", "0..=65535");
    in_monitor("expected_codes = \"2x\"", "3:18", "monitor[0].expected_codes", "2xx,304");
    in_monitor("expected_codes = 200", "3:18", "monitor[0].expected_codes", "found the number");
    in_monitor("method = \"DELETE\"", "3:10", "monitor[0].method", "\"GET\", \"HEAD\"");
    let at = "monitor[0].expected_body";
    in_monitor("method = \"HEAD\"\nexpected_body = \"x\"", "4:17", at, "has no body");
    in_monitor("method = \"connection_established\"", "3:10", "monitor[0].method", "\"tcp\"");
    in_monitor("type = \"tcp\"\npath = \"/\"", "4:8", "monitor[0].path", "no effect");
    in_monitor("type = \"tcp\"\nmethod = \"GET\"", "4:10", "monitor[0].method", "no request");
    let at = "monitor[0].header.User-Agent";
    in_monitor("header = { User-Agent = [\"x\"] }", "3:12", at, "cannot be set in a probe");
    let at = "monitor[0].header.Host";
    in_monitor("header = { Host = \"x\" }", "3:19", at, "a list");
    in_monitor("header = { Host = [\"x\", \"y\"] }", "3:12", at, "one host");
}

#[test]
fn pools() {
    check("[[pool]]\nname = \"p\"", "1:1", "pool[0]", "`origins` is missing");
    check("[[pool]]\nname = \"p\"\norigins = []", "3:11", "pool[0].origins", "1 to 1000 entries");
    in_pool("monitor = \"bas\"", "3:11", "pool[0].monitor", "did you mean `base`?");
    in_pool("monitor = \"zzz\"", "3:11", "pool[0].monitor", "no [[monitor]] named `zzz`");
    in_pool("minimum_origins = 2", "3:19", "pool[0].minimum_origins", "the pool has 1 origins");
    in_pool("minimum_origins = 0", "3:19", "pool[0].minimum_origins", "out of range");
    let at = "pool[0].origin_steering.policy";
    in_pool("origin_steering = { policy = \"rand\" }", "3:30", at, "\"random\"");
    in_pool("load_shedding = {}", "3:1", "pool[0].load_shedding", "Cloudflare has");
    in_pool("notification_email = \"\"", "3:1", "pool[0].notification_email", "metrics");
    in_pool("check_regions = []", "3:1", "pool[0].check_regions", "does not yet");
    in_pool("latitude = 1.0", "3:1", "pool[0].latitude", "does not yet");
    in_pool("monitor_group = \"x\"", "3:1", "pool[0].monitor_group", "does not yet");
    in_pool("proxy_protocol = \"v3\"", "3:18", "pool[0].proxy_protocol", "\"off\", \"v1\"");
    in_pool("source_address = \"eth0\"", "3:18", "pool[0].source_address", "an IP address");
    in_pool("slow_start = \"2h\"", "3:14", "pool[0].slow_start", "to \"1h\"");
    let at = "pool[0].outlier_ejection.base_time";
    in_pool("outlier_ejection = { base_time = \"10m\" }", "3:34", at, "exceeds max_time");
    in_pool("retries = { attempts = 11 }", "3:24", "pool[0].retries.attempts", "0..=10");
    in_pool("tls = { key = \"k\" }", "3:15", "pool[0].tls.key", "without `certificate`");
    in_pool("tls = { certificate = \"c\" }", "3:23", "pool[0].tls.certificate", "without `key`");
    let at = "pool[0].tls.server_name";
    in_pool("tls = { server_name = \"a b\" }", "3:23", at, "a DNS name");
}

#[test]
fn origins() {
    in_origin("", "3:1", "pool[0].origins[0]", "`address` is missing");
    let at = "pool[0].origins[0].address";
    in_origin("address = \"127.0.0.1:80\"", "5:11", at, "the port stands in `port`");
    in_origin("address = \"http://x\"", "5:11", at, "`http://x`");
    in_origin("address = \"10.0.0.256\"", "5:11", at, "an IP address or a DNS name");
    let ok = "address = \"127.0.0.2\"";
    let at = "pool[0].origins[0].weight";
    in_origin(&format!("{ok}\nweight = 1.5"), "6:10", at, "from 0 to 1");
    in_origin(&format!("{ok}\nweight = 0.333"), "6:10", at, "steps of 0.01");
    in_origin(&format!("{ok}\nweight = -0.5"), "6:10", at, "out of range");
    in_origin(&format!("{ok}\nweight = nan"), "6:10", at, "out of range");
    in_origin(&format!("{ok}\nweight = \"1\""), "6:10", at, "found the text");
    let at = "pool[0].origins[0].header.Host";
    in_origin(&format!("{ok}\nheader = {{ Host = [] }}"), "6:19", at, "found 0 entries");
    in_origin(&format!("{ok}\nheader = {{ Host = [\"a b\"] }}"), "6:12", at, "not a host");
    let at = "pool[0].origins[0].header.X";
    in_origin(&format!("{ok}\nheader = {{ X = [\"a\"] }}"), "6:12", at, "Host (as in Cloudflare)");
    let at = "pool[0].origins[0].virtual_network_id";
    in_origin(&format!("{ok}\nvirtual_network_id = \"x\""), "6:1", at, "Cloudflare has");
    let two = format!("{ok}\n[[pool.origins]]\nname = \"x\"\naddress = \"127.0.0.3\"");
    in_origin(&two, "7:8", "pool[0].origins[1].name", "has the name `x`");
    let two = format!("{ok}\nport = 80\n[[pool.origins]]\nname = \"y\"\n{ok}");
    in_origin(&two, "9:11", "pool[0].origins[1].address", "origin `x` has the same address");
}

#[test]
fn hosts() {
    let at = "load_balancer[0].name";
    let pools = "default_pools = [\"base\"]";
    let host = |name: &str| format!("[[load_balancer]]\nname = \"{name}\"\n{pools}");
    check(&host("example.com:80"), "2:8", at, "without port");
    check(&host("a.*.example.com"), "2:8", at, "*.example.com or *");
    check(&host("exämple.com"), "2:8", at, "xn--");
    check(&host("-a.com"), "2:8", at, "`-a.com`");
    check(&host("a..com"), "2:8", at, "`a..com`");
    check(&host("BASE.test"), "14:8", "load_balancer[1].name", "stands at t.toml:2:8 already");
    let at = "load_balancer[0]";
    check("[[load_balancer]]\nname = \"h\"", "1:1", at, "where requests go");
    in_host("proxied = false", "4:11", "load_balancer[0].proxied", "DNS alone");
    let at = "load_balancer[0].session_affinity";
    in_host("session_affinity = \"cookie\"", "4:20", at, "Cloudflare has `cookie`");
    in_host("session_affinity = \"cokie\"", "4:20", at, "valid: \"none\"");
    let at = "load_balancer[0].steering_policy";
    in_host("steering_policy = \"geo\"", "4:19", at, "Cloudflare has `geo`");
    in_host("steering_policy = \"proximity\"", "4:19", at, "does not yet");
    in_host("steering_policy = \"randm\"", "4:19", at, "did you mean `random`?");
    in_host("region_pools = {}", "4:1", "load_balancer[0].region_pools", "Cloudflare has");
    in_host("country_pools = {}", "4:1", "load_balancer[0].country_pools", "Cloudflare has");
    in_host("adaptive_routing = {}", "4:1", "load_balancer[0].adaptive_routing", "does not yet");
    in_host("rules = []", "4:1", "load_balancer[0].rules", "[[load_balancer.routes]]");
    in_host("ttl = 30", "4:1", "load_balancer[0].ttl", "does not answer DNS");
    in_host(
        "listeners = [\"bsae\"]",
        "4:14",
        "load_balancer[0].listeners[0]",
        "did you mean `base`?",
    );
    in_host("fallback_pool = \"x\"", "4:17", "load_balancer[0].fallback_pool", "named `x`");
    let at = "load_balancer[0].default_pools";
    in_host("redirect = { location = \"/x\" }", "3:17", at, "no effect beside `redirect`");
    let text = "[[load_balancer]]\nname = \"h\"\ndefault_pools = [\"base\", \"base\"]";
    check(text, "3:26", "load_balancer[0].default_pools[1]", "twice");
    let at = "load_balancer[0].random_steering.pool_weights.base";
    let text = "steering_policy = \"random\"\nrandom_steering = { pool_weights = { base = 0.55 } }";
    in_host(text, "5:45", at, "steps of 0.1");
    let at = "load_balancer[0].random_steering";
    let text = "steering_policy = \"random\"\nrandom_steering = { default_weight = 0 }";
    in_host(text, "5:1", at, "every pool has weight 0");
    let at = "load_balancer[0].random_steering.pool_weights.nope";
    let text = "steering_policy = \"random\"\nrandom_steering = { pool_weights = { nope = 1 } }";
    in_host(text, "5:38", at, "no [[pool]] named `nope`");
    let at = "load_balancer[0].redirect.status";
    let text = "[[load_balancer]]\nname = \"h\"\nredirect = { location = \"/\", status = 200 }";
    check(text, "3:39", at, "301, 302");
    let at = "load_balancer[0].redirect.location";
    let text = "[[load_balancer]]\nname = \"h\"\nredirect = { location = \"x.test\" }";
    check(text, "3:25", at, "http:// or https://");
}

#[test]
fn routes() {
    let at = "load_balancer[0].routes[0]";
    in_route("default_pools = [\"base\"]", "4:1", at, "which paths");
    in_route("path = \"/a\"", "4:1", at, "where requests go");
    let pools = "default_pools = [\"base\"]";
    let at = "load_balancer[0].routes[0].path";
    in_route(&format!("{pools}\npath = \"a\""), "6:8", at, "starts with `/`");
    in_route(&format!("{pools}\npath = \"/a?b\""), "6:8", at, "without `?`");
    in_route(&format!("{pools}\npath = \"/a/../b\""), "6:8", at, "`..`");
    in_route(&format!("{pools}\npath = \"/a\"\npath_prefix = \"/b\""), "6:8", at, "exclude");
    let route = |path: &str| format!("{pools}\npath = \"{path}\"");
    in_route(&route("/%41dmin"), "6:8", at, "`/Admin`");
    in_route(&route("//a"), "6:8", at, "normal form `/a`");
    in_route(&route("/caf%c3%a9"), "6:8", at, "`/caf%C3%A9`");
    in_route(&route("/a%2fb"), "6:8", at, "an encoded slash");
    in_route(&route("/a%zz"), "6:8", at, "hexadecimal");
    let at = "load_balancer[0].routes[0].strip_prefix";
    let text = format!("{pools}\npath_prefix = \"/api\"\nstrip_prefix = \"/ap\"");
    in_route(&text, "7:16", at, "no path of this route starts with `/ap`");
    let text = "path = \"/a\"\nredirect = { location = \"/b\" }\nstrip_prefix = \"/a\"";
    in_route(text, "7:16", at, "no effect beside `redirect`");
    let one = format!("path_prefix = \"/a\"\n{pools}\n");
    let text = format!("{one}[[load_balancer.routes]]\npath_prefix = \"/a/\"\n{pools}");
    let at = "load_balancer[0].routes[1].path_prefix";
    in_route(&text, "8:15", at, "stands at t.toml:5:15 already");
}

#[test]
fn variables() {
    let at = "pool[0].description";
    in_pool("description = \"${WEIR_UNSET}\"", "3:15", at, "WEIR_UNSET is not set");
    in_pool("description = \"${open\"", "3:15", at, "without a closing `}`");
    in_pool("description = \"${1X}\"", "3:15", at, "not the name of a variable");
}

#[test]
fn syntax_faults_stand_beside_others() {
    let text = "[runtime]\nworkers = \nuser = 5\n[admin\n[logging]\nlevel = \"loud\"\n[logging]\n";
    let faults = read(text).unwrap_err();
    let places: Vec<String> = faults.iter().map(|fault| fault.place.to_string()).collect();
    assert_eq!(
        places,
        ["t.toml:2:11", "t.toml:3:8", "t.toml:4:7", "t.toml:6:9", "t.toml:7:2"],
        "{}",
        shown(&faults)
    );
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let world = super::world(&super::no_env);
    let faults = super::load_in("t.toml", b"[runtime]\nuser = \"\xff\"".to_vec(), &world);
    let faults = faults.unwrap_err();
    assert_eq!(faults[0].place.to_string(), "t.toml:2:9");
}

#[test]
fn ten_faults_of_ten_kinds_are_all_told() {
    let faults = read(include_str!("ten_faults.toml")).unwrap_err();
    let told: Vec<String> = faults
        .iter()
        .map(|fault| format!("{} {}", fault.place.to_string().replace("t.toml:", ""), fault.what))
        .collect();
    let expect = [
        "5:1 `wrokers` is not a key of this table",
        "6:17 found the number `30`",
        "9:11 `0.0.0.0:9900` is reached by other machines",
        "14:14 this version of Weir does not speak `h3` yet",
        "18:12 `15` is not above (retries + 1) × timeout = 15 s",
        "22:11 there is no [[monitor]] named `wbe`",
        "27:10 `1.5` is out of range or between two steps",
        "30:8 the name `api` stands at t.toml:21:8 already",
        "36:19 Cloudflare has `geo`; this version of Weir does not yet",
        "39:1 it says nothing about which paths it is for",
    ];
    assert_eq!(told, expect);
}

#[test]
fn a_hopeless_file_gives_a_bounded_report() {
    let text = "x\n".repeat(super::super::FAULTS_MAX + 500);
    let faults = read(&text).unwrap_err();
    assert!(faults.len() <= super::super::FAULTS_MAX + 1, "{}", faults.len());
}
