//! Row 72: a path has one normal form, by which a route is found and a path is rewritten, or it is
//! refused.

use crate::framing::rig::Rig;
use crate::support::edge::Edge;
use crate::support::upstream::Conn;

const ROUTES: &str = "\
    [[load_balancer.routes]]\npath_prefix = \"/admin\"\ndefault_pools = [\"p\"]\n\
    request_headers = { set = { X-Route = \"admin\" } }\n\
    [[load_balancer.routes]]\npath_prefix = \"/api\"\ndefault_pools = [\"p\"]\n\
    strip_prefix = \"/api\"\nadd_prefix = \"/v2\"\n\
    request_headers = { set = { X-Route = \"api\" } }\n\
    [[load_balancer.routes]]\npath = \"/exact\"\ndefault_pools = [\"p\"]\n\
    request_headers = { set = { X-Route = \"exact\" } }\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn row_72_one_normal_form_or_none() {
    let mut rig = Rig::with(72, Conn::serve, |edge: Edge| edge.balance("*", "p", ROUTES));
    for (sent, route, forwarded) in [
        ("/admin", "admin", "/admin"),
        ("/%61dmin", "admin", "/%61dmin"),
        ("/a/../admin", "admin", "/a/../admin"),
        ("/a/%2e%2e/admin", "admin", "/a/%2e%2e/admin"),
        ("/a/%2E./admin/x", "admin", "/a/%2E./admin/x"),
        ("/a;x/../admin", "admin", "/a;x/../admin"),
        ("//admin", "admin", "//admin"),
        ("/.//./admin", "admin", "/.//./admin"),
        ("/admin//../admin", "admin", "/admin//../admin"),
        // Paths are compared by their case, and by whole segments.
        ("/aDmin", "", "/aDmin"),
        ("/%41dmin", "", "/%41dmin"),
        ("/admin/..", "", "/admin/.."),
        ("/admins", "", "/admins"),
        ("/%2561dmin", "", "/%2561dmin"),
        ("/x?/../admin", "", "/x?/../admin"),
        ("/exact", "exact", "/exact"),
        ("/%65xact?q", "exact", "/%65xact?q"),
        ("/exact/", "", "/exact/"),
        // What is rewritten cannot leave what is put in front of it.
        ("/api/x", "api", "/v2/x"),
        ("/api?q=/../", "api", "/v2/?q=/../"),
        ("/%61pi/x", "api", "/v2/x"),
        ("/api//x", "api", "/v2/x"),
        ("/api/../api/x", "api", "/v2/x"),
        ("/api/%2e%2e/api/x", "api", "/v2/x"),
        ("/apis/../api/x", "api", "/v2/x"),
        ("/x/../api", "api", "/v2/"),
        ("/api/a%2520b/%c3%a9", "api", "/v2/a%2520b/%C3%A9"),
    ] {
        rig.passes(get(sent), |request, what| {
            assert_eq!(request.field("x-route").unwrap_or_default(), route, "{what}");
            assert_eq!(request.target, forwarded, "{what}");
        });
    }
    for ambiguous in [
        "/a/..%2fadmin",
        "/a%2F..%2Fadmin",
        "/%5cadmin",
        "/a%5C..%5cadmin",
        "/..;/admin",
        "/a/..;x=y/admin",
        "/a/%2e;/admin",
        "/../admin",
        "/a/../../admin",
        "/%2e%2e/admin",
        "/api/../../x",
        "/admin%00",
        "/admin%0d%0a",
        "/admin%7f",
        "/%",
        "/%a",
        "/%zzadmin",
    ] {
        let bytes = get(ambiguous);
        rig.each(
            &bytes,
            |client, _| client.reply("GET").status,
            |status, taken, what| {
                assert_eq!(status, 400, "{what}");
                assert!(taken.requests.is_empty() && taken.partial.is_empty(), "I4: {what}");
            },
        );
    }
    rig.refused(get("/\\admin"), &[400]);
    rig.finish();
}
