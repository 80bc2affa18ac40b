"""pseudo_boxes.py on the command line."""

import json
import weakref

import extract_features
import h5py
import numpy as np
import pseudo_boxes
import pytest
import torch
from literal import lost_box, tokencut_box

from bbr.backbones.features_h5 import FeatureFile
from bbr.data.index import load_index
from bbr.heuristics.multi_box import SEVERAL, propose_scored
from bbr.storage.atomic import sha256
from bbr.storage.boxes_json import boxes_by_image, meta_path, read_boxes, read_meta, top_boxes
from bbr.storage.rle import decode_mask


@pytest.fixture(scope="module")
def features(scenes, tiny_backbone, tmp_path_factory):
    """Features of the tiny scenes, centred so that LOST's graph is no complete one."""
    output = tmp_path_factory.mktemp("features") / "f.h5"
    options = ["--index", str(scenes), *tiny_backbone, "--normalization", "center"]
    assert extract_features.main([*options, "--output", str(output)]) == 0
    return output


def propose(features, output, *more, method="lost"):
    options = ["--method", method, "--features", features, "--output", output, *more]
    assert pseudo_boxes.main([str(option) for option in options]) == 0
    return read_boxes(output)


class TestBoxes:
    def test_lost_equals_the_literal_version_on_the_stored_features(self, features, tmp_path):
        boxes = {box["image_id"]: box["bbox"] for box in propose(features, tmp_path / "b.json")}
        with FeatureFile(features) as file:
            for batch in file.batches(1):
                # Stored in float16; products in double precision leave no rounding to speak of.
                left, top, right, bottom = lost_box(batch.key[0].tolist(), batch.grid, 100)
                x, y, width, height = (
                    16 * side for side in (left, top, right - left, bottom - top)
                )
                assert boxes.pop(batch.image_ids[0]) == [x, y, width, height]
        assert boxes == {}

    def test_tokencut_equals_the_literal_version_on_the_stored_features(self, features, tmp_path):
        found = propose(features, tmp_path / "b.json", "--threshold", 0.1, method="tokencut")
        boxes = {box["image_id"]: box["bbox"] for box in found}
        with FeatureFile(features) as file:
            for batch in file.batches(1):
                expected = tokencut_box(batch.key[0].numpy(), batch.grid, 0.1, 1e-5)
                x, y, width, height = (side / 16 for side in boxes.pop(batch.image_ids[0]))
                assert expected in (None, [x, y, x + width, y + height])
        assert boxes == {}

    @pytest.mark.parametrize("method", SEVERAL)
    def test_several_boxes_of_an_image(self, features, tmp_path, method):
        one = propose(features, tmp_path / "1.json", method=method)
        several = propose(features, tmp_path / "3.json", "--max-boxes", 3, method=method)
        by_image = boxes_by_image(several)
        assert list(by_image) == [box["image_id"] for box in one]
        assert all(1 <= len(boxes) <= 3 for boxes in by_image.values())
        assert len(several) > len(one)
        top = top_boxes(several)
        assert [top[box["image_id"]]["bbox"] for box in one] == [box["bbox"] for box in one]

    @pytest.mark.parametrize("more", [(), ("--masks",)])
    def test_masks_of_cells_go_with_their_batch(self, features, tmp_path, monkeypatch, more):
        """They would take gigabytes, if those of all images stayed."""
        masks, write = [], pseudo_boxes.write_boxes

        def proposed(*arguments):
            found = propose_scored(*arguments)
            masks.extend(weakref.ref(each.mask) for several in found for each in several)
            return found

        def written(path, records, *others):
            assert [("segmentation" in record) for record in records] == [bool(more)] * 20
            assert sum(mask() is not None for mask in masks) <= 4  # of the last batch
            write(path, records, *others)

        monkeypatch.setattr(pseudo_boxes, "propose_scored", proposed)
        monkeypatch.setattr(pseudo_boxes, "write_boxes", written)
        propose(features, tmp_path / "b.json", "--batch-size", 4, *more)
        assert len(masks) == 20

    def test_one_box_an_image_in_the_order_of_the_features(self, features, tmp_path):
        boxes = propose(features, tmp_path / "b.json")
        assert [box["image_id"] for box in boxes] == list(range(1, 21))
        assert all(0 <= box["score"] <= 1 for box in boxes)
        assert len({box["score"] for box in boxes}) > 1
        assert {box["category_id"] for box in boxes} == {1}

    @pytest.mark.parametrize(
        ("method", "more"),
        [
            ("lost", ()),
            ("tokencut", ()),
            ("dino_seg", ("--head", 1)),
            ("most", ()),
            ("maskcut", ()),
            ("center", ()),
        ],
    )
    def test_batches_do_not_matter(self, features, tmp_path, method, more):
        one = propose(features, tmp_path / "1.json", *more, "--batch-size", 1, method=method)
        many = propose(features, tmp_path / "7.json", *more, "--batch-size", 7, method=method)
        assert one == many

    def test_options_reach_the_method(self, features, tmp_path):
        (box, *_) = propose(features, tmp_path / "b.json", "--fraction", 0.5, method="center")
        assert box["bbox"] == [16, 16, 32, 32]
        heads = [
            propose(features, tmp_path / f"{head}.json", "--head", head, method="dino_seg")
            for head in (0, 1)
        ]
        assert heads[0] != heads[1]
        made = read_meta(tmp_path / "1.json")["provenance"]
        assert made["parameters"] == {
            "method": "dino_seg",
            "head": 1,
            "attention_mass": 0.6,
            "max_boxes": 1,
        }
        assert made["inputs"] == {"features": sha256(features)}

    @pytest.mark.parametrize("method", SEVERAL)
    def test_masks_are_those_of_their_boxes(self, scenes, features, tmp_path, method):
        plain = propose(features, tmp_path / "a.json", "--max-boxes", 2, method=method)
        found = propose(features, tmp_path / "b.json", "--max-boxes", 2, "--masks", method=method)
        index = load_index(scenes)
        sizes = {image["id"]: index.image_size(image) for image in index.images}
        for box in found:
            mask = decode_mask(box.pop("segmentation"))
            assert mask.shape == sizes[box["image_id"]]
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            x, y, width, height = box["bbox"]
            drawn = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert drawn == pytest.approx([x, y, x + width, y + height], abs=0.5)
        assert found == plain
        assert read_meta(tmp_path / "b.json")["provenance"]["parameters"]["masks"] is True
        assert "masks" not in read_meta(tmp_path / "a.json")["provenance"]["parameters"]

    def test_masks_that_follow_edges_are_of_the_same_boxes(self, scenes, features, tmp_path):
        plain = propose(features, tmp_path / "a.json", "--masks")
        more = ("--masks", "--sharpen", "--index", scenes)
        sharp = propose(features, tmp_path / "b.json", *more)
        changed = 0
        for one, other in zip(plain, sharp, strict=True):
            before, after = (decode_mask(each.pop("segmentation")) for each in (one, other))
            assert before.shape == after.shape
            assert after.any()
            changed += (before != after).any()
        assert changed > len(plain) / 2
        assert plain == sharp
        made = read_meta(tmp_path / "b.json")["provenance"]
        assert made["parameters"]["sharpen"] is True
        assert made["inputs"]["index"] == sha256(scenes)

    @pytest.mark.parametrize("more", [("--masks",), ("--index", "i.json")])
    def test_edges_need_masks_and_images(self, features, tmp_path, capsys, more):
        options = ["--method", "lost", "--features", str(features), "--sharpen", *more]
        assert pseudo_boxes.main([*options, "--output", str(tmp_path / "b.json")]) == 1
        assert "--sharpen: needs --masks, and the images" in capsys.readouterr().err

    def test_a_method_without_masks_is_refused(self, features, tmp_path, capsys):
        options = ["--method", "center", "--features", str(features), "--masks"]
        assert pseudo_boxes.main([*options, "--output", str(tmp_path / "b.json")]) == 1
        assert "--masks: center has none" in capsys.readouterr().err

    def test_same_bytes_again_in_other_processes(self, features, tmp_path, run_stage):
        contents = set()
        for name in "ab":
            output = tmp_path / name / "boxes.json"
            options = ["--method", "lost", "--features", features, "--output", output]
            done = run_stage("pseudo_boxes", *options)
            assert done.returncode == 0, done.stderr
            contents.add((output.read_bytes(), meta_path(output).read_bytes()))
        assert len(contents) == 1

    def test_shards_merge_to_one_run(self, scenes, tiny_backbone, features, tmp_path):
        merged = []
        for i in range(2):
            shard = tmp_path / f"{i}.h5"
            options = ["--index", str(scenes), *tiny_backbone, "--normalization", "center"]
            options += ["--shard", f"{i}/2", "--output", str(shard)]
            assert extract_features.main(options) == 0
            merged += propose(shard, tmp_path / f"{i}.json")
        assert merged == propose(features, tmp_path / "whole.json")

    def test_features_from_elsewhere(self, tmp_path):
        with h5py.File(tmp_path / "f.h5", "w") as file:
            file.attrs.update({"schema": "bbr-features/1", "patch_size": 8, "complete": True})
            file["image_id"] = [42]
            file["image_size"] = [[10, 20]]
            file["grid"] = [[2, 3]]
            file["offset"] = [0, 6]
            file["key"] = np.array([[-1.0], [-1], [1], [-1], [-1], [1]])
        (box,) = propose(tmp_path / "f.h5", tmp_path / "b.json")
        assert (box["image_id"], box["bbox"]) == (42, [16, 0, 4, 10])

    def test_skipped_images_are_passed_on(self, features, tmp_path):
        with h5py.File(features) as source, h5py.File(tmp_path / "f.h5", "w") as copy:
            for name in source:
                source.copy(name, copy)
            copy.attrs.update(source.attrs)
            copy.attrs["skipped"] = json.dumps([{"image_id": 99, "reason": "empty file"}])
        propose(tmp_path / "f.h5", tmp_path / "b.json")
        skipped = read_meta(tmp_path / "b.json")["skipped"]
        assert skipped == [{"image_id": 99, "reason": "empty file"}]


