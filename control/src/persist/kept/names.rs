//! What the numbers in a generation's tables mean: which real has which id, and which interface a next hop is behind.
//!
//! ```text
//! bytes 0      head: magic, layout, generation, boot, names of interfaces, checksum; then, outside of the checksum,
//!              whether connections were made
//!       4096   a byte for each id of a next hop: its interface + 1; 0: not known
//!       135168 64 bytes for each id of a real: a record with a checksum over it and the id; zeros: not in use
//! ```
//!
//! It is written with plain writes, in time for the first connection that has the number: a record before the snapshot
//! that has the real is published, an interface before the next hop is. Numbers are little-endian. Of the file only as
//! much exists as has been written.

use super::folder::FolderError;
use crc32c::{crc32c, crc32c_append};
use dataplane::names::ids::{
    InterfaceId, MAX_INTERFACES, NextHopId, Protocol, REAL_IDS, RealId, RealKey, ServiceKey,
};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

const MAGIC: [u8; 8] = *b"natlbnam";
const LAYOUT: u32 = 1;
/// Bytes of the head.
const HEAD: usize = 4096;
/// The longest name of an interface, in bytes. The configuration allows less.
const LONGEST_NAME: usize = 63;
/// Where the names of interfaces begin, each with its length before it.
const INTERFACES_AT: usize = 48;
const CHECKSUM_AT: usize = INTERFACES_AT + MAX_INTERFACES * (1 + LONGEST_NAME);
const BEGUN_AT: usize = CHECKSUM_AT + 4;
const HOPS_AT: usize = HEAD;
const REALS_AT: usize = HOPS_AT + NextHopId::CAPACITY;
/// Bytes of a real's record.
const RECORD: usize = 64;
const RECORD_CHECKSUM_AT: usize = RECORD - 4;
/// The largest file there can be, in bytes.
const LARGEST: usize = REALS_AT + REAL_IDS * RECORD;

/// Why names are not read.
#[derive(Debug, Error)]
pub(super) enum NamesError {
    /// The file cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is not of natlb.
    #[error("it does not begin as a file of natlb does")]
    Magic,
    /// It is of another release.
    #[error("its layout is {0}, and this lbd reads layout {LAYOUT}")]
    Layout(u32),
    /// Something has changed or cut it.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is shorter or longer than it can be.
    #[error("it has {0} bytes")]
    Size(u64),
}

/// What is fixed of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its number.
    pub(super) generation: u64,
    /// The boot that it was made in.
    pub(super) boot: [u8; 16],
    /// By id.
    pub(super) interfaces: Vec<String>,
}

impl Head {
    fn bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&LAYOUT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.boot);
        bytes[40] = self.interfaces.len().min(MAX_INTERFACES) as u8;
        for (slot, name) in
            bytes[INTERFACES_AT..CHECKSUM_AT].chunks_mut(1 + LONGEST_NAME).zip(&self.interfaces)
        {
            // A longer one is no name of an interface later either.
            let name = if name.len() <= LONGEST_NAME { name.as_bytes() } else { &[] };
            slot[0] = name.len() as u8;
            slot[1..=name.len()].copy_from_slice(name);
        }
        let checksum = crc32c(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..BEGUN_AT].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8; HEAD]) -> Result<Self, NamesError> {
        if bytes[..8] != MAGIC {
            return Err(NamesError::Magic);
        }
        let layout = u32_at(bytes, 8);
        if layout != LAYOUT {
            return Err(NamesError::Layout(layout));
        }
        if u32_at(bytes, CHECKSUM_AT) != crc32c(&bytes[..CHECKSUM_AT]) {
            return Err(NamesError::Checksum);
        }
        let name = |slot: &[u8]| {
            let text = slot.get(1..=slot[0] as usize).unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        };
        let slots = bytes[INTERFACES_AT..CHECKSUM_AT].chunks(1 + LONGEST_NAME);
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[24..40]);
        Ok(Self {
            generation: u64::from_le_bytes(array(bytes, 16)),
            boot,
            interfaces: slots.take(bytes[40] as usize).map(name).collect(),
        })
    }
}

/// The file that is being written.
#[derive(Clone, Debug)]
pub(super) struct Names(Arc<File>);

