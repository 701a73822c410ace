//! The tables in the docs are the table in the code.

use super::names::METRICS;

/// Name and kind of each row of a metrics table.
fn rows(text: &str) -> Vec<(String, String)> {
    let cells = |line: &str| line.trim().split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|cells: Vec<String>| (cells[1].clone(), cells[2].clone())).collect()
}

#[test]
fn the_docs_and_the_readme_list_every_metric_and_no_other() {
    let ours: Vec<_> = METRICS.iter().map(|m| (m.name.to_owned(), format!("{:?}", m.kind).to_lowercase())).collect();
    assert_eq!(rows(include_str!("metrics.md")), ours);
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("| metric | kind | labels |").expect("the README's table");
    let (table, _) = rest.split_once("\n\n").unwrap_or((rest, ""));
    assert_eq!(rows(table), ours);
}

#[test]
fn names_are_those_of_the_conventions_or_our_own() {
    let known = [
        "messaging.client.sent.messages",
        "messaging.client.operation.duration",
        "messaging.client.consumed.messages",
        "messaging.process.duration",
    ];
    for metric in &METRICS {
        assert!(known.contains(&metric.name) || metric.name.starts_with("dispatcher."), "{}", metric.name);
        assert!(["count", "bytes", "seconds"].contains(&metric.unit) && !metric.about.is_empty());
    }
}
