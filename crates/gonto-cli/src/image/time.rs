//! Moments as people read them.

/// Nanoseconds since 1970 as in `2026-11-23T01:40:39Z`, the fraction of the second left out.
pub(super) fn utc(unix_nanos: i128) -> String {
    const DAY: i128 = 86_400;
    let seconds = unix_nanos.div_euclid(1_000_000_000);
    let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years begin in March here, so that the
/// leap day is the last one, and repeat after 400 of them.
fn date(day: i128) -> (i128, i128, i128) {
    const FROM_MARCH_OF_YEAR_0: i128 = 719_468;
    const DAYS_OF_400_YEARS: i128 = 146_097;
    let day = day + FROM_MARCH_OF_YEAR_0;
    let (era, day) = (day.div_euclid(DAYS_OF_400_YEARS), day.rem_euclid(DAYS_OF_400_YEARS));
    // Without the leap days of 4, 100 and 400 years all years have 365 days.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months have 153 days, in the order of March to July twice.
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn every_kind_of_day_is_told() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (-2_203_891_200, "1900-03-01T00:00:00Z"),
            (-11_644_473_600, "1601-01-01T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_833_029_933_770, "60056-05-28T05:36:10Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(utc(seconds * 1_000_000_000), text);
        }
    }
}
