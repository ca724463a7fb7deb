//! Snapshots of a partition's state in object storage. They only save time: the log is the truth.
//!
//! A snapshot is an object `FOLDER/PARTITION/OFFSET`, written once, and again only if it is found damaged. It is a magic, the
//! SHA-256 of the rest, then frames of zstd: a header in postcard, and the parts that a shard saved. A torn or damaged
//! snapshot is passed over for the one before.

use crate::limits;
use crate::shard::Shard;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use playback::kernel::KERNEL_VERSION;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

const MAGIC: &[u8; 8] = b"wbsnap01";
const DIGEST_BYTES: usize = 32;

/// The snapshots of one pipeline on one topic.
#[derive(Clone)]
pub struct Snapshots {
    store: Arc<dyn ObjectStore>,
    folder: String,
    fingerprint: String,
}

/// What a snapshot is of; read before the state, which may have another version's form.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    kernel_version: u32,
    fingerprint: String,
    partition: u32,
}

/// Why a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The object storage failed.
    #[error("object storage of snapshots: {0}")]
    Storage(#[from] object_store::Error),
    /// Another pipeline version wrote it.
    #[error(
        "snapshot {path} was made with other crediting, parameters, partitions or SQL (fingerprint {found}, this is {expected}): \
         run the changed pipeline under a new name (--pipeline) and with a database of its own, so that it fills its tables anew"
    )]
    Foreign {
        /// The snapshot.
        path: Path,
        /// Its fingerprint.
        found: String,
        /// This pipeline's.
        expected: String,
    },
}

impl Snapshots {
    /// The snapshots in this folder of a storage, of pipelines with this fingerprint.
    pub fn new(store: Arc<dyn ObjectStore>, folder: &str, fingerprint: &str) -> Snapshots {
        Snapshots { store, folder: folder.to_owned(), fingerprint: fingerprint.to_owned() }
    }

    /// Writes a snapshot unless there is an undamaged one of this offset, and removes the oldest ones beyond those to be
    /// kept, as far as the storage allows it. Returns its size in bytes.
    pub async fn write(&self, partition: u32, offset: u64, state: Packing) -> Result<usize, SnapshotError> {
        let header = Header { kernel_version: KERNEL_VERSION, fingerprint: self.fingerprint.clone(), partition };
        let bytes = Bytes::from(state.finish(&header).await);
        let (path, length) = (self.path(partition, offset), bytes.len());
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, bytes.clone().into(), create).await {
            Err(object_store::Error::AlreadyExists { .. }) => self.replace_damaged(&path, bytes).await?,
            written => drop(written?),
        }
        if let Err(error) = self.prune(partition).await {
            tracing::warn!(partition, %error, "a snapshot is written, older ones could not be removed");
        }
        Ok(length)
    }

    async fn replace_damaged(&self, path: &Path, bytes: Bytes) -> Result<(), SnapshotError> {
        let found = self.store.get(path).await?.bytes().await?;
        if unpack(&found).is_none() {
            tracing::warn!(%path, "the snapshot is damaged, writing it anew");
            self.store.put(path, bytes.into()).await?;
        }
        Ok(())
    }

    async fn prune(&self, partition: u32) -> Result<(), SnapshotError> {
        for path in self.newest_first(partition).await?.into_iter().skip(limits::SNAPSHOTS_KEPT) {
            self.store.delete(&path).await?;
        }
        Ok(())
    }

    /// The newest snapshot of a partition that is whole; none if there is none.
    pub async fn restore(&self, partition: u32) -> Result<Option<Shard>, SnapshotError> {
        for path in self.newest_first(partition).await? {
            let bytes = self.store.get(&path).await?.bytes().await?;
            let unpacked = unpack(&bytes);
            let Some((header, state)) =
                unpacked.as_deref().and_then(|plain| postcard::take_from_bytes::<Header>(plain).ok())
            else {
                tracing::warn!(%path, "the snapshot is damaged, trying the one before");
                continue;
            };
            if header.fingerprint != self.fingerprint || header.kernel_version != KERNEL_VERSION {
                return Err(SnapshotError::Foreign {
                    path,
                    found: header.fingerprint,
                    expected: self.fingerprint.clone(),
                });
            }
            match Shard::restore(state) {
                Ok(shard) if header.partition == partition && shard.partition() == partition => return Ok(Some(shard)),
                _ => tracing::warn!(%path, "the snapshot is damaged, trying the one before"),
            }
        }
        Ok(None)
    }

    async fn newest_first(&self, partition: u32) -> Result<Vec<Path>, SnapshotError> {
        let folder = Path::from(format!("{}/{partition}", self.folder));
        let mut paths: Vec<_> = self.store.list(Some(&folder)).map_ok(|object| object.location).try_collect().await?;
        paths.sort_unstable_by(|one, other| other.cmp(one)); // offsets are written with all their digits
        Ok(paths)
    }

    fn path(&self, partition: u32, offset: u64) -> Path {
        Path::from(format!("{}/{partition}/{offset:020}", self.folder))
    }
}

/// A state on its way into a snapshot: its parts are packed on other threads while the next ones are saved.
#[derive(Default)]
pub struct Packing(Vec<JoinHandle<Vec<u8>>>);

impl Packing {
    /// Adds the next parts; `runtime` has the threads.
    pub fn add(&mut self, parts: Vec<Vec<u8>>, runtime: &Handle) {
        self.0.extend(parts.into_iter().map(|part| runtime.spawn_blocking(move || compress(&part))));
    }

    /// The bytes of the snapshot.
    async fn finish(self, header: &Header) -> Vec<u8> {
        let mut frames = compress(&postcard::to_stdvec(header).expect("a header is plain data"));
        for part in self.0 {
            frames.extend(part.await.expect(PACKED));
        }
        let signing = move || [MAGIC.as_slice(), Sha256::digest(&frames).as_slice(), &frames].concat();
        tokio::task::spawn_blocking(signing).await.expect(PACKED)
    }
}

const PACKED: &str = "memory takes what is packed";

fn compress(part: &[u8]) -> Vec<u8> {
    let mut packed = zstd::bulk::compress(part, 1).expect(PACKED);
    packed.shrink_to_fit(); // it had room for the worst case
    packed
}

/// What a snapshot's bytes hold; none if they are damaged.
fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let (digest, packed) = bytes.strip_prefix(MAGIC)?.split_at_checked(DIGEST_BYTES)?;
    if Sha256::digest(packed).as_slice() != digest {
        return None;
    }
    let mut plain = Vec::new();
    zstd::Decoder::new(packed).ok()?.take(limits::SNAPSHOT_BYTES).read_to_end(&mut plain).ok()?;
    Some(plain)
}
