//! Certificates, keys, authorities, OCSP responses and ticket keys: read, and known to fit. Their
//! revocation lists are in `crl`.

use super::build::Builder;
use super::files::{PEM_BYTES_MAX, read, reason};
use super::report::At;
use super::table::Table;
use crate::accounts::{ServiceUser, user_name};
use crate::readable::can_read;
use core_model::config::{
    Certificate, ClientAuth, KeyKind, PinnedBytes, Tls, TlsVersion, UpstreamTls,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};
use x509_parser::asn1_rs::{Any, Enumerated, FromDer, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// Lengths of ticket keys: AES-128 and AES-256 with name and HMAC key, as nginx has them.
const TICKET_KEY_BYTES: [usize; 2] = [48, 80];
/// Certificates of one file; the system's authorities are about 150.
const CERTIFICATES_MAX: usize = 2_000;

impl Builder<'_> {
    /// `listener.tls`.
    pub(crate) fn tls(&mut self, table: &Table) -> Option<Tls> {
        let tables = table.tables("certificates");
        let read: Vec<_> = tables.iter().map(|table| self.certificate(table, true)).collect();
        let client_auth = self.client_auth(table);
        let crls = self.crls(table, client_auth.as_ref());
        let ticket_keys = self.ticket_keys(table);
        let certificates: Option<Vec<Certificate>> = read.into_iter().collect();
        Some(Tls {
            certificates: certificates?,
            strict_sni: table.bool("strict_sni"),
            min_version: match table.text("min_version") {
                Some("1.3") => TlsVersion::V1_3,
                _ => TlsVersion::V1_2,
            },
            crls: crls?,
            client_auth: client_auth?,
            ticket_keys: ticket_keys?,
            ticket_rotation: table.time("ticket_rotation"),
        })
    }

    /// `pool.tls`.
    pub(crate) fn upstream_tls(&mut self, table: &Table) -> Option<UpstreamTls> {
        let ca = table.given("ca").then(|| self.authorities(table, "ca"));
        let client = match (table.given("certificate"), table.given("key")) {
            (false, false) => None,
            (true, true) => Some(self.certificate(table, false)),
            (true, false) => {
                self.fault(table, "certificate", "`certificate` without `key`", "both or neither");
                Some(None)
            }
            (false, true) => {
                self.fault(table, "key", "`key` without `certificate`", "both or neither");
                Some(None)
            }
        };
        if ca.is_some() && !table.bool("verify") {
            let what = "`ca` has no effect with verify = false";
            self.fault(table, "ca", what, "remove one of the two");
        }
        let (authorities, ca_file) = match ca {
            Some(ca) => ca.map(|(authorities, file)| (authorities, Some(file)))?,
            None => (Vec::new(), None),
        };
        let ports = table.numbers("ports").filter_map(|(_, _, port)| u16::try_from(port).ok());
        let mut ports: Vec<u16> = ports.collect();
        ports.sort_unstable();
        ports.dedup();
        Some(UpstreamTls {
            ports,
            server_name: table.text("server_name").map(str::to_ascii_lowercase),
            verify: table.bool("verify"),
            authorities,
            ca_file,
            client_certificate: match client {
                Some(client) => Some(client?),
                None => None,
            },
        })
    }

    fn client_auth(&mut self, table: &Table) -> Option<ClientAuth> {
        let word = table.text("client_auth").unwrap_or("none");
        if word == "none" {
            if table.given("client_ca") && !table.refused("client_auth") {
                let what = "`client_ca` has no effect with client_auth = \"none\"";
                self.fault(table, "client_ca", what, "client_auth = \"optional\" or \"required\"");
            }
            return Some(ClientAuth::None);
        }
        if !table.given("client_ca") {
            let what = format!("`{word}` without `client_ca`");
            self.fault(table, "client_auth", what, "client_ca = \"file of authorities\"");
            return None;
        }
        let (authorities, file) = self.authorities(table, "client_ca")?;
        Some(match word {
            "optional" => ClientAuth::Optional { authorities, file },
            _ => ClientAuth::Required { authorities, file },
        })
    }

    fn ticket_keys(&mut self, table: &Table) -> Option<Vec<PinnedBytes>> {
        let mut keys = Some(Vec::new());
        for (index, item) in table.list("ticket_keys").iter().enumerate() {
            let path = format!("{}[{index}]", table.path_of("ticket_keys"));
            let bytes = item.text().and_then(|name| {
                let (file, bytes) = self.read_file(item.at, &path, name)?;
                if !TICKET_KEY_BYTES.contains(&bytes.len()) {
                    let what = format!("{} has {} bytes", file.display(), bytes.len());
                    let valid = "48 or 80 random bytes: openssl rand -out FILE 80";
                    self.report.fault(item.at, &path, what, valid);
                    return None;
                }
                Some(bytes)
            });
            match (bytes, keys.as_mut()) {
                (Some(bytes), Some(keys)) => keys.push(PinnedBytes(bytes.into())),
                _ => keys = None,
            }
        }
        keys
    }

    fn authorities(&mut self, table: &Table, key: &str) -> Option<(Vec<PinnedBytes>, PathBuf)> {
        let (at, path) = (table.at_of(key), table.path_of(key));
        let (file, bytes) = self.read_file(at, &path, table.text(key)?)?;
        let chain = self.chain(at, &path, &file, &bytes)?;
        Some((chain.iter().map(pinned).collect(), file))
    }

    /// A chain with its key, and the OCSP response where there may be one.
    pub(crate) fn certificate(&mut self, table: &Table, with_ocsp: bool) -> Option<Certificate> {
        let chain = table.text("certificate").and_then(|name| {
            let (at, path) = (table.at_of("certificate"), table.path_of("certificate"));
            let (file, bytes) = self.read_file(at, &path, name)?;
            let chain = self.chain(at, &path, &file, &bytes)?;
            Some((file, chain))
        });
        let key = table.text("key").and_then(|name| {
            let (at, path) = (table.at_of("key"), table.path_of("key"));
            let (file, bytes) = self.read_file(at, &path, name)?;
            let key = self.key(at, &path, &file, &bytes)?;
            Some((file, key))
        });
        let named = if with_ocsp { table.text("ocsp") } else { None };
        let ocsp = named.map(|name| {
            let (at, path) = (table.at_of("ocsp"), table.path_of("ocsp"));
            let (file, bytes) = self.read_file(at, &path, name)?;
            self.ocsp(at, &path, &file, &bytes).then(|| PinnedBytes(bytes.into()))
        });
        let ((certificate_file, chain), (key_file, key)) = (chain?, key?);
        let (names, not_after) = self.leaf(table, &certificate_file, chain.first()?)?;
        let pinned_key = PinnedBytes(key.secret_der().into());
        let key_kind = match &key {
            PrivateKeyDer::Pkcs1(_) => KeyKind::Pkcs1,
            PrivateKeyDer::Sec1(_) => KeyKind::Sec1,
            _ => KeyKind::Pkcs8,
        };
        let pinned_chain = chain.iter().map(pinned).collect();
        self.belong_together(table, &certificate_file, &key_file, chain, key)?;
        Some(Certificate {
            certificate_file,
            key_file,
            chain: pinned_chain,
            key: pinned_key,
            key_kind,
            ocsp: match ocsp {
                Some(ocsp) => Some(ocsp?),
                None => None,
            },
            names,
            not_after,
        })
    }

    fn belong_together(
        &mut self,
        table: &Table,
        certificate_file: &Path,
        key_file: &Path,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Option<()> {
        let (at, path) = (table.at_of("key"), table.path_of("key"));
        let signer = match rustls::crypto::aws_lc_rs::sign::any_supported_type(&key) {
            Ok(signer) => signer,
            Err(error) => {
                let what = format!("{} cannot be used: {error}", key_file.display());
                let valid = "an RSA key of 2048 bits or more, ECDSA P-256, P-384 or Ed25519";
                self.report.fault(at, &path, what, valid);
                return None;
            }
        };
        match CertifiedKey::new(chain, signer).keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Some(())
            }
            Err(_) => {
                let (key, certificate) = (key_file.display(), certificate_file.display());
                let what = format!("{key} is not the key of {certificate}");
                let valid = "the key that the leaf (the first certificate of the file) names";
                self.report.fault(at, &path, what, valid);
                None
            }
        }
    }

    fn chain(
        &mut self,
        at: At,
        path: &str,
        file: &Path,
        bytes: &[u8],
    ) -> Option<Vec<CertificateDer<'static>>> {
        let read: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(bytes).take(CERTIFICATES_MAX + 1).collect();
        let valid = "certificates in PEM: -----BEGIN CERTIFICATE-----";
        let problem = match &read {
            Err(error) => format!("is not PEM: {error}"),
            Ok(chain) if chain.is_empty() => "holds no certificate".to_owned(),
            Ok(chain) if chain.len() > CERTIFICATES_MAX => {
                format!("holds more than {CERTIFICATES_MAX} certificates")
            }
            Ok(chain) => match chain.iter().position(|der| parse(der).is_none()) {
                Some(index) => format!("certificate {} is not X.509", index + 1),
                None => return read.ok(),
            },
        };
        self.report.fault(at, path, format!("{}: {problem}", file.display()), valid);
        None
    }

    fn key(
        &mut self,
        at: At,
        path: &str,
        file: &Path,
        bytes: &[u8],
    ) -> Option<PrivateKeyDer<'static>> {
        let text = String::from_utf8_lossy(bytes);
        if text.contains("ENCRYPTED") {
            let what = format!("{} is encrypted; Weir has nobody to ask", file.display());
            let valid = "openssl pkey -in FILE -out FILE without a pass phrase, mode 0640";
            self.report.fault(at, path, what, valid);
            return None;
        }
        match PrivateKeyDer::from_pem_slice(bytes) {
            Ok(key) => Some(key),
            Err(_) => {
                let what = format!("{} holds no private key", file.display());
                self.report.fault(at, path, what, "a key in PEM: -----BEGIN PRIVATE KEY-----");
                None
            }
        }
    }

    fn ocsp(&mut self, at: At, path: &str, file: &Path, bytes: &[u8]) -> bool {
        let right = is_good_ocsp(bytes);
        if !right {
            let what = format!("{} is not a successful OCSP response", file.display());
            let valid = "the DER response that openssl ocsp -respout writes";
            self.report.fault(at, path, what, valid);
        }
        right
    }

    /// DNS names and end of validity of the leaf.
    fn leaf(
        &mut self,
        table: &Table,
        file: &Path,
        der: &CertificateDer<'_>,
    ) -> Option<(Vec<String>, i64)> {
        let leaf = parse(der)?;
        let (from, until) = (leaf.validity().not_before, leaf.validity().not_after);
        if until.timestamp() < self.world.now {
            let what = format!("{} expired on {until}", file.display());
            self.warn(table, "certificate", what, "a renewed certificate");
        } else if from.timestamp() > self.world.now {
            let what = format!("{} is valid from {from} only", file.display());
            self.warn(table, "certificate", what, "a certificate that is valid already");
        }
        let alternative = leaf.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Some((names.collect(), until.timestamp()))
    }

    /// Reads a file that the configuration refers to, and sees to it that it stays readable.
    pub(super) fn read_file(
        &mut self,
        at: At,
        path: &str,
        name: &str,
    ) -> Option<(PathBuf, Vec<u8>)> {
        let file = self.file_of(at, name);
        let result = if self.world.files {
            read(&file, PEM_BYTES_MAX)
        } else {
            Err(io::Error::from(io::ErrorKind::NotFound))
        };
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => {
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                let told = denied.then(|| can_read(&file, &this_user()).err()).flatten();
                let what = told.map_or_else(
                    || format!("cannot read {}: {}", file.display(), reason(&error)),
                    |told| told.to_string(),
                );
                self.report.fault(at, path, what, "a file that this user can read");
                return None;
            }
        };
        self.files.push(file.clone());
        if bytes.is_empty() {
            self.report.fault(at, path, format!("{} is empty", file.display()), "a filled file");
            return None;
        }
        if let Some(denied) = self.account.as_ref().and_then(|user| can_read(&file, user).err()) {
            let valid = "a file that the user of [runtime] can read, as reloads run as that user";
            self.report.fault(at, path, denied.to_string(), valid);
            return None;
        }
        Some((file, bytes))
    }
}

/// The user that this process runs as.
fn this_user() -> ServiceUser {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let groups = rustix::process::getgroups().unwrap_or_default();
    ServiceUser {
        name: user_name(uid),
        uid,
        gid,
        group: gid.to_string(),
        groups: groups.into_iter().map(|group| group.as_raw()).collect(),
    }
}

fn pinned(der: &CertificateDer<'static>) -> PinnedBytes {
    PinnedBytes(der.as_ref().into())
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Option<X509Certificate<'d>> {
    let (rest, certificate) = X509Certificate::from_der(der.as_ref()).ok()?;
    rest.is_empty().then_some(certificate)
}

/// OCSPResponse ::= SEQUENCE { responseStatus ENUMERATED successful (0), responseBytes … }
/// (RFC 6960 §4.2.1).
fn is_good_ocsp(der: &[u8]) -> bool {
    let Ok((rest, response)) = Any::from_der(der) else { return false };
    if !rest.is_empty() || response.tag() != Tag::Sequence {
        return false;
    }
    let Ok((body, status)) = Enumerated::from_der(response.data) else { return false };
    status.0 == 0 && Any::from_der(body).is_ok_and(|(rest, _)| rest.is_empty())
}
