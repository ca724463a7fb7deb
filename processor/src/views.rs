//! The continuous views: SQL planned once, then run over the facts of many epochs at a time.

mod trial;

use crate::coded::{Source, coded};
use crate::columns::Run;
use crate::limits;
use crate::lineage::check_casts;
use crate::partials::empty_table;
use crate::plan::{TableColumn, ViewError, relations_read, table_columns};
use crate::relations::{RELATIONS, Relation};
use crate::scan::{RelationTable, Slot};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use sql::codec;
use sql::views::ViewSource;
use std::sync::Arc;

/// All views of a pipeline over one set of relations.
pub struct Views {
    views: Vec<View>,
    slot: Arc<Slot>,
    context: Arc<TaskContext>,
}

/// One planned view.
pub struct View {
    /// Name of the view and its table.
    pub name: String,
    /// Columns of its table.
    pub columns: Vec<TableColumn>,
    /// The query, as DataFusion understood it: part of the fingerprint.
    pub query: String,
    /// Number of the relation it reads.
    pub(crate) relation: usize,
    plan: Arc<dyn ExecutionPlan>,
    /// Where each column of the table comes from.
    pub(crate) sources: Vec<Source>,
    /// Column of the plan's output with the last row of each group.
    pub(crate) last_row: usize,
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
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(limits::VIEW_BATCH_ROWS);
        let context = SessionContext::new_with_config(config);
        let slot = Arc::new(Slot::default());
        for (index, relation) in RELATIONS.iter().enumerate() {
            let registered = context.register_table(relation.name, Arc::new(RelationTable::new(index, &slot)));
            registered.expect("a relation's name is valid");
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
        Ok(Views { views, slot, context: context.task_ctx() })
    }

    /// The views, in the order of their sources.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// Runs each view over a run; gives what each view's plan puts out, none for a view with nothing to read.
    pub async fn run(&self, run: &Arc<Run>) -> Result<Vec<Option<RecordBatch>>, ViewsError> {
        self.slot.put(Some(run.clone()));
        let mut outputs = Vec::with_capacity(self.views.len());
        for view in &self.views {
            let output = if run.rows_of(view.relation) == 0 { Ok(None) } else { view.run(&self.context).await };
            outputs.push(output.map_err(|source| ViewsError::Failed { name: view.name.clone(), source })?);
        }
        self.slot.put(None);
        Ok(outputs)
    }
}

impl View {
    async fn plan(context: &SessionContext, text: &str) -> Result<View, ViewError> {
        let (name, query) = parse(text)?;
        let statement = ParsedStatement::Statement(Box::new(query.clone()));
        let plan = context.state().statement_to_plan(statement.clone()).await?;
        let (index, relation) = relation_of(&plan)?;
        let columns = table_columns(&plan, relation)?;
        // What the sink would not take is refused here, before it is on the topic.
        codec::check_table(&empty_table(&name, &columns))
            .map_err(|fault| ViewError::Unmergeable(format!("its table {fault}")))?;
        check_casts(&context.state().optimize(&plan)?)?;
        let coded = coded(&plan, relation)?;
        trial::try_out(statement, &plan, relation, &columns).await?;
        let plan = context.state().create_physical_plan(&coded.plan).await?;
        let (sources, last_row) = (coded.sources, coded.last_row);
        Ok(View { name, columns, query: query.to_string(), relation: index, plan, sources, last_row })
    }

    async fn run(&self, context: &Arc<TaskContext>) -> Result<Option<RecordBatch>, DataFusionError> {
        let plan = reset_plan_states(self.plan.clone())?;
        let batches = collect(plan, context.clone()).await?;
        match batches.as_slice() {
            [] => Ok(None),
            [batch] => Ok(Some(batch.clone())),
            [first, ..] => Ok(Some(concat_batches(first.schema_ref(), &batches)?)),
        }
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
            if sql::views::RESERVED.contains(&name.as_str()) {
                return Err(refused("there is a table of that name, which no view fills: give the view another"));
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
