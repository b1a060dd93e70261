//! The query of a call: its parameters, and the page of a list that they ask for.

use super::reply::Refusal;
use control_api::ResultInfo;

/// Parameters that are read; the widest operation has ten.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a query, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query. What cannot be decoded stays as it is.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX);
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(decoded).collect())
    }

    /// The first value of a parameter, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| own == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter, also where they stand in one, after commas.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let own =
            self.0.iter().filter(|(own, _)| own == name || own.strip_suffix("[]") == Some(name));
        own.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).collect()
    }

    /// A number of at least `min`.
    fn number(&self, name: &str, min: f64) -> Result<Option<f64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number >= min => Ok(Some(number)),
            _ => Err(Refusal::invalid(format!("{name} must be a number from {min}"), None)),
        }
    }
}

fn decoded((name, value): (&str, &str)) -> (String, String) {
    (decode(name), decode(value))
}

/// Undoes the coding of forms: `+` is a space, `%41` an `A`.
fn decode(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&octet) = rest.next() {
        let ahead = rest.as_slice().first_chunk::<2>().and_then(|pair| hex(*pair));
        match (octet, ahead) {
            (b'+', _) => octets.push(b' '),
            (b'%', Some(coded)) => {
                octets.push(coded);
                rest.nth(1);
            }
            _ => octets.push(octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn hex(pair: [u8; 2]) -> Option<u8> {
    let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

/// What a list allows of pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paging {
    /// Rows of a page where nothing is said; none is all of them.
    pub(crate) default: Option<usize>,
    /// Least rows of a page.
    pub(crate) min: usize,
    /// Most rows of a page.
    pub(crate) max: usize,
}

/// Rows of a page where a list that is not paged by itself is asked for a page.
const ROWS: usize = 25;

/// Cuts the page that `query` asks for out of `rows`. The page after the last is empty: SDKs ask
/// for pages until one is.
pub(crate) fn page<T>(
    rows: Vec<T>,
    query: &Query,
    paging: Paging,
) -> Result<(Vec<T>, ResultInfo), Refusal> {
    let total = rows.len();
    let given = query.number("per_page", 1.0)?.or(query.number("limit", 1.0)?);
    let page = query.number("page", 1.0)?;
    let offset = query.number("offset", 0.0)?;
    let asked = page.is_some() || offset.is_some();
    let size = match (given, paging.default) {
        (Some(size), _) => {
            let (min, max) = (paging.min, paging.max);
            let size = whole(size);
            if !(min..=max).contains(&size) {
                let what = format!("per_page must be in range [{min}, {max}]");
                return Err(Refusal::invalid(what, None));
            }
            size
        }
        (None, Some(default)) => default,
        (None, None) if asked => ROWS,
        (None, None) => total.max(1),
    };
    let number = whole(page.unwrap_or(1.0)).max(1);
    let start = offset.map_or_else(|| (number - 1).saturating_mul(size), whole);
    let cut: Vec<T> = rows.into_iter().skip(start).take(size).collect();
    let info = ResultInfo {
        page: number as u64,
        per_page: size as u64,
        count: cut.len() as u64,
        total_count: total as u64,
    };
    Ok((cut, info))
}

/// The whole part; what no list can have saturates.
fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGED: Paging = Paging { default: Some(20), min: 5, max: 50 };
    const SINGLE: Paging = Paging { default: None, min: 1, max: 1_000 };

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("a=b+c&d=%41%zz%&&e&account.id=x&type=full,partial&type=y");
        for (name, expect) in [
            ("a", Some("b c")),
            ("d", Some("A%zz%")),
            ("e", None),
            ("account.id", Some("x")),
            ("f", None),
        ] {
            assert_eq!(query.get(name), expect, "{name}");
        }
        assert_eq!(query.all("type"), ["full", "partial", "y"]);
    }

    #[test]
    fn a_list_is_cut_into_pages() {
        for (paging, query, expect) in [
            (PAGED, "", Some((0, 20, 3))),
            (PAGED, "page=3", Some((40, 7, 3))),
            (PAGED, "page=4", Some((0, 0, 3))),
            (PAGED, "page=1e300", Some((0, 0, 3))),
            (PAGED, "per_page=50", Some((0, 47, 1))),
            (PAGED, "per_page=51", None),
            (PAGED, "per_page=4", None),
            (PAGED, "page=0", None),
            (PAGED, "page=x", None),
            (PAGED, "page=NaN", None),
            (SINGLE, "", Some((0, 47, 1))),
            (SINGLE, "page=2", Some((25, 22, 2))),
            (SINGLE, "limit=10&offset=45", Some((45, 2, 5))),
        ] {
            let rows: Vec<usize> = (0..47).collect();
            let found = page(rows, &Query::parse(query), paging).ok();
            let found = found.map(|(rows, info)| {
                assert_eq!((info.count, info.total_count), (rows.len() as u64, 47));
                (rows.first().copied().unwrap_or(0), rows.len(), info.total_pages())
            });
            assert_eq!(found, expect, "{query}");
        }
    }
}
