//! What publishing meets, as the answer to the operator who asked for a change.

use crate::api::refusal::Refused;
use crate::publish::ids::NoRoom;
use crate::publish::workers::WorkerLate;

impl From<NoRoom> for Refused {
    fn from(NoRoom { wanted, replaced, removed }: NoRoom) -> Self {
        Self::IdsUsedUp { wanted, replaced, removed }
    }
}

impl From<WorkerLate> for Refused {
    fn from(late: WorkerLate) -> Self {
        match late {
            WorkerLate::Stuck { worker, version, seconds } => Self::WorkerStuck { worker, version, seconds },
            WorkerLate::Behind { worker, version } => Self::WorkerBehind { worker, version },
        }
    }
}
