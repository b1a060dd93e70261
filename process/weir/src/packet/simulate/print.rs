//! The result of a simulation, as charts and tables for people or as JSON.

use super::Summary;

/// Rows of a chart.
const HEIGHT: usize = 8;

/// The highest of each of so many stretches of a series.
pub(super) fn highest(series: &[f64], points: usize) -> Vec<f64> {
    stretches(series, points).map(|part| part.iter().copied().fold(0.0, f64::max)).collect()
}

/// The lowest of each of so many stretches of a series.
pub(super) fn lowest(series: &[f64], points: usize) -> Vec<f64> {
    stretches(series, points).map(|part| part.iter().copied().fold(f64::MAX, f64::min)).collect()
}

/// The sum of each of so many stretches of a series.
pub(super) fn sums(series: &[u32], points: usize) -> Vec<u32> {
    stretches(series, points).map(|part| part.iter().sum()).collect()
}

fn stretches<T>(series: &[T], points: usize) -> impl Iterator<Item = &[T]> {
    let count = points.min(series.len());
    (0..count).filter_map(move |at| {
        let (from, to) = (at * series.len() / count, (at + 1) * series.len() / count);
        series.get(from..to)
    })
}

/// Prints what came of a run.
pub(super) fn summary(summary: &Summary, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    let Summary { rounds, buckets, crashes, drains, .. } = summary;
    println!("{}", summary.command);
    println!("{rounds} rounds, {buckets} buckets, {crashes} crashes, {drains} drains\n");
    println!("Load of servers beside the mean, 1 % left out at either end (# highest, o lowest)");
    println!("{}", chart(&[('#', &summary.load_max), ('o', &summary.load_min)]));
    println!("Buckets changed in each stretch of time");
    let churn: Vec<f64> = summary.churn.iter().copied().map(f64::from).collect();
    println!("{}", chart(&[('#', &churn)]));
    let Summary { moved, exchanged, replaced, round_max, disregarded, .. } = summary;
    println!("{moved} buckets moved, {exchanged} exchanged, {replaced} replaced after a crash");
    println!("{round_max} at most in a round; illness disregarded in {disregarded} rounds\n");
    println!("{:<12} {:>18} {:>16} {:>16}", "", "broken", "of a million", "places moved");
    for outcome in &summary.outcomes {
        let million = outcome.broken * 1e6 / summary.opened.max(1.0);
        println!(
            "{:<12} {:>18.0} {:>16.2} {:>16}",
            outcome.name, outcome.broken, million, outcome.moved
        );
    }
    println!(
        "\n{:.0} connections opened; {:.0} ended with their server, under any of these",
        summary.opened, summary.lost_with_servers
    );
    Ok(())
}

/// Series over the same time, a column for each point; the mark of the last one lies on top.
fn chart(series: &[(char, &[f64])]) -> String {
    let all = || series.iter().flat_map(|(_, points)| points.iter().copied());
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max));
    let range = (high - low).max(1e-9);
    let width = series.iter().map(|(_, points)| points.len()).max().unwrap_or(0);
    let mut rows = vec![vec![' '; width]; HEIGHT];
    for (mark, points) in series {
        for (at, point) in points.iter().enumerate() {
            let up = ((point - low) / range * (HEIGHT - 1) as f64).round() as usize;
            let place = rows.get_mut(HEIGHT - 1 - up.min(HEIGHT - 1)).and_then(|r| r.get_mut(at));
            if let Some(place) = place {
                *place = *mark;
            }
        }
    }
    let mut text = String::new();
    for (row, marks) in rows.iter().enumerate() {
        let value = high - range * row as f64 / (HEIGHT - 1) as f64;
        let digits = if high < 100.0 { 2 } else { 0 };
        let marks: String = marks.iter().collect();
        text.push_str(&format!("{value:>9.digits$} |{}\n", marks.trim_end()));
    }
    text.push_str(&format!("{:>9} +{}\n", "", "-".repeat(width)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_cut_into_stretches_of_all_its_points() {
        assert_eq!(sums(&[1, 2, 3, 4, 5], 2), [3, 12]);
        assert_eq!(sums(&[1, 2], 5), [1, 2]);
        assert_eq!(highest(&[1.0, 3.0, 2.0], 1), [3.0]);
        assert_eq!(lowest(&[2.0, 1.0, 3.0], 2), [2.0, 1.0]);
        assert!(sums(&[], 5).is_empty());
    }

    #[test]
    fn a_chart_has_its_extremes_at_top_and_bottom() {
        let chart = chart(&[('#', &[1.0, 2.0, 1.0])]);
        let rows: Vec<&str> = chart.lines().collect();
        assert_eq!(rows.len(), HEIGHT + 1);
        assert_eq!(rows[0], "     2.00 | #");
        assert_eq!(rows[HEIGHT - 1], "     1.00 |# #");
    }
}
