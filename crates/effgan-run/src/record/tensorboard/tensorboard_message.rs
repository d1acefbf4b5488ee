//! The messages of an event file, with the field numbers of TensorFlow's `event.proto` and `summary.proto`; fields that we
//! never write are left out.

// Written by hand, since four messages are not worth a protoc: the tests compare the bytes with those of TensorBoard.

use prost::Message;

/// One record of an event file. Exactly one of `file_version` and `summary` is set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    #[prost(string, optional, tag = "3")]
    pub(super) file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<Value>,
}

/// A named number or picture. Exactly one of `scalar` and `image` is set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    /// Called `simple_value` in `summary.proto`.
    #[prost(float, optional, tag = "2")]
    pub(super) scalar: Option<f32>,
    #[prost(message, optional, tag = "4")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(int32, tag = "1")]
    pub(super) height: i32,
    #[prost(int32, tag = "2")]
    pub(super) width: i32,
    /// Channels: 3 is red, green, blue.
    #[prost(int32, tag = "3")]
    pub(super) colorspace: i32,
    /// A PNG file.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) encoded_image_string: Vec<u8>,
}
