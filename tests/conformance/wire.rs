//! Envelopes: ids, casts, JSON as Python reads it, what is never answered.

use circus_tests::script::agree;

use crate::THREE;

#[test]
fn ids_are_echoed() {
    agree(THREE, |s| {
        for id in
            ["null", "7", "\"x\"", "{\"a\": [1, 2.5, \"\\u00e9\"]}", "123456789012345678901234567890", "1.0"]
        {
            s.raw(format!("{{\"id\": {id}, \"command\": \"numwatchers\"}}").as_bytes());
        }
        s.raw(br#"{"command": "numwatchers"}"#);
        s.raw(b"  \n{\"command\": \"numwatchers\"}\n ");
        s.raw(br#"{"command": "list", "command": "numwatchers"}"#);
        s.raw(br#"{"command": "numwatchers", "waiting": true, "zorg": NaN, "properties": {"a": Infinity}}"#);
    });
}

#[test]
fn broken_json() {
    agree(THREE, |s| {
        s.raw(b"zorg");
        s.raw(br#"{"id": "x", "command": "list""#);
        s.raw(b"\xff\xfe");
        s.raw(b"\xef\xbb\xbf{\"command\": \"list\"}");
        s.raw(br#"{"command": "numwatchers"}"#);
    });
}

#[test]
fn casts_are_never_answered() {
    agree(THREE, |s| {
        s.raw(br#"{"id": "c", "msg_type": "cast", "command": "numwatchers"}"#);
        s.raw(br#"{"id": "c", "msg_type": "cast", "command": "no such command"}"#);
        s.raw(br#"{"id": "c", "msg_type": "CAST", "command": "numwatchers"}"#);
    });
}

#[test]
fn what_stock_never_answers_is_refused() {
    agree(THREE, |s| {
        for payload in ["", "   ", "[]", "12", "null", "\"list\"", "{}", r#"{"command": 3}"#] {
            s.raw_differs("D1", payload.as_bytes());
        }
    });
}
