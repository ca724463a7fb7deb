//! `docs/api.md` names exactly the codes there are, with their statuses.
#![allow(clippy::unwrap_used)]

use ingest::Fault;
use playback::rejection::Code;

const DOCUMENT: &str = include_str!("../../docs/api.md");

/// Rows `| a | `b` | …` of the table under a heading: the cells of each.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}")).1;
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
        .collect()
}

#[test]
fn every_fault_of_a_request_is_documented() {
    let documented: Vec<(String, String)> =
        table("Errors of a request").iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let built: Vec<(String, String)> =
        Fault::ALL.iter().map(|fault| (fault.status().as_u16().to_string(), fault.as_str().to_owned())).collect();
    assert_eq!(documented, built);
}

#[test]
fn every_code_of_a_refused_report_is_documented() {
    let documented: Vec<(&str, &str)> = table("Codes of a refused report").iter().map(|row| (row[0], row[1])).collect();
    let built: Vec<(&str, &str)> = Code::ALL.iter().map(|code| (code.as_str(), code.meaning())).collect();
    assert_eq!(documented, built);
}
