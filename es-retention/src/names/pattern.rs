//! Dates in names: `%Y.%m.%d`, `%G.%V`, `%Y.%m`.

use std::fmt;

use jiff::civil::{Date, ISOWeekDate, Weekday};

/// How a date is written in the name of an index: text with `%Y` `%m` `%d` (day), `%Y` `%j` (day of the year),
/// `%G` `%V` (ISO week) or `%Y` `%m` (month), each once and of fixed width; `%%` is a percent sign.
#[derive(Clone, PartialEq, Eq)]
pub struct DatePattern {
    parts: Vec<Part>,
    period: Period,
    text: String,
}

/// How much time an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// A day.
    Daily,
    /// An ISO week, Monday to Sunday.
    Weekly,
    /// A month.
    Monthly,
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `%` with something unknown behind it.
    #[error("%{0} is not known, known are %Y %m %d, %j, %G %V and %%")]
    Unknown(String),
    /// The same twice.
    #[error("%{0} is given twice")]
    Twice(char),
    /// A character that names of indices cannot have.
    #[error("names of indices cannot have {0:?}")]
    Character(char),
    /// The fields do not make a period.
    #[error("a day (%Y %m %d, or %Y %j), a week (%G %V) or a month (%Y %m) is wanted")]
    Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Text(char),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    DayOfYear,
    WeekYear,
    Week,
}

impl Field {
    const ALL: [(char, Field); 6] = [
        ('Y', Field::Year),
        ('m', Field::Month),
        ('d', Field::Day),
        ('j', Field::DayOfYear),
        ('G', Field::WeekYear),
        ('V', Field::Week),
    ];

    fn width(self) -> usize {
        match self {
            Field::Year | Field::WeekYear => 4,
            Field::DayOfYear => 3,
            Field::Month | Field::Day | Field::Week => 2,
        }
    }

    fn of(self, day: Date) -> i16 {
        match self {
            Field::Year => day.year(),
            Field::Month => day.month().into(),
            Field::Day => day.day().into(),
            Field::DayOfYear => day.day_of_year(),
            Field::WeekYear => day.iso_week_date().year(),
            Field::Week => day.iso_week_date().week().into(),
        }
    }
}

impl DatePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it does not write exactly a day, a week or a month.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut fields = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            if character != '%' {
                parts.push(Part::Text(index_character(character)?));
                continue;
            }
            let letter = rest.next();
            if letter == Some('%') {
                parts.push(Part::Text('%'));
                continue;
            }
            let field = Field::ALL.iter().find(|(known, _)| Some(*known) == letter);
            let Some((letter, field)) = field else {
                return Err(PatternError::Unknown(
                    letter.map(String::from).unwrap_or_default(),
                ));
            };
            if fields.contains(field) {
                return Err(PatternError::Twice(*letter));
            }
            fields.push(*field);
            parts.push(Part::Field(*field));
        }
        Ok(Self {
            parts,
            period: period_of(&fields)?,
            text: text.to_owned(),
        })
    }

    /// How much time an index of this pattern holds.
    pub fn period(&self) -> Period {
        self.period
    }

    /// The first day of the period that `text` names; `None` when it is not exactly a date of this pattern.
    pub fn read(&self, text: &str) -> Option<Date> {
        let mut rest = text;
        let mut read = [None; Field::ALL.len()];
        for part in &self.parts {
            match part {
                Part::Text(character) => rest = rest.strip_prefix(*character)?,
                Part::Field(field) => {
                    let (digits, tail) = rest.split_at_checked(field.width())?;
                    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                        return None;
                    }
                    let slot = read.get_mut(*field as usize)?;
                    *slot = digits.parse::<i16>().ok();
                    rest = tail;
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let number = |field: Field| read.get(field as usize).copied().flatten();
        let small = |field: Field| number(field).and_then(|number| i8::try_from(number).ok());
        match self.period {
            Period::Weekly => {
                let week = ISOWeekDate::new(number(Field::WeekYear)?, small(Field::Week)?, Weekday::Monday);
                week.ok().map(Date::from_iso_week_date)
            }
            Period::Monthly => Date::new(number(Field::Year)?, small(Field::Month)?, 1).ok(),
            Period::Daily => match number(Field::DayOfYear) {
                None => Date::new(number(Field::Year)?, small(Field::Month)?, small(Field::Day)?).ok(),
                Some(day) => {
                    let first = Date::new(number(Field::Year)?, 1, 1).ok()?;
                    first.with().day_of_year(day).build().ok()
                }
            },
        }
    }

    /// Writes the period that holds `day`.
    pub fn write(&self, day: Date) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(character) => text.push(*character),
                Part::Field(field) => {
                    text.push_str(&format!("{:0width$}", field.of(day), width = field.width()));
                }
            }
        }
        text
    }

    /// The last day of the period that begins on `first_day`; `None` behind the end of the calendar.
    pub fn last_day(&self, first_day: Date) -> Option<Date> {
        match self.period {
            Period::Daily => Some(first_day),
            Period::Weekly => first_day.checked_add(jiff::Span::new().days(6)).ok(),
            Period::Monthly => Some(first_day.last_of_month()),
        }
    }
}

impl fmt::Display for DatePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for DatePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatePattern({:?})", self.text)
    }
}

/// Refuses what no engine allows in the name of an index.
pub(super) fn index_character(character: char) -> Result<char, PatternError> {
    let forbidden = " \"*,/<>?\\|#:".contains(character);
    if forbidden || character.is_control() || character.is_uppercase() {
        return Err(PatternError::Character(character));
    }
    Ok(character)
}

fn period_of(fields: &[Field]) -> Result<Period, PatternError> {
    let mut sorted: Vec<usize> = fields.iter().map(|field| *field as usize).collect();
    sorted.sort_unstable();
    let is = |wanted: &[Field]| {
        sorted
            .iter()
            .copied()
            .eq(wanted.iter().map(|field| *field as usize))
    };
    if is(&[Field::Year, Field::Month, Field::Day]) || is(&[Field::Year, Field::DayOfYear]) {
        Ok(Period::Daily)
    } else if is(&[Field::WeekYear, Field::Week]) {
        Ok(Period::Weekly)
    } else if is(&[Field::Year, Field::Month]) {
        Ok(Period::Monthly)
    } else {
        Err(PatternError::Period)
    }
}
