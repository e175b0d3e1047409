//! From a message to what it asks for.

use super::attributes::{Attributes, Malformed};
use super::errors::Refusal;
use super::message::{DUMP, FIRST_TYPE, HEADER, Header, REQUEST};
use super::service::Target;
use super::{FAMILY, attribute, command, real, service};
use crate::api::protocol::Command;
use crate::api::refusal::Refused;
use crate::model::Settings;
use crate::text::later;
use crate::text::services::Listen;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::ServiceKey;
use nix::errno::Errno;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Nothing: only an acknowledgement, if that.
    Nothing,
    /// The family's number.
    Family,
    /// The version.
    Info,
    /// How long connections live.
    Timeouts,
    /// A dump of the synchronization's threads, of which there are none.
    Daemons,
    /// A dump of all services.
    Services,
    /// One service.
    Service(ServiceKey),
    /// A dump of a service's reals. It has no error: `None`, and a service that there is not, have none.
    Reals(Option<ServiceKey>),
    /// What `lbctl` can ask for too: a change, or counters that are to be reset.
    Command(Command),
    /// One of the kernel's files, as text without any header. The connection ends with it.
    Text(File),
}

/// A file of the kernel that shows what IPVS does, in `/proc/net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `ip_vs_conn`.
    Connections,
    /// `ip_vs`.
    Services,
    /// `ip_vs_stats`.
    Statistics,
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Whom the answer goes to.
    pub header: Header,
    /// What it asks for, or why it cannot be.
    pub asked: Result<Asked, Refusal>,
}

/// Commands of the controller, which knows the families by name.
pub(super) const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
// How a family is named.
pub(super) const FAMILY_ID: usize = 1;
pub(super) const FAMILY_NAME: usize = 2;
/// The family's name.
pub(super) const NAME: &str = "IPVS";
const LONGEST_FAMILY_NAME: usize = 15;

/// The attribute that names a file.
const FILE_NAME: usize = 1;
const LONGEST_FILE_NAME: usize = 15;

/// Bytes of a generic netlink header: command, version, two of nothing.
const COMMAND_HEADER: usize = 4;

/// Reads a whole message. `present` gives what is set of a service, which a change of only some flags depends on.
pub fn read(bytes: &[u8], present: impl Fn(&ServiceKey) -> Option<Settings>) -> Message {
    let header = Header::of(bytes);
    let asked = match bytes.get(HEADER..) {
        Some(content) => asked(&header, content, &present),
        None => Err(Malformed.into()),
    };
    Message { header, asked }
}

fn asked(
    header: &Header,
    content: &[u8],
    present: &dyn Fn(&ServiceKey) -> Option<Settings>,
) -> Result<Asked, Refusal> {
    // `keepalived` sends a first request with type 0, before it knows the family's number, and takes an acknowledgement
    // for success.
    if !header.has(REQUEST) || header.kind < FIRST_TYPE {
        return Ok(Asked::Nothing);
    }
    if header.kind != CONTROLLER && header.kind != FAMILY {
        return Err(Refusal::plain(Errno::ENOENT));
    }
    let ([command, ..], attributes) = content.split_first_chunk::<COMMAND_HEADER>().ok_or(Malformed)?;
    match (header.kind, header.has(DUMP)) {
        (CONTROLLER, is_dump) => of_controller(*command, is_dump, attributes),
        (_, true) => dump(*command, attributes),
        (_, false) => of_family(*command, attributes, present),
    }
}

fn of_controller(command: u8, is_dump: bool, attributes: &[u8]) -> Result<Asked, Refusal> {
    if command != GET_FAMILY || is_dump {
        return Err(not_a_command());
    }
    let named = Attributes::<3>::read(attributes)?;
    let (id, name) = (named.u16(FAMILY_ID)?, named.text(FAMILY_NAME, LONGEST_FAMILY_NAME)?);
    let is_ours = match (id, name) {
        (None, None) => return Err(Malformed.into()),
        (_, Some(name)) => name == NAME,
        (Some(id), None) => id == FAMILY,
    };
    if is_ours { Ok(Asked::Family) } else { Err(Refusal::plain(Errno::ENOENT)) }
}

fn dump(command: u8, attributes: &[u8]) -> Result<Asked, Refusal> {
    match command {
        command::GET_SERVICE => Ok(Asked::Services),
        command::GET_DEST => {
            Ok(Asked::Reals(Request::read(attributes).and_then(|request| request.present()).ok()))
        }
        command::GET_DAEMON => Ok(Asked::Daemons),
        _ => Err(not_a_command()),
    }
}

