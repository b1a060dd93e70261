//! Regions of the world by ISO 3166 codes, as load balancers and monitors name them.

use crate::rest::lifecycle::Call;
use crate::rest::reply::{Refusal, Reply};
use serde_json::{Value, json};

/// The table: a line `[CODE] words` begins a region, `CC Name` is a country, and `CC-SS Name` a
/// subdivision of the country above it. A country in two regions is divided between them.
static TABLE: &str = include_str!("region/table.txt");

const STANDARD: &str = "Country and subdivision codes follow ISO 3166-1 alpha-2 and ISO 3166-2";

#[derive(Debug)]
struct Country {
    code: &'static str,
    name: &'static str,
    subdivisions: Vec<(&'static str, &'static str)>,
}

#[derive(Debug)]
struct Region {
    code: &'static str,
    countries: Vec<Country>,
}

fn regions() -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for line in TABLE.lines() {
        if let Some(code) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            regions.push(Region { code, countries: Vec::new() });
            continue;
        }
        let (Some((code, name)), Some(region)) = (line.split_once(' '), regions.last_mut()) else {
            continue;
        };
        match (code.split_once('-'), region.countries.last_mut()) {
            (Some((_, part)), Some(country)) => country.subdivisions.push((part, name)),
            _ => region.countries.push(Country { code, name, subdivisions: Vec::new() }),
        }
    }
    regions
}

/// `GET …/regions` and `GET …/regions/{id}`.
pub(crate) fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    let query = &call.query;
    let country = query.get("country_code_a2").or(query.get("country_code"));
    let subdivision = query.get("subdivision_code_a2").or(query.get("subdivision_code"));
    let mut found = regions();
    if let Some(id) = call.route.item() {
        found.retain(|region| region.code == id);
        if found.is_empty() {
            return Err(Refusal::not_found());
        }
    }
    for region in &mut found {
        region.countries.retain_mut(|one| {
            if let Some(asked) = subdivision {
                one.subdivisions.retain(|(code, _)| *code == asked);
            }
            country.is_none_or(|asked| one.code == asked)
                && (subdivision.is_none() || !one.subdivisions.is_empty())
        });
    }
    found.retain(|region| !region.countries.is_empty());
    let regions: Vec<Value> = found.iter().map(shown).collect();
    Ok(Reply::of(json!({ "iso_standard": STANDARD, "regions": regions })))
}

fn shown(region: &Region) -> Value {
    let countries = region.countries.iter().map(|country| {
        let mut shown = json!({ "country_code_a2": country.code, "country_name": country.name });
        let parts = country
            .subdivisions
            .iter()
            .map(|(code, name)| json!({ "subdivision_code_a2": code, "subdivision_name": name }));
        let parts: Vec<Value> = parts.collect();
        if let (false, Some(object)) = (parts.is_empty(), shown.as_object_mut()) {
            object.insert("country_subdivisions".to_owned(), Value::Array(parts));
        }
        shown
    });
    let countries: Vec<Value> = countries.collect();
    json!({ "region_code": region.code, "countries": countries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_country_lies_in_one_region_unless_it_is_divided() {
        let regions = regions();
        let codes: Vec<_> = regions.iter().map(|region| region.code).collect();
        assert_eq!(
            codes,
            [
                "WNAM", "ENAM", "WEU", "EEU", "NSAM", "SSAM", "OC", "ME", "NAF", "SAF", "SAS",
                "SEAS", "NEAS"
            ]
        );
        let mut seen: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        for country in regions.iter().flat_map(|region| &region.countries) {
            assert!(country.code.len() == 2 && !country.name.is_empty(), "{country:?}");
            seen.entry(country.code).or_default().push(country.subdivisions.is_empty());
        }
        for (code, whole) in &seen {
            assert!(whole.len() == 1 || !whole.contains(&true), "{code} lies in two regions");
        }
        assert!(seen.len() > 230, "{} countries", seen.len());
    }
}
