//! A whole answer: the envelope around what is written piece by piece.

use std::{sync::Arc, vec::IntoIter};

use sabre_model::Labels;
use sabre_promql::value::Value;
use sabre_runtime::budget::Reservation;

use super::{text, value::ValueWriter};
use crate::evaluate::Charged;

/// An answer that is written from the beginning to the end, once.
#[derive(Debug)]
pub(crate) struct Document {
    head: Vec<u8>,
    data: Data,
    tail: Vec<u8>,
    /// Whether an item of a list was written.
    any: bool,
    /// The memory of what is to be written.
    _charged: Charged,
    _kept: Option<Arc<Reservation>>,
}

#[derive(Debug)]
enum Data {
    Value(ValueWriter),
    Texts(IntoIter<String>),
    Series(IntoIter<Labels>),
    Done,
}

impl Document {
    /// The answer to a query; `more` are further members of `data`, each with its comma before it.
    pub(crate) fn query(value: Value, more: &[u8], warnings: &[String]) -> Self {
        let mut head = br#"{"status":"success","data":{"resultType":"#.to_vec();
        text::string(&mut head, ValueWriter::type_of(&value));
        head.extend_from_slice(br#","result":"#);
        let mut tail = more.to_vec();
        tail.push(b'}');
        Self::new(head, Data::Value(ValueWriter::new(value)), tail, warnings)
    }

    /// A list of texts.
    pub(crate) fn texts(texts: Vec<String>, warnings: &[String]) -> Self {
        let head = br#"{"status":"success","data":["#.to_vec();
        Self::new(head, Data::Texts(texts.into_iter()), b"]".to_vec(), warnings)
    }

    /// A list of label sets.
    pub(crate) fn series(series: Vec<Labels>, warnings: &[String]) -> Self {
        let head = br#"{"status":"success","data":["#.to_vec();
        Self::new(head, Data::Series(series.into_iter()), b"]".to_vec(), warnings)
    }

    /// JSON that is there already.
    pub(crate) fn json(data: &serde_json::Value, warnings: &[String]) -> Self {
        let mut head = br#"{"status":"success","data":"#.to_vec();
        text::print(&mut head, format_args!("{data}"));
        Self::new(head, Data::Done, Vec::new(), warnings)
    }

    fn new(head: Vec<u8>, data: Data, mut tail: Vec<u8>, warnings: &[String]) -> Self {
        if !warnings.is_empty() {
            tail.extend_from_slice(br#","warnings":"#);
            text::strings(&mut tail, warnings);
        }
        tail.push(b'}');
        Self {
            head,
            data,
            tail,
            any: false,
            _charged: Charged::default(),
            _kept: None,
        }
    }

    /// Keeps memory charged until all is written, or nobody reads on.
    pub(crate) fn holding(mut self, charged: Charged) -> Self {
        self._charged = charged;
        self
    }

    /// The same for what is charged to the process.
    pub(crate) fn keeping(mut self, reservation: Arc<Reservation>) -> Self {
        self._kept = Some(reservation);
        self
    }

    /// Writes until `out` has `enough` bytes, or a little more. Returns whether all is written.
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        out.append(&mut self.head);
        while out.len() < enough {
            let item = match &mut self.data {
                Data::Value(value) => {
                    if value.fill(out, enough) {
                        self.data = Data::Done;
                    }
                    continue;
                }
                Data::Texts(texts) => texts.next().map(Item::Text),
                Data::Series(series) => series.next().map(Item::Labels),
                Data::Done => {
                    out.append(&mut self.tail);
                    return true;
                }
            };
            let Some(item) = item else {
                self.data = Data::Done;
                continue;
            };
            if self.any {
                out.push(b',');
            }
            self.any = true;
            match item {
                Item::Text(item) => text::string(out, &item),
                Item::Labels(item) => text::labels(out, &item),
            }
        }
        false
    }
}

enum Item {
    Text(String),
    Labels(Labels),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(mut document: Document, piece_bytes: usize) -> String {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            let done = document.fill(&mut out, piece_bytes);
            all.extend_from_slice(&out);
            if done {
                return String::from_utf8(all).unwrap();
            }
        }
    }

    #[test]
    fn lists_come_out_the_same_whatever_the_size_of_the_pieces() {
        let expected = r#"{"status":"success","data":["a","b\"","c"],"warnings":["w"]}"#;
        let texts = || vec!["a".to_owned(), "b\"".to_owned(), "c".to_owned()];
        for piece_bytes in [1, 7, 40, 4096] {
            let document = Document::texts(texts(), &["w".to_owned()]);
            assert_eq!(whole(document, piece_bytes), expected);
        }
        assert_eq!(
            whole(Document::texts(Vec::new(), &[]), 10),
            r#"{"status":"success","data":[]}"#
        );
        let labels = Labels::from_pairs([("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(
            whole(Document::series(vec![labels.clone(), labels], &[]), 10),
            r#"{"status":"success","data":[{"a":"1","b":"2"},{"a":"1","b":"2"}]}"#
        );
    }

    #[test]
    fn scalars_and_texts_are_pairs() {
        let scalar = Value::Scalar {
            t: 1_500,
            value: f64::NAN,
        };
        assert_eq!(
            whole(Document::query(scalar, b"", &[]), 3),
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.500,"NaN"]}}"#
        );
        let text = Value::String {
            t: 0,
            value: "a\n".to_owned(),
        };
        assert_eq!(
            whole(Document::query(text, br#","stats":{}"#, &[]), 3),
            r#"{"status":"success","data":{"resultType":"string","result":[0,"a\n"],"stats":{}}}"#
        );
        assert_eq!(
            whole(Document::query(Value::Matrix(Vec::new()), b"", &[]), 3),
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#
        );
    }
}
