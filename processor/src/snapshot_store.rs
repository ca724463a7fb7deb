//! Where snapshots are kept: a folder, or a bucket.

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use std::fs::{self, DirEntry};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A file begun this long ago that still has no name of its own belongs to nobody any more.
const UNFINISHED: Duration = Duration::from_secs(3_600);

/// Why there is no object storage for snapshots.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotStoreError {
    /// The location is no URL that is understood.
    #[error("snapshots at {location}: {reason}")]
    Location {
        /// As it was given.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder cannot be made or used.
    #[error("folder of snapshots {folder}: {reason}")]
    Folder {
        /// The folder.
        folder: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The object storage of snapshots: a folder, made if it is missing, or the URL of a bucket (`s3://`, `gs://`), whose
/// `options` are named as in the environment: `AWS_REGION`, `GOOGLE_SERVICE_ACCOUNT` and so on; others are passed over.
pub fn snapshot_store(
    location: &str,
    options: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn ObjectStore>, SnapshotStoreError> {
    if location.contains("://") {
        let refused = |reason: String| SnapshotStoreError::Location { location: location.to_owned(), reason };
        let url = url::Url::parse(location).map_err(|error| refused(error.to_string()))?;
        let (store, prefix) =
            object_store::parse_url_opts(&url, options).map_err(|error| refused(error.to_string()))?;
        return Ok(Arc::new(object_store::prefix::PrefixStore::new(store, prefix)));
    }
    let refused = |reason: String| SnapshotStoreError::Folder { folder: location.to_owned(), reason };
    std::fs::create_dir_all(location).map_err(|error| refused(error.to_string()))?;
    remove_unfinished(Path::new(location));
    Ok(Arc::new(LocalFileSystem::new_with_prefix(location).map_err(|error| refused(error.to_string()))?))
}

/// Removes files that killed processes had begun to write: the library names such a file with `#` and a number at the end,
/// and does not list it. It removes what it can: another process may do the same, and a folder may be none of ours.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_unfinished(&path);
        } else if is_unfinished(&path) && age(&entry).is_some_and(|age| age > UNFINISHED) {
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed a snapshot that was never finished"),
                Err(error) => {
                    tracing::debug!(%error, path = %path.display(), "a snapshot that was never finished stays")
                }
            }
        }
    }
}

fn age(entry: &DirEntry) -> Option<Duration> {
    entry.metadata().ok()?.modified().ok()?.elapsed().ok()
}

fn is_unfinished(path: &Path) -> bool {
    let number = path.file_name().and_then(|name| name.to_str()?.rsplit_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::SystemTime;

    #[test]
    fn what_was_never_finished_is_gone_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("main/3");
        fs::create_dir_all(&folder).unwrap();
        for (name, age_s) in [("05", 7_200), ("05#1", 7_200), ("06#12", 60), ("x#", 7_200)] {
            let file = File::create(folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
        }
        snapshot_store(dir.path().to_str().unwrap(), []).unwrap();
        let left = ["05", "05#1", "06#12", "x#"].map(|name| folder.join(name).exists());
        assert_eq!(left, [true, false, true, true]);
    }
}
