//! The frame of an index-header file (Thanos' binary format, version 1).
//!
//! | part | bytes |
//! |---|---|
//! | header | u32 magic, u8 version, u8 version of the index, u64 end of the postings in the index |
//! | symbols | the index's bytes from its symbols up to its series |
//! | postings offset table | the index's bytes from its table to its end: the table and the 52 bytes of TOC |
//! | TOC | u64 offset of the symbols (14), u64 offset of the table, u32 CRC32C of these 16 bytes |

use std::ops::Range;

use sabre_tsdb::{
    Corruption, crc32c,
    encoding::{Decoder, put_u32, put_u64},
    index::{TOC_BYTES as INDEX_TOC_LENGTH, Toc, Version},
};

use super::{
    cursor::{Cursor, Fault, corrupt_at},
    source::{Access, Source},
};

const MAGIC: u32 = 0xbaaa_d792;
const VERSION: u8 = 1;
/// Length of the header, and so the offset of the symbols.
pub(super) const HEADER_BYTES: u64 = 14;
/// Length of the TOC at the end of the file.
const TOC_BYTES: u64 = 20;
/// Length of the TOC at the end of an index.
pub(super) const INDEX_TOC_BYTES: u64 = INDEX_TOC_LENGTH as u64;
/// Length word, count and CRC: what a section has besides its entries.
const SECTION_FRAME_BYTES: u64 = 12;

/// Where the parts of an index-header lie.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) index_version: Version,
    /// Where the postings of the index end at the latest.
    pub(super) index_postings_end: u64,
    /// The contents table of the index.
    pub(super) index_toc: Toc,
    /// The symbols section in this file.
    pub(super) symbols: Range<u64>,
    /// The postings offset table in this file, without the contents table behind it.
    pub(super) postings_table: Range<u64>,
}

/// The entries of a section whose CRC was found right.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// How many entries it says it has.
    pub(super) count: u32,
    /// Where they lie in the file.
    pub(super) entries: Range<u64>,
}

impl Layout {
    /// Reads header and TOCs, and checks that the parts fit together.
    pub(super) fn read(source: &Source) -> Result<Self, Fault> {
        let size = source.size_bytes();
        let least = HEADER_BYTES + INDEX_TOC_BYTES + TOC_BYTES;
        if size < least {
            return Err(Corruption::short("index-header", 0, least, size).into());
        }
        let (index_version, index_postings_end) = read_header(source)?;
        let (symbols_offset, table_offset) = read_toc(source)?;
        let index_toc_offset = size - TOC_BYTES - INDEX_TOC_BYTES;
        if symbols_offset != HEADER_BYTES || table_offset < symbols_offset || table_offset > index_toc_offset
        {
            let what =
                format!("offsets {symbols_offset} and {table_offset} do not fit a file of {size} bytes");
            return Err(corrupt_at("index-header toc", size - TOC_BYTES, what));
        }
        let index_toc = read_index_toc(source, index_toc_offset)?;
        let layout = Self {
            index_version,
            index_postings_end,
            symbols: symbols_offset..table_offset,
            postings_table: table_offset..index_toc_offset,
            index_toc,
        };
        layout.check_against_index_toc()?;
        Ok(layout)
    }

    /// Size of the index this header was made from.
    pub(super) fn index_size_bytes(&self) -> u64 {
        let table = self.postings_table.end.saturating_sub(self.postings_table.start);
        self.index_postings_end
            .saturating_add(table)
            .saturating_add(INDEX_TOC_BYTES)
    }

    /// Where the last postings list of the index ends, at the latest.
    ///
    /// Old files have the label offset table between the lists and the table: it need not be read along.
    pub(super) fn last_list_end(&self) -> u64 {
        let label_table = self.index_toc.label_indices_table;
        if label_table > self.index_toc.postings && label_table < self.index_postings_end {
            return label_table;
        }
        self.index_postings_end
    }

    fn check_against_index_toc(&self) -> Result<(), Fault> {
        let symbols_length = self.symbols.end - self.symbols.start;
        let toc = &self.index_toc;
        let fits = toc.series.checked_sub(toc.symbols) == Some(symbols_length)
            && toc.postings_table == self.index_postings_end;
        if fits {
            return Ok(());
        }
        let what = "header and contents table of the index contradict each other";
        Err(corrupt_at("index-header", 0, what))
    }
}

