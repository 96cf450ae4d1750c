"""Shapes of packed batches: the smallest shape of given blocks, and rounding."""

import pytest
from naive import make_example

from rmjax.data.batch import BatchShape, Chunk
from rmjax.data.batch_shape import coarse_shape, rounded_shape, smallest_shape


def test_the_smallest_shape_by_hand():
    """Two blocks: 2 rows with 9 responses and 13 pairs, and 1 row with 2 responses and 1 pair."""
    examples = [
        make_example([3], [[1]] * 5),
        make_example([3], [[1]] * 4, pairs=[(0, 1)] * 3),
        make_example([3], [[1]] * 2),
    ]
    blocks = [[[Chunk(0, 0, 5, 6)], [Chunk(1, 0, 4, 5)]], [[Chunk(2, 0, 2, 3)]]]
    assert smallest_shape(examples, blocks, row_length=7) == BatchShape(2, 7, 16, 16)
    assert smallest_shape(examples, blocks[1:], row_length=7) == BatchShape(1, 7, 8, 8)


@pytest.mark.parametrize(
    ("row_length", "rounded"),
    [(1, 128), (128, 128), (129, 192), (1000, 1024), (1025, 1152), (2048, 2048), (2049, 2304), (4097, 4608)],
)
def test_row_lengths_are_rounded_to_eight_steps_per_octave(row_length, rounded):
    assert rounded_shape(BatchShape(1, row_length, 8, 8)).row_length == rounded


def test_rounding_enlarges_is_idempotent_and_gives_few_shapes():
    shapes = {size: rounded_shape(BatchShape(size, size, size, size)) for size in range(1, 3000)}
    for size, shape in shapes.items():
        assert min(shape) >= size
        assert rounded_shape(shape) == shape
        assert shape.rows.bit_count() == shape.responses.bit_count() == shape.pairs.bit_count() == 1
        assert size < 512 or shape.row_length - size < shape.row_length / 8
    assert len({shape.row_length for shape in shapes.values()}) < 40


def test_coarse_rounding_gives_fewer_shapes_and_at_most_a_third_of_padding():
    shapes = {length: coarse_shape(BatchShape(1, length, max(8, length // 16), 8)) for length in range(1, 3000)}
    for length, shape in shapes.items():
        assert min(shape) >= 1
        assert shape.row_length >= length
        assert shape.responses >= length // 16
        assert coarse_shape(shape) == shape
        assert length < 128 or (shape.row_length - length) * 3 < shape.row_length + 3
    assert sorted({shape.row_length for shape in shapes.values()}) == [
        128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072,
    ]  # fmt: skip
    assert len(set(shapes.values())) == 10
    assert coarse_shape(BatchShape(3, 128, 200, 8)) == BatchShape(4, 128, 256, 8)
