/// A random id as LiveStore makes them: 21 characters of the nanoid alphabet.
pub(crate) fn new_id() -> String {
    const ALPHABET: &[u8; 64] = b"useandom-26T198340PX75pxJACKVERYMINDBUSHWOLF_GQZbfghjklqvwyzrict";
    let mut bytes = [0; 21];
    getrandom::fill(&mut bytes).expect("the platform has randomness");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect()
}
