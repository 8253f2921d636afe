//! What reads text of servers, as a function for a fuzzer and for the replay of what it found.

use std::path::{Component, Path};

use crate::{key, s3};

/// Headers, markers and keys as a server may send them.
pub fn server_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    s3::read_server_text(text);
    let _ = key::directory("b", text);
    if key::why_invalid(text).is_none() {
        let stays = Path::new(text)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        assert!(stays, "a key leads out of its directory");
    }
}
