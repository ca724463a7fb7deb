//! What a view's plan says of its table. Pure: plans in, columns out. What is run for it is in [`crate::coded`].
//!
//! A view is one aggregation over one relation, so that its rows over two stretches of the log merge into its rows
//! over both. Whatever would not merge is refused here, with a message that says what to write instead.

use crate::lineage::{check_rows, is_never_null, origin};
use crate::relations::{ORDINAL, Relation};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use sql::partial::{Kind, Role};

/// One column of a view's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// How its values merge.
    pub role: Role,
    /// Their type.
    pub kind: Kind,
}

/// Why a query cannot be a view.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// DataFusion does not understand it.
    #[error("{0}")]
    Query(#[from] DataFusionError),
    /// It is understood, and would not merge.
    #[error("{0}")]
    Unmergeable(String),
    /// It would merge, if it did not fail on rows that may come.
    #[error(
        "tried with odd texts and extreme numbers and times it fails, and such a row would stop its pipeline for good: {0}"
    )]
    Failing(DataFusionError),
}

pub(crate) fn unmergeable<T>(message: impl Into<String>) -> Result<T, ViewError> {
    Err(ViewError::Unmergeable(message.into()))
}

/// The columns of the table that a view's plan fills; `relation` is what it reads.
pub fn table_columns(plan: &LogicalPlan, relation: &Relation) -> Result<Vec<TableColumn>, ViewError> {
    let LogicalPlan::Projection(projection) = plan else {
        return unmergeable("a view is select … group by …: order by, limit, distinct and union do not merge");
    };
    let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else {
        return unmergeable(
            "a view aggregates with group by: rows without a key cannot be merged (having does not merge either: filter when reading)",
        );
    };
    check_rows(&projection.input)?; // the projection itself may only name columns: anything else is refused below
    if has_aggregate(&aggregate.input) {
        return unmergeable("a view aggregates once: sums of what was aggregated before do not add up over epochs");
    }
    let mut columns = Vec::new();
    for (expression, (_, field)) in projection.expr.iter().zip(plan.schema().iter()) {
        let role = column_role(expression, aggregate, relation, field.name())?;
        let kind = kind_of(field.name(), field.data_type())?;
        if role == Role::Op && !matches!(kind, Kind::Boolean | Kind::Integer) {
            return unmergeable("column op is 0 or false for a row that goes, anything else for one that stays");
        }
        let kind = if role == Role::Op { Kind::Boolean } else { kind }; // a number that is not 0 is true
        columns.push(TableColumn { name: field.name().clone(), role, kind });
    }
    let keys = columns.iter().filter(|column| column.role == Role::Key).count();
    if keys != aggregate.group_expr.len() {
        return unmergeable("every expression of group by must be a column of the view, once: it is the table's key");
    }
    match columns.iter().find(|column| matches!(column.role, Role::Replace | Role::Op)) {
        Some(column) if !is_of_one_user(aggregate) => unmergeable(format!(
            "column {}: last_value needs site and user_id in group by: only the rows of one user are all on one partition, in one order",
            column.name
        )),
        _ => Ok(columns),
    }
}

/// Whether all rows of a key are one user's.
fn is_of_one_user(aggregate: &Aggregate) -> bool {
    let origins: Vec<_> = aggregate
        .group_expr
        .iter()
        .filter_map(|group| match group {
            Expr::Column(column) => origin(&aggregate.input, column),
            _ => None,
        })
        .collect();
    ["site", "user_id"].iter().all(|needed| origins.iter().any(|origin| origin == needed))
}

fn has_aggregate(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_)))).expect("nothing here fails")
}

