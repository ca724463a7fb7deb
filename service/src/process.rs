//! What Linux says about this process, under the names all Prometheus clients use. Elsewhere these metrics are absent.

use std::fmt::Write;
use std::fs;

/// Clock ticks per second in `/proc/self/stat`: Linux has always reported 100 to user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Appends the metrics of the process to `text`, each only if the system tells.
pub(crate) fn render(text: &mut String) {
    if let Some(seconds) = cpu_seconds() {
        sample(text, "process_cpu_seconds_total", "counter", "CPU time spent, user and system.", seconds);
    }
    if let Some(bytes) = resident_bytes() {
        sample(text, "process_resident_memory_bytes", "gauge", "Memory in use, resident.", bytes);
    }
    if let Some(files) = open_files() {
        sample(text, "process_open_fds", "gauge", "Open file descriptors.", files);
    }
}

fn sample(text: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").expect("a string takes everything");
}

/// Fields 14 and 15 of `stat`; the second is a name in parentheses that may itself hold spaces, so count from its end.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // The descriptor of this very listing is one of them.
    Some(count.saturating_sub(1) as f64)
}
