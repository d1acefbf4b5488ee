//! Numbers as text for people: significant digits, thousands, bytes, durations, dates.

/// Separates thousands: narrow and not breaking.
const THIN_SPACE: char = '\u{202f}';
const NO_BREAK: char = '\u{a0}';

/// Three significant digits: `1.94`, `21.3`, `413`; a dash for NaN and infinity.
pub fn three_digits(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 || size == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Three significant digits of a probability, however small: `0.333`, `0.00853`.
pub fn probability(value: f64) -> String {
    let decimals = if value > 0.0 { (2.0 - value.log10().floor()).clamp(0.0, 17.0) as usize } else { 0 };
    format!("{value:.decimals$}")
}

/// A count with separated thousands from 10,000 on.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digits.len() > 4 {
            text.push(THIN_SPACE);
        }
        text.push(digit);
    }
    text
}

/// Line numbers: `line 3`, `lines 2, 4, 6, 8, 9 and 3 more`.
pub fn lines(numbers: &[usize]) -> String {
    const SHOWN: usize = 5;
    let shown = numbers.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match numbers.len() {
        0 | 1 => format!("line {shown}"),
        n if n > SHOWN => format!("lines {shown} and {} more", n - SHOWN),
        _ => format!("lines {shown}"),
    }
}

/// Bytes in decimal units: `13.3 MB`.
pub fn bytes(n: u64) -> String {
    match byte_unit(n) {
        (_, "B") => format!("{n}{NO_BREAK}B"),
        (size, name) => format!("{}{NO_BREAK}{name}", three_digits(n as f64 / size)),
    }
}

/// The largest decimal unit that is at most `n` bytes: its size in bytes and its name.
pub fn byte_unit(n: u64) -> (f64, &'static str) {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    units.into_iter().find(|(size, _)| n as f64 >= *size).unwrap_or((1.0, "B"))
}

/// A duration: `0.42 s`, `3 min 20 s`, `1 h 5 min`.
pub fn duration(seconds: f64) -> String {
    if seconds < 0.9995 {
        return format!("{seconds:.2}{NO_BREAK}s");
    }
    if seconds < 59.95 {
        return format!("{}{NO_BREAK}s", three_digits(seconds));
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, rest) => format!("{minutes}{NO_BREAK}min {rest}{NO_BREAK}s"),
        (hours, minutes, _) => format!("{}{NO_BREAK}h {minutes}{NO_BREAK}min", count(hours)),
    }
}

/// A share of 0..1 as a whole percentage.
pub fn percent(share: f64) -> String {
    format!("{:.0}{NO_BREAK}%", share * 100.0)
}

/// Seconds since 1970 as date and time in UTC: `2026-03-21 14:05 UTC`.
pub fn utc(seconds: u64) -> String {
    // At most the end of the year 9999.
    let seconds = seconds.min(253_402_300_799);
    let (mut day, minute) = (seconds / 86_400, seconds / 60 % 1440);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02} {:02}:{:02} UTC", month + 1, day + 1, minute / 60, minute % 60)
}

/// A number with a noun, `what` being its singular: `1 pass`, `2 passes`, `3 images`.
pub fn counted(n: u64, what: &str) -> String {
    let ending = match n {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noun_is_singular_for_one() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "image")), ["0 images", "1 image", "2 images"]);
        assert_eq!([1, 3].map(|n| counted(n, "class")), ["1 class", "3 classes"]);
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        let texts = [0.0, 0.012_34, 0.9996, 1.944, 9.996, 21.34, 99.96, 412.7].map(three_digits);
        assert_eq!(texts, ["0.00", "0.012", "1.00", "1.94", "10.0", "21.3", "100", "413"]);
        assert_eq!(three_digits(f64::NAN), "–");
    }

    #[test]
    fn a_probability_keeps_three_digits_however_small_it_is() {
        let texts = [0.0, 1.0, 1.0 / 3.0, 512.0 / 60_000.0, 1e-6].map(probability);
        assert_eq!(texts, ["0", "1.00", "0.333", "0.00853", "0.00000100"]);
    }

    #[test]
    fn thousands_are_separated_and_bytes_have_units() {
        assert_eq!([count(12), count(5400), count(60_000)], ["12", "5400", "60\u{202f}000"]);
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!([bytes(999), bytes(13_342_720), bytes(2_000)], ["999\u{a0}B", "13.3\u{a0}MB", "2.00\u{a0}kB"]);
    }

    #[test]
    fn durations_are_in_seconds_minutes_or_hours() {
        assert_eq!([duration(0.42), duration(12.34)], ["0.42\u{a0}s", "12.3\u{a0}s"]);
        assert_eq!([duration(59.97), duration(3900.0)], ["1\u{a0}min 0\u{a0}s", "1\u{a0}h 5\u{a0}min"]);
    }

    #[test]
    fn dates_follow_leap_years() {
        // From `date -u -d @…`.
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_774_102_000), "2026-03-21 14:06 UTC");
        assert_eq!(utc(4_107_542_399), "2100-02-28 23:59 UTC");
    }
}
