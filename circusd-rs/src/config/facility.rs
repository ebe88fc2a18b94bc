//! syslog's facilities by name; knows nothing of messages.

/// The facility when none is named.
pub const USER: u8 = 1;

/// The number of a facility.
#[must_use]
pub fn facility(name: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 20] = [
        ("kern", 0),
        ("user", 1),
        ("mail", 2),
        ("daemon", 3),
        ("auth", 4),
        ("syslog", 5),
        ("lpr", 6),
        ("news", 7),
        ("uucp", 8),
        ("cron", 9),
        ("authpriv", 10),
        ("ftp", 11),
        ("local0", 16),
        ("local1", 17),
        ("local2", 18),
        ("local3", 19),
        ("local4", 20),
        ("local5", 21),
        ("local6", 22),
        ("local7", 23),
    ];
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_numbers_of_the_protocol() {
        assert_eq!(facility("user"), Some(USER));
        assert_eq!(facility("local7"), Some(23));
        assert_eq!(facility("zorg"), None);
    }
}