fn column_role(expression: &Expr, aggregate: &Aggregate, relation: &Relation, name: &str) -> Result<Role, ViewError> {
    let Expr::Column(column) = expression.clone().unalias_nested().data else {
        return unmergeable(format!(
            "column {name} computes with an aggregate: keep the aggregates as columns (avg is a sum and a count) and compute when reading"
        ));
    };
    let index = aggregate.schema.index_of_column(&column)?;
    let Some(index) = index.checked_sub(aggregate.group_expr.len()) else {
        return match &aggregate.group_expr[index] {
            Expr::GroupingSet(_) => unmergeable("a view has one key: grouping sets, cube and rollup are several views"),
            group if is_never_null(group, &aggregate.input) => Ok(Role::Key),
            _ => unmergeable(format!(
                "column {name} may be null, and a key may not: write coalesce({name}, '') with the value that shall stand for \
                 null, or leave such rows out with where {name} is not null"
            )),
        };
    };
    let Expr::AggregateFunction(function) = aggregate.aggr_expr[index].clone().unalias_nested().data else {
        return unmergeable(format!("column {name} is no plain aggregate"));
    };
    let role = aggregate_role(&function, aggregate, relation, name)?;
    let is_whole = function.params.args.iter().all(|argument| is_never_null(argument, &aggregate.input));
    match role {
        Role::Op if !is_whole => {
            unmergeable(format!("column {name} may be null, and op may not: write coalesce(…, 1) in its last_value"))
        }
        role => Ok(role),
    }
}

fn aggregate_role(
    function: &AggregateFunction,
    aggregate: &Aggregate,
    relation: &Relation,
    name: &str,
) -> Result<Role, ViewError> {
    let called = function.func.name();
    if function.params.distinct {
        return unmergeable(format!(
            "column {name}: {called}(distinct …) does not add up over epochs: sum a column of the facts that marks the first"
        ));
    }
    let unsigned = |role| match relation.signed {
        false => Ok(role),
        true => unmergeable(format!(
            "column {name}: {called} over {}, whose rows take back earlier ones: only sums and last_value mean anything there",
            relation.name
        )),
    };
    match called {
        "sum" => Ok(Role::Sum),
        "count" => unsigned(Role::Sum),
        "min" => unsigned(Role::Min),
        "max" => unsigned(Role::Max),
        "bool_or" => unsigned(Role::Or),
        "last_value" if skips_rows(function) => unmergeable(format!(
            "column {name}: last_value with filter or ignore nulls would say nothing where the rows before said something"
        )),
        "last_value" if is_log_order(function, aggregate) => Ok(if name == "op" { Role::Op } else { Role::Replace }),
        "last_value" => unmergeable(format!(
            "column {name}: write last_value(… order by {ORDINAL}): only the order of the log is the same in every run"
        )),
        _ => unmergeable(format!(
            "column {name}: {called} does not merge; these do: sum, count, min, max, bool_or, last_value(… order by {ORDINAL})"
        )),
    }
}

fn skips_rows(function: &AggregateFunction) -> bool {
    function.params.filter.is_some() || function.params.null_treatment == Some(NullTreatment::IgnoreNulls)
}

pub(crate) fn is_log_order(function: &AggregateFunction, aggregate: &Aggregate) -> bool {
    let [order] = function.params.order_by.as_slice() else { return false };
    let Expr::Column(column) = &order.expr else { return false };
    order.asc && origin(&aggregate.input, column).as_deref() == Some(ORDINAL)
}

fn kind_of(name: &str, data_type: &DataType) -> Result<Kind, ViewError> {
    match data_type {
        DataType::Int64 | DataType::Int32 => Ok(Kind::Integer),
        DataType::Timestamp(..) => Ok(Kind::Timestamp),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Ok(Kind::Text),
        DataType::Boolean => Ok(Kind::Boolean),
        other => unmergeable(format!(
            "column {name} is {other}: a table keeps integers, timestamps, text and booleans (floats do not add up exactly)"
        )),
    }
}

/// The names of the relations a plan reads, subqueries and all.
pub fn relations_read(plan: &LogicalPlan) -> Vec<String> {
    let mut names = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            names.push(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("nothing here fails");
    names
}
