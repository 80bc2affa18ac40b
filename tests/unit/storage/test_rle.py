"""Masks as texts, and back."""

import json

import numpy as np
import pytest

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
    with pytest.raises(ValueError, match="not a mask"):
        decode_mask(given)
