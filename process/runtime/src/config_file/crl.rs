//! Revocation lists of client certificates: read, and known to be usable.

use super::build::Builder;
use super::report::At;
use super::table::Table;
use crate::client_tls::client_verifier;
use core_model::config::{ClientAuth, PinnedBytes, RevocationLists};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use x509_parser::asn1_rs::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// Lists of one file: an authority has one, a large one a list for each shard of its clients.
const LISTS_MAX: usize = 1_000;
/// What a PEM file starts with somewhere; DER has it nowhere by chance.
const PEM_MARK: &str = "-----BEGIN";

impl Builder<'_> {
    /// `listener.tls.crls`; `auth` is none where it is wrong itself.
    pub(crate) fn crls(
        &mut self,
        table: &Table,
        auth: Option<&ClientAuth>,
    ) -> Option<Vec<RevocationLists>> {
        let items = table.list("crls");
        if !items.is_empty() && matches!(auth, Some(ClientAuth::None)) {
            let what = "`crls` has no effect with client_auth = \"none\"";
            self.fault(table, "crls", what, "client_auth = \"optional\" or \"required\"");
            return None;
        }
        let mut all = Some(Vec::new());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", table.path_of("crls"));
            let read = item.text().and_then(|name| {
                let (file, bytes) = self.read_file(item.at, &path, name)?;
                self.lists(item.at, &path, &file, &bytes, auth)
            });
            match (read, all.as_mut()) {
                (Some(lists), Some(all)) => all.push(lists),
                _ => all = None,
            }
        }
        all
    }

    fn lists(
        &mut self,
        at: At,
        path: &str,
        file: &Path,
        bytes: &[u8],
        auth: Option<&ClientAuth>,
    ) -> Option<RevocationLists> {
        match usable(file, bytes, auth) {
            Ok(lists) => {
                if lists.next_update < self.world.now {
                    let what = format!("a list of {} is past its next update", file.display());
                    let valid = "a fresh list; client certificates under it are refused";
                    self.report.warn(at, path, what, valid);
                }
                Some(lists)
            }
            Err(problem) => {
                let valid = "revocation lists in PEM (-----BEGIN X509 CRL-----), or one in DER";
                self.report.fault(at, path, format!("{}: {problem}", file.display()), valid);
                None
            }
        }
    }
}

/// The lists of a file, or what is wrong with them.
fn usable(file: &Path, bytes: &[u8], auth: Option<&ClientAuth>) -> Result<RevocationLists, String> {
    let lists = ders(bytes)?;
    let mut next_update = i64::MAX;
    for (index, der) in lists.iter().enumerate() {
        let (rest, list) = CertificateRevocationList::from_der(&der.0)
            .map_err(|_| format!("list {} is not a revocation list", index + 1))?;
        let next = list.next_update().filter(|_| rest.is_empty());
        let next = next.ok_or_else(|| format!("list {} tells no next update", index + 1))?;
        next_update = next_update.min(next.timestamp());
    }
    let lists = RevocationLists { file: file.to_owned(), lists, next_update };
    // What stands in the way of a handshake is found here, where it can be told.
    if let Some(auth) = auth {
        client_verifier(auth, std::slice::from_ref(&lists)).map_err(|error| error.to_string())?;
    }
    Ok(lists)
}

fn ders(bytes: &[u8]) -> Result<Vec<PinnedBytes>, String> {
    if !String::from_utf8_lossy(bytes).contains(PEM_MARK) {
        return Ok(vec![PinnedBytes(bytes.into())]);
    }
    let read: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(bytes).take(LISTS_MAX + 1).collect();
    let read = read.map_err(|error| format!("it is not PEM: {error}"))?;
    match read.len() {
        0 => Err("it holds no revocation list".to_owned()),
        n if n > LISTS_MAX => Err(format!("it holds more than {LISTS_MAX} lists")),
        _ => Ok(read.iter().map(|der| PinnedBytes(der.as_ref().into())).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
        KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    /// An authority and a list of its own, DER.
    fn list() -> (ClientAuth, Vec<u8>) {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(7_u64),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2034, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::new(params, key)).unwrap();
        let authorities = vec![PinnedBytes(root.der().as_ref().into())];
        (ClientAuth::Required { authorities, file: "ca.pem".into() }, list.der().to_vec())
    }

    #[test]
    fn row_79_a_malformed_list_is_a_fault_and_no_panic() {
        let (auth, whole) = list();
        let try_it = |bytes: &[u8]| usable(Path::new("a.crl"), bytes, Some(&auth));
        assert!(try_it(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(try_it(&whole[..end]).is_err(), "cut at {end}");
        }
        assert!(try_it(&[&whole[..], b"x"].concat()).is_err(), "more behind it");
        for at in 0..whole.len() {
            for value in [0, 1, 0x1f, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                // Good or not, it is told and nothing breaks.
                let _told = try_it(&changed);
            }
        }
    }
}