impl Section {
    /// Reads length, count and CRC of the section that begins at `range.start`, and checks the CRC.
    pub(super) fn verify(source: &Source, name: &'static str, range: &Range<u64>) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(source, Access::Scan, name, range.start, range.end);
        let length = u64::from(cursor.u32()?);
        let available = range.end.saturating_sub(range.start);
        if length < 4 || length.saturating_add(SECTION_FRAME_BYTES - 4) > available {
            let what = format!("a section of {length} bytes does not fit the {available} bytes it has");
            return Err(corrupt_at(name, range.start, what));
        }
        let body = cursor.position();
        let computed = cursor.crc32c(length)?;
        let stored = cursor.u32()?;
        if stored != computed {
            return Err(Corruption::crc(name, range.start, stored, computed).into());
        }
        cursor.seek(body);
        let count = cursor.u32()?;
        Ok(Self {
            count,
            entries: cursor.position()..body.saturating_add(length),
        })
    }

    /// Reads the entries from begin to end.
    pub(super) fn scan<'a>(&self, source: &'a Source, name: &'static str) -> Cursor<'a> {
        Cursor::new(source, Access::Scan, name, self.entries.start, self.entries.end)
    }
}

/// The first bytes of an index-header.
pub(super) fn encode_header(index_version: Version, index_postings_end: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES as usize);
    put_u32(&mut out, MAGIC);
    out.extend([VERSION, index_version.number()]);
    put_u64(&mut out, index_postings_end);
    out
}

/// The last bytes of an index-header whose postings offset table begins at `table_offset`.
pub(super) fn encode_toc(table_offset: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(TOC_BYTES as usize);
    put_u64(&mut out, HEADER_BYTES);
    put_u64(&mut out, table_offset);
    let crc = crc32c(&out);
    put_u32(&mut out, crc);
    out
}

fn read_header(source: &Source) -> Result<(Version, u64), Fault> {
    let mut cursor = Cursor::new(source, Access::Scan, "index-header", 0, HEADER_BYTES);
    let mut header = Decoder::new("index-header", cursor.take(HEADER_BYTES)?);
    let magic = header.u32()?;
    if magic != MAGIC {
        return Err(corrupt_at(
            "index-header",
            0,
            format!("magic number {magic:08x} instead of {MAGIC:08x}"),
        ));
    }
    let version = header.u8()?;
    if version != VERSION {
        return Err(corrupt_at(
            "index-header",
            4,
            format!("version {version} instead of {VERSION}"),
        ));
    }
    let index_version = match header.u8()? {
        1 => Version::V1,
        2 => Version::V2,
        other => {
            let what = format!("made from an index of version {other}, versions 1 and 2 are known");
            return Err(corrupt_at("index-header", 5, what));
        }
    };
    Ok((index_version, header.u64()?))
}

fn read_toc(source: &Source) -> Result<(u64, u64), Fault> {
    let start = source.size_bytes() - TOC_BYTES;
    let mut cursor = Cursor::new(
        source,
        Access::Scan,
        "index-header toc",
        start,
        source.size_bytes(),
    );
    let bytes = cursor.take(TOC_BYTES)?;
    let mut toc = Decoder::at("index-header toc", start, bytes);
    let offsets = (toc.u64()?, toc.u64()?);
    let stored = toc.u32()?;
    let computed = crc32c(bytes.get(..16).unwrap_or_default());
    if stored != computed {
        return Err(Corruption::crc("index-header toc", start, stored, computed).into());
    }
    Ok(offsets)
}

fn read_index_toc(source: &Source, start: u64) -> Result<Toc, Fault> {
    let end = start.saturating_add(INDEX_TOC_BYTES);
    let mut cursor = Cursor::new(source, Access::Scan, "index toc", start, end);
    Ok(Toc::decode(cursor.take(INDEX_TOC_BYTES)?).map_err(|corruption| corruption.shifted(start))?)
}
