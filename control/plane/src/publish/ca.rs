//! The authority of a fleet: whose certificates edges and control planes know each other by.
//!
//! It is made with the first control plane of a store and is an object of it, its key sealed by the
//! vault: all control planes of one store are one authority. It signs what edges ask for with a
//! join token or an older certificate (`join`), and the certificates that control planes show,
//! which live in memory only. Keys are ECDSA P-256.

use super::identity::URI;
use crate::rest::token::{NoRandomness, hex, random};
use crate::store::{ChangeError, Keeper, Key, KeyError, StoreError, Vault, Who};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use control_api::publish::{Certified, Hash};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// Bytes of a request for a certificate (PEM): one for P-256 with a name takes some 500.
pub const REQUEST_BYTES_MAX: usize = 4_096;
/// The store's object.
const PLACE: &str = "meta/authority";
/// How long the authority lasts: as long as a fleet. Nothing replaces it by itself.
const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 86_400);
/// How far clocks of edges and control planes may differ: certificates begin this much earlier.
const SKEW: Duration = Duration::from_secs(600);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The store has another thing in its place.
    #[error("the authority of edges in the store ({PLACE}) {what}; restore a backup")]
    Corrupt {
        /// What is wrong with it.
        what: String,
    },
    /// Its key cannot be opened.
    #[error("{0}; all control planes of one store need the same `key_file` in [secrets]")]
    Sealed(StoreError),
    /// The store does not answer, or does not take it.
    #[error("{0}")]
    Store(String),
    /// It cannot be made.
    #[error("an authority cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The system has no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Never: its name is well-formed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What is wrong with a request for a certificate.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is too long.
    #[error("the request has {0} bytes; at most {REQUEST_BYTES_MAX} are taken")]
    Long(usize),
    /// It is none.
    #[error("no certificate request (PKCS#10 in PEM)")]
    Form,
    /// Its key is of another kind, or whoever asks does not have it.
    #[error("the request is not signed by the ECDSA P-256 key that it is for")]
    Key,
    /// The certificate could not be made: the control plane's fault.
    #[error("a certificate cannot be made: {0}")]
    Sign(String),
}

/// The authority of a store.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    /// Seconds since 1970.
    ends: u64,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its key is for nobody's log.
        f.debug_struct("Authority").field("hash", &self.hash()).finish_non_exhaustive()
    }
}

/// A key that somebody showed to have.
struct Shown(Vec<u8>);