class TestBadInput:
    """Exit status 1, one line on stderr and nothing else, and no output."""

    @pytest.fixture
    def fails(self, refused, features, tmp_path):
        def call(*options, method="lost", features=features, output=tmp_path / "boxes.json"):
            options = ("--method", method, "--features", features, *options)
            message = refused(pseudo_boxes, *options, output=output)
            assert not meta_path(output).is_file()
            return message

        return call

    def test_as_a_process(self, run_stage, one_line_error, features, tmp_path):
        options = ["--method", "lots", "--features", features, "--output", tmp_path / "b.json"]
        done = run_stage("pseudo_boxes", *options)
        message = one_line_error("pseudo_boxes", done.returncode, done.stderr)
        assert message.startswith("method 'lots' is unknown; choose one of lost, tokencut")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("head", [2, 4])
    def test_head_out_of_range(self, fails, head):
        message = fails("--head", head, method="dino_seg")
        assert f"head {head} does not exist, the backbone has 2 heads; set --head" in message

    def test_negative_head(self, fails):
        message = fails("--head", -1, method="dino_seg")
        assert "method dino_seg: head is -1, which is not at least 0" in message

    def test_option_of_another_method(self, fails):
        assert "method lost has no option 'head'" in fails("--head", 1)

    def test_several_boxes_of_a_method_of_one(self, fails):
        message = fails("--max-boxes", 2, method="center")
        assert "method center finds one box an image; use --max-boxes 1" in message

    def test_threshold_out_of_range(self, fails):
        message = fails("--threshold", 1.5, method="tokencut")
        assert "method tokencut: threshold is 1.5, which is not in [-1, 1)" in message

    def test_k_of_zero(self, fails):
        assert "k_patches is 0, which is not above 0" in fails("--k-patches", 0)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu(self, fails):
        assert "no CUDA device" in fails("--device", "cuda")

    @pytest.mark.parametrize("kept", [0, 200, 0.5, 0.99])
    def test_truncated_features(self, fails, features, tmp_path, kept):
        content = features.read_bytes()
        length = kept if kept >= 1 else int(kept * len(content))
        (tmp_path / "f.h5").write_bytes(content[:length])
        message = fails(features=tmp_path / "f.h5")
        assert "f.h5: not a readable HDF5 file (truncated or damaged); make it again" in message

    def test_features_that_are_not_complete(self, fails, features, tmp_path):
        copy = tmp_path / "f.h5"
        copy.write_bytes(features.read_bytes())
        with h5py.File(copy, "r+") as file:
            del file.attrs["complete"]
        assert "f.h5: not marked complete; make it again" in fails(features=copy)

    def test_damaged_features(self, fails, features, tmp_path):
        copy = tmp_path / "f.h5"
        content = bytearray(features.read_bytes())
        with h5py.File(features) as file:
            content[file["key"].id.get_chunk_info(0).byte_offset + 5] ^= 1
        copy.write_bytes(content)
        assert "damage at key" in fails(features=copy)

    def test_no_such_features(self, fails, tmp_path):
        assert "none.h5: no such file" in fails(features=tmp_path / "none.h5")

    def test_output_that_cannot_be_written(self, fails, tmp_path):
        """Told before the work, not after it."""
        (tmp_path / "file").touch()
        assert "cannot make its folder" in fails(output=tmp_path / "file" / "boxes.json")
