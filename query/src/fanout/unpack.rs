//! Messages under zstd, from peers that speak it.

use bytes::Bytes;
use tonic::{Code, Status};
use zstd::stream::raw::{DParameter, Decoder, Operation as _};

/// What a call says that takes answers under zstd; a peer that does not know it answers without.
pub(super) const ACCEPTED: (&str, &str) = ("grpc-accept-encoding", "zstd");

/// The header that says how messages are packed.
pub(super) const ENCODING: &str = "grpc-encoding";

/// Messages that need more of what came before them to be unpacked are refused: no peer of ours makes them.
const WINDOW_LOG: u32 = 21;

/// What unpacking takes besides the message, packed and not.
const OWN_BYTES: usize = (1 << WINDOW_LOG) + (512 << 10);

/// The least that is set aside for a message.
const MIN_BYTES: usize = 4 << 10;

/// How many times larger than packed a message is taken to be at first.
const FIRST_GUESS: usize = 4;

/// Unpacks one message after the other.
pub(super) struct Unpacker(Decoder<'static>);

/// A message of which a part is unpacked.
#[derive(Debug)]
pub(super) struct Unpacking {
    packed: Bytes,
    read: usize,
    unpacked: Vec<u8>,
    written: usize,
}

impl Unpacker {
    /// For the messages of one answer.
    pub(super) fn new() -> Result<Self, Status> {
        let mut decoder = Decoder::new().map_err(|error| broken(&error))?;
        let window = DParameter::WindowLogMax(WINDOW_LOG);
        decoder.set_parameter(window).map_err(|error| broken(&error))?;
        Ok(Self(decoder))
    }

    /// Begins with a message.
    pub(super) fn begin(&mut self, packed: Bytes) -> Result<Unpacking, Status> {
        self.0.reinit().map_err(|error| broken(&error))?;
        Ok(Unpacking {
            packed,
            read: 0,
            unpacked: Vec::new(),
            written: 0,
        })
    }

    /// Goes on until the message is whole, which it returns, or there is no room left.
    pub(super) fn go_on(&mut self, message: &mut Unpacking) -> Result<Option<Bytes>, Status> {
        loop {
            let input = message.packed.get(message.read..).unwrap_or_default();
            let room = message.unpacked.get_mut(message.written..).unwrap_or_default();
            if room.is_empty() {
                return Ok(None);
            }
            let step = self.0.run_on_buffers(input, room);
            let step = step.map_err(|error| broken(&error))?;
            message.read += step.bytes_read;
            message.written += step.bytes_written;
            if step.remaining == 0 {
                if message.read < message.packed.len() {
                    return Err(Status::internal("something follows a message under zstd"));
                }
                message.unpacked.truncate(message.written);
                return Ok(Some(std::mem::take(&mut message.unpacked).into()));
            }
            if step.bytes_read == 0 && step.bytes_written == 0 {
                return Err(Status::internal("a message under zstd is cut off"));
            }
        }
    }
}

impl Unpacking {
    /// How long it may be once there is more room; a message longer than `max_bytes` is an error.
    pub(super) fn next_room(&self, max_bytes: usize) -> Result<usize, Status> {
        let len = self.unpacked.len();
        if len > max_bytes {
            let what = format!("a message under zstd has more than {max_bytes} bytes");
            return Err(Status::new(Code::OutOfRange, what));
        }
        let wanted = match len {
            0 => self.packed.len().saturating_mul(FIRST_GUESS),
            len => len.saturating_mul(2),
        };
        // One byte more, so that what is just as long as it may be comes to its end.
        Ok(wanted.max(MIN_BYTES).min(max_bytes.saturating_add(1)))
    }

    /// What it takes with so much room.
    pub(super) fn memory_bytes(&self, room: usize) -> usize {
        // While it grows the smaller buffer is there as well.
        let buffers = room.saturating_add(self.unpacked.len());
        buffers
            .saturating_add(self.packed.len())
            .saturating_add(OWN_BYTES)
    }

    /// Makes so much room.
    pub(super) fn grow(&mut self, room: usize) {
        self.unpacked.resize(room.max(self.written), 0);
    }
}

/// Unpacks a message at once.
fn unpack(unpacker: &mut Unpacker, packed: Bytes, max_bytes: usize) -> Result<Bytes, Status> {
    let mut message = unpacker.begin(packed)?;
    loop {
        message.grow(message.next_room(max_bytes)?);
        if let Some(message) = unpacker.go_on(&mut message)? {
            return Ok(message);
        }
    }
}

/// Reads what a peer may send as a message under zstd.
pub(super) fn fuzz(packed: &Bytes) {
    if let Ok(mut unpacker) = Unpacker::new() {
        let _ = unpack(&mut unpacker, packed.clone(), 1 << 20);
    }
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

fn broken(error: &std::io::Error) -> Status {
    Status::internal(format!("a message under zstd is broken: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_BYTES: usize = 1 << 20;

    fn unpack(unpacker: &mut Unpacker, packed: impl Into<Bytes>) -> Result<Bytes, Status> {
        let unpacked = super::unpack(unpacker, packed.into(), MAX_BYTES);
        assert!(
            unpacked
                .as_ref()
                .map_or(true, |message| message.len() <= MAX_BYTES + 1)
        );
        unpacked
    }

    #[test]
    fn messages_come_back_one_after_the_other() {
        let mut unpacker = Unpacker::new().unwrap();
        for len in [0, 1, MIN_BYTES, 100_000, MAX_BYTES] {
            let message: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
            let packed = zstd::bulk::compress(&message, 1).unwrap();
            assert_eq!(unpack(&mut unpacker, packed).unwrap(), message, "{len}");
        }
    }

    #[test]
    fn a_message_that_grows_too_long_is_refused_before_it_did() {
        let mut unpacker = Unpacker::new().unwrap();
        let packed = zstd::bulk::compress(&vec![0; 50 * MAX_BYTES], 1).unwrap();
        assert!(packed.len() < 10_000);
        let error = unpack(&mut unpacker, packed).unwrap_err();
        assert_eq!(error.code(), Code::OutOfRange);
        // The next one is read as if nothing had been.
        let packed = zstd::bulk::compress(b"next", 1).unwrap();
        assert_eq!(unpack(&mut unpacker, packed).unwrap(), "next");
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        let mut unpacker = Unpacker::new().unwrap();
        let packed = zstd::bulk::compress(&[7; 1000], 1).unwrap();
        for len in 0..packed.len() {
            assert!(unpack(&mut unpacker, packed[..len].to_vec()).is_err(), "{len}");
        }
        assert!(unpack(&mut unpacker, [packed, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>, flip in 0usize..200, with in 1u8..) {
            let mut unpacker = Unpacker::new().unwrap();
            let _ = unpack(&mut unpacker, bytes);
            let mut packed = zstd::bulk::compress(&[1, 2, 3].repeat(500), 1).unwrap();
            let at = flip % packed.len();
            packed[at] ^= with;
            let _ = unpack(&mut unpacker, packed);
        }
    }
}
