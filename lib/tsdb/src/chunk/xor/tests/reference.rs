//! The format as it is written down, one bit at a time: slow, and plain enough to be believed.

struct Bits<'a> {
    data: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<bool> {
        let byte = self.data.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1 == 1;
        self.position += 1;
        Some(bit)
    }

    fn bits(&mut self, count: u32) -> Option<u64> {
        let mut number = 0;
        for _ in 0..count {
            number = number << 1 | u64::from(self.bit()?);
        }
        Some(number)
    }

    fn uvarint(&mut self) -> Option<u64> {
        let mut number = 0u128;
        for i in 0..10 {
            let byte = self.bits(8)?;
            number |= u128::from(byte & 127) << (7 * i);
            if byte < 128 {
                return u64::try_from(number).ok();
            }
        }
        None
    }

    fn time_step(&mut self) -> Option<i64> {
        for width in [0, 14, 17, 20] {
            if !self.bit()? {
                let number = self.bits(width)? as i64;
                let too_great = width > 0 && number > 1 << (width - 1);
                return Some(if too_great { number - (1 << width) } else { number });
            }
        }
        Some(self.bits(64)? as i64)
    }
}

/// The samples, or nothing if the data is broken.
pub(super) fn decode(data: &[u8]) -> Option<Vec<(i64, u64)>> {
    let mut bits = Bits { data, position: 0 };
    let count = bits.bits(16)?;
    let mut samples = Vec::new();
    let (mut t, mut step, mut value, mut window) = (0i64, 0i64, 0u64, (0, 64));
    for i in 0..count {
        match i {
            0 => {
                let zigzag = bits.uvarint()?;
                let half = (zigzag / 2) as i64;
                t = if zigzag % 2 == 1 { -1 - half } else { half };
                value = bits.bits(64)?;
                samples.push((t, value));
                continue;
            }
            1 => step = bits.uvarint()? as i64,
            _ => step = step.wrapping_add(bits.time_step()?),
        }
        t = t.wrapping_add(step);
        if bits.bit()? {
            if bits.bit()? {
                let lead = bits.bits(5)?;
                let width = match bits.bits(6)? {
                    0 => 64,
                    width => width,
                };
                window = (64u64.checked_sub(lead + width)?, width);
            }
            let (trail, width) = window;
            value ^= bits.bits(width as u32)? << trail;
        }
        samples.push((t, value));
    }
    Some(samples)
}
