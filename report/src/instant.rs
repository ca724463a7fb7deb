//! Instants as people write them in a query: ISO 8601 or milliseconds. In integers, UTC unless an offset is given.

/// Last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// Digits of a number of ms, from 2001 to 2286.
const MS_DIGITS: usize = 13;

/// Milliseconds since 1970 of `2026-11-21`, `2026-11-21T04:05[:06[.789]][Z|+01:00]`, or a plain number of ms: 0 or one of 13
/// digits, because any other is more likely a year, a date without dashes, or a number of seconds, and would be taken for
/// some day in 1970.
pub(crate) fn instant_ms(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let ms = match is_number {
        true if text == "0" || text.len() == MS_DIGITS => text.parse().ok()?,
        true => return None,
        false => iso_ms(text)?,
    };
    (0..=LAST_MS).contains(&ms).then_some(ms)
}

fn iso_ms(text: &str) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-')?;
    let days = days_since_1970(year, month, day)?;
    if time.is_empty() {
        return Some(days * 86_400_000);
    }
    let time = time.strip_prefix(['T', ' '])?;
    // A '+' in a query string is decoded as a blank, so a blank before an offset is taken for a '+'.
    let (clock, offset_ms) = match time.find(['Z', '+', '-', ' ']) {
        None => (time, 0),
        Some(at) if time.as_bytes()[at] == b'Z' => (&time[..at], (at + 1 == time.len()).then_some(0)?),
        Some(at) => {
            let [hours, minutes] = numbers(&time[at + 1..], ':')?;
            let sign = if time.as_bytes()[at] == b'-' { -1 } else { 1 };
            (&time[..at], sign * (bounded(hours, 14)? * 60 + bounded(minutes, 59)?) * 60_000)
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = match clock.len() {
        5 => numbers::<2>(clock, ':').map(|[hour, minute]| [hour, minute, 0])?,
        _ => numbers(clock, ':')?,
    };
    let millis = format!("{fraction:0<3}");
    let [millis] = numbers(millis.get(..3)?, ':')?;
    let seconds = (bounded(hour, 23)? * 60 + bounded(minute, 59)?) * 60 + bounded(second, 59)?;
    Some(days * 86_400_000 + seconds * 1_000 + millis - offset_ms)
}

/// Exactly `N` unsigned numbers.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let digits = |part: &str| (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(());
    let parts: Option<Vec<i64>> = text.split(separator).map(|part| digits(part).and(part.parse().ok())).collect();
    parts?.try_into().ok()
}

fn bounded(value: i64, greatest: i64) -> Option<i64> {
    (value <= greatest).then_some(value)
}

/// Days of the Gregorian calendar; years begin in March here, so that the leap day is the last day of a year.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_people_write_them() {
        let cases = [
            ("0", Some(0)),
            ("1700000000000", Some(1_700_000_000_000)),
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400_000)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000)),
            ("2023-11-14T22:13:20.5Z", Some(1_700_000_000_500)),
            ("2023-11-14T23:13:20+01:00", Some(1_700_000_000_000)),
            ("2023-11-14T23:13:20 01:00", Some(1_700_000_000_000)),
            ("2023-11-14T22:13", Some(1_699_999_980_000)),
            ("2023-02-29", None),
            ("2023-13-01", None),
            ("2023-11-14T24:00Z", None),
            ("2023-11-14T22:13:20Zx", None),
            ("20231114", None),
            ("2026", None),
            ("1700000000", None),
            ("20231114221320", None),
            ("yesterday", None),
            ("-5", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(instant_ms(text), expected, "{text:?}");
        }
    }
}
