//! Timeouts in a request: three numbers, in the order of `ipvsadm --set`.

use dataplane::connection::TimeoutSeconds;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(
    set: &Option<TimeoutSeconds>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    set.map(|TimeoutSeconds { tcp, fin, udp }| [tcp, fin, udp]).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TimeoutSeconds>, D::Error> {
    let numbers = Option::<[u32; 3]>::deserialize(deserializer)?;
    Ok(numbers.map(|[tcp, fin, udp]| TimeoutSeconds { tcp, fin, udp }))
}
