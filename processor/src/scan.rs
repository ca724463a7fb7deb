//! How DataFusion reads a run: each relation is a table that makes only the columns a plan asks for.

use crate::columns::Run;
use crate::relations::RELATIONS;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the run at hand lies for the plans to read.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Arc<Run>>>);

/// A relation of the run.
#[derive(Debug)]
pub(crate) struct RelationTable {
    relation: usize,
    schema: SchemaRef,
    slot: Arc<Slot>,
}

/// Those columns of a relation that one plan reads.
#[derive(Debug)]
struct Columns {
    relation: usize,
    /// Their numbers in the relation's schema.
    numbers: Vec<usize>,
    schema: SchemaRef,
    slot: Arc<Slot>,
}

impl Slot {
    pub(crate) fn put(&self, run: Option<Arc<Run>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Slot")
    }
}

impl RelationTable {
    /// The relation of this number.
    pub(crate) fn new(relation: usize, slot: &Arc<Slot>) -> RelationTable {
        RelationTable { relation, schema: RELATIONS[relation].schema(), slot: slot.clone() }
    }
}

#[async_trait]
impl TableProvider for RelationTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let numbers = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&numbers)?);
        let columns = Columns { relation: self.relation, numbers, schema: schema.clone(), slot: self.slot.clone() };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(columns)], None, [], false, None)?))
    }
}

impl PartitionStream for Columns {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let run = self.slot.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let batches = run.iter().map(|run| {
            let arrays = self.numbers.iter().map(|number| run.array(self.relation, *number)).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(run.rows_of(self.relation)));
            RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
                .expect("a run's columns have the types of its relations")
        });
        let batches = batches.collect();
        Box::pin(MemoryStream::try_new(batches, self.schema.clone(), None).expect("the batch has the schema"))
    }
}
