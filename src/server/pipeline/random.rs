//! Random names: UIDs and the suffixes of `generateName`.

use std::cell::RefCell;

/// Upstream's alphabet for generated names: no vowels and nothing that looks like one.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Random bytes that a thread got of the kernel and nobody has used.
struct Supply {
    bytes: [u8; 512],
    used: usize,
}

thread_local! {
    static SUPPLY: RefCell<Supply> = const { RefCell::new(Supply { bytes: [0; 512], used: 512 }) };
}

/// So many random bytes, each given once. For names only: what must stay secret does not come from here.
pub fn bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= 512) };
    SUPPLY.with_borrow_mut(|supply| {
        if supply.used + N > supply.bytes.len() {
            getrandom::fill(&mut supply.bytes).expect("the kernel gives random bytes");
            supply.used = 0;
        }
        let mut random = [0; N];
        random.copy_from_slice(&supply.bytes[supply.used..supply.used + N]);
        supply.used += N;
        random
    })
}

/// A version 4 UUID.
pub fn uid() -> String {
    let mut raw = bytes::<16>();
    raw[6] = (raw[6] & 0x0f) | 0x40;
    raw[8] = (raw[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (at, byte) in raw.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    out
}

/// The longest base that a generated name keeps: 63 less the suffix.
const MAX_BASE: usize = 58;

/// `base` (cut where too long) and five random characters.
pub fn generated_name(base: &str) -> String {
    let mut end = base.len().min(MAX_BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], suffix())
}

/// Five random characters.
pub fn suffix() -> String {
    // 64 bits for 5 of 27: the bias is below 10⁻¹¹.
    let mut number = u64::from_le_bytes(bytes::<8>());
    let mut out = String::with_capacity(5);
    for _ in 0..5 {
        out.push(char::from(ALPHABET[(number % 27) as usize]));
        number /= 27;
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn shapes() {
        let uid = super::uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert_ne!(uid, super::uid());
        assert_eq!(super::generated_name(&"x".repeat(80)).len(), 63);
        assert!(super::generated_name("web-").starts_with("web-"));
    }
}
