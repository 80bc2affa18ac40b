"""Images of an index as tensors: whole sets of one size, windows at native size, grouping."""

import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bbr.data import loading
from bbr.data.images import UnreadableImage, read_rgb
from bbr.data.index import Index
from bbr.data.loading import (
    SquareImages,
    chunks,
    groups_of_equal,
    native_size_windows,
    resize,
    to_tensor,
)

SIZES = [(9, 12), (12, 12), (30, 7), (1, 1), (12, 12)]


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def index(tmp_path):
    """Five images of various sizes, written without loss."""
    images = []
    for number, (height, width) in enumerate(SIZES):
        name = f"{number}.png"
        Image.fromarray(pixels(height, width, number)).save(tmp_path / name)
        images.append({"id": 10 + number, "file_name": name, "width": width, "height": height})
    return Index(images, [], [], {}, tmp_path / "index.json")


class TestPixels:
    def test_to_tensor_is_channels_first(self):
        image = pixels(2, 3)
        tensor = to_tensor(image)
        assert tensor.shape == (3, 2, 3)
        assert tensor.dtype == torch.uint8
        assert tensor[1, 0, 2] == image[0, 2, 1]

    def test_resize_of_the_right_size_is_the_image_itself(self):
        image = pixels(8, 8)
        assert resize(image, 8) is image

    def test_resize_squashes_to_a_square(self):
        # Left half black, right half white: still so, whatever the side ratio.
        image = np.zeros((10, 40, 3), dtype=np.uint8)
        image[:, 20:] = 255
        small = resize(image, 8)
        assert small.shape == (8, 8, 3)
        assert (small[:, :3] == 0).all()
        assert (small[:, 5:] == 255).all()

    def test_resize_averages_what_it_shrinks(self):
        """With antialiasing a fine chequerboard becomes grey, without it would stay black/white."""
        board = np.indices((64, 64)).sum(axis=0) % 2 * 255
        small = resize(np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8), 8)
        # Bicubic weights of an even board cancel to within the rounding of 8-bit passes, but for
        # the border, where the kernel is cut.
        np.testing.assert_allclose(small[1:-1, 1:-1], 127.5, atol=2)


class TestSquareImages:
    @pytest.mark.parametrize("kept", [True, False])
    def test_any_positions_in_any_order(self, index, monkeypatch, kept):
        if not kept:
            monkeypatch.setattr(loading, "_CACHE_BYTES", 0)
        images = SquareImages(index, 12)
        assert len(images) == 5
        for positions in ([3, 0, 3], torch.tensor([4, 1]), range(5)):
            batch = images.batch(positions)
            assert batch.dtype == torch.uint8
            for position, image in zip(positions, batch, strict=True):
                expected = resize(pixels(*SIZES[position], int(position)), 12)
                assert torch.equal(image, to_tensor(expected))
        index.image_path(index.images[0]).unlink()
        if kept:
            assert images.batch([0]).shape == (1, 3, 12, 12)
        else:
            with pytest.raises(UnreadableImage):
                images.batch([0])

    def test_kept_images_are_not_read_again(self, index):
        images = SquareImages(index, 12)
        before = images.batch([0, 1])
        index.image_path(index.images[0]).unlink()
        assert torch.equal(images.batch([0, 1]), before)

    @pytest.mark.parametrize("kept", [True, False])
    def test_prefetched_images_are_read_once(self, index, monkeypatch, kept):
        if not kept:
            monkeypatch.setattr(loading, "_CACHE_BYTES", 0)
        read = []
        monkeypatch.setattr(
            loading, "read_indexed", lambda path, _: read.append(path.name) or read_rgb(path)
        )
        images = SquareImages(index, 12)
        images.prefetch([0, 2])
        images.prefetch(torch.tensor([2, 1]))
        batch = images.batch([2, 0])
        assert torch.equal(images.batch([1]), SquareImages(index, 12).batch([1]))
        assert torch.equal(batch, SquareImages(index, 12).batch([2, 0]))
        assert sorted(read[:3]) == ["0.png", "1.png", "2.png"]
        assert images._coming == {}

    def test_a_prefetched_image_that_is_unreadable_is_told_when_asked_for(self, index):
        index.image_path(index.images[2]).write_bytes(b"")
        images = SquareImages(index, 12)
        images.prefetch([1, 2])
        assert images.batch([1]).shape == (1, 3, 12, 12)
        with pytest.raises(UnreadableImage, match="empty file"):
            images.batch([2])

    def test_a_batch_is_the_caller_s_own(self, index):
        images = SquareImages(index, 12)
        images.batch([1]).zero_()
        assert images.batch([1]).any()

    def test_can_be_sent_to_another_process(self, index):
        images = pickle.loads(pickle.dumps(SquareImages(index, 12)))
        assert images.batch([1]).shape == (1, 3, 12, 12)

    def test_an_unreadable_image_is_an_error(self, index):
        index.image_path(index.images[2]).write_bytes(b"")
        with pytest.raises(UnreadableImage, match="empty file"):
            SquareImages(index, 12).batch([1, 2])


