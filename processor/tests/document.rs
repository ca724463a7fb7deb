//! `docs/facts.md` describes exactly the relations that views can read.
#![allow(clippy::unwrap_used)]

use processor::relations::RELATIONS;

#[test]
fn the_document_lists_each_relation_with_its_columns_in_order() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/facts.md")).unwrap();
    let described: Vec<_> = text
        .split("\n### ")
        .skip(1)
        .map(|section| {
            let (name, rest) = section.split_once('\n').unwrap();
            let (_, columns) = rest.trim_end().trim_end_matches('`').rsplit_once('`').unwrap();
            format!("{name}: {}", columns.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    let relations: Vec<_> = RELATIONS
        .iter()
        .map(|relation| {
            let columns: Vec<_> = relation.columns.iter().map(|(name, _)| *name).collect();
            format!("{}: {}", relation.name, columns.join(", "))
        })
        .collect();
    assert_eq!(described, relations);
}
