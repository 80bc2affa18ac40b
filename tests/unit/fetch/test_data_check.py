"""bbr.fetch.data_check: counts of what is there, what differs, and what is missing."""

import json

import pytest
from PIL import Image

from bbr.fetch.data_check import check_dataset, table_of

VOC = """<annotation><filename>{name}.jpg</filename><size><width>9</width><height>9</height></size>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>
</object></annotation>"""


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        (root / "Annotations" / f"{name}.xml").write_text(VOC.format(name=name))
        Image.new("RGB", (9, 9)).save(root / "JPEGImages" / f"{name}.jpg")
    (root / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\nc\n")
    return root


def test_counts(voc):
    found = check_dataset({"format": "voc", "source": str(voc)})
    assert found == {"images": 3, "boxes": 3, "phrases": 0, "missing": ""}


def test_missing_photographs(voc):
    (voc / "JPEGImages" / "b.jpg").unlink()
    found = check_dataset({"format": "voc", "source": str(voc), "label": "VOC07"})
    assert (found["images"], found["boxes"]) == (2, 3)
    assert found["missing"] == f"1 photographs, such as {voc / 'JPEGImages' / 'b.jpg'}"


def test_what_is_not_there_says_what_brings_it(tmp_path):
    dataset = {"format": "voc", "source": str(tmp_path / "none"), "fetch": ["voc07", "more"]}
    found = check_dataset(dataset)
    assert found["images"] == 0
    assert found["missing"].endswith("no such folder; snakemake fetch_voc07 fetch_more")


def test_expressions_of_one_region_share_its_box(tmp_path):
    (tmp_path / "1.jpg").touch()
    files = {
        "referit_query_dict.json": {"1_1": ["man left", "guy"], "1_2": ["sky"]},
        "referit_imcrop_bbox_dict.json": {"1_1": [0, 0, 4, 4], "1_2": [0, 0, 9, 9]},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    found = check_dataset({"format": "referit", "source": tmp_path, "annotations": tmp_path})
    assert found == {"images": 1, "boxes": 2, "phrases": 3, "missing": ""}


def test_table():
    datasets = {"voc07": {"expected": {"images": 5011, "boxes": 3}}, "mine": {}}
    found = {
        "voc07": {"images": 5000, "boxes": 3, "phrases": 0, "missing": "11 photographs"},
        "mine": {"images": 1, "boxes": 0, "phrases": 0, "missing": ""},
    }
    lines = table_of(datasets, found).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2] == ["voc07", "5,000 (5,011)", "3", "0", "11 photographs"]
    assert cells[3] == ["mine", "1", "0", "0", "nothing"]
