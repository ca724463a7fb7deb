//! The plan that is run for a view: the view's own, but over numbers instead of texts, and for many epochs at once. Pure:
//! plans in, plans out.
//!
//! A text that a view only groups by is replaced by its number, a whole session key by a single number, and `last_value` of a
//! column by the greatest row of the group, in which the value is looked up afterwards. Each epoch has its own numbers for
//! texts and sessions, so rows of two epochs never meet; a view that groups by neither gets the epoch as one more group.
//! Where a view computes with texts, the texts themselves are used.

use crate::lineage::origin;
use crate::plan::{ViewError, is_log_order, unmergeable};
use crate::relations::{EPOCH, ROW, Relation, SESSION, SESSION_KEY, codes_of};
use datafusion::common::{Column, DFSchema};
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};
use std::sync::Arc;

/// What is run, and how its output becomes the view's rows.
pub(crate) struct CodedPlan {
    pub(crate) plan: LogicalPlan,
    /// Where each column of the view comes from.
    pub(crate) sources: Vec<Source>,
    /// Number of the output column with the greatest row of each group.
    pub(crate) last_row: usize,
}

/// Where a column of a view comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The output column of this number.
    Output(usize),
    /// The text whose number is in this output column.
    Text(usize),
    /// A part of the session key whose number is in an output column.
    KeyPart { output: usize, part: usize },
    /// This column of the relation, in the group's greatest row.
    LastRow(usize),
}

/// The plan to run for a view's plan, which [`crate::plan::table_columns`] has checked.
pub(crate) fn coded(plan: &LogicalPlan, relation: &Relation) -> Result<CodedPlan, ViewError> {
    let (LogicalPlan::Projection(projection), Some(LogicalPlan::Aggregate(aggregate))) =
        (plan, plan.inputs().first().copied())
    else {
        return unmergeable("a view is select … group by …");
    };
    let input = with_hidden(&aggregate.input, relation)?;
    let (mut groups, group_sources) = groups(aggregate, relation, &input);
    if group_sources.iter().all(|source| matches!(source, Source::Output(_))) {
        groups.push(hidden(&input, EPOCH));
    }
    let mut aggregates = Vec::new();
    let mut sources = Vec::new();
    for expression in &projection.expr {
        let Expr::Column(column) = expression.clone().unalias_nested().data else {
            return unmergeable("a view's columns are its groups and aggregates");
        };
        let index = aggregate.schema.index_of_column(&column)?;
        sources.push(match index.checked_sub(aggregate.group_expr.len()) {
            None => group_sources[index],
            Some(index) => {
                let expression = &aggregate.aggr_expr[index];
                last_row_of(expression, aggregate, relation)
                    .unwrap_or_else(|| Source::Output(groups.len() + number_of(expression.clone(), &mut aggregates)))
            }
        });
    }
    let last_row = groups.len() + aggregates.len();
    aggregates.push(max(hidden(&input, ROW)));
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, aggregates)?);
    Ok(CodedPlan { plan, sources, last_row })
}

/// The groups over numbers, and where each of the view's own comes from.
fn groups(aggregate: &Aggregate, relation: &Relation, input: &LogicalPlan) -> (Vec<Expr>, Vec<Source>) {
    let origins: Vec<_> = aggregate
        .group_expr
        .iter()
        .map(|group| match group {
            Expr::Column(column) => origin(&aggregate.input, column),
            _ => None,
        })
        .collect();
    let origin_of = |index: usize| origins[index].as_deref();
    let is_grouped_by = |name: &&str| (0..origins.len()).any(|index| origin_of(index) == Some(name));
    let by_session = relation.has_session() && SESSION_KEY.iter().all(is_grouped_by);
    let mut groups = if by_session { vec![hidden(input, SESSION)] } else { Vec::new() };
    let mut sources = Vec::new();
    for (index, group) in aggregate.group_expr.iter().enumerate() {
        let column = origin_of(index).and_then(|name| relation.column(name));
        let text = column.filter(|column| relation.columns[*column].1.is_text());
        let part = text.filter(|column| by_session && *column < SESSION_KEY.len());
        sources.push(match (part, text) {
            (Some(part), _) => Source::KeyPart { output: 0, part },
            (None, Some(text)) => {
                Source::Text(number_of(hidden(input, &codes_of(relation.columns[text].0)), &mut groups))
            }
            (None, None) => Source::Output(number_of(group.clone(), &mut groups)),
        });
    }
    (groups, sources)
}

/// The index of an expression in `among`, to which it is added if it is new: a plan has no expression twice.
fn number_of(expression: Expr, among: &mut Vec<Expr>) -> usize {
    among.iter().position(|known| *known == expression).unwrap_or_else(|| {
        among.push(expression);
        among.len() - 1
    })
}

/// The source of an aggregate that is a column's last value in log order.
fn last_row_of(expression: &Expr, aggregate: &Aggregate, relation: &Relation) -> Option<Source> {
    let Expr::AggregateFunction(function) = expression.clone().unalias_nested().data else { return None };
    if function.func.name() != "last_value" || !is_log_order(&function, aggregate) {
        return None;
    }
    let [Expr::Column(column)] = function.params.args.as_slice() else { return None };
    relation.column(&origin(&aggregate.input, column)?).map(Source::LastRow)
}

/// The same plan, with the columns that views do not see appended after the others.
fn with_hidden(plan: &LogicalPlan, relation: &Relation) -> Result<LogicalPlan, ViewError> {
    let inputs = plan.inputs().into_iter().map(|input| with_hidden(input, relation)).collect::<Result<Vec<_>, _>>()?;
    match (plan, inputs.as_slice()) {
        (LogicalPlan::TableScan(_), []) => Ok(plan.clone()),
        (LogicalPlan::Projection(projection), [input]) => {
            let schema = relation.schema();
            let names = schema.fields().iter().map(|field| field.name()).filter(|name| Relation::is_hidden(name));
            let mut expressions = projection.expr.clone();
            expressions.extend(names.map(|name| hidden(input, name)));
            Ok(LogicalPlan::Projection(Projection::try_new(expressions, Arc::new(input.clone()))?))
        }
        (LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_), [input]) => {
            Ok(plan.with_new_exprs(plan.expressions(), vec![input.clone()])?)
        }
        _ => unmergeable(format!(
            "a view cannot use {}: joins, unions, windows, order by and limit do not merge (enrich when reading)",
            plan.display()
        )),
    }
}

fn hidden(input: &LogicalPlan, name: &str) -> Expr {
    let schema: &DFSchema = input.schema();
    let (qualifier, field) = schema
        .iter()
        .find(|(_, field)| field.name() == name)
        .expect("relations have the hidden columns, and every node passes them on");
    Expr::Column(Column::from((qualifier, field)))
}
