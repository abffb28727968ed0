//! Frames, and what they are made of.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const HEARTBEAT: u8 = 8;

const FRAME_END: u8 = 0xce;

/// Type, channel and size before the payload; the end after it.
const AROUND: usize = 8;

/// One frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) channel: u16,
    pub(super) payload: Vec<u8>,
}

/// The next frame, which may not be larger than what was agreed on.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    frame_max: u32,
) -> io::Result<Frame> {
    let kind = stream.read_u8().await?;
    let channel = stream.read_u16().await?;
    let size = stream.read_u32().await?;
    if size > frame_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is larger than agreed on"));
    }
    let mut payload = vec![0; size as usize];
    stream.read_exact(&mut payload).await?;
    if stream.read_u8().await? != FRAME_END {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame does not end as it should",
        ));
    }
    Ok(Frame { kind, channel, payload })
}

/// A frame as it goes over the wire. The payload has to be smaller than 4 GiB, as what was agreed on always is.
pub(super) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[FRAME_END]].concat()
}

/// How many bytes of a body fit into a frame.
pub(super) fn room(frame_max: u32) -> usize {
    (frame_max as usize).saturating_sub(AROUND).max(1)
}

/// A method with its arguments.
pub(super) fn method((class, method): (u16, u16), arguments: &[&[u8]]) -> Vec<u8> {
    [&class.to_be_bytes()[..], &method.to_be_bytes(), &arguments.concat()].concat()
}

/// A short text. Names are checked to be at most 255 bytes long when the settings are; what is longer is cut.
pub(super) fn short(bytes: &[u8]) -> Vec<u8> {
    let size = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[size], &bytes[..usize::from(size)]].concat()
}

/// A long text.
pub(super) fn long(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&size.to_be_bytes(), bytes].concat()
}

/// Reads one thing after the other; `None` where there are too few bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let size = self.u8()?;
        self.take(usize::from(size))
    }

    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let size = self.u32()?;
        self.take(usize::try_from(size).ok()?)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_comes_back_as_it_went() {
        let bytes = frame(METHOD, 7, b"payload");
        let read = read(&mut &bytes[..], 100).await.unwrap();
        assert_eq!((read.kind, read.channel, &read.payload[..]), (METHOD, 7, &b"payload"[..]));
    }

    #[tokio::test]
    async fn a_frame_that_is_too_large_cut_off_or_badly_ended_is_an_error() {
        let bytes = frame(METHOD, 7, b"payload");
        assert!(read(&mut &bytes[..], 6).await.is_err());
        for end in 0..bytes.len() {
            assert!(read(&mut &bytes[..end], 100).await.is_err(), "{end}");
        }
        let mut bad = bytes;
        *bad.last_mut().unwrap() = 0;
        assert!(read(&mut &bad[..], 100).await.is_err());
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut reader = Reader(&[3, b'a', b'b']);
        assert_eq!(reader.short(), None);
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0xff, 1]).long(), None);
        let text = short(b"abc");
        assert_eq!(Reader(&text).short(), Some(&b"abc"[..]));
        assert_eq!(short(&[b'x'; 300]).len(), 256);
    }
}
