//! The code that is made of the list of options.

/// Makes [`Config`](super::Config) from its documentation and from groups of options. Each group
/// has its name, what it bounds, its limits and times with their unit, meaning and bounds, and its
/// policies and switches.
macro_rules! options {
    (
        $(#[$config_doc:meta])*
        Config;
        $(
            $(#[$group_doc:meta])*
            $group:literal, $bounded:literal
            {
                $(
                    $(#[$doc:meta])*
                    $name:ident: $type:ty = $default:expr, $unit:literal, $about:literal, $bounds:expr;
                )*
            }
            {
                $(
                    $(#[$switch_doc:meta])*
                    $switch:ident: $switch_type:ty = $switch_default:expr;
                )*
            }
        )*
    ) => {
        $(#[$config_doc])*
        ///
        /// # The options by group
        ///
        /// | group | bounds | options |
        /// |---|---|---|
        $(
            #[doc = concat!(
                "| ", $group, " | ", $bounded, " |",
                $( " [`", stringify!($name), "`](Self::", stringify!($name), ")", )*
                $( " [`", stringify!($switch), "`](Self::", stringify!($switch), ")", )*
                " |"
            )]
        )*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $(
                $( #[serde(with = "written")] pub(crate) $name: $type, )*
                $( #[serde(with = "written")] pub(crate) $switch: $switch_type, )*
            )*
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $(
                        $( $name: $default, )*
                        $( $switch: $switch_default, )*
                    )*
                }
            }
        }

        $(
            $(#[$group_doc])*
            impl Config {
                $(
                    $(#[$doc])*
                    #[must_use]
                    pub const fn $name(mut self, value: $type) -> Self {
                        self.$name = value;
                        self
                    }
                )*
                $(
                    $(#[$switch_doc])*
                    #[must_use]
                    pub const fn $switch(mut self, value: $switch_type) -> Self {
                        self.$switch = value;
                        self
                    }
                )*
            }
        )*

        impl Options for Config {
            fn settings(&mut self) -> Vec<Setting<'_>> {
                settings! {
                    $( $( stringify!($name), $unit, &mut self.$name, $bounds; )* )*
                }
            }
        }

        /// The group and the meaning of each setting, in their order.
        const MEANINGS: &[(&str, &str)] = &[ $( $( ($group, $about), )* )* ];
    };
}
pub(super) use options;
