//! Certificates, keys and what belongs to them, from real files.

use super::{BASE, Folder, shown};
use core_model::config::{ClientAuth, KeyKind};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// A certificate for `name` and its key, both PEM.
fn pair(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A successful OCSP response without content: ENUMERATED 0, [0] {}.
const OCSP: [u8; 7] = [0x30, 0x05, 0x0a, 0x01, 0x00, 0xa0, 0x00];

fn filled() -> Folder {
    let folder = Folder::new();
    let (certificate, key) = pair("*.Example.test");
    folder.write("a.crt", certificate);
    folder.write("a.key", key);
    let (certificate, key) = pair("b.test");
    folder.write("b.crt", certificate);
    folder.write("b.key", key);
    folder.write("a.ocsp", OCSP);
    folder.write("t48.key", [7; 48]);
    folder.write("t47.key", [7; 47]);
    folder.write("empty", "");
    folder.write("junk", "junk");
    folder.write("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted = "ENCRYPTED PRIVATE KEY";
    folder.write(
        "enc.key",
        format!("-----BEGIN {encrypted}-----\nAAAA\n-----END {encrypted}-----\n"),
    );
    folder
}

fn listener(folder: &Folder, tls: &str) -> Result<super::Loaded, Vec<core_model::Fault>> {
    let text =
        format!("[[listener]]\nname = \"t\"\naddress = \"127.0.0.1:2\"\ntls = {tls}\n{BASE}");
    folder.write("weir.toml", text);
    folder.load("weir.toml")
}

const PAIR: &str = "certificate = \"a.crt\", key = \"a.key\"";

#[test]
fn everything_arrives() {
    let folder = filled();
    let tls = format!(
        "{{ certificates = [{{ {PAIR}, ocsp = \"a.ocsp\" }}], client_auth = \"optional\", \
         client_ca = \"b.crt\", ticket_keys = [\"t48.key\"], strict_sni = true, \
         min_version = \"1.3\" }}"
    );
    let loaded = listener(&folder, &tls).unwrap_or_else(|faults| panic!("{}", shown(&faults)));
    let tls = loaded.config.listeners[0].tls.as_ref().unwrap();
    let certificate = &tls.certificates[0];
    assert_eq!(certificate.names, ["*.example.test"]);
    assert_eq!(certificate.key_kind, KeyKind::Pkcs8);
    assert_eq!(certificate.chain.len(), 1);
    assert!(certificate.ocsp.is_some());
    assert!(certificate.not_after > super::NOW);
    let ClientAuth::Optional { authorities, .. } = &tls.client_auth else { panic!("{tls:?}") };
    assert_eq!(authorities.len(), 1);
    assert_eq!(tls.ticket_keys[0].0.len(), 48);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.files.len(), 6, "{:?}", loaded.files);
}

#[test]
fn files_that_do_not_fit_are_told() {
    let folder = filled();
    let check = |tls: &str, path: &str, says: &str| {
        let faults = listener(&folder, &format!("{{ {tls} }}")).unwrap_err();
        assert_eq!(faults.len(), 1, "{tls}\n{}", shown(&faults));
        assert_eq!(faults[0].place.path, format!("listener[0].tls.{path}"), "{}", faults[0]);
        assert!(faults[0].to_string().contains(says), "{}", faults[0]);
    };
    let one = |certificate: &str, key: &str| {
        format!("certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]")
    };
    check(&one("a.crt", "b.key"), "certificates[0].key", "b.key is not the key of");
    check(&one("gone.crt", "a.key"), "certificates[0].certificate", "no such file");
    check(&one("empty", "a.key"), "certificates[0].certificate", "is empty");
    check(&one("junk", "a.key"), "certificates[0].certificate", "holds no certificate");
    check(&one("a.key", "a.key"), "certificates[0].certificate", "holds no certificate");
    check(&one("broken.crt", "a.key"), "certificates[0].certificate", "certificate 1 is not X.509");
    check(&one(".", "a.key"), "certificates[0].certificate", "not a regular file");
    check(&one("a.crt", "a.crt"), "certificates[0].key", "holds no private key");
    check(&one("a.crt", "enc.key"), "certificates[0].key", "is encrypted");
    let ocsp = format!("certificates = [{{ {PAIR}, ocsp = \"junk\" }}]");
    check(&ocsp, "certificates[0].ocsp", "not a successful OCSP response");
    let good = format!("certificates = [{{ {PAIR} }}]");
    check(
        &format!("{good}, ticket_keys = [\"t48.key\", \"t47.key\"]"),
        "ticket_keys[1]",
        "has 47 bytes",
    );
    check(&format!("{good}, client_auth = \"required\""), "client_auth", "without `client_ca`");
    check(&format!("{good}, client_ca = \"b.crt\""), "client_ca", "no effect");
    check(&format!("{good}, crls = [\"junk\"]"), "crls", "no effect");
    let asks = format!("{good}, client_auth = \"required\", client_ca = \"b.crt\"");
    check(&format!("{asks}, crls = [\"junk\"]"), "crls[0]", "list 1 is not a revocation list");
    check(&format!("{asks}, crls = [\"b.crt\"]"), "crls[0]", "holds no revocation list");
    check(&format!("{asks}, crls = [\"gone.crl\"]"), "crls[0]", "no such file");
    check(&format!("{good}, early_data = true"), "early_data", "0-RTT is refused for now");
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let folder = filled();
    let key = KeyPair::generate().unwrap();
    for (from, until, says) in [(2001, 2002, "expired on"), (2090, 2091, "is valid from")] {
        let mut params = CertificateParams::new(vec!["old.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        folder.write("a.crt", params.self_signed(&key).unwrap().pem());
        folder.write("a.key", key.serialize_pem());
        let loaded = listener(&folder, &format!("{{ certificates = [{{ {PAIR} }}] }}")).unwrap();
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].what.contains(says), "{:?}", loaded.warnings);
    }
}

#[test]
fn a_pool_speaks_tls_with_its_own_certificate() {
    let folder = filled();
    let pool = |tls: &str| {
        let origin = "origins = [{ name = \"x\", address = \"::1\" }]";
        folder.write(
            "weir.toml",
            format!("[[pool]]\nname = \"p\"\ntls = {{ {tls} }}\n{origin}\n{BASE}"),
        );
        folder.load("weir.toml")
    };
    let loaded = pool(&format!("ca = \"b.crt\", {PAIR}")).unwrap();
    let tls = loaded.config.pools[0].tls.as_ref().unwrap();
    assert_eq!(tls.authorities.len(), 1);
    assert!(tls.client_certificate.is_some());
    assert!(tls.verify);
    let faults = pool("ca = \"b.crt\", verify = false").unwrap_err();
    assert!(faults[0].what.contains("no effect"), "{}", shown(&faults));
    let faults = pool("certificate = \"a.crt\", key = \"b.key\"").unwrap_err();
    assert!(faults[0].what.contains("is not the key of"), "{}", shown(&faults));
}

#[test]
fn a_key_that_the_service_user_cannot_read_is_told() {
    let folder = filled();
    let private = Permissions::from_mode(0o600);
    fs::set_permissions(folder.0.join("a.key"), private).unwrap();
    let certificates = format!("tls = {{ certificates = [{{ {PAIR} }}] }}");
    let listener = format!("[[listener]]\nname = \"t\"\naddress = \"127.0.0.1:2\"\n{certificates}");
    let load = |user: &str| {
        let text = format!("[runtime]\nuser = \"{user}\"\n{listener}\n{BASE}");
        let path = folder.write("weir.toml", &text);
        let world = super::World { root: true, ..super::world(&super::no_env) };
        super::load_in(&path.display().to_string(), text.into_bytes(), &world)
    };
    let faults = load("nobody").unwrap_err();
    assert_eq!(faults.len(), 1, "{}", shown(&faults));
    assert_eq!(faults[0].place.path, "listener[0].tls.certificates[0].key");
    for word in ["a.key cannot be read by user nobody", "mode 0600", "chmod 0640"] {
        assert!(faults[0].what.contains(word), "{word}: {}", faults[0]);
    }
    let faults = load("no-such-user").unwrap_err();
    assert_eq!(faults[0].place.path, "runtime.user");
    assert!(faults[0].what.contains("useradd"), "{}", faults[0]);
}

#[test]
fn a_host_that_needs_client_certificates_has_a_listener_that_asks() {
    let folder = filled();
    let host = |tls: &str, listeners: &str| {
        let text = format!(
            "[[listener]]\nname = \"t\"\naddress = \"127.0.0.1:2\"\ntls = {tls}\n\
             [[load_balancer]]\nname = \"h.test\"\ndefault_pools = [\"base\"]\n{listeners}\n\
             tls = {{ require_client_certificate = true }}\n{BASE}"
        );
        folder.write("weir.toml", text);
        folder.load("weir.toml")
    };
    let quiet = format!("{{ certificates = [{{ {PAIR} }}] }}");
    let asks = quiet.replace(" }] }", " }], client_auth = \"optional\", client_ca = \"b.crt\" }");
    for listeners in ["", "listeners = [\"t\"]", "listeners = [\"t\", \"base\"]"] {
        let loaded = host(&asks, listeners).unwrap_or_else(|faults| panic!("{}", shown(&faults)));
        assert!(loaded.config.load_balancers[0].require_client_certificate);
    }
    for (tls, listeners) in [(&quiet, ""), (&asks, "listeners = [\"base\"]")] {
        let faults = host(tls, listeners).unwrap_err();
        assert_eq!(faults.len(), 1, "{}", shown(&faults));
        let path = "load_balancer[0].tls.require_client_certificate";
        assert_eq!(faults[0].place.path, path, "{}", faults[0]);
    }
}
