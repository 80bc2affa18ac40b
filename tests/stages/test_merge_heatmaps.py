"""merge_heatmaps.py on the command line."""

import json

import h5py
import merge_heatmaps
import numpy as np
import pytest

from bbr.grounding.heatmaps_h5 import HeatmapFile, create_heatmaps


def shard(path, units, size=(4, 6)):
    """Maps of one value, image id / 10 + phrase id / 100."""
    with create_heatmaps(path, size=size, provenance={"stage": path.stem}) as writer:
        for image, phrase in units:
            writer.append(image, phrase, np.full(size, image / 10 + phrase / 100))
    return str(path)


def merge(output, *paths):
    return merge_heatmaps.main(["--heatmaps", *paths, "--output", str(output)])


def test_all_maps_in_order(tmp_path):
    units = [(1, 0), (1, 2), (2, 0), (7, 1)]
    paths = [
        shard(tmp_path / "0.h5", units[:3]),
        shard(tmp_path / "1.h5", []),
        shard(tmp_path / "2.h5", units[3:]),
    ]
    assert merge(tmp_path / "all.h5", *paths) == 0
    with HeatmapFile(tmp_path / "all.h5") as file:
        found = list(zip(file.image_id.tolist(), file.phrase_id.tolist(), strict=True))
        assert found == units
        np.testing.assert_allclose(
            file.read(np.arange(4))[:, 0, 0], [0.1, 0.12, 0.2, 0.71], atol=1e-3
        )
        sources = json.loads(file.provenance)["sources"]
    assert [source["stage"] for source in sources] == ["0", "1", "2"]
    assert merge(tmp_path / "again.h5", *paths) == 0
    assert (tmp_path / "all.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()


@pytest.mark.parametrize(
    ("units", "size", "message"),
    [([(1, 0)], (4, 6), "image 1 is in both"), ([(2, 0)], (6, 4), "name shards of one run")],
)
def test_shards_that_do_not_fit_together(tmp_path, refused, units, size, message):
    first = shard(tmp_path / "0.h5", [(1, 0)])
    second = shard(tmp_path / "1.h5", units, size)
    options = ["--heatmaps", first, second]
    assert message in refused(merge_heatmaps, *options, output=tmp_path / "all.h5")


def test_a_shard_that_is_not_whole(tmp_path, refused):
    first = shard(tmp_path / "0.h5", [(1, 0)])
    second = shard(tmp_path / "1.h5", [(2, 0)])
    with h5py.File(second, "r+") as file:
        file.attrs["complete"] = False
    message = refused(merge_heatmaps, "--heatmaps", first, second, output=tmp_path / "all.h5")
    assert "not marked complete" in message
