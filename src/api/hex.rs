//! Bytes as hexadecimal text: hashes, random identifiers, what an error message shows of a body.

/// Lower-case hexadecimal digits, two for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('0')).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_digits_each() {
        assert_eq!(super::hex(&[0, 0x0f, 0xa0, 255]), "000fa0ff");
    }
}
