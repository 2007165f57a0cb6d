//! The JSON of the file-sharing program: requests to its API, and its answers to subcommands and
//! pages.

use actix_peer::overlay::Address;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    model::{ApiError, Event, Fetch, Join, Joined, Search},
    name::FileName,
    protocol::{MAX_KEY, valid_key},
};

/// An accepted value has the same meaning after it is written and read again.
fn taken<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let text = serde_json::to_string(&value).unwrap();
    let again: T = serde_json::from_str(&text).expect("a value that was written can be read");
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    Some(value)
}

pub(crate) fn run(bytes: &[u8]) {
    if let Some(search) = taken::<Search>(bytes)
        && let Some(key) = valid_key(&search.key)
    {
        assert!((1..=MAX_KEY).contains(&key.len()) && !key.contains(char::is_control));
    }
    if let Some(fetch) = taken::<Fetch>(bytes)
        && let Ok(name) = fetch.name.parse::<FileName>()
    {
        let path: &std::path::Path = name.as_ref();
        assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(name.as_str()));
        assert_eq!(path.components().count(), 1);
    }
    if let Some(join) = taken::<Join>(bytes)
        && let Ok(address) = join.address.trim().parse::<Address>()
    {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    taken::<Joined>(bytes);
    taken::<ApiError>(bytes);
    taken::<Event>(bytes);
}
