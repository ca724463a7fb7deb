//! The report of a load as a page: what was asked, what came of it, and three pictures.

use super::plot::{Line, Plot};
use crate::settings::Settings;
use crate::tally::{Moment, Tally};
use crate::verdict::Verdict;
use std::fmt::Write;

/// Light and dark, as the reader's system is.
const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1d2329; --dim: #67717c; --grid: #dfe4e8; --a: #0b62c4; --b: #b4570a; --c: #c02b37 }
@media (prefers-color-scheme: dark) { :root { --back: #14181c; --text: #e4e8eb; --dim: #97a2ad; --grid: #2c343b; --a: #6cb0ff; --b: #f0a35a; --c: #ff7b84 } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } figure { margin: 2rem 0 } figcaption { font-weight: 600 } small, td:first-child { color: var(--dim); font-weight: 400 }
svg { width: 100%; height: auto } svg text { fill: var(--dim); font-size: 12px } text.y { text-anchor: end } text.x { text-anchor: middle }
.grid { stroke: var(--grid) } polyline { fill: none; stroke-width: 1.8 } polyline.a { stroke: var(--a) } polyline.b { stroke: var(--b) } polyline.c { stroke: var(--c) }
.legend span { margin-right: 1.5em } .legend span::before { content: '\\2014\\00a0' } span.a { color: var(--a) } span.b { color: var(--b) } span.c { color: var(--c) }
table { border-collapse: collapse } td { padding: .15rem 1.5rem .15rem 0; vertical-align: top } .passed { color: var(--a) } .failed { color: var(--c) }";

/// The whole page.
pub(crate) fn page(settings: &Settings, verdict: &Verdict, tally: &Tally) -> String {
    let (class, word) = match (verdict.passed(), verdict.verified) {
        (false, _) => ("failed", "not right"),
        (true, true) => ("passed", "everything was taken, and every table is right"),
        (true, false) => ("passed", "everything was taken; the tables were not compared"),
    };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Load {run}</title><style>{STYLE}</style><h1>Load {run}: <span class=\"{class}\">{word}</span></h1>",
        run = escaped(&verdict.run)
    );
    page.push_str(&table(&outcomes(verdict)));
    page.push_str(&latencies(tally).figure());
    let moments = tally.moments.as_slice();
    page.push_str(&over_time(
        moments,
        "Requests over time",
        "per second",
        &[("answered", "a", |moment| moment.requests as f64), ("failed tries", "c", |moment| moment.failures as f64)],
    ));
    page.push_str(&over_time(
        moments,
        "Latency over time",
        "ms",
        &[
            ("median", "a", |moment| moment.p50_us as f64 / 1e3),
            ("99 %", "b", |moment| moment.p99_us as f64 / 1e3),
            ("greatest", "c", |moment| moment.max_us as f64 / 1e3),
        ],
    ));
    page.push_str("<h1>Asked for</h1>");
    page.push_str(&table(&questions(settings)));
    let wrong = verdict.failed.iter().chain(&verdict.differences);
    let items: String = wrong.map(|found| format!("<li>{}", escaped(found))).collect();
    if !items.is_empty() {
        let _ = write!(page, "<h1>What is wrong</h1><ul>{items}</ul>");
    }
    page
}

type Row = (&'static str, String);

fn outcomes(verdict: &Verdict) -> Vec<Row> {
    let latency = verdict.latency_ms;
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    };
    vec![
        (
            "requests answered",
            format!("{} in {:.1} s, {:.0} per second", verdict.requests, verdict.seconds, verdict.requests_per_second),
        ),
        (
            "reports accepted",
            format!("{}, {} of them sent twice on purpose", verdict.accepted, verdict.duplicates_sent),
        ),
        ("reports refused", counts(&verdict.rejected)),
        ("failed tries", counts(&verdict.failures)),
        ("given up", verdict.undelivered.to_string()),
        (
            "latency from when a request was due",
            format!(
                "median {:.2} ms, 90 % {:.2} ms, 99 % {:.2} ms, 99.9 % {:.2} ms, greatest {:.1} ms",
                latency.p50, latency.p90, latency.p99, latency.p999, latency.max
            ),
        ),
        (
            "CPU time of the load",
            verdict.load_us_per_request.map_or("unknown".to_owned(), |us| format!("{us:.1} \u{b5}s per request")),
        ),
    ]
}

fn questions(settings: &Settings) -> Vec<Row> {
    let profile = &settings.profile;
    let shares = |shares: Vec<(String, u32)>| {
        let sum = shares.iter().map(|(_, share)| *share).sum::<u32>().max(1);
        let each =
            shares.iter().map(|(name, share)| format!("{name} {:.1} %", f64::from(*share) * 100.0 / f64::from(sum)));
        each.collect::<Vec<_>>().join(", ")
    };
    let named = |names: &std::collections::BTreeMap<String, u32>| {
        shares(
            names
                .iter()
                .map(|(name, share)| (if name.is_empty() { "(unsaid)" } else { name }.to_owned(), *share))
                .collect(),
        )
    };
    let behaviours =
        profile.behaviours.iter().map(|(behaviour, share)| (behaviour.name().to_owned(), *share)).collect();
    vec![
        ("seed", settings.seed.to_string()),
        ("gateway", settings.target.clone()),
        ("transport", if settings.http2 { "HTTP/2" } else { "HTTP/1.1, kept alive" }.to_owned()),
        ("at the same time at most", format!("{} requests", settings.connections)),
        ("viewers", format!("{}, part {} of {}", settings.viewers, settings.part.number, settings.part.of)),
        ("duration", format!("{} s", settings.duration.as_secs())),
        (
            "pace",
            settings.rate.map_or(format!("{} times real time", settings.speedup), |rate| {
                format!("{rate} requests per second, open loop")
            }),
        ),
        ("reports per request", settings.batch.to_string()),
        ("behaviours", shares(behaviours)),
        ("devices", named(&profile.devices)),
        ("territories", named(&profile.territories)),
        (
            "catalogue",
            format!(
                "{} titles, exponent {}, {} ad lines",
                profile.catalogue.titles, profile.catalogue.zipf, profile.catalogue.lines
            ),
        ),
    ]
}

/// Latency by percentile: to the right the tail, each nine as wide as the one before.
fn latencies(tally: &Tally) -> Plot {
    let steps = tally.latencies.iter_quantiles(8).filter(|step| step.quantile_iterated_to() < 1.0);
    let points: Vec<(f64, f64)> = steps
        .map(|step| (-(1.0 - step.quantile_iterated_to()).log10(), step.value_iterated_to() as f64 / 1e3))
        .collect();
    let right = points.last().map_or(1.0, |point| point.0);
    let marks = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let marks = marks.into_iter().enumerate().map(|(nines, text)| (nines as f64, text.to_owned()));
    Plot {
        title: "Latency by percentile".to_owned(),
        unit: "ms, from when a request was due to its answer",
        marks: marks.filter(|(at, _)| *at <= right).collect(),
        lines: vec![Line { name: "all requests", class: "a", points }],
    }
}

/// Name, class and value of a line.
type Of = (&'static str, &'static str, fn(&Moment) -> f64);

fn over_time(moments: &[Moment], title: &str, unit: &'static str, lines: &[Of]) -> String {
    let last = moments.last().map_or(1, |moment| moment.second.max(1));
    let marks =
        (0..=5).map(|part| (f64::from(last) * f64::from(part) / 5.0, format!("{} s", last * part / 5))).collect();
    let line = |(name, class, value): &Of| Line {
        name,
        class,
        points: moments.iter().map(|moment| (f64::from(moment.second), value(moment))).collect(),
    };
    Plot { title: title.to_owned(), unit, marks, lines: lines.iter().map(line).collect() }.figure()
}

fn table(rows: &[Row]) -> String {
    let rows: String = rows.iter().map(|(name, value)| format!("<tr><td>{name}<td>{}", escaped(value))).collect();
    format!("<table>{rows}</table>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Failure;
    use std::time::Duration;

    #[test]
    fn the_page_needs_nothing_besides_itself_and_escapes_what_others_named() {
        let settings = Settings { target: "http://<gateway>".to_owned(), ..Settings::new(String::new()) };
        let mut tally = Tally::new();
        for number in 0..300 {
            tally.answered(Duration::from_millis(number * 10), Duration::from_micros(number));
        }
        tally.failed(Duration::from_secs(4), 1, &Failure { reason: "status 503".to_owned(), uncertain: true });
        let verdict = Verdict::new(&settings, "r<1>".to_owned(), Duration::from_secs(3), None, &tally);
        let page = page(&settings, &verdict, &tally);
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(
            page.contains("http://&lt;gateway&gt;") && page.contains("r&lt;1&gt;") && page.contains("status 503: 1")
        );
        assert!(
            !page.contains("src=") && !page.contains("href=") && !page.contains("NaN") && !page.contains("inf"),
            "{page}"
        );
    }
}
