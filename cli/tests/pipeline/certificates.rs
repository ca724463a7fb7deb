//! What the roles say of the certificates with which they reach Kafka.

use crate::fleet::Fleet;
use crate::process::Process;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

#[tokio::test(flavor = "multi_thread")]
async fn every_role_that_uses_kafka_tells_when_its_certificates_expire() {
    let mut fleet = Fleet::new("certificates").await;
    let mut parameters = CertificateParams::new(["kafka".to_owned()]).unwrap();
    parameters.not_after = date_time_ymd(2030, 1, 1);
    let authority = fleet.dir.path().join("ca.crt");
    std::fs::write(&authority, parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()).unwrap();
    let setting = format!("ssl.ca.location={}", authority.display());
    let tls = ["--kafka-setting", &setting];

    let (url, snapshots) = (fleet.database_url(), fleet.snapshots().display().to_string());
    let roles: [Process; 3] = [
        ("ingest", ["--listen", "127.0.0.1:0"]),
        ("process", ["--snapshots", &snapshots]),
        ("sink", ["--database-url", &url]),
    ]
    .map(|(role, flags)| fleet.role(role, &[flags, tls].concat()));
    for role in &roles {
        let told = role.asked("/metrics");
        assert!(told.contains("\nwatchbeat_kafka_certificate_expiry_timestamp_seconds 1893456000\n"), "{told}");
    }
}
