//! What can be proven of a view's plan without running it: where a column comes from, that it is never null, and that the
//! rows are a function of the epoch alone. What cannot be proven is taken for false.

use crate::plan::{ViewError, unmergeable};
use crate::relations::{ORDINAL, Relation};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Unnest, Volatility};

/// Functions that are null only if an argument is.
const STRICT: [&str; 14] = [
    "abs",
    "btrim",
    "character_length",
    "date_bin",
    "date_trunc",
    "floor",
    "lower",
    "ltrim",
    "replace",
    "rtrim",
    "substr",
    "to_timestamp",
    "to_timestamp_millis",
    "upper",
];

/// Functions that are null only if all their arguments are.
const FIRST_THERE_IS: [&str; 4] = ["coalesce", "greatest", "least", "nvl"];

/// Functions that make lists without nulls if no argument is null.
const LISTS: [&str; 3] = ["generate_series", "make_array", "range"];

/// Refuses what could give other rows for the same facts, or in another run.
pub(crate) fn check_rows(plan: &LogicalPlan) -> Result<(), ViewError> {
    let mut refused = None;
    plan.apply(|node| {
        let input = node.inputs().first().copied();
        node.apply_expressions(|expression| {
            let is_passed_on = matches!(node, LogicalPlan::Projection(_)) && bare_column(expression).is_some();
            refused = refusal(expression, input, is_passed_on);
            Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })
    .expect("nothing here fails");
    refused.map_or(Ok(()), |message| Err(ViewError::Unmergeable(message)))
}

/// Why `expression` over `input` is no function of the epoch; `is_passed_on`: it is a column and nothing more.
fn refusal(expression: &Expr, input: Option<&LogicalPlan>, is_passed_on: bool) -> Option<String> {
    let mut refused = None;
    let walk = expression.apply(|part| {
        refused = match part {
            Expr::Column(column) => match input.and_then(|input| origin(input, column)).as_deref() {
                Some(name) if Relation::is_hidden(name) => Some(format!(
                    "a view cannot use the column {name}, nor * in a subquery: its numbers are others in every run"
                )),
                Some(ORDINAL) if !is_passed_on => Some(format!(
                    "a view can use {ORDINAL} in last_value(… order by {ORDINAL}) only: its numbers are others in every run"
                )),
                _ => None,
            },
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some("a view cannot use a subquery as a value or condition: it would see one run's rows only".to_owned())
            }
            Expr::ScalarFunction(call) => unstable(call.func.name(), call.func.signature().volatility),
            Expr::AggregateFunction(call) => unstable(call.func.name(), call.func.signature().volatility),
            Expr::ScalarVariable(..) | Expr::Placeholder(_) | Expr::OuterReferenceColumn(..) => {
                Some(format!("a view cannot use {part}: it is no function of the facts"))
            }
            _ => failing(part).map(str::to_owned),
        };
        if let (None, Expr::AggregateFunction(call)) = (&refused, part) {
            // Everything but its `order by`, the only place for the ordinal.
            let parts = call.params.args.iter().chain(call.params.filter.as_deref());
            refused = parts.into_iter().find_map(|part| refusal(part, input, false));
            return Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Jump });
        }
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walk.expect("nothing here fails");
    refused
}

/// Why a row of the facts could stop the pipeline at this part of an expression: for good, since the log keeps the row.
fn failing(part: &Expr) -> Option<&'static str> {
    match part {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. })
            if !is_never_zero(right) =>
        {
            Some("a view can divide by a number or by nullif(…, 0) only: a zero would stop its pipeline")
        }
        _ => None,
    }
}

