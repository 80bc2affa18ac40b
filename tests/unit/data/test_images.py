"""bbr.data.images: pixel modes by hand-worked values, orientations, each kind of bad file."""

import importlib.util
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bbr.data.images import (
    UnreadableImage,
    checksum,
    image_size,
    read_indexed,
    read_rgb,
    upright_rgb,
)
from bbr.errors import InputError

# What EXIF orientation 1..8 asks for, as operations on the stored (H, W, 3) array.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(image, path, **options):
    image.save(path, **options)
    return path


def reason(path):
    """Why both functions refuse a file; they must agree."""
    with pytest.raises(UnreadableImage) as from_pixels:
        read_rgb(path)
    with pytest.raises(UnreadableImage) as from_size:
        image_size(path)
    assert from_pixels.value.reason == from_size.value.reason
    assert "\n" not in from_pixels.value.reason
    assert str(path.parent) not in from_pixels.value.reason
    return from_pixels.value.reason


class TestModes:
    def test_rgb_is_returned_as_stored_and_writable(self, tmp_path):
        stored = pixels(3, 5)
        got = read_rgb(save(Image.fromarray(stored), tmp_path / "a.png"))
        assert got.dtype == np.uint8
        assert got.flags.writeable
        np.testing.assert_array_equal(got, stored)

    def test_grey(self, tmp_path):
        grey = np.array([[0, 7], [128, 255]], dtype=np.uint8)
        got = read_rgb(save(Image.fromarray(grey), tmp_path / "a.png"))
        np.testing.assert_array_equal(got, np.stack([grey] * 3, axis=2))

    def test_bilevel(self, tmp_path):
        image = Image.fromarray(np.array([[True, False]]))
        got = read_rgb(save(image, tmp_path / "a.png"))
        np.testing.assert_array_equal(got, [[[255] * 3, [0] * 3]])

    @pytest.mark.parametrize("ending", ["png", "tif"])
    def test_grey_of_16_bits_is_scaled_not_clipped(self, tmp_path, ending):
        grey = np.array([[0, 128, 129, 257], [385, 386, 32896, 65535]], dtype=np.uint16)
        got = read_rgb(save(Image.fromarray(grey), tmp_path / f"a.{ending}"))
        np.testing.assert_array_equal(got[:, :, 0], [[0, 0, 1, 1], [1, 2, 128, 255]])
        np.testing.assert_array_equal(got[:, :, 1:], got[:, :, :1].repeat(2, axis=2))

    def test_big_endian_grey_of_16_bits(self, tmp_path):
        image = Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 65535, 257 * 9))
        got = read_rgb(save(image, tmp_path / "a.tif"))
        np.testing.assert_array_equal(got[0, :, 0], [255, 9])

    def test_grey_of_32_bits_is_read_as_16_and_clipped_there(self, tmp_path):
        grey = np.array([[-5, 0, 257 * 200, 65535, 10**6]], dtype=np.int32)
        path = save(Image.fromarray(grey), tmp_path / "a.tif")
        with Image.open(path) as image:
            assert image.mode == "I"
        np.testing.assert_array_equal(read_rgb(path)[0, :, 0], [0, 0, 200, 255, 255])

    def test_alpha_is_composited_on_white(self, tmp_path):
        rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [100, 0, 50, 51]]], dtype=np.uint8)
        got = read_rgb(save(Image.fromarray(rgba), tmp_path / "a.png"))
        # 51/255 = 1/5 of the colour and 4/5 of white.
        np.testing.assert_array_equal(got, [[[200, 0, 0], [255, 255, 255], [224, 204, 214]]])

    def test_grey_with_alpha(self, tmp_path):
        image = Image.fromarray(np.array([[[0, 255], [0, 0], [100, 51]]], dtype=np.uint8), "LA")
        got = read_rgb(save(image, tmp_path / "a.png"))
        np.testing.assert_array_equal(got[0, :, 0], [0, 255, 224])

    def test_transparent_colour_of_an_rgb_png(self, tmp_path):
        image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
        got = read_rgb(save(image, tmp_path / "a.png", transparency=(1, 2, 3)))
        np.testing.assert_array_equal(got, [[[255, 255, 255], [4, 5, 6]]])

    @pytest.mark.parametrize("ending", ["png", "gif"])
    def test_palette_with_a_transparent_entry(self, tmp_path, ending):
        image = Image.new("P", (3, 1))
        image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        image.putdata([0, 1, 2])
        got = read_rgb(save(image, tmp_path / f"a.{ending}", transparency=1))
        np.testing.assert_array_equal(got, [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]])

    def test_palette_without_transparency(self, tmp_path):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putdata([1, 0])
        got = read_rgb(save(image, tmp_path / "a.png"))
        np.testing.assert_array_equal(got, [[[40, 50, 60], [10, 20, 30]]])

    def test_cmyk_jpeg(self, tmp_path):
        # Cyan ink alone takes away red; half black ink halves everything.
        cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
        got = read_rgb(save(cyan, tmp_path / "c.jpg", quality=95))
        np.testing.assert_allclose(got, np.full((8, 8, 3), (0, 255, 255)), atol=3)
        grey = Image.new("CMYK", (8, 8), (0, 0, 0, 127))
        np.testing.assert_allclose(
            read_rgb(save(grey, tmp_path / "k.jpg", quality=95)), 128, atol=3
        )

    def test_one_pixel(self, tmp_path):
        path = save(Image.new("RGB", (1, 1), (9, 8, 7)), tmp_path / "a.png")
        np.testing.assert_array_equal(read_rgb(path), [[[9, 8, 7]]])
        assert image_size(path) == (1, 1)

    def test_first_frame_of_an_animation(self, tmp_path):
        frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
        path = save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(read_rgb(path)[0, 0], [255, 0, 0])

    def test_first_picture_of_a_phone_s_multi_picture_jpeg(self, tmp_path):
        pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
        path = save(pictures[0], tmp_path / "a.mpo", save_all=True, append_images=pictures[1:])
        np.testing.assert_allclose(
            read_rgb(path.rename(tmp_path / "a.jpg"))[0, 0], [255, 0, 0], atol=2
        )

    @pytest.mark.parametrize("mode", ["F", "LAB"])
    def test_modes_without_a_known_range_are_refused(self, tmp_path, mode):
        path = save(Image.new(mode, (2, 2)), tmp_path / "a.tif")
        assert "not supported" in reason(path)

    @pytest.mark.parametrize("name", ["a b.png", "ä€😀.png", "line\nbreak.png", "misnamed.jpg"])
    def test_names(self, tmp_path, name):
        path = save(Image.new("RGB", (2, 3)), tmp_path / name, format="PNG")
        assert image_size(path) == (3, 2)
        assert read_rgb(str(path)).shape == (3, 2, 3)


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
    def test_equals_transposing_the_stored_array(self, tmp_path, orientation, ending):
        stored = pixels(16, 24, seed=orientation)
        lossless = {"webp": {"lossless": True}}.get(ending, {})
        plain = save(Image.fromarray(stored), tmp_path / f"plain.{ending}", **lossless)
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = save(Image.fromarray(stored), tmp_path / f"turned.{ending}", exif=exif, **lossless)

        expected = UPRIGHT[orientation](read_rgb(plain))
        np.testing.assert_array_equal(read_rgb(turned), expected)
        assert image_size(turned) == expected.shape[:2]
        assert image_size(turned) == ((24, 16) if orientation >= 5 else (16, 24))

    @pytest.mark.parametrize("orientation", [3, 6])
    def test_of_16_bit_grey(self, tmp_path, orientation):
        stored = np.arange(100, 106, dtype=np.uint16).reshape(2, 3) * 257
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(Image.fromarray(stored), tmp_path / "a.png", exif=exif)
        expected = UPRIGHT[orientation](stored[:, :, None] // 257)[:, :, 0]
        np.testing.assert_array_equal(read_rgb(path)[:, :, 0], expected)

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
    @pytest.mark.parametrize(
        "exif",
        [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*"],
    )
    def test_a_damaged_exif_block_does_not_cost_the_picture(self, tmp_path, exif):
        path = save(Image.fromarray(pixels(16, 24)), tmp_path / "a.jpg", exif=exif)
        assert image_size(path) == (16, 24)
        assert read_rgb(path).shape == (16, 24, 3)

    @pytest.mark.parametrize("orientation", [0, 9, 255])
    def test_values_out_of_range_mean_upright(self, tmp_path, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(Image.fromarray(pixels(16, 24)), tmp_path / "a.jpg", exif=exif)
        assert image_size(path) == (16, 24)


class TestBadFiles:
    def test_missing(self, tmp_path):
        assert reason(tmp_path / "a.jpg") == "no such file"

    def test_folder(self, tmp_path):
        (tmp_path / "a.jpg").mkdir()
        assert reason(tmp_path / "a.jpg") == "no such file"

    def test_empty(self, tmp_path):
        (tmp_path / "a.jpg").touch()
        assert reason(tmp_path / "a.jpg") == "empty file"

    def test_text(self, tmp_path):
        (tmp_path / "a.jpg").write_text("not a photograph\n")
        assert reason(tmp_path / "a.jpg") == "not an image of a kind that is read"

    def test_postscript_is_never_run(self, tmp_path):
        path = save(Image.new("RGB", (8, 8)), tmp_path / "a.jpg", format="EPS")
        assert reason(path) == "not an image of a kind that is read"

    @pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp", "tif", "gif"])
    @pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
    def test_truncated(self, tmp_path, ending, kept):
        path = save(Image.fromarray(pixels(64, 64)), tmp_path / f"a.{ending}")
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        assert reason(path)

    def test_truncated_jpeg_has_a_sound_header_and_a_short_reason(self, tmp_path):
        path = save(Image.fromarray(pixels(64, 64)), tmp_path / "a.jpg")
        path.write_bytes(path.read_bytes()[:-200])
        with Image.open(path) as image:
            assert image.size == (64, 64)
        assert reason(path).startswith("damaged: image file is truncated")

    def test_damaged_png(self, tmp_path):
        path = save(Image.fromarray(pixels(64, 64)), tmp_path / "a.png")
        content = bytearray(path.read_bytes())
        content[200:220] = bytes(20)
        path.write_bytes(content)
        assert reason(path).startswith("damaged: ")

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    @pytest.mark.parametrize("side", [9_500, 60_000])
    def test_decompression_bomb(self, tmp_path, side):
        """Both where Pillow only warns (9500²) and where it refuses by itself (60000²)."""
        path = tmp_path / "a.png"
        path.write_bytes(png_of_claimed_size(side, side))
        assert "limit of 89478485" in reason(path)

    def test_exception_is_an_input_error_and_crosses_processes(self):
        error = pickle.loads(pickle.dumps(UnreadableImage("folder/a.jpg", "empty file")))
        assert isinstance(error, InputError)
        assert str(error) == "folder/a.jpg: empty file"
        assert error.reason == "empty file"


def png_of_claimed_size(width, height):
    """A tiny PNG whose header announces any size."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


class TestIndexed:
    """An image is used only if it still is what the index says."""

    def test_the_same_file(self, tmp_path):
        path = tmp_path / "a.png"
        Image.new("RGB", (5, 4), "red").save(path)
        record = {"width": 5, "height": 4, "crc32": checksum(path)}
        assert read_indexed(path, record).tolist() == read_rgb(path).tolist()
        assert read_indexed(path, {}).shape == (4, 5, 3)

    def test_another_file(self, tmp_path):
        path = tmp_path / "a.png"
        Image.new("RGB", (5, 4), "red").save(path)
        record = {"width": 5, "height": 4, "crc32": checksum(path)}
        Image.new("RGB", (5, 4), "blue").save(path)
        with pytest.raises(UnreadableImage, match="damaged or replaced since it was indexed"):
            read_indexed(path, record)
        with pytest.raises(UnreadableImage, match="decodes to 5x4, but was indexed as 4x5"):
            read_indexed(path, {"width": 4, "height": 5})


def test_an_open_image_is_as_its_file(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(Image.fromarray(pixels(5, 7)), tmp_path / "turned.png", exif=exif)
    with Image.open(path) as image:
        assert (upright_rgb(image) == read_rgb(path)).all()
    with pytest.raises(UnreadableImage, match="floating-point"):
        upright_rgb(Image.fromarray(np.zeros((2, 2), dtype=np.float32)))


def test_heic_is_read_or_says_what_it_needs(tmp_path):
    path = tmp_path / "photo.heic"
    if importlib.util.find_spec("pillow_heif") is None:
        path.write_bytes(b"anything")
        assert "pip install pillow-heif" in reason(path)
        return
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 48), "red").save(path)
    assert image_size(path) == read_rgb(path).shape[:2] == (48, 64)