class TestWindows:
    @pytest.mark.parametrize("window", [1, 2, 5, 9])
    def test_every_image_once_in_order(self, index, window):
        windows = list(native_size_windows(index, index.images, window))
        assert [len(w) for w in windows[:-1]] == [window] * (len(windows) - 1)
        pairs = [pair for w in windows for pair in w]
        assert [image["id"] for image, _ in pairs] == [10, 11, 12, 13, 14]
        for number, (_, found) in enumerate(pairs):
            np.testing.assert_array_equal(found, pixels(*SIZES[number], number))

    def test_an_unreadable_image_does_not_cost_the_others(self, index):
        index.image_path(index.images[1]).write_text("text")
        ((_, first), (image, error), *_), *_ = native_size_windows(index, index.images, 3)
        np.testing.assert_array_equal(first, read_rgb(index.image_path(index.images[0])))
        assert image["id"] == 11
        assert isinstance(error, UnreadableImage)

    def test_no_images(self, index):
        assert list(native_size_windows(index, [], 3)) == []

    def test_at_most_two_windows_are_in_memory(self, index, monkeypatch):
        read = []

        def pixels(path, _):
            read.append(path)
            return np.zeros((9, 12, 3), np.uint8)

        monkeypatch.setattr(loading, "read_indexed", pixels)
        windows = native_size_windows(index, index.images * 20, 10)
        next(windows)
        assert len(read) <= 20


class TestGrouping:
    @given(st.lists(st.integers(0, 5)), st.integers(1, 4))
    def test_groups_are_of_equals_and_complete(self, items, size):
        numbered = list(enumerate(items))
        groups = list(groups_of_equal(numbered, lambda item: item[1], size))
        assert sorted(item for group in groups for item in group) == numbered
        for group in groups:
            assert 1 <= len(group) <= size
            assert len({value for _, value in group}) == 1
            assert group == sorted(group)

    def test_groups_by_first_appearance(self):
        assert list(groups_of_equal("abacab", str, 2)) == [["a", "a"], ["a"], ["b", "b"], ["c"]]

    @given(st.lists(st.integers()), st.integers(1, 4))
    def test_chunks_are_consecutive(self, items, size):
        parts = list(chunks(items, size))
        assert [item for part in parts for item in part] == items
        assert all(len(part) == size for part in parts[:-1])
        assert all(parts)


def test_what_one_process_has_read_another_reads_itself(index):
    """As they are sent to the processes of `--devices`, which share the tensors among them."""
    images = SquareImages(index, 8)
    first, second = (pickle.loads(bytes(ForkingPickler.dumps(images))) for _ in range(2))
    expected = images.batch([3, 1])
    assert torch.equal(first.batch([3, 1]), expected)
    assert torch.equal(second.batch([3, 1]), expected)
