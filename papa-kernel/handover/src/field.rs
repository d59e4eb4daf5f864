//! Fields whose form in a snapshot is not that of their type.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

use bincode::de::{BorrowDecode, BorrowDecoder, Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use papa_spawn::child::{Credentials, Exit, Shield};
use protocol::papa::{Command, Form, ProcessSpec, SocketSpec, parse_request};

/// Nothing here borrows from the bytes, but what derives `Decode` asks for this as well.
macro_rules! decode_borrowed {
    ($type:ident<$parameter:ident: $($bound:tt)+) => {
        impl<'de, C, $parameter: $($bound)+ BorrowDecode<'de, C> for $type<$parameter> {
            fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, DecodeError> {
                Self::decode(decoder)
            }
        }
    };
}

decode_borrowed!(Fresh<T: Default>);
decode_borrowed!(Table<T: Entry + Decode<C>>);
decode_borrowed!(Request<S: Line>);
decode_borrowed!(Kept<T: Parts<Parts: Decode<C>>>);
bincode::impl_borrow_decode!(Bytes);

/// What is not kept, and begins anew in the next program.
#[derive(Debug, Default)]
pub struct Fresh<T>(pub T);

impl<T> Encode for Fresh<T> {
    fn encode<E: Encoder>(&self, _: &mut E) -> Result<(), EncodeError> {
        Ok(())
    }
}

impl<C, T: Default> Decode<C> for Fresh<T> {
    fn decode<D: Decoder<Context = C>>(_: &mut D) -> Result<Self, DecodeError> {
        Ok(Self::default())
    }
}

/// Bytes of a ring, kept in the two parts in which they lie.
#[derive(Debug, Default)]
pub struct Bytes(VecDeque<u8>);

impl Deref for Bytes {
    type Target = VecDeque<u8>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Encode for Bytes {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.as_slices().encode(encoder)
    }
}

impl<C> Decode<C> for Bytes {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (mut front, mut back) = <(Vec<u8>, Vec<u8>)>::decode(decoder)?;
        front.append(&mut back);
        Ok(Self(front.into()))
    }
}

/// An entry of a [`Table`], which knows its own key.
pub trait Entry {
    /// What it is found by.
    type Key: Ord + Debug;

    /// The key of this entry.
    fn key(&self) -> Self::Key;
}

/// Entries by key, kept as a list in that order.
#[derive(Debug)]
pub struct Table<T: Entry>(BTreeMap<T::Key, T>);

impl<T: Entry> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Entry> Deref for Table<T> {
    type Target = BTreeMap<T::Key, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: Entry> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<T: Entry + Encode> Encode for Table<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.values().collect::<Vec<_>>().encode(encoder)
    }
}

impl<C, T: Entry + Decode<C>> Decode<C> for Table<T> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let mut table = Self::default();
        for entry in Vec::<T>::decode(decoder)? {
            if let Some(other) = table.insert(entry.key(), entry) {
                return Err(wrong(format!("two entries are called {:?}", other.key())));
            }
        }
        Ok(table)
    }
}

/// A value of a type that knows nothing of snapshots, kept as its parts.
#[derive(Debug, PartialEq)]
pub struct Kept<T>(pub T);

/// What is made of parts that can be kept. Other parts, or another order, are a new format.
pub trait Parts {
    /// All of them, in the order in which they are kept.
    type Parts: Encode;

    /// Takes it apart.
    fn parts(&self) -> Self::Parts;

    /// Puts it together.
    fn of(parts: Self::Parts) -> Self;
}

impl Parts for Credentials {
    type Parts = (Option<u32>, u32, Option<Vec<u32>>);

    fn parts(&self) -> Self::Parts {
        (self.uid, self.gid, self.groups.clone())
    }

    fn of((uid, gid, groups): Self::Parts) -> Self {
        Self { uid, gid, groups }
    }
}

impl Parts for Exit {
    /// Whether a signal ended it, and the number of that or the status.
    type Parts = (bool, i32);