/// Writes which real has which id.
#[derive(Clone, Debug)]
pub struct RealNames(Names);

/// Writes which interface next hops are behind.
#[derive(Debug)]
pub struct HopNames {
    names: Names,
    /// By id: what the file says.
    written: Vec<u8>,
}

impl Names {
    /// Writes the head into an empty file.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn begin(file: File, head: &Head) -> io::Result<Self> {
        file.write_all_at(&head.bytes(), 0)?;
        let names = Self(Arc::new(file));
        // The ids that stand for interfaces, which are never set.
        let behind = InterfaceId::all().take(head.interfaces.len());
        for interface in behind {
            names.write_hops(NextHopId::behind(interface), &[of_interface(interface)])?;
        }
        Ok(names)
    }

    /// From now on there may be connections.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn set_begun(&self) -> io::Result<()> {
        self.0.write_all_at(&[1], BEGUN_AT as u64)
    }

    pub(super) fn reals(&self) -> RealNames {
        RealNames(self.clone())
    }

    pub(super) fn hops(&self) -> HopNames {
        HopNames { names: self.clone(), written: Vec::new() }
    }

    fn write_hops(&self, first: NextHopId, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, HOPS_AT as u64 + u64::from(first.0))
    }
}

impl RealNames {
    /// Says which reals have these ids from now on: to be called before a connection can have one.
    ///
    /// # Errors
    /// There is no memory for some of them. They will be unknown; none is taken for another.
    pub fn write(&self, reals: &[(RealKey, RealId)]) -> io::Result<()> {
        let mut order: Vec<&(RealKey, RealId)> = reals.iter().collect();
        order.sort_unstable_by_key(|(_, id)| id.0);
        let mut result = Ok(());
        // Ids are given in order, so those of many new reals follow each other: one write for each run of them.
        for run in order.chunk_by(|(_, one), (_, next)| one.0 + 1 == next.0) {
            let bytes: Vec<u8> = run.iter().flat_map(|(key, id)| record(*key, *id)).collect();
            let at = REALS_AT as u64 + u64::from(run[0].1.0) * RECORD as u64;
            result = result.and(self.0.0.write_all_at(&bytes, at));
        }
        result
    }
}

impl HopNames {
    /// Says which interface a next hop is behind: to be called before a connection can have it.
    ///
    /// # Errors
    /// There is no memory for it. It will be unknown.
    pub fn set(&mut self, id: NextHopId, interface: InterfaceId) -> io::Result<()> {
        let (index, byte) = (id.0 as usize, of_interface(interface));
        if index >= NextHopId::CAPACITY || self.written.get(index) == Some(&byte) {
            return Ok(());
        }
        self.names.write_hops(id, &[byte])?;
        if self.written.len() <= index {
            self.written.resize(index + 1, 0);
        }
        self.written[index] = byte;
        Ok(())
    }
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) head: Head,
    /// Whether there may be connections.
    pub(super) has_begun: bool,
    /// By id.
    pub(super) reals: Vec<Option<RealKey>>,
    /// By id of a next hop.
    pub(super) interfaces: Vec<Option<InterfaceId>>,
}

