//! The continuous views: SQL planned once, then run over the facts of many epochs at a time.

use crate::caps;
use crate::partials::empty_table;
use crate::plan::{TableColumn, ViewError, by_epoch, relations_read, table_columns};
use crate::relations::{RELATIONS, Relation};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use sql::codec;
use sql::views::ViewSource;
use std::sync::{Arc, Mutex, PoisonError};

/// All views of a pipeline over one set of relations.
pub struct Views {
    views: Vec<View>,
    slots: Vec<Arc<Slot>>,
    context: Arc<TaskContext>,
}

/// One planned view.
pub struct View {
    /// Name of the view and its table.
    pub name: String,
    /// Columns of its table; the plan has one more, the epoch.
    pub columns: Vec<TableColumn>,
    /// The query, as DataFusion understood it: part of the fingerprint.
    pub query: String,
    /// Number of the relation it reads.
    relation: usize,
    plan: Arc<dyn ExecutionPlan>,
}

/// Why the views cannot be planned or run.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    /// A view is refused.
    #[error("view {file}: {source}")]
    Refused {
        /// The view's file.
        file: String,
        /// What is wrong, and what to write instead.
        source: ViewError,
    },
    /// Two views have one name.
    #[error("view {file}: there is a view {name} already")]
    Twice {
        /// The second view's file.
        file: String,
        /// The name.
        name: String,
    },
    /// A view failed on data.
    #[error("view {name} failed: {source}")]
    Failed {
        /// The view.
        name: String,
        /// What DataFusion says.
        source: DataFusionError,
    },
}

impl Views {
    /// Plans each view.
    pub async fn plan(sources: &[ViewSource]) -> Result<Views, ViewsError> {
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(caps::VIEW_BATCH_ROWS);
        let context = SessionContext::new_with_config(config);
        let slots: Vec<_> = RELATIONS.iter().map(|relation| Arc::new(Slot::new(relation.schema()))).collect();
        for (relation, slot) in RELATIONS.iter().zip(&slots) {
            let table = StreamingTable::try_new(slot.schema.clone(), vec![slot.clone()]);
            let registered = table.and_then(|table| context.register_table(relation.name, Arc::new(table)));
            registered.expect("a relation's name and schema are valid");
        }
        let mut views: Vec<View> = Vec::new();
        for source in sources {
            let refused = |error| ViewsError::Refused { file: source.file.clone(), source: error };
            let view = View::plan(&context, &source.text).await.map_err(refused)?;
            if views.iter().any(|known| known.name == view.name) {
                return Err(ViewsError::Twice { file: source.file.clone(), name: view.name });
            }
            views.push(view);
        }
        Ok(Views { views, slots, context: context.task_ctx() })
    }

    /// The views, in the order of their sources.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// Runs each view over `facts`, one batch per relation; gives each view's rows, with the epoch as last column.
    pub async fn run(&self, facts: Vec<RecordBatch>) -> Result<Vec<Vec<RecordBatch>>, ViewsError> {
        let rows: Vec<_> = facts.iter().map(RecordBatch::num_rows).collect();
        for (slot, batch) in self.slots.iter().zip(facts) {
            slot.put(Some(batch));
        }
        let mut outputs = Vec::with_capacity(self.views.len());
        for view in &self.views {
            let output = if rows[view.relation] == 0 { Ok(Vec::new()) } else { view.run(&self.context).await };
            outputs.push(output.map_err(|source| ViewsError::Failed { name: view.name.clone(), source })?);
        }
        for slot in &self.slots {
            slot.put(None);
        }
        Ok(outputs)
    }
}

impl View {
    async fn plan(context: &SessionContext, text: &str) -> Result<View, ViewError> {
        let (name, query) = parse(text)?;
        let plan = context.state().statement_to_plan(ParsedStatement::Statement(Box::new(query.clone()))).await?;
        let (index, relation) = relation_of(&plan)?;
        let columns = table_columns(&plan, relation)?;
        // What the sink would not take is refused here, before it is on the topic.
        codec::check_table(&empty_table(&name, &columns))
            .map_err(|fault| ViewError::Unmergeable(format!("its table {fault}")))?;
        let plan = context.state().create_physical_plan(&by_epoch(&plan)?).await?;
        Ok(View { name, columns, query: query.to_string(), relation: index, plan })
    }

    async fn run(&self, context: &Arc<TaskContext>) -> Result<Vec<RecordBatch>, DataFusionError> {
        let plan = reset_plan_states(self.plan.clone())?;
        collect(plan, context.clone()).await
    }
}

fn parse(text: &str) -> Result<(String, Statement), ViewError> {
    let refused = |message: &str| ViewError::Unmergeable(message.to_owned());
    let statements =
        Parser::parse_sql(&GenericDialect {}, text).map_err(|error| ViewError::Unmergeable(error.to_string()))?;
    match <[Statement; 1]>::try_from(statements) {
        Ok([Statement::CreateView(view)]) if view.materialized => {
            let name = view.name.to_string();
            let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if !plain {
                return Err(refused("a view's name is lower-case letters, digits and underscores"));
            }
            Ok((name, Statement::Query(view.query)))
        }
        _ => Err(refused("expected one statement: create materialized view NAME as select …")),
    }
}

fn relation_of(plan: &LogicalPlan) -> Result<(usize, &'static Relation), ViewError> {
    let names = relations_read(plan);
    let known = |name: &str| RELATIONS.iter().enumerate().find(|(_, relation)| relation.name == name);
    match names.as_slice() {
        [name] => known(name).ok_or_else(|| ViewError::Unmergeable(format!("there is no relation {name}"))),
        _ => {
            Err(ViewError::Unmergeable("a view reads one relation: enrich and join when reading its table".to_owned()))
        }
    }
}

/// Where the facts of the run at hand lie for the plans to read.
#[derive(Debug)]
struct Slot {
    schema: SchemaRef,
    batch: Mutex<Option<RecordBatch>>,
}

impl Slot {
    fn new(schema: SchemaRef) -> Slot {
        Slot { schema, batch: Mutex::new(None) }
    }

    fn put(&self, batch: Option<RecordBatch>) {
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = batch;
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batch.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        Box::pin(MemoryStream::try_new(batches, self.schema.clone(), None).expect("the slot's batches have its schema"))
    }
}
