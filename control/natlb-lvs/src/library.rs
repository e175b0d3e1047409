//! `libnatlb_lvs.so`: where it is, and whether it is that.

use crate::image::{self, Image};
use crate::refusal::Refusal;
use std::fs;
use std::path::{Path, PathBuf};

const FILE: &str = "libnatlb_lvs.so";

/// A symbol that no other library has.
const MARK: &str = "natlb_lvs_preload";

#[derive(Debug)]
pub(crate) struct Library {
    /// An absolute path.
    pub(crate) path: PathBuf,
    pub(crate) image: Image,
}

impl Library {
    /// The one that `$NATLB_IPVS_LIBRARY` names, or the first in the places where it is installed.
    pub(crate) fn find() -> Result<Self, Refusal> {
        if let Some(path) = std::env::var_os("NATLB_IPVS_LIBRARY").filter(|path| !path.is_empty()) {
            return Self::read(Path::new(&path));
        }
        let places = places();
        match places.iter().find(|place| place.exists()) {
            Some(path) => Self::read(path),
            None => Err(Refusal::NoLibrary { places }),
        }
    }

    fn read(path: &Path) -> Result<Self, Refusal> {
        let bad = |why: String| Refusal::BadLibrary { path: path.into(), why };
        let path = std::path::absolute(path).map_err(|error| bad(error.to_string()))?;
        if path.as_os_str().as_encoded_bytes().iter().any(|byte| b" :".contains(byte)) {
            return Err(bad("LD_PRELOAD cannot name a path with a blank or a colon".into()));
        }
        let bytes = fs::read(&path).map_err(|error| bad(error.to_string()))?;
        let image = Image::read(&bytes).map_err(bad)?;
        if !image::defines(&bytes, MARK).map_err(bad)? {
            return Err(bad("it is not natlb's".into()));
        }
        Ok(Self { path, image })
    }
}

/// Beside this program, as Cargo builds it; in `../lib/natlb` from there; and where packages put it.
fn places() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok();
    let folder = own.as_deref().and_then(Path::parent);
    let beside = folder.map(|folder| folder.join(FILE));
    let above = folder.and_then(Path::parent).map(|above| above.join("lib/natlb").join(FILE));
    beside.into_iter().chain(above).chain([Path::new("/usr/lib/natlb").join(FILE)]).collect()
}
