//! Go's `encoding/json` with the Go dispatcher's message, by way of the Go program in `go_json/`.

use std::path::PathBuf;
use std::process::Command;

use base64::engine::{Engine as _, general_purpose::STANDARD};
use serde::Deserialize;

use super::{go, json_of};

pub struct GoJson {
    program: PathBuf,
}

/// What Go's struct held; times are ms since 1970, None when unset.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Row {
    #[serde(rename = "TaskID")]
    pub id: String,
    pub topic: String,
    pub key: String,
    #[serde(deserialize_with = "bytes")]
    pub value: Vec<u8>,
    pub partition: i32,
    pub offset: i64,
    pub group: String,
    pub error: String,
    pub sent: Option<i64>,
    pub received: Option<i64>,
    pub finished: Option<i64>,
    pub returned: Option<i64>,
    pub reply: bool,
    pub send_error: bool,
    /// What Go makes of the struct.
    #[serde(deserialize_with = "bytes")]
    pub again: Vec<u8>,
}

impl GoJson {
    /// None after saying so without Go.
    pub fn or_skip() -> Option<Self> {
        go::program_or_skip("go_json").map(|program| Self { program })
    }

    pub fn read(&self, values: &[Vec<u8>]) -> Vec<Row> {
        let texts: Vec<_> = values.iter().map(|value| STANDARD.encode(value)).collect();
        serde_json::from_value(json_of(Command::new(&self.program), &serde_json::to_string(&texts).unwrap())).unwrap()
    }
}

fn bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}
