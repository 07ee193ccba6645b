//! The key of a row, from its checksum.
//!
//! A row does not hold the seq it is stored under, but its CRC-32 covers it. A CRC is a shift register
//! that can be run backwards: from the checksum over the row to the state before it, which depends
//! on the eight bytes of the key alone. Where the upper four are known, exactly one value of the
//! lower four fits. So every row tells where it belongs, whatever became of the page around it; that
//! this is true of a row that is damaged, too, is for digests and signatures to find out.

use crate::seq::Seq;

/// The polynomial of CRC-32, least significant bit first.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// The register before the first byte.
const START: u32 = u32::MAX;

/// What a byte that is shifted out does to the register.
const FORWARD: [u32; 256] = forward();

/// Which byte was shifted out, by the upper byte of what it did.
const BACKWARD: [u8; 256] = backward();

const fn forward() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(value & 1));
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

const fn backward() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        table[(FORWARD[index] >> 24) as usize] = index as u8;
        index += 1;
    }
    table
}

/// The register after this byte.
fn after(register: u32, byte: u8) -> u32 {
    let [low, ..] = register.to_le_bytes();
    FORWARD[usize::from(low ^ byte)] ^ (register >> 8)
}

/// The register before this byte.
fn before(register: u32, byte: u8) -> u32 {
    let [.., high] = register.to_le_bytes();
    let shifted_out = BACKWARD[usize::from(high)];
    ((register ^ FORWARD[usize::from(shifted_out)]) << 8) | u32::from(shifted_out ^ byte)
}

/// The seq with these upper 32 bits that the row was stored under, if it is whole.
pub(super) fn seq_of(row: &[u8], high: u32) -> Option<Seq> {
    let (covered, crc) = row.split_last_chunk::<4>()?;
    let end = !u32::from_le_bytes(*crc);
    let behind_key = covered
        .iter()
        .rev()
        .fold(end, |register, byte| before(register, *byte));
    let at_low = high.to_be_bytes().into_iter().fold(START, after);
    // Four bytes that go in are the same as four zeros into a register that holds them already.
    let with_low = [0; 4].into_iter().fold(behind_key, before);
    let low = u32::from_be_bytes((at_low ^ with_low).to_le_bytes());
    Some(Seq::new(u64::from(high) << 32 | u64::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_seq_that_its_checksum_covers() {
        for number in [1, 2, 255, 65_536, 0xFFFF_FFFF, 1 << 32, (3 << 32) + 12_345] {
            let seq: u64 = number;
            for length in [1, 2, 3, 4, 5, 900] {
                let mut row: Vec<u8> = (0..length).map(|n: u64| (n * seq) as u8).collect();
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&seq.to_be_bytes());
                hasher.update(&row);
                row.extend(hasher.finalize().to_le_bytes());
                assert_eq!(seq_of(&row, (seq >> 32) as u32), Some(Seq::new(seq)));
            }
        }
        assert_eq!(seq_of(&[1, 2, 3], 0), None);
    }
}
