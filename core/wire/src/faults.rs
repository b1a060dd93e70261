//! One table per error type: variant, metric name and log text stand in one line.

/// Declares an error enum whose variants each accuse one broken rule.
macro_rules! faults {
    ($(#[$meta:meta])* $type:ident { $($variant:ident, $name:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $(#[doc = $text] $variant,)+
        }

        impl $type {
            /// Every variant, in the order of the table: for metrics that list their labels.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable short name used as a metric label.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }

        impl core::error::Error for $type {}
    };
}

pub(crate) use faults;
