//! Until when the certificates that the Kafka client was given are valid. The client reads them when it starts, and a role that
//! runs on with an old certificate loses Kafka at the first connection after it expires: so what was there at the start counts.

use metrics::{Unit, describe_gauge, gauge};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

const EXPIRY: &str = "watchbeat_kafka_certificate_expiry_timestamp_seconds";

/// Sets the metric, when settings of the client name certificates. Says so when they name the role's own in a form that this does not
/// read, because then no alert would warn of its end.
pub(crate) fn tell_expiry(settings: &[(String, String)]) {
    describe_gauge!(
        EXPIRY,
        Unit::Seconds,
        "When the first of the certificates for Kafka expires, the role's own or the authority's, as they were at the start; since the epoch."
    );
    if let Some(expires_at_s) = expiry(settings) {
        gauge!(EXPIRY).set(expires_at_s as f64);
    }
    if set(settings, "ssl.keystore.location").is_some() {
        tracing::warn!(
            "ssl.keystore.location: nobody is told when its certificate expires; ssl.certificate.location and ssl.key.location can be watched"
        );
    }
}

/// When the client's own certificate expires, or the last of its authorities if that is sooner; seconds since the epoch.
/// Complaining about a file that cannot be read is left to the client.
fn expiry(settings: &[(String, String)]) -> Option<i64> {
    // Its own comes before those that vouch for it; of the authorities one that is still valid is enough.
    let own = ends(settings, "ssl.certificate").and_then(|ends| ends.first().copied());
    let last_authority = ends(settings, "ssl.ca").and_then(|ends| ends.into_iter().max());
    own.into_iter().chain(last_authority).min()
}

/// When the certificates of the setting `….pem`, or of the file that `….location` names, expire, in their order; seconds since the epoch.
/// A file that cannot be read has none.
fn ends(settings: &[(String, String)], name: &str) -> Option<Vec<i64>> {
    let pem = match set(settings, &format!("{name}.pem")) {
        Some(pem) => pem.as_bytes().to_vec(),
        None => std::fs::read(set(settings, &format!("{name}.location"))?).unwrap_or_default(),
    };
    let end = |certificate: CertificateDer<'_>| {
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    };
    Some(CertificateDer::pem_slice_iter(&pem).filter_map(|certificate| end(certificate.ok()?)).collect())
}

/// The value of a setting; the last if there are several.
fn set<'a>(settings: &'a [(String, String)], name: &str) -> Option<&'a str> {
    settings.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::fs;
    use tempfile::TempDir;

    /// Seconds since the epoch at the beginning of 2030, and of a year of 365 days.
    const IN_2030: i64 = 1_893_456_000;
    const YEAR: i64 = 365 * 86_400;

    /// A certificate that ends with the beginning of this year.
    fn until(year: i32) -> String {
        let mut parameters = CertificateParams::new(["kafka".to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(year, 1, 1);
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn what_ends_first_is_told_the_roles_own_certificate_or_the_last_authority() {
        let dir = TempDir::new().unwrap();
        let setting = |name: &str, years: &[i32]| {
            let path = dir.path().join(format!("{name}-{years:?}"));
            fs::write(&path, years.iter().map(|year| until(*year)).collect::<String>()).unwrap();
            (name.to_owned(), path.display().to_string())
        };
        let own = |years: &[i32]| setting("ssl.certificate.location", years);
        let authorities = |years: &[i32]| setting("ssl.ca.location", years);
        assert_eq!(expiry(&[authorities(&[2029, 2031, 2030]), own(&[2030, 2029])]), Some(IN_2030));
        assert_eq!(expiry(&[authorities(&[2029, 2030]), own(&[2031])]), Some(IN_2030));
        assert_eq!(expiry(&[own(&[2030]), own(&[2031])]), Some(IN_2030 + YEAR), "the client too takes the last");
        let pem =
            |name: &str, years: &[i32]| (name.to_owned(), years.iter().map(|year| until(*year)).collect::<String>());
        assert_eq!(
            expiry(&[pem("ssl.ca.pem", &[2029, 2031]), pem("ssl.certificate.pem", &[2030, 2029])]),
            Some(IN_2030)
        );
        assert_eq!(
            expiry(&[own(&[2029]), pem("ssl.certificate.pem", &[2030])]),
            Some(IN_2030),
            "the client too takes the value"
        );
        assert_eq!(expiry(&[authorities(&[])]), None);
        assert_eq!(expiry(&[("ssl.ca.location".to_owned(), "/nowhere".to_owned())]), None);
        assert_eq!(expiry(&[("security.protocol".to_owned(), "ssl".to_owned())]), None);
    }
}
