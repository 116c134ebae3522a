//! One row of an Action's parameter table.

use super::pattern::Pattern;

/// Longest text of a parameter whose table row gives no bounds, in characters (actions.md A.5).
pub(crate) const MAX_TEXT: usize = 255;

/// Longest PEM text, in octets (actions.md A.5).
pub(crate) const MAX_PEM_BYTES: usize = 64 * 1024;

/// When a parameter must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It may be absent.
    Optional,
    /// It must be there; of an array, there must be an element, and each one must have it.
    Required,
    /// Each element of the array must have it, but the array may have none.
    RequiredInElement,
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy)]
pub enum ParamKind {
    /// An integer from `min` to `max`, or one of `also`.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
        /// Values outside that range which are taken as well, ascending.
        also: &'static [i64],
    },
    /// One of these integers.
    IntEnum(&'static [i64]),
    /// Text of `min` to `max` characters without control characters.
    Text {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
    },
    /// Exactly one of these texts.
    TextEnum(&'static [&'static str]),
    /// Text that matches a pattern.
    Pattern {
        /// The pattern.
        pattern: &'static Pattern,
        /// What it allows, in words that follow "must be".
        describe: &'static str,
    },
    /// PEM text (RFC 7468) of at most 64 KiB; line breaks and tabs are allowed.
    Pem,
}

/// What an absent parameter means when the object is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// A number.
    Int(i64),
    /// A text.
    Text(&'static str),
}

/// One row of an Action's parameter table.
#[derive(Debug, Clone, Copy)]
pub struct ParamSpec {
    /// The name; `n` stands for an array index: `listeners.n.timeOut`, `loadBalancerIds.n`.
    pub name: &'static str,
    /// When it must be there.
    pub presence: Presence,
    /// What values it takes.
    pub kind: ParamKind,
    /// What its absence means, if it has a fixed default. The parser does not fill it in.
    pub default: Option<DefaultValue>,
    /// Its value is a private key and must never be seen in a message or a log.
    pub is_secret: bool,
}

/// What a parameter's name says about its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `name`.
    Scalar(&'static str),
    /// `name.n`.
    List(&'static str),
    /// `array.n.field`.
    Field {
        /// Name of the array.
        array: &'static str,
        /// Name of the element's field.
        field: &'static str,
    },
}

impl ParamSpec {
    /// The place of the parameter, read from its name.
    #[must_use]
    pub fn shape(&self) -> Shape {
        if let Some((array, field)) = self.name.split_once(".n.") {
            Shape::Field { array, field }
        } else if let Some(list) = self.name.strip_suffix(".n") {
            Shape::List(list)
        } else {
            Shape::Scalar(self.name)
        }
    }

    /// The name with an index in the place of `n`.
    #[must_use]
    pub fn name_at(&self, index: u16) -> String {
        match self.shape() {
            Shape::Scalar(name) => name.to_owned(),
            Shape::List(list) => format!("{list}.{index}"),
            Shape::Field { array, field } => format!("{array}.{index}.{field}"),
        }
    }

    const fn new(name: &'static str, kind: ParamKind) -> Self {
        Self {
            name,
            presence: Presence::Optional,
            kind,
            default: None,
            is_secret: false,
        }
    }

    pub(crate) const fn int(name: &'static str, min: i64, max: i64) -> Self {
        Self::new(
            name,
            ParamKind::Int {
                min,
                max,
                also: &[],
            },
        )
    }

    pub(crate) const fn int_or(
        name: &'static str,
        min: i64,
        max: i64,
        also: &'static [i64],
    ) -> Self {
        Self::new(name, ParamKind::Int { min, max, also })
    }

    pub(crate) const fn int_enum(name: &'static str, values: &'static [i64]) -> Self {
        Self::new(name, ParamKind::IntEnum(values))
    }

    /// A text for which the table gives no bounds.
    pub(crate) const fn text(name: &'static str) -> Self {
        Self::text_of(name, 0, MAX_TEXT)
    }

    pub(crate) const fn text_of(name: &'static str, min: usize, max: usize) -> Self {
        Self::new(name, ParamKind::Text { min, max })
    }

    pub(crate) const fn text_enum(name: &'static str, values: &'static [&'static str]) -> Self {
        Self::new(name, ParamKind::TextEnum(values))
    }

    pub(crate) const fn pattern(
        name: &'static str,
        pattern: &'static Pattern,
        describe: &'static str,
    ) -> Self {
        Self::new(name, ParamKind::Pattern { pattern, describe })
    }

    pub(crate) const fn pem(name: &'static str) -> Self {
        Self::new(name, ParamKind::Pem)
    }

    pub(crate) const fn required(mut self) -> Self {
        self.presence = Presence::Required;
        self
    }

    pub(crate) const fn required_in_element(mut self) -> Self {
        self.presence = Presence::RequiredInElement;
        self
    }

    pub(crate) const fn or_int(mut self, default: i64) -> Self {
        self.default = Some(DefaultValue::Int(default));
        self
    }

    pub(crate) const fn or_text(mut self, default: &'static str) -> Self {
        self.default = Some(DefaultValue::Text(default));
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

impl ParamKind {
    /// What is allowed, in words that follow "must be".
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Int { min, max, also } => {
                let also: String = also.iter().map(|value| format!("{value} or ")).collect();
                format!("{also}an integer from {min} to {max}")
            }
            Self::IntEnum(values) => one_of(values),
            Self::Text { min, max } => {
                let count = if *min == 0 {
                    format!("at most {max}")
                } else {
                    format!("{min} to {max}")
                };
                format!("text of {count} characters without control characters")
            }
            Self::TextEnum(values) => one_of(values),
            Self::Pattern { describe, .. } => (*describe).to_owned(),
            Self::Pem => format!(
                "PEM text of at most {MAX_PEM_BYTES} bytes without control characters but line breaks and tabs"
            ),
        }
    }

    /// Whether a parameter of this kind takes `value`; always false for kinds of text.
    #[must_use]
    pub fn takes_int(&self, value: i64) -> bool {
        match self {
            Self::Int { min, max, also } => (*min..=*max).contains(&value) || also.contains(&value),
            Self::IntEnum(values) => values.contains(&value),
            Self::Text { .. } | Self::TextEnum(_) | Self::Pattern { .. } | Self::Pem => false,
        }
    }

    /// Whether a parameter of this kind takes `text`; always false for kinds of integers.
    #[must_use]
    pub fn takes_text(&self, text: &str) -> bool {
        match self {
            Self::Int { .. } | Self::IntEnum(_) => false,
            Self::Text { min, max } => is_clean(text) && has_characters(text, *min, *max),
            Self::TextEnum(values) => values.contains(&text),
            Self::Pattern { pattern, .. } => {
                is_clean(text) && has_characters(text, 0, MAX_TEXT) && pattern.is_match(text)
            }
            Self::Pem => {
                text.len() <= MAX_PEM_BYTES
                    && !text
                        .chars()
                        .any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t'))
            }
        }
    }
}

/// Whether a text has no control characters (actions.md A.5).
pub(crate) fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether a text has `min` to `max` characters.
pub(crate) fn has_characters(text: &str, min: usize, max: usize) -> bool {
    // No more characters are counted than decide it.
    (min..=max).contains(&text.chars().take(max.saturating_add(1)).count())
}

fn one_of<T: ToString>(values: &[T]) -> String {
    let list: Vec<String> = values.iter().map(ToString::to_string).collect();
    match list.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", list.join(", ")),
    }
}
