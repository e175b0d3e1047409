//! Why a command is not run, and the exit code.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}: command not found")]
    NotFound(String),
    #[error("{}: {error}", program.display())]
    NotExecuted { program: PathBuf, error: io::Error },
    #[error("{} is not run, as it would speak with the kernel's IPVS: {why}", program.display())]
    NotPreloadable { program: PathBuf, why: String },
    #[error(
        "libnatlb_lvs.so is missing; looked for {}. Install it there, or name it in $NATLB_IPVS_LIBRARY",
        places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoLibrary { places: Vec<PathBuf> },
    #[error("the library {}: {why}", path.display())]
    BadLibrary { path: PathBuf, why: String },
    #[error("cannot reach lbd at {}: {why}", socket.display())]
    Unreachable { socket: PathBuf, why: String },
}

impl Refusal {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotPreloadable { .. } | Self::NoLibrary { .. } | Self::BadLibrary { .. } => 2,
            Self::Unreachable { .. } => 3,
            Self::NotExecuted { .. } => 126,
            Self::NotFound(_) => 127,
        }
    }
}
