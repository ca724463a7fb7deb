//! What the kernel keeps in snapshots and what it puts out, byte by byte: neither says which form it is in, so a change must
//! come with another version.

use super::START;
use super::saves::save;
use expect_test::expect;
use playback::facts::Facts;
use playback::kernel::{KERNEL_VERSION, Kernel, Parameters};
use playback::model::{RandomLog, random_log};

#[test]
fn another_form_of_the_state_or_other_facts_are_another_version() {
    let mut log = random_log(RandomLog { seed: 1, reports: 600, start: START, outage: false });
    // Users are saved in the order of a table whose hashes have a seed: of one user there is one order.
    let (site, user) = (log[0].record.site.clone(), log[0].record.user_id.clone());
    log.retain(|logged| logged.record.site == site && logged.record.user_id == user);
    assert!(log.len() > 50, "{} reports", log.len());
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    for logged in &log {
        kernel.fold(&logged.record, logged.logged_at, &mut facts);
    }
    let state = save(&mut kernel);
    let Facts { dispositions, keys, sessions, segments, plays, intervals, resumes, impressions, .. } = &facts;
    let rows =
        format!("{dispositions:?}{keys:?}{sessions:?}{segments:?}{plays:?}{intervals:?}{resumes:?}{impressions:?}");
    let found = format!(
        "version {KERNEL_VERSION}: {} bytes of state {:08x}, facts {:08x}",
        state.len(),
        crc32fast::hash(&state),
        crc32fast::hash(rows.as_bytes())
    );
    expect!["version 8: 722 bytes of state eb80ffed, facts 32b37bad"].assert_eq(&found);
}
