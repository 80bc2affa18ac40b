"""Masks as texts, and back."""

import json

import numpy as np
import pytest

from bbr.errors import InputError
from bbr.storage.rle import decode_mask, encode_mask, is_rle


def test_there_and_back():
    mask = np.random.default_rng(0).random((31, 17)) < 0.4
    rle = json.loads(json.dumps(encode_mask(mask)))
    assert rle["size"] == [31, 17]
    assert (decode_mask(rle) == mask).all()


@pytest.mark.parametrize(
    "given", [None, [[1, 2, 3, 4]], {"size": [2, 2]}, {"size": [2, 0], "counts": "4"}]
)
def test_what_is_no_mask(given):
    assert not is_rle(given)
    with pytest.raises(InputError, match="not those of a mask of its size"):
        decode_mask(given)


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (301, 7)])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 1])
def test_run_lengths_of_every_kind(size, share):
    mask = np.random.default_rng(0).random(size) < share
    assert (decode_mask(encode_mask(mask)) == mask).all()


@pytest.mark.parametrize("damage", ["", "zzz{{{", "é", "0", "o", "PPPP", "5"])
def test_damaged_run_lengths_are_refused(damage):
    """pycocotools compares some of them without an end."""
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:25, 5:25] = True
    whole = encode_mask(mask)
    for counts in (damage, whole["counts"] + damage, whole["counts"][:3] + damage):
        if counts != whole["counts"]:
            with pytest.raises(InputError, match="not those of a mask of its size"):
                decode_mask({**whole, "counts": counts})
