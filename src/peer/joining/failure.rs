//! The failures of a join's questions, in the terms of the walk.

use std::io;

use crate::{
    frame::{FrameError, TypeCode},
    message::{ReadError, RequestError},
    overlay::JoinFailure,
    peer::asking::Unanswered,
    transport::{IdentityFault, NameFault},
};

/// Converts the failure of a question with this code.
pub(super) fn failure_of(code: TypeCode, unanswered: Unanswered) -> JoinFailure {
    match unanswered {
        Unanswered::NotConnected(None) => JoinFailure::NoConnection,
        Unanswered::NotConnected(Some(error)) => not_connected(error),
        Unanswered::Broken(error) => broken(code, error),
        Unanswered::Late => JoinFailure::NoAnswer,
        Unanswered::StoodStill => JoinFailure::StoodStill,
    }
}

fn not_connected(error: RequestError) -> JoinFailure {
    match error {
        RequestError::Connect { source, .. } => match (NameFault::of(&source), source.kind()) {
            (Some(NameFault::Late { .. }), _) => JoinFailure::LookupLate,
            (Some(fault), _) => JoinFailure::UnknownName { reason: fault.reason().to_owned() },
            (None, io::ErrorKind::ConnectionRefused) => JoinFailure::PortClosed,
            (None, io::ErrorKind::TimedOut) => JoinFailure::NoConnection,
            (None, io::ErrorKind::ConnectionReset) => JoinFailure::Reset,
            (None, _) => JoinFailure::Unreachable { reason: source.to_string() },
        },
        RequestError::Identity(fault) => identity(&fault),
        RequestError::Banned(_) => JoinFailure::NotAdmittedHere,
        RequestError::Busy => JoinFailure::OwnLimit,
        error => JoinFailure::Unreachable { reason: error.to_string() },
    }
}

fn identity(fault: &IdentityFault) -> JoinFailure {
    match fault {
        IdentityFault::WrongPeer { expected, found, .. } => {
            JoinFailure::AnotherId { expected: expected.clone(), found: found.clone() }
        }
        IdentityFault::ClaimsAnother { proven, claimed, .. } => {
            JoinFailure::AnotherId { expected: claimed.clone(), found: proven.clone() }
        }
        IdentityFault::NotAdmitted { .. } => JoinFailure::NotAdmittedHere,
        IdentityFault::Refused { .. } => JoinFailure::NotAdmitted,
        IdentityFault::NotTls { .. } => JoinFailure::NotTls,
        IdentityFault::Late { .. } | IdentityFault::Handshake { .. } => {
            JoinFailure::Handshake { reason: fault.to_string() }
        }
    }
}

fn broken(code: TypeCode, error: RequestError) -> JoinFailure {
    match error {
        RequestError::Reply(ReadError::Frame(error)) => not_a_frame(code, &error),
        RequestError::Reply(ReadError::Late(_)) => JoinFailure::NoAnswer,
        RequestError::Write { source, .. } => not_a_frame(code, &FrameError::Io(source)),
        RequestError::TooMuch { .. } => JoinFailure::Malformed { code },
        RequestError::NoRoom { .. } => JoinFailure::OwnLimit,
        _ => JoinFailure::BrokeOff,
    }
}

fn not_a_frame(code: TypeCode, error: &FrameError) -> JoinFailure {
    match error {
        FrameError::TooLong { code: read, .. } | FrameError::TruncatedBody { code: read, .. }
            if *read != TypeCode::REPL && *read != TypeCode::ERRO =>
        {
            JoinFailure::NotThisProtocol
        }
        // No node of this protocol announces such a length in answer to such a question.
        FrameError::TooLong { .. } => JoinFailure::NotThisProtocol,
        FrameError::TruncatedHeader { .. } => JoinFailure::NotThisProtocol,
        FrameError::Io(source) => match (IdentityFault::of(source), source.kind()) {
            (Some(fault), _) => identity(fault),
            (
                None,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe,
            ) => JoinFailure::Reset,
            (None, _) => JoinFailure::BrokeOff,
        },
        FrameError::TruncatedBody { .. } => JoinFailure::BrokeOff,
        FrameError::Reserved { .. } => JoinFailure::Malformed { code },
    }
}