/// Refuses casts of texts in a plan that is ready to run. The query's own plan does not show them all: a text that is
/// compared with a number, or passed to a function of numbers, is cast implicitly.
pub(crate) fn check_casts(plan: &LogicalPlan) -> Result<(), ViewError> {
    let is_found = plan.exists(|node| {
        let input = node.inputs().first().copied();
        let mut is_found = false;
        node.apply_expressions(|expression| {
            is_found = expression.exists(|part| Ok(casts_text(part, input)))?;
            Ok(if is_found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(is_found)
    });
    if is_found? {
        return unmergeable(
            "a view cannot cast a text, nor use it as a number or time: one that is no such value would stop its pipeline, \
             write try_cast",
        );
    }
    Ok(())
}

fn casts_text(part: &Expr, input: Option<&LogicalPlan>) -> bool {
    let Expr::Cast(cast) = part else { return false };
    let is_text = |input: &LogicalPlan| cast.expr.get_type(input.schema()).map_or(true, |kind| kind.is_string());
    !matches!(*cast.expr, Expr::Literal(..)) && !cast.field.data_type().is_string() && input.is_none_or(is_text)
}

/// Whether this divisor is a number other than zero, or null instead.
fn is_never_zero(divisor: &Expr) -> bool {
    let is_zero = |value: &ScalarValue| ScalarValue::new_zero(&value.data_type()).map_or(true, |zero| zero == *value);
    match divisor {
        Expr::Literal(value, _) => value.is_null() || !is_zero(value),
        Expr::Cast(cast) => is_never_zero(&cast.expr),
        Expr::Negative(part) => is_never_zero(part),
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "nullif" => {
            matches!(args.as_slice(), [_, Expr::Literal(value, _)] if is_zero(value))
        }
        _ => false,
    }
}

fn unstable(name: &str, volatility: Volatility) -> Option<String> {
    (volatility != Volatility::Immutable).then(|| {
        format!("a view cannot use {name}(): it says something else in every run (times are columns of the facts)")
    })
}

/// The relation's column that the plan passes on unchanged as this column of its output; none if it is computed.
pub(crate) fn origin(plan: &LogicalPlan, column: &Column) -> Option<String> {
    origin_at(plan, index(plan.schema(), column)?)
}

fn origin_at(plan: &LogicalPlan, index: usize) -> Option<String> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.projected_schema.field(index).name().clone()),
        LogicalPlan::Filter(filter) => origin_at(&filter.input, index),
        LogicalPlan::SubqueryAlias(alias) => origin_at(&alias.input, index),
        LogicalPlan::Projection(projection) => origin(&projection.input, &bare_column(&projection.expr[index])?),
        LogicalPlan::Unnest(unnest) => origin_at(&unnest.input, kept(unnest, index).ok()?),
        _ => None,
    }
}

/// Whether `expression` over the output of `input` has a value in every row.
pub(crate) fn is_never_null(expression: &Expr, input: &LogicalPlan) -> bool {
    let of = |part: &Expr| is_never_null(part, input);
    match expression {
        Expr::Column(column) => {
            index(input.schema(), column).is_some_and(|index| is_never_null_at(input, index, column))
        }
        Expr::Alias(alias) => of(&alias.expr),
        Expr::Cast(cast) => of(&cast.expr),
        Expr::Not(part) | Expr::Negative(part) => of(part),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => of(left) && of(right),
        Expr::Case(case) => {
            case.else_expr.as_deref().is_some_and(of) && case.when_then_expr.iter().all(|(_, then)| of(then))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if STRICT.contains(&func.name()) => args.iter().all(of),
        Expr::ScalarFunction(ScalarFunction { func, args }) if FIRST_THERE_IS.contains(&func.name()) => {
            args.iter().any(of)
        }
        other => other.nullable(input.schema()).is_ok_and(|nullable| !nullable),
    }
}

fn is_never_null_at(plan: &LogicalPlan, index: usize, column: &Column) -> bool {
    let below = |input: &LogicalPlan, index: usize| {
        is_never_null_at(input, index, &Column::from(input.schema().qualified_field(index)))
    };
    match plan {
        LogicalPlan::TableScan(scan) => !scan.projected_schema.field(index).is_nullable(),
        LogicalPlan::Filter(filter) => {
            split_conjunction(&filter.predicate).into_iter().any(|part| rejects_null(part, column))
                || below(&filter.input, index)
        }
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input, index),
        LogicalPlan::Projection(projection) => is_never_null(&projection.expr[index], &projection.input),
        LogicalPlan::Unnest(unnest) => match kept(unnest, index) {
            Ok(index) => below(&unnest.input, index),
            Err(list) => has_no_null(unnest, list),
        },
        _ => false,
    }
}

/// Whether a row with a null in `column` fails `condition`.
fn rejects_null(condition: &Expr, column: &Column) -> bool {
    let is_it = |part: &Expr| matches!(part, Expr::Column(named) if named == column);
    match condition {
        Expr::IsNotNull(part) => is_it(part),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let compares = matches!(
                op,
                Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
            );
            compares && (is_it(left) || is_it(right))
        }
        _ => false,
    }
}

/// Where in the input of `unnest` the column is, if it is passed on unchanged; else, as `Err`, where the list is that it
/// unfolds.
fn kept(unnest: &Unnest, index: usize) -> Result<usize, usize> {
    let below = unnest.dependency_indices[index];
    let is_list = unnest.list_type_columns.iter().any(|(list, _)| *list == below);
    if is_list || unnest.struct_type_columns.contains(&below) { Err(below) } else { Ok(below) }
}

fn has_no_null(unnest: &Unnest, list: usize) -> bool {
    let LogicalPlan::Projection(projection) = unnest.input.as_ref() else { return false };
    match projection.expr[list].clone().unalias_nested().data {
        Expr::ScalarFunction(ScalarFunction { func, args }) if LISTS.contains(&func.name()) => {
            !unnest.options.preserve_nulls() && args.iter().all(|arg| is_never_null(arg, &projection.input))
        }
        _ => false,
    }
}

fn bare_column(expression: &Expr) -> Option<Column> {
    match expression.clone().unalias_nested().data {
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

fn index(schema: &DFSchema, column: &Column) -> Option<usize> {
    schema.index_of_column(column).ok()
}
