//! An answer line, read as it comes: nothing of it is held but what is being printed.

use crate::listing;
use control::api::protocol::{ConnectionView, Refusal, VERSION};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::io::Write;

/// `{"v":1,"ok":…}` or `{"v":1,"error":…}`; what stands under `ok` is the seed's.
pub(super) struct Line<T> {
    pub(super) v: u32,
    pub(super) ok: Option<T>,
    pub(super) error: Option<Refusal>,
}

/// Reads a [`Line`].
pub(super) struct OfLine<S>(pub(super) S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for OfLine<S> {
    type Value = Line<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for OfLine<S> {
    type Value = Line<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"v\" and \"ok\" or \"error\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut v, mut ok, mut error) = (None, None, None);
        let mut seed = Some(self.0);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "v" => v = Some(map.next_value()?),
                // What another version has there is not known here.
                "ok" if v.is_none_or(|v| v == VERSION) => {
                    let seed = seed.take().ok_or_else(|| A::Error::duplicate_field("ok"))?;
                    ok = Some(map.next_value_seed(seed)?);
                }
                "error" => error = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let v = v.ok_or_else(|| A::Error::missing_field("v"))?;
        Ok(Line { v, ok, error })
    }
}

/// Prints a document as it is, without blanks.
pub(super) struct Echo<W>(pub(super) W);

impl<'de, W: Write> DeserializeSeed<'de> for Echo<W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        serde_transcode::transcode(deserializer, &mut serde_json::Serializer::new(self.0))
            .map_err(D::Error::custom)
    }
}

/// Prints what stands under `ok` of `connections` as a table, row by row.
pub(super) struct ConnectionRows<W>(pub(super) W);

impl<'de, W: Write> DeserializeSeed<'de> for ConnectionRows<W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, W: Write> Visitor<'de> for ConnectionRows<W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"connections\"")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "connections" {
                found = true;
                self.0.write_all(listing::CONNECTIONS_HEAD.as_bytes()).map_err(A::Error::custom)?;
                map.next_value_seed(Rows(&mut self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::missing_field("connections")) }
    }
}

struct Rows<'a, W>(&'a mut W);

impl<'de, W: Write> DeserializeSeed<'de> for Rows<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Rows<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of connections")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<ConnectionView>()? {
            self.0.write_all(listing::connection(&row).as_bytes()).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
