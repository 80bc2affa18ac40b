"""Which images are shown."""

from pathlib import Path

import pytest

from bbr.data.index import Index
from bbr.data.sampling import choose_images
from bbr.errors import InputError

INDEX = Index([{"id": i} for i in range(10, 30)], [], [], {}, Path("index.json"))


def ids(*arguments):
    return [image["id"] for image in choose_images(INDEX, *arguments)]


def test_the_first_ones():
    assert ids(3, None) == [10, 11, 12]
    assert ids(99, 0) == list(range(10, 30))


def test_a_seed_draws_in_the_order_of_the_index():
    drawn = ids(5, 1)
    assert drawn == ids(5, 1) == sorted(set(drawn))
    assert drawn != ids(5, 2)


def test_named_images_keep_their_order():
    assert ids(1, 0, [17, 11]) == [17, 11]
    with pytest.raises(InputError, match="no image of id 7"):
        ids(1, 0, [11, 7])