impl PublicKeyData for Shown {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// The authority of a store, made where there is none. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn open(
        keeper: &Keeper,
        vault: &Vault,
        who: &Who,
        now: u64,
    ) -> Result<Self, AuthorityError> {
        let key = Key::new(PLACE)?;
        let stored = keeper.state().get(&key).map(|stored| stored.value.clone());
        if let Some(stored) = stored {
            return Self::read(vault, &key, &stored);
        }
        let made = make(vault, &key, now)?;
        let change = keeper.change(who, "authority of edges", now.saturating_mul(1_000), |draft| {
            // Another control plane of the same store may have been first.
            let there = draft.get(&key).map(|stored| stored.value.clone());
            Ok(there.unwrap_or_else(|| {
                draft.put(key.clone(), made.clone());
                Arc::new(made.clone())
            }))
        });
        let change: Result<_, ChangeError<AuthorityError>> = change.await;
        let (stored, _) = change.map_err(|error| AuthorityError::Store(error.to_string()))?;
        Self::read(vault, &key, &stored)
    }

    fn read(vault: &Vault, key: &Key, stored: &Value) -> Result<Self, AuthorityError> {
        let corrupt = |what: &str| AuthorityError::Corrupt { what: what.to_owned() };
        let text = |name: &str| stored.get(name).and_then(Value::as_str);
        let (Some(name), Some(pem)) = (text("name"), text("certificate")) else {
            return Err(corrupt("has no name or no certificate"));
        };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        let certificate = certificate.map_err(|_| corrupt("has no certificate (PEM)"))?;
        let ends = stored.get("ends").and_then(Value::as_u64);
        let sealed = stored.get("key").unwrap_or(&Value::Null);
        let secret = vault.open_sealed(key, sealed).map_err(AuthorityError::Sealed)?;
        let secret = KeyPair::from_pem(&secret).map_err(|_| corrupt("has no key"))?;
        Ok(Self {
            issuer: Issuer::new(params(name), secret),
            certificate,
            pem: pem.to_owned(),
            ends: ends.ok_or_else(|| corrupt("has no end"))?,
        })
    }

    /// What join tokens name it by: SHA-256 of its certificate (DER).
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.certificate)
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When it ends, in seconds since 1970.
    #[must_use]
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// A certificate for the key of `request` (PKCS#10, PEM), whatever names that asks for: it says
    /// which edge this is, and stands for a client alone. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn certify(
        &self,
        edge: &str,
        request: &str,
        life: Duration,
        now: u64,
    ) -> Result<Certified, RequestError> {
        let key = requested(request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, edge);
        let uri = format!("{URI}{edge}").try_into();
        params.subject_alt_names = vec![SanType::URI(uri.map_err(failed)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, ends) = self.sign(params, &key, life, now)?;
        Ok(Certified {
            edge: edge.to_owned(),
            certificate: certificate.pem(),
            authorities: self.pem.clone(),
            ends,
            renew: renewal(now, ends),
        })
    }

    /// A certificate for a control plane of these names, with its key, and when it ends.
    ///
    /// # Errors
    /// [`RequestError::Sign`].
    pub(super) fn present(
        &self,
        names: &[String],
        life: Duration,
        now: u64,
    ) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>, u64), RequestError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "Weir control plane");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, ends) = self.sign(params, &key, life, now)?;
        Ok((certificate.der().clone(), key.serialize_der().into(), ends))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        life: Duration,
        now: u64,
    ) -> Result<(rcgen::Certificate, u64), RequestError> {
        let ends = now.saturating_add(life.as_secs()).min(self.ends);
        valid(&mut params, now, ends);
        let serial = random::<16>().map_err(failed)?;
        params.serial_number = Some(SerialNumber::from(serial.to_vec()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).map_err(failed)?;
        Ok((certificate, ends))
    }
}

/// When a certificate should be renewed: a third of its life is left for control planes that are
/// away.
pub(super) fn renewal(now: u64, ends: u64) -> u64 {
    now.saturating_add(ends.saturating_sub(now).saturating_mul(2) / 3)
}

fn failed(error: impl fmt::Display) -> RequestError {
    RequestError::Sign(error.to_string())
}

/// An authority as the store keeps it.
fn make(vault: &Vault, key: &Key, now: u64) -> Result<Value, AuthorityError> {
    let name = format!("Weir fleet {}", hex(&random::<8>()?));
    let secret = KeyPair::generate()?;
    let mut params = params(&name);
    let ends = now.saturating_add(AUTHORITY_LIFE.as_secs());
    valid(&mut params, now, ends);
    params.serial_number = Some(SerialNumber::from(random::<16>()?.to_vec()));
    let certificate = params.self_signed(&secret)?.pem();
    let sealed = vault.seal(key, &secret.serialize_pem()).map_err(AuthorityError::Sealed)?;
    Ok(json!({ "name": name, "certificate": certificate, "key": sealed, "ends": ends }))
}

/// What certificates of the authority say of it.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The last time that a certificate can name, in seconds since 1970 (RFC 5280 §4.1.2.5.2).
const TIME_MAX: u64 = 253_402_300_799;

fn valid(params: &mut CertificateParams, now: u64, ends: u64) {
    let time = |s: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(s.min(TIME_MAX));
    params.not_before = time(now.saturating_sub(SKEW.as_secs()));
    params.not_after = time(ends);
}

/// The key of a request that is signed with it.
fn requested(pem: &str) -> Result<Shown, RequestError> {
    if pem.len() > REQUEST_BYTES_MAX {
        return Err(RequestError::Long(pem.len()));
    }
    let form = |_| RequestError::Form;
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(form)?;
    let read = X509CertificationRequest::from_der(&der);
    let Ok(([], request)) = read else { return Err(RequestError::Form) };
    let info = &request.certification_request_info;
    let point = info.subject_pki.subject_public_key.as_ref();
    // A point that is not on the curve verifies nothing, so that this looks at the kind, too.
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(info.raw, request.signature_value.as_ref())
        .map_err(|_| RequestError::Key)?;
    Ok(Shown(point.to_vec()))
}
