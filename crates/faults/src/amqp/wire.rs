//! Frames and the fields in them.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
/// The last byte of each frame.
const END: u8 = 0xCE;

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Self> {
        let kind = from.read_u8().await?;
        let _channel = from.read_u16().await?;
        let size = from.read_u32().await?;
        let mut payload = vec![0; size as usize];
        from.read_exact(&mut payload).await?;
        ensure!(from.read_u8().await? == END, "a frame does not end where it says");
        Ok(Self { kind, payload })
    }
}

/// Adds a frame to what is going to be sent.
pub(super) fn put_frame(to: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    to.push(kind);
    to.extend(channel.to_be_bytes());
    to.extend(u32::try_from(payload.len()).expect("no frame is so long").to_be_bytes());
    to.extend(payload);
    to.push(END);
}

/// A string of up to 255 bytes, whatever they are.
pub(crate) fn short_string(to: &mut Vec<u8>, text: &[u8]) {
    to.push(u8::try_from(text.len()).expect("it is short"));
    to.extend(text);
}

/// A string of any length, whatever its bytes are.
pub(crate) fn long_string(to: &mut Vec<u8>, text: &[u8]) {
    to.extend(u32::try_from(text.len()).expect("it fits in a frame").to_be_bytes());
    to.extend(text);
}

/// The fields of a method, one after the other.
#[derive(Debug)]
pub(super) struct Fields<'p>(pub(super) &'p [u8]);

impl Fields<'_> {
    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.take::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    pub(super) fn short(&mut self) -> Result<String> {
        let length = usize::from(self.u8()?);
        if self.0.len() < length {
            bail!("a string is cut off");
        }
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().context("a field is cut off")?;
        self.0 = rest;
        Ok(*head)
    }
}