    fn parts(&self) -> Self::Parts {
        match *self {
            Self::Code(code) => (false, code),
            Self::Signal(signal) => (true, signal),
        }
    }

    fn of((by_signal, number): Self::Parts) -> Self {
        if by_signal { Self::Signal(number) } else { Self::Code(number) }
    }
}

impl Parts for Shield {
    type Parts = ((u64, u64), bool);

    fn parts(&self) -> Self::Parts {
        (self.nofile, self.reset_oom)
    }

    fn of((nofile, reset_oom): Self::Parts) -> Self {
        Self { nofile, reset_oom }
    }
}

impl<T: Parts> Encode for Kept<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.parts().encode(encoder)
    }
}

impl<C, T: Parts<Parts: Decode<C>>> Decode<C> for Kept<T> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self(T::of(T::Parts::decode(decoder)?)))
    }
}

/// What a client asked for, kept as the exact request line that asks for it.
#[derive(Debug, Clone)]
pub struct Request<S>(pub S);

impl<S> Deref for Request<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

/// What has a request line.
pub trait Line: Sized {
    /// Appends the line, without its line feed.
    fn print_exact(&self, out: &mut Vec<u8>);

    /// What the command asks for, if it is this.
    fn of_command(command: Command) -> Option<Self>;
}

impl Line for SocketSpec {
    fn print_exact(&self, out: &mut Vec<u8>) {
        self.print(Form::Exact, out);
    }

    fn of_command(command: Command) -> Option<Self> {
        if let Command::MakeSocket(spec) = command { Some(*spec) } else { None }
    }
}

impl Line for ProcessSpec {
    fn print_exact(&self, out: &mut Vec<u8>) {
        self.print(Form::Exact, false, out);
    }

    fn of_command(command: Command) -> Option<Self> {
        if let Command::MakeProcess { spec, .. } = command { Some(*spec) } else { None }
    }
}

impl<S: Line> Encode for Request<S> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let mut line = Vec::new();
        self.0.print_exact(&mut line);
        line.encode(encoder)
    }
}

impl<C, S: Line> Decode<C> for Request<S> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        const SHOWN: usize = 200;
        let line = Vec::<u8>::decode(decoder)?;
        let command = parse_request(&line).1.ok().flatten();
        command.and_then(S::of_command).map(Self).ok_or_else(|| {
            let shown = String::from_utf8_lossy(line.get(..SHOWN).unwrap_or(&line)).into_owned();
            wrong(format!("it holds a request that is not understood: {shown}"))
        })
    }
}

/// The bytes make no state.
pub(crate) fn wrong(text: String) -> DecodeError {
    DecodeError::OtherString(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{decode, encode};

    #[derive(Debug, bincode::Encode, bincode::Decode)]
    struct Named(String, Fresh<u8>);

    impl Entry for Named {
        type Key = String;

        fn key(&self) -> String {
            self.0.clone()
        }
    }

    fn named(name: &str) -> Named {
        Named(name.to_owned(), Fresh(7))
    }

    #[test]
    fn a_table_is_a_list_in_which_no_name_comes_twice() {
        let snapshot = encode(&vec![named("b"), named("a")]).unwrap();
        let table: Table<Named> = decode(&snapshot).unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(table["a"].1.0, 0, "what is fresh begins anew");
        assert_eq!(decode::<Vec<String>>(&encode(&table).unwrap()).unwrap(), ["a", "b"]);
        let twice = encode(&vec![named("a"), named("a")]).unwrap();
        let text = decode::<Table<Named>>(&twice).unwrap_err().to_string();
        assert_eq!(text, "the snapshot cannot be decoded: two entries are called \"a\"");
    }

    #[test]
    fn a_request_that_asks_for_something_else_is_shown() {
        let line = encode(&b"%make socket web".to_vec()).unwrap();
        assert_eq!(decode::<Request<SocketSpec>>(&line).unwrap().name, "web");
        let text = decode::<Request<ProcessSpec>>(&line).unwrap_err().to_string();
        assert!(text.ends_with("not understood: %make socket web"), "{text}");
    }
}