fn of_family(
    command: u8,
    attributes: &[u8],
    present: &dyn Fn(&ServiceKey) -> Option<Settings>,
) -> Result<Asked, Refusal> {
    let request = || Request::read(attributes);
    Ok(match command {
        command::NEW_SERVICE => Asked::Command(request()?.add_service()?),
        command::SET_SERVICE => Asked::Command(request()?.edit_service(present)?),
        command::DEL_SERVICE => {
            Asked::Command(Command::DelService { service: Listen(request()?.present()?) })
        }
        command::GET_SERVICE => Asked::Service(request()?.present()?),
        command::NEW_DEST => Asked::Command(request()?.add_real()?),
        command::SET_DEST => Asked::Command(request()?.edit_real()?),
        command::DEL_DEST => Asked::Command(request()?.del_real()?),
        command::NEW_DAEMON => return Err(Refused::NotSupported(later::SYNCHRONIZATION).into()),
        command::DEL_DAEMON => return Err(Refusal::plain(Errno::ESRCH)),
        command::SET_CONFIG => Asked::Command(request()?.timeouts()?),
        command::GET_CONFIG => Asked::Timeouts,
        command::GET_INFO => Asked::Info,
        command::ZERO => {
            let service = request()?.present_if_named()?.map(Listen);
            Asked::Command(Command::Zero { service })
        }
        command::FLUSH => Asked::Command(Command::Clear { connections: false }),
        command::GET_TEXT => Asked::Text(file(attributes)?),
        _ => return Err(not_a_command()),
    })
}

/// As the kernel refuses a command that it does not have, or not as a dump, or only as one.
const fn not_a_command() -> Refusal {
    Refusal::plain(Errno::EOPNOTSUPP)
}

fn file(attributes: &[u8]) -> Result<File, Refusal> {
    let name = Attributes::<2>::read(attributes)?.text(FILE_NAME, LONGEST_FILE_NAME)?.ok_or(Malformed)?;
    match name.as_str() {
        "ip_vs_conn" => Ok(File::Connections),
        "ip_vs" => Ok(File::Services),
        "ip_vs_stats" => Ok(File::Statistics),
        _ => Err(Refusal::plain(Errno::ENOENT)),
    }
}

/// The attributes of a command of the family.
struct Request<'a>(Attributes<'a, { attribute::COUNT }>);

impl<'a> Request<'a> {
    fn read(attributes: &'a [u8]) -> Result<Self, Refusal> {
        Ok(Self(Attributes::read(attributes)?))
    }

    fn service(&self) -> Result<service::Attributed<'a>, Malformed> {
        self.0.nested(attribute::SERVICE)
    }

    fn real(&self) -> Result<real::Attributed<'a>, Malformed> {
        self.0.nested(attribute::DEST)
    }

    /// A service that is to be shown, or to go.
    fn present(&self) -> Result<ServiceKey, Refusal> {
        Target::read(&self.service()?)?.present()
    }

    /// As [`Request::present`]; `None`: no service is named.
    fn present_if_named(&self) -> Result<Option<ServiceKey>, Refusal> {
        self.0.get(attribute::SERVICE).map(|_| self.present()).transpose()
    }

    /// A service that is to be there from now on, or to change.
    fn wanted(&self) -> Result<ServiceKey, Refusal> {
        Target::read(&self.service()?)?.wanted()
    }

    fn add_service(&self) -> Result<Command, Refusal> {
        let key = self.wanted()?;
        Ok(Command::AddService(service::options(&self.service()?, key, None)?))
    }

    fn edit_service(&self, present: &dyn Fn(&ServiceKey) -> Option<Settings>) -> Result<Command, Refusal> {
        let key = self.wanted()?;
        Ok(Command::EditService(service::options(&self.service()?, key, present(&key).as_ref())?))
    }

    fn add_real(&self) -> Result<Command, Refusal> {
        let (service, attributes) = (self.wanted()?, self.real()?);
        let real = real::endpoint(&attributes, &service)?;
        let real::Numbers { weight, thresholds } = real::numbers(&attributes)?;
        Ok(Command::AddReal {
            service: Listen(service),
            real,
            weight: Some(weight),
            upper_threshold: Some(thresholds.upper),
            lower_threshold: Some(thresholds.lower),
        })
    }

    fn edit_real(&self) -> Result<Command, Refusal> {
        let (service, attributes) = (self.wanted()?, self.real()?);
        let real = real::endpoint(&attributes, &service)?;
        let real::Numbers { weight, thresholds } = real::numbers(&attributes)?;
        Ok(Command::EditReal {
            service: Listen(service),
            real,
            weight: Some(weight),
            upper_threshold: Some(thresholds.upper),
            lower_threshold: Some(thresholds.lower),
        })
    }

    fn del_real(&self) -> Result<Command, Refusal> {
        let service = self.present()?;
        let real = real::endpoint(&self.real()?, &service)?;
        Ok(Command::DelReal { service: Listen(service), real })
    }

    fn timeouts(&self) -> Result<Command, Refusal> {
        let seconds = |number| Ok::<_, Malformed>(self.0.u32(number)?.unwrap_or(0));
        let (tcp, fin) = (seconds(attribute::TIMEOUT_TCP)?, seconds(attribute::TIMEOUT_TCP_FIN)?);
        Ok(Command::Timeouts {
            set: Some(TimeoutSeconds { tcp, fin, udp: seconds(attribute::TIMEOUT_UDP)? }),
        })
    }
}
