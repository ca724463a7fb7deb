//! The check of the ledger: every record of the log has ended in exactly one way, and the tables say so too. It reads
//! one snapshot of the database; whether the log itself is longer is not its question.

use std::fmt;

use tokio_postgres::{Client, Row, Transaction};

use crate::{queries, snapshot};

/// The ways in which a record of the log can end, as `ledger_minutes` names them.
pub const DISPOSITIONS: [&str; 7] = ["credited", "idle", "duplicate", "overrun", "gap", "late", "ad"];

/// What the check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCheck {
    /// Per pipeline and partition.
    pub partitions: Vec<PartitionCheck>,
    /// Over all of them.
    pub dispositions: Vec<DispositionCheck>,
}

/// One partition: `next_offset` must equal the number of records accounted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionCheck {
    /// Pipeline that wrote it.
    pub pipeline: String,
    /// Partition of `heartbeats`.
    pub partition: i64,
    /// Records of the log that the tables contain.
    pub next_offset: i64,
    /// Records that only move the clock.
    pub ticks: i64,
    /// Points that wait for their neighbour.
    pub waiting: i64,
    /// Records per disposition, in the order of [`DISPOSITIONS`].
    pub dispositions: [i64; 7],
}

/// One disposition: the partitions and `ledger_minutes` must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispositionCheck {
    /// Which.
    pub disposition: String,
    /// Sum over the partitions.
    pub partitions: i64,
    /// Sum over `ledger_minutes`.
    pub table: i64,
}

/// Reads `progress` and `ledger_minutes` in one snapshot.
pub async fn ledger_check(client: &mut Client) -> Result<LedgerCheck, tokio_postgres::Error> {
    let both = async |snapshot: &Transaction<'_>| {
        let partitions = snapshot.query(queries::LEDGER_PARTITIONS, &[]).await?;
        Ok((partitions, snapshot.query(queries::LEDGER_DISPOSITIONS, &[]).await?))
    };
    let (rows, minutes): (Vec<Row>, Vec<Row>) = snapshot::read(client, snapshot::is_conflict, both).await?;
    let partitions: Vec<PartitionCheck> = rows
        .iter()
        .map(|row| PartitionCheck {
            pipeline: row.get(0),
            partition: row.get(1),
            next_offset: row.get(2),
            ticks: row.get(3),
            waiting: row.get(4),
            dispositions: std::array::from_fn(|index| row.get(5 + index)),
        })
        .collect();
    let table: Vec<(String, i64)> = minutes.iter().map(|row| (row.get(0), row.get(1))).collect();
    let known = DISPOSITIONS.iter().enumerate().map(|(index, name)| DispositionCheck {
        disposition: (*name).to_owned(),
        partitions: partitions.iter().map(|partition| partition.dispositions[index]).sum(),
        table: table.iter().filter(|(other, _)| other == name).map(|(_, count)| count).sum(),
    });
    let unknown = table
        .iter()
        .filter(|(name, _)| !DISPOSITIONS.contains(&name.as_str()))
        .map(|(name, count)| DispositionCheck { disposition: name.clone(), partitions: 0, table: *count });
    let dispositions = known.chain(unknown).collect();
    Ok(LedgerCheck { partitions, dispositions })
}

impl LedgerCheck {
    /// Whether there is nothing to check: no partition has progress, and nothing is counted without one. A partition has a row
    /// as soon as a sink has looked at it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.iter().all(|partition| partition.next_offset == 0) && self.is_balanced()
    }

    /// Whether everything agrees.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.partitions.iter().all(PartitionCheck::is_balanced)
            && self.dispositions.iter().all(DispositionCheck::is_balanced)
    }
}

impl PartitionCheck {
    /// Ticks, waiting points and dispositions together.
    #[must_use]
    pub fn accounted(&self) -> i64 {
        self.ticks + self.waiting + self.dispositions.iter().sum::<i64>()
    }

    /// Whether every record is accounted for, once.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.accounted() == self.next_offset
    }
}

impl DispositionCheck {
    /// Whether the partitions and the table agree.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.partitions == self.table
    }
}

impl fmt::Display for LedgerCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for partition in &self.partitions {
            writeln!(f, "{partition}")?;
        }
        for disposition in &self.dispositions {
            writeln!(f, "{disposition}")?;
        }
        match self.is_empty() {
            true => write!(f, "in all: no partition has progress yet"),
            false => write!(f, "in all: {}", verdict(self.is_balanced())),
        }
    }
}

impl fmt::Display for PartitionCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} partition {}: {} records, ticks {}",
            self.pipeline, self.partition, self.next_offset, self.ticks
        )?;
        write!(f, ", waiting {}", self.waiting)?;
        for (name, count) in DISPOSITIONS.iter().zip(self.dispositions) {
            write!(f, ", {name} {count}")?;
        }
        write!(f, ": {}", verdict(self.is_balanced()))?;
        if !self.is_balanced() {
            write!(f, " ({} accounted for)", self.accounted())?;
        }
        Ok(())
    }
}

impl fmt::Display for DispositionCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disposition, partitions, table } = self;
        write!(f, "{disposition}: partitions {partitions}, ledger_minutes {table}: {}", verdict(self.is_balanced()))
    }
}

fn verdict(is_balanced: bool) -> &'static str {
    if is_balanced { "balanced" } else { "NOT BALANCED" }
}
