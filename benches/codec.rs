//! Measures encoding and decoding of one frame: `cargo bench --bench codec`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and measures real time"
)]

use std::hint::black_box;

use actix_peer::frame::{Frame, FrameCodec, Part};
use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio_util::codec::{Decoder, Encoder};

const SIZES: [usize; 3] = [64, 1 << 10, 64 << 10];

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    for size in SIZES {
        let frame = Frame::new("DATA", vec![7; size]);
        group.throughput(Throughput::Bytes(frame.encoded_len() as u64));
        group.bench_with_input(BenchmarkId::new("encode", size), &frame, |b, frame| {
            let (mut codec, mut out) = (FrameCodec::default(), BytesMut::new());
            b.iter(|| {
                out.clear();
                codec.encode(black_box(frame.clone()), &mut out).expect("a frame");
                black_box(&out);
            });
        });
        let mut bytes = BytesMut::new();
        FrameCodec::default().encode(frame, &mut bytes).expect("a frame");
        group.bench_with_input(BenchmarkId::new("decode", size), &bytes, |b, bytes| {
            let (mut codec, mut buffer) = (FrameCodec::default(), BytesMut::new());
            b.iter(|| {
                // As from a socket: the bytes are copied into the buffer, and the frame is split
                // off.
                buffer.extend_from_slice(black_box(bytes));
                let part = codec.decode(&mut buffer).expect("a frame");
                assert!(matches!(black_box(part), Some(Part::Frame(_))));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
