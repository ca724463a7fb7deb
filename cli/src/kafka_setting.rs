//! `--kafka-setting` and its environment twin as settings of the Kafka client. Values are often secrets, so what is refused is not quoted.

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Command, Error};
use std::ffi::OsStr;

/// Names and values: one of a flag, any number of the environment.
#[derive(Debug, Clone)]
pub(crate) struct Settings(pub(crate) Vec<(String, String)>);

/// Reads a flag, which may be repeated, as one setting, and the environment, which cannot be, as a list.
#[derive(Debug, Clone)]
pub(crate) struct SettingsParser;

impl TypedValueParser for SettingsParser {
    type Value = Settings;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Settings, Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Settings, Error> {
        // clap's own errors quote the value.
        let refused = |why| Error::raw(ErrorKind::ValueValidation, format!("{why}\n")).with_cmd(command);
        let text = value.to_str().ok_or_else(|| refused("a setting of --kafka-setting is not UTF-8"))?;
        let parts = if source == ValueSource::EnvVariable { split(text) } else { vec![text] };
        let settings = parts.into_iter().map(setting).collect::<Option<_>>();
        settings.map(Settings).ok_or_else(|| {
            refused("--kafka-setting and WATCHBEAT_KAFKA_SETTINGS want KEY=VALUE, with librdkafka's name as the key")
        })
    }
}

/// Splits a list at each comma behind which a setting begins: a value may have commas too.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (comma, _) in text.match_indices(',') {
        if begins_setting(&text[comma + 1..]) {
            parts.push(&text[start..comma]);
            start = comma + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

fn setting(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.trim().to_owned(), value.to_owned()))
}

/// Whether this is a name as librdkafka's are, and a value.
fn begins_setting(text: &str) -> bool {
    let Some((key, _)) = text.split_once('=') else { return false };
    let mut characters = key.trim().bytes();
    characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joined by `|`, or the whole error.
    fn parsed(text: &str, source: ValueSource) -> String {
        let command = Command::new("watchbeat");
        match SettingsParser.parse_ref_(&command, None, OsStr::new(text), source) {
            Ok(Settings(settings)) => {
                settings.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join("|")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_flag_is_one_setting_and_the_environment_a_list_whose_values_may_have_commas() {
        let cases = [
            ("security.protocol=ssl,acks=all", "security.protocol ssl|acks all", "security.protocol ssl,acks=all"),
            ("sasl.password=ab,cd", "sasl.password ab,cd", "sasl.password ab,cd"),
            ("sasl.password=ab,c==,acks=1", "sasl.password ab|c =|acks 1", "sasl.password ab,c==,acks=1"),
            ("sasl.password=a,B=,=,, acks =1", "sasl.password a,B=,=,|acks 1", "sasl.password a,B=,=,, acks =1"),
            ("debug=broker,topic,acks=1,", "debug broker,topic|acks 1,", "debug broker,topic,acks=1,"),
            ("sasl.password=", "sasl.password ", "sasl.password "),
        ];
        for (text, of_environment, of_flag) in cases {
            assert_eq!(parsed(text, ValueSource::EnvVariable), of_environment, "{text}");
            assert_eq!(parsed(text, ValueSource::CommandLine), of_flag, "{text}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_without_being_quoted() {
        for source in [ValueSource::CommandLine, ValueSource::EnvVariable] {
            let said = parsed("sasl.password:hunter2", source);
            assert!(said.contains("want KEY=VALUE") && !said.contains("hunter2"), "{said}");
        }
    }
}
