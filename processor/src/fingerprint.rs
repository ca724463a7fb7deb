//! The fingerprint: what the output of a pipeline depends on besides its log. Two processors with one fingerprint put
//! out the same rows for the same log; anything else is another pipeline and refused.

use crate::limits;
use crate::plan::TableColumn;
use crate::views::Views;
use playback::kernel::{KERNEL_VERSION, Parameters};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// 16 hexadecimal digits over kernel version, parameters, epochs, partition count and the views' SQL.
pub fn fingerprint(parameters: Parameters, epoch_ms: i64, partitions: u32, views: &Views) -> String {
    let mut text = format!(
        "kernel {KERNEL_VERSION}; lateness {} ms; point wait {} ms; epochs {epoch_ms} ms, {} records, {} bytes of texts, {} facts; {partitions} partitions by murmur2\n",
        parameters.lateness_ms,
        parameters.point_wait_ms,
        limits::EPOCH_RECORDS,
        limits::EPOCH_TEXT_BYTES,
        limits::EPOCH_FACTS,
    );
    for view in views.views() {
        write!(text, "{}: {}", view.name, view.query).expect("a string takes all that is written");
        for TableColumn { name, role, kind } in &view.columns {
            // Role and kind as their numbers in messages, which never change.
            write!(text, "; {name} {} {}", *role as i32, *kind as i32).expect("a string takes all that is written");
        }
        text.push('\n');
    }
    Sha256::digest(text.as_bytes()).iter().take(8).fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a string takes all that is written");
        digits
    })
}
