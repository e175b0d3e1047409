//! What is read of an ELF file.

use elf::ElfBytes;
use elf::abi::{PT_INTERP, SHN_UNDEF};
use elf::endian::AnyEndian;
use elf::file::Class;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The beginning of every ELF file.
pub(crate) const MAGIC: &[u8] = b"\x7fELF";

/// The processor and word size that a file is for; what is loaded into one process agrees in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    class: Class,
    machine: u16,
    endian: AnyEndian,
}

#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) machine: Machine,
    /// The dynamic linker that the program asks for; `None`: it is a static program, or a library.
    pub(crate) interpreter: Option<PathBuf>,
}

impl Image {
    /// # Errors
    ///
    /// What is wrong with the file, in words.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let file = parse(bytes)?;
        let mut interpreter = None;
        if let Some(header) =
            file.segments().and_then(|headers| headers.iter().find(|header| header.p_type == PT_INTERP))
        {
            let path = file.segment_data(&header).map_err(damaged)?;
            let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
            interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
        let machine =
            Machine { class: file.ehdr.class, machine: file.ehdr.e_machine, endian: file.ehdr.endianness };
        Ok(Self { machine, interpreter })
    }
}

/// Whether the library defines this symbol.
///
/// # Errors
///
/// What is wrong with the file, in words.
pub(crate) fn defines(bytes: &[u8], symbol: &str) -> Result<bool, String> {
    let file = parse(bytes)?;
    let Some((symbols, names)) = file.dynamic_symbol_table().map_err(damaged)? else { return Ok(false) };
    Ok(symbols.iter().any(|found| {
        found.st_shndx != SHN_UNDEF && names.get(found.st_name as usize).is_ok_and(|name| name == symbol)
    }))
}

fn parse(bytes: &[u8]) -> Result<ElfBytes<'_, AnyEndian>, String> {
    ElfBytes::minimal_parse(bytes).map_err(damaged)
}

fn damaged(error: elf::ParseError) -> String {
    format!("a damaged ELF file ({error})")
}