impl Known {
    /// Reads a file. Records that are damaged are left out.
    ///
    /// # Errors
    /// Its head is damaged, or not of this layout, or it cannot be read.
    pub(super) fn read(file: &File) -> Result<Self, NamesError> {
        let failed = |error| NamesError::Io(PathBuf::from("names"), error);
        let length = file.metadata().map_err(failed)?.len();
        if length < HEAD as u64 || length > LARGEST as u64 {
            return Err(NamesError::Size(length));
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(NamesError::Size(length))?;
        let hops = &rest[..rest.len().min(NextHopId::CAPACITY)];
        let records = rest.get(NextHopId::CAPACITY..).unwrap_or_default().chunks_exact(RECORD);
        let known = Head::read(head)?;
        let interfaces = known.interfaces.len();
        let interface =
            |byte: &u8| byte.checked_sub(1).filter(|id| (*id as usize) < interfaces).map(InterfaceId);
        Ok(Self {
            has_begun: head[BEGUN_AT] != 0,
            reals: (0..).map(RealId).zip(records).map(|(id, record)| read_record(record, id)).collect(),
            interfaces: hops.iter().map(interface).collect(),
            head: known,
        })
    }
}

const fn of_interface(interface: InterfaceId) -> u8 {
    interface.0 + 1
}

/// ```text
/// bytes 0   1: in use · protocol · last port u16 · the VIP's port u16 · the real's port u16
///       8   the VIP's address · 24 the real's address, each of IPv4 in its first four bytes
///       40  families of both: 4 or 6
///       60  checksum of all before it and the id
/// ```
fn record(key: RealKey, id: RealId) -> [u8; RECORD] {
    let RealKey { service: ServiceKey { protocol, listen, last_port }, endpoint } = key;
    let mut bytes = [0; RECORD];
    (bytes[0], bytes[1]) = (1, protocol.number());
    bytes[2..4].copy_from_slice(&last_port.to_le_bytes());
    for (which, address) in [listen, endpoint].into_iter().enumerate() {
        bytes[4 + 2 * which..][..2].copy_from_slice(&address.port().to_le_bytes());
        let at = 8 + 16 * which;
        bytes[40 + which] = match address.ip() {
            IpAddr::V4(ip) => {
                bytes[at..at + 4].copy_from_slice(&ip.octets());
                4
            }
            IpAddr::V6(ip) => {
                bytes[at..at + 16].copy_from_slice(&ip.octets());
                6
            }
        };
    }
    let checksum = record_checksum(&bytes, id);
    bytes[RECORD_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn record_checksum(bytes: &[u8], id: RealId) -> u32 {
    crc32c_append(crc32c(&bytes[..RECORD_CHECKSUM_AT]), &id.0.to_le_bytes())
}

fn read_record(bytes: &[u8], id: RealId) -> Option<RealKey> {
    if bytes[0] != 1 || u32_at(bytes, RECORD_CHECKSUM_AT) != record_checksum(bytes, id) {
        return None;
    }
    let address = |which: usize| {
        let port = u16::from_le_bytes(array(bytes, 4 + 2 * which));
        let at = 8 + 16 * which;
        let ip = match bytes[40 + which] {
            4 => IpAddr::from(Ipv4Addr::from(array::<4>(bytes, at))),
            6 => IpAddr::from(Ipv6Addr::from(array::<16>(bytes, at))),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    };
    let (protocol, listen) = (Protocol::from_number(bytes[1])?, address(0)?);
    let service = ServiceKey { protocol, listen, last_port: u16::from_le_bytes(array(bytes, 2)) };
    Some(RealKey { service, endpoint: address(1)? })
}

/// The bytes at a place that is inside.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> Head {
        Head { generation: 7, boot: [3; 16], interfaces: vec!["vip0".into(), "dip0".into()] }
    }

    fn key(number: u16) -> RealKey {
        let (listen, endpoint) = match number % 2 {
            0 => ("192.168.10.100:80".parse().unwrap(), SocketAddr::from(([10, 0, 0, 7], number))),
            _ => ("[2001:db8::10]:80".parse().unwrap(), "[2001:db8::7]:0".parse().unwrap()),
        };
        let protocol = Protocol::ALL[number as usize % 3];
        RealKey { service: ServiceKey { last_port: number, ..ServiceKey::new(protocol, listen) }, endpoint }
    }

    fn written(reals: &[(RealKey, RealId)]) -> File {
        let file = tempfile::tempfile().unwrap();
        let names = Names::begin(file.try_clone().unwrap(), &head()).unwrap();
        names.reals().write(reals).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read_again() {
        let reals: Vec<_> = [0, 1, 2, 9, 10, 65_000].map(|id| (key(id), RealId(id.into()))).into();
        let file = written(&reals);
        let names = Names(Arc::new(file.try_clone().unwrap()));
        let mut hops = names.hops();
        for id in [5, 6, 5] {
            hops.set(NextHopId(id), InterfaceId(1)).unwrap();
        }
        let known = Known::read(&file).unwrap();
        assert!(!known.has_begun);
        names.set_begun().unwrap();
        assert!(Known::read(&file).unwrap().has_begun);
        assert_eq!(known.head, head());
        let found: Vec<_> =
            (0..).map(RealId).zip(&known.reals).filter_map(|(id, key)| Some((((*key)?), id))).collect();
        assert_eq!(found, reals);
        let found: Vec<_> =
            known.interfaces.iter().enumerate().filter_map(|(id, to)| Some((id, (*to)?))).collect();
        let behind = |id| (NextHopId::behind(InterfaceId(id)).0 as usize, InterfaceId(id));
        assert_eq!(found, [(5, InterfaceId(1)), (6, InterfaceId(1)), behind(0), behind(1)]);
    }

    #[test]
    fn an_id_that_is_given_away_is_the_new_reals() {
        let file = written(&[(key(4), RealId(1)), (key(5), RealId(0))]);
        Names(Arc::new(file.try_clone().unwrap())).reals().write(&[(key(8), RealId(1))]).unwrap();
        assert_eq!(Known::read(&file).unwrap().reals, [Some(key(5)), Some(key(8))]);
    }

    #[test]
    fn a_record_at_another_place_or_damaged_is_unknown() {
        let file = written(&[(key(4), RealId(0)), (key(6), RealId(1)), (key(8), RealId(2))]);
        let mut record = [0; RECORD];
        file.read_exact_at(&mut record, REALS_AT as u64).unwrap();
        file.write_all_at(&record, (REALS_AT + RECORD) as u64).unwrap();
        for byte in 0..RECORD {
            let mut torn = record;
            torn[byte] ^= 0x10;
            file.write_all_at(&torn, REALS_AT as u64).unwrap();
            assert_eq!(Known::read(&file).unwrap().reals, [None, None, Some(key(8))], "byte {byte}");
        }
        file.set_len((REALS_AT + 2 * RECORD + 63) as u64).unwrap();
        assert_eq!(Known::read(&file).unwrap().reals, [None, None], "cut off within a record");
        file.set_len(HEAD as u64 + 3).unwrap();
        let known = Known::read(&file).unwrap();
        assert!(known.reals.is_empty() && known.interfaces.len() == 3);
    }

    #[test]
    fn foreign_cut_and_newer_files_are_refused() {
        let refused = |change: &dyn Fn(&File)| {
            let file = written(&[(key(4), RealId(0))]);
            change(&file);
            Known::read(&file).unwrap_err().to_string()
        };
        let write = |at: u64, bytes: &'static [u8]| move |file: &File| file.write_all_at(bytes, at).unwrap();
        assert_eq!(refused(&write(0, b"x")), "it does not begin as a file of natlb does");
        assert_eq!(refused(&write(8, &[9])), "its layout is 9, and this lbd reads layout 1");
        assert_eq!(refused(&write(16, b"forged")), "its checksum is wrong");
        assert_eq!(refused(&|file| file.set_len(4095).unwrap()), "it has 4095 bytes");
        assert_eq!(refused(&|file| file.set_len(1 << 40).unwrap()), format!("it has {} bytes", 1u64 << 40));
    }

    #[test]
    fn many_new_reals_are_one_write_and_no_more_memory_than_they_need() {
        use std::os::unix::fs::MetadataExt;
        let all: Vec<_> = (0..65_536).rev().map(|id| (key(id as u16), RealId(id))).collect();
        let file = written(&all);
        let known = Known::read(&file).unwrap();
        assert!((0..).zip(&known.reals).all(|(id, real)| *real == Some(key(id as u16))));
        assert_eq!(known.reals.len(), all.len());
        assert!(file.metadata().unwrap().len() <= (REALS_AT + RECORD * all.len()) as u64);
        assert!(
            written(&[]).metadata().unwrap().blocks() * 512 <= 16 << 10,
            "a page for the head, and one for hops"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_file_it_is_read_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), HEAD + 3..HEAD + 200),
            is_headed: bool,
        ) {
            if is_headed {
                bytes[..HEAD].copy_from_slice(&head().bytes());
            }
            // Numbers of interfaces and lengths of names that cannot be, behind a checksum that is right.
            if is_headed && bytes[HEAD] & 1 == 0 {
                (bytes[40], bytes[INTERFACES_AT]) = (bytes[HEAD + 1], bytes[HEAD + 2]);
                let checksum = crc32c(&bytes[..CHECKSUM_AT]).to_le_bytes();
                bytes[CHECKSUM_AT..BEGUN_AT].copy_from_slice(&checksum);
            }
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            prop_assert_eq!(Known::read(&file).is_ok(), is_headed);
        }
    }
}
