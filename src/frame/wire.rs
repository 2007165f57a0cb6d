//! Typed messages: a serde type with a code.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::frame::{Frame, TypeCode};

/// The encoding of a value as the data of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// [postcard](https://postcard.jamesmunns.com): compact, not self-describing. For messages
    /// between programs built from the same types.
    #[default]
    Postcard,
    /// JSON, for messages that other programs exchange.
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    Json,
}

/// The step that failed with a [`WireError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WireStep {
    /// A value could not be encoded.
    Encode,
    /// The data could not be decoded.
    Decode,
    /// The frame has the code of another type.
    Code,
    /// The data continues after the value.
    End,
}

/// Why a value cannot be encoded, or a frame cannot be decoded: the type, the code, the format, and
/// the position in the value.
///
/// The message was not sent, or not handled.
#[derive(Debug)]
pub struct WireError {
    type_name: &'static str,
    code: TypeCode,
    format: Format,
    step: WireStep,
    path: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl WireError {
    /// The Rust type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The code of the frame.
    #[must_use]
    pub const fn code(&self) -> TypeCode {
        self.code
    }

    /// The format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The step that failed.
    #[must_use]
    pub const fn step(&self) -> WireStep {
        self.step
    }

    /// The position in the value: `.` for the value itself, otherwise fields and indices, for
    /// example `hosts[2].port`. Errors of postcard have only indices.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { type_name, code, format, path, .. } = self;
        match self.step {
            WireStep::Encode => {
                write!(f, "cannot encode {type_name} ({code}, {format:?}) at {path}")?
            }
            WireStep::Decode => {
                write!(f, "cannot decode {type_name} ({code}, {format:?}) at {path}")?
            }
            WireStep::Code => write!(f, "a frame {code} is not a {type_name}")?,
            WireStep::End => {
                write!(f, "the data of {code} continues after the {type_name} ({format:?})")?
            }
        }
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

impl std::error::Error for WireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl Format {
    fn error<T: ?Sized>(self, code: TypeCode, step: WireStep) -> WireError {
        WireError {
            type_name: std::any::type_name::<T>(),
            code,
            format: self,
            step,
            path: ".".to_owned(),
            source: None,
        }
    }

    fn failed<T, E>(
        self,
        code: TypeCode,
        step: WireStep,
        error: serde_path_to_error::Error<E>,
    ) -> WireError
    where
        T: ?Sized,
        E: std::error::Error + Send + Sync + 'static,
    {
        let path = error.path().to_string();
        WireError {
            path,
            source: Some(Box::new(error.into_inner())),
            ..self.error::<T>(code, step)
        }
    }

    /// Encodes `value` as a frame with `code`.
    ///
    /// # Errors
    /// If the format cannot represent the value, for example a map key that is not text in JSON.
    /// Nothing was sent.
    pub fn encode<T: Serialize + ?Sized>(
        self,
        code: TypeCode,
        value: &T,
    ) -> Result<Frame, WireError> {
        let mut track = serde_path_to_error::Track::new();
        let data = match self {
            Self::Postcard => {
                let mut serializer =
                    postcard::Serializer { output: postcard::ser_flavors::StdVec::new() };
                let serialized = value
                    .serialize(serde_path_to_error::Serializer::new(&mut serializer, &mut track));
                serialized
                    .and_then(|()| postcard::ser_flavors::Flavor::finalize(serializer.output))
                    .map_err(|error| {
                        self.failed::<T, _>(
                            code,
                            WireStep::Encode,
                            serde_path_to_error::Error::new(track.path(), error),
                        )
                    })?
            }
            #[cfg(feature = "json")]
            Self::Json => {
                let mut data = Vec::new();
                let mut serializer = serde_json::Serializer::new(&mut data);
                value
                    .serialize(serde_path_to_error::Serializer::new(&mut serializer, &mut track))
                    .map_err(|error| {
                        self.failed::<T, _>(
                            code,
                            WireStep::Encode,
                            serde_path_to_error::Error::new(track.path(), error),
                        )
                    })?;
                data
            }
        };
        Ok(Frame::new(code, data))
    }

    /// Decodes the data of `frame`, whatever its code.
    ///
    /// # Errors
    /// If the data is not such a value, or continues after it.
    pub fn decode<T: DeserializeOwned>(self, frame: &Frame) -> Result<T, WireError> {
        let code = frame.code();
        match self {
            Self::Postcard => {
                let mut deserializer = postcard::Deserializer::from_bytes(frame.data());
                let value = serde_path_to_error::deserialize(&mut deserializer)
                    .map_err(|error| self.failed::<T, _>(code, WireStep::Decode, error))?;
                match deserializer.finalize() {
                    Ok([]) => Ok(value),
                    _ => Err(self.error::<T>(code, WireStep::End)),
                }
            }
            #[cfg(feature = "json")]
            Self::Json => {
                let mut deserializer = serde_json::Deserializer::from_slice(frame.data());
                let value = serde_path_to_error::deserialize(&mut deserializer)
                    .map_err(|error| self.failed::<T, _>(code, WireStep::Decode, error))?;
                deserializer.end().map_err(|_| self.error::<T>(code, WireStep::End))?;
                Ok(value)
            }
        }
    }
}

/// A serde type that is the data of the frames with one code.
///
/// In postcard, a sequence of elements that take no bytes, such as `Vec<()>`, has the length that
/// its sender announces, without a bound. Do not use such a type for messages of untrusted peers.
///
/// ```
/// use actix_peer::frame::{TypeCode, Wire};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Score {
///     player: String,
///     points: u32,
/// }
///
/// impl Wire for Score {
///     const CODE: TypeCode = TypeCode::new(b"SCOR");
/// }
///
/// let score = Score { player: "ada".into(), points: 7 };
/// let frame = score.to_frame()?;
/// assert_eq!(&frame.data()[..], b"\x03ada\x07");
/// assert_eq!(Score::from_frame(&frame)?, score);
/// # Ok::<(), actix_peer::frame::WireError>(())
/// ```
pub trait Wire: Serialize + DeserializeOwned {
    /// The code of its frames.
    const CODE: TypeCode;

    /// Its format. Default postcard.
    const FORMAT: Format = Format::Postcard;

    /// The message as a frame.
    ///
    /// # Errors
    /// See [`Format::encode`].
    fn to_frame(&self) -> Result<Frame, WireError> {
        Self::FORMAT.encode(Self::CODE, self)
    }

    /// The message in a frame.
    ///
    /// # Errors
    /// If the frame has another code, and as [`Format::decode`].
    fn from_frame(frame: &Frame) -> Result<Self, WireError> {
        if frame.code() == Self::CODE {
            Self::FORMAT.decode(frame)
        } else {
            Err(Self::FORMAT.error::<Self>(frame.code(), WireStep::Code))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Host {
        name: String,
        port: u16,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Hosts {
        all: Vec<Host>,
    }

    impl Wire for Hosts {
        const CODE: TypeCode = TypeCode::new(b"HSTS");
    }

    fn hosts() -> Hosts {
        Hosts {
            all: vec![Host { name: "a".into(), port: 1 }, Host { name: "b".into(), port: 300 }],
        }
    }

    #[test]
    fn postcard_is_compact_and_decodes_to_the_same_value() {
        let frame = hosts().to_frame().unwrap();
        assert_eq!(frame, Frame::new(b"HSTS", &b"\x02\x01a\x01\x01b\xac\x02"[..]));
        assert_eq!(Hosts::from_frame(&frame).unwrap(), hosts());
    }

    #[test]
    fn an_error_names_the_type_the_code_the_format_and_the_position() {
        let cut = Frame::new(b"HSTS", &b"\x02\x01a\x01\x01b\xac"[..]);
        let error = Hosts::from_frame(&cut).unwrap_err();
        assert_eq!(
            (error.code(), error.step(), error.format()),
            (Hosts::CODE, WireStep::Decode, Format::Postcard)
        );
        let text = error.to_string();
        assert!(text.contains("Hosts (HSTS, Postcard) at "), "{text}");
        assert!(error.path().contains("[1]"), "{text}");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn a_frame_of_another_code_is_not_decoded() {
        let error = Hosts::from_frame(&Frame::text("NAME", "")).unwrap_err();
        assert_eq!(error.step(), WireStep::Code);
        assert!(error.to_string().starts_with("a frame NAME is not a "), "{error}");
    }

    #[test]
    fn data_after_the_value_is_an_error() {
        let mut data = hosts().to_frame().unwrap().data().to_vec();
        data.push(0);
        assert_eq!(
            Hosts::from_frame(&Frame::new(b"HSTS", data)).unwrap_err().step(),
            WireStep::End
        );
    }

    #[test]
    fn an_announced_length_beyond_the_data_allocates_nothing() {
        // The length announces a sequence of 2^60 elements.
        let lie = Frame::new(b"HSTS", &b"\x80\x80\x80\x80\x80\x80\x80\x80\x10"[..]);
        assert_eq!(Hosts::from_frame(&lie).unwrap_err().step(), WireStep::Decode);
    }

    #[cfg(feature = "json")]
    mod json {
        use super::*;

        #[test]
        fn json_is_text_and_decodes_to_the_same_value() {
            let frame = Format::Json.encode(Hosts::CODE, &hosts()).unwrap();
            assert_eq!(
                frame.as_str(),
                Ok(r#"{"all":[{"name":"a","port":1},{"name":"b","port":300}]}"#)
            );
            assert_eq!(Format::Json.decode::<Hosts>(&frame).unwrap(), hosts());
        }

        #[test]
        fn an_error_in_json_names_the_field() {
            let frame =
                Frame::text("HSTS", r#"{"all":[{"name":"a","port":1},{"name":"b","port":70000}]}"#);
            let error = Format::Json.decode::<Hosts>(&frame).unwrap_err();
            assert_eq!(error.path(), "all[1].port");
            assert!(error.to_string().contains("70000"), "{error}");
        }

        #[test]
        fn text_after_the_value_is_an_error() {
            let frame = Frame::text("HSTS", r#"{"all":[]} x"#);
            assert_eq!(Format::Json.decode::<Hosts>(&frame).unwrap_err().step(), WireStep::End);
        }

        #[test]
        fn a_value_that_json_cannot_represent_is_an_error_at_the_sender() {
            let map = std::collections::BTreeMap::from([((1, 2), 3)]);
            let error = Format::Json.encode(Hosts::CODE, &map).unwrap_err();
            assert_eq!(error.step(), WireStep::Encode);
        }
    }
}
