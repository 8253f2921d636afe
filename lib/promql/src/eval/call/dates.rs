//! Parts of dates, in UTC.

use crate::function::Function;

const DAY_SECONDS: i128 = 86_400;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i128,
    /// From 1.
    month: i128,
    /// From 1.
    day: i128,
    /// From 1.
    day_of_year: i128,
}

/// The part of a date that the function gives for seconds since 1970.
pub(super) fn function(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Minute => |t| (whole(t).rem_euclid(3600) / 60) as f64,
        Function::Hour => |t| (whole(t).rem_euclid(DAY_SECONDS) / 3600) as f64,
        Function::DayOfWeek => |t| (whole(t).div_euclid(DAY_SECONDS) + 4).rem_euclid(7) as f64,
        Function::DayOfMonth => |t| date(whole(t)).day as f64,
        Function::DayOfYear => |t| date(whole(t)).day_of_year as f64,
        Function::DaysInMonth => |t| days_in_month(date(whole(t))) as f64,
        Function::Month => |t| date(whole(t)).month as f64,
        Function::Year => |t| date(whole(t)).year as f64,
        _ => return None,
    })
}

/// Whole seconds. What an `i64` cannot hold is 2^63 of them: Prometheus makes the smallest `i64` of it, which is before
/// the first date that it can count from, and so counts on from the other end.
fn whole(seconds: f64) -> i128 {
    if seconds >= -(2f64.powi(63)) && seconds < 2f64.powi(63) {
        seconds as i128
    } else {
        1 << 63
    }
}

fn is_leap(year: i128) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

fn days_in_month(date: Date) -> i128 {
    match date.month {
        2 if is_leap(date.year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The date at so many seconds since 1970.
fn date(seconds: i128) -> Date {
    let days = seconds.div_euclid(DAY_SECONDS);
    // Years are counted from March, so that a leap day ends one; 719468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_from_march + 2) / 153;
    let day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    let before_march = 59 + i128::from(is_leap(year));
    let day_of_year = if month > 2 {
        day_from_march + before_march + 1
    } else {
        day_from_march - 305
    };
    Date {
        year,
        month,
        day,
        day_of_year,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let at = |seconds: i128| {
            let date = date(seconds);
            (date.year, date.month, date.day, date.day_of_year)
        };
        assert_eq!(at(0), (1970, 1, 1, 1));
        assert_eq!(at(951_782_400), (2000, 2, 29, 60));
        assert_eq!(at(951_868_800), (2000, 3, 1, 61));
        assert_eq!(at(1_767_225_600), (2026, 1, 1, 1));
        assert_eq!(at(1_767_225_599), (2025, 12, 31, 365));
        assert_eq!(at(1_735_603_200), (2024, 12, 31, 366));
        assert_eq!(at(-1), (1969, 12, 31, 365));
        assert_eq!(at(-62_135_596_800), (1, 1, 1, 1));
    }

    #[test]
    fn weekdays_start_with_sunday() {
        let day = function(Function::DayOfWeek).unwrap();
        assert_eq!(day(0.0), 4.0);
        assert_eq!(day(-1.0), 3.0);
        assert_eq!(day(259_200.0), 0.0);
    }
}
