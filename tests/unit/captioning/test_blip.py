"""Captions: their search, files of ours, and BLIP as it is published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from captioner_data import WORDS, some_crops, tiny_captioner, write_published
from PIL import Image
from safetensors.torch import load_file, save_file

from bbr.captioning.blip import (
    Captioner,
    CaptionOptions,
    load_captioner,
    save_small_captioner,
    weights_of,
)
from bbr.captioning.small_blip import SmallCaptionerSpec, build_small_captioner, word_tokenizer
from bbr.errors import InputError


def captions(captioner: Captioner, crops: list[np.ndarray], **options: int) -> list[str]:
    return captioner.generate(captioner.observe(crops), CaptionOptions(**options))


def test_one_beam_takes_the_likeliest_word_each_time() -> None:
    captioner = tiny_captioner(seed=3)
    crops = some_crops(4)
    text = captioner.model.config.text_config
    expected = []
    for crop in crops:
        tokens = [text.bos_token_id]
        while len(tokens) < 9 and tokens[-1] != text.sep_token_id:
            with torch.no_grad():
                logits = captioner.model(captioner.observe([crop]), torch.tensor([tokens])).logits
            if len(tokens) < 5:
                logits[..., text.sep_token_id] = -torch.inf  # no end before the least length
            tokens.append(int(logits[0, -1].argmax()))
        expected.append(captioner.tokenizer.decode(tokens, skip_special_tokens=True))
    options = {"beams": 1, "min_length": 5, "max_length": 9}
    assert captions(captioner, crops, **options) == [" ".join(text.split()) for text in expected]


def test_captions_go_on_from_a_prompt_that_counts_and_is_left_out() -> None:
    """Word by word, as WWbL's BLIP does: the start and the prompt are there before the first."""
    captioner = tiny_captioner(seed=3)
    crops = some_crops(4)
    text = captioner.model.config.text_config
    begun = captioner.tokenizer(f"{WORDS[0]} {WORDS[1]}")["input_ids"][1:-1]
    assert len(begun) == 2
    expected = []
    for crop in crops:
        tokens = [text.bos_token_id, *begun]
        while len(tokens) < 9 and tokens[-1] != text.sep_token_id:
            with torch.no_grad():
                logits = captioner.model(captioner.observe([crop]), torch.tensor([tokens])).logits
            if len(tokens) < 5:
                logits[..., text.sep_token_id] = -torch.inf
            tokens.append(int(logits[0, -1].argmax()))
        expected.append(captioner.tokenizer.decode(tokens[3:], skip_special_tokens=True))
    given = CaptionOptions(1, min_length=5, max_length=9, caption_prompt=f"{WORDS[0]} {WORDS[1]} ")
    assert captioner.generate(captioner.observe(crops), given) == expected


def test_captions_do_not_depend_on_their_batch() -> None:
    captioner = tiny_captioner()
    crops = some_crops(6)
    alone = [captions(captioner, [crop])[0] for crop in crops]
    assert captions(captioner, crops) == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize(("least", "greatest"), [(5, 30), (2, 4), (12, 12)])
def test_lengths(least: int, greatest: int) -> None:
    captioner = tiny_captioner()
    observed = captioner.observe(some_crops(8))
    tokens = captioner.model.generate(
        observed, num_beams=3, min_length=least, max_length=greatest, do_sample=False
    )
    ends = captioner.model.config.text_config.sep_token_id
    lengths = [(row != 0).sum().item() for row in tokens]
    assert max(lengths) <= greatest
    # A sentence that was not cut short has its end, before which the least length was reached.
    assert all(
        len_ > least
        for row, len_ in zip(tokens, lengths, strict=True)
        if ends in row.tolist() and least < greatest
    )
    options = CaptionOptions(min_length=least, max_length=greatest)
    assert captioner.generate(observed, options) == [
        " ".join(text.split())
        for text in captioner.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    ]


def test_captions_longer_than_the_network_are_refused() -> None:
    captioner = tiny_captioner(context_length=8)
    with pytest.raises(InputError, match=r"--max-length 9: this captioner says 8 tokens"):
        captions(captioner, some_crops(1), max_length=9)
    assert captions(captioner, some_crops(1), max_length=8)


def test_words_are_tokens() -> None:
    tokenizer = word_tokenizer(SmallCaptionerSpec(WORDS, context_length=7))
    ids = tokenizer("A red green mug")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[START]", "a", "red", "[UNK]", "mug", "[END]"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a red mug"
    cut = tokenizer(["a red striped disc and a mug", "a"], truncation=True, padding=True)
    assert [len(row) for row in cut["input_ids"]] == [7, 7]
    assert cut["attention_mask"][1] == [1, 1, 1, 0, 0, 0, 0]


def test_sizes_must_divide() -> None:
    with pytest.raises(InputError, match="image_size 40 must be a multiple of 16"):
        build_small_captioner(SmallCaptionerSpec(WORDS, image_size=40))


class TestFilesOfOurs:
    def test_a_captioner_comes_back_as_it_was(self, tmp_path: Path) -> None:
        path = tmp_path / "captioner.safetensors"
        captioner = tiny_captioner()
        save_small_captioner(path, captioner, {"stage": "x"})
        again = load_captioner(str(path))
        assert again.spec == captioner.spec
        crops = some_crops()
        torch.testing.assert_close(again.observe(crops), captioner.observe(crops))
        assert captions(again, crops) == captions(captioner, crops)
        assert weights_of(str(path)) == path

    def test_the_trunk_is_not_stored(self, tmp_path: Path) -> None:
        path = tmp_path / "captioner.safetensors"
        captioner = tiny_captioner()
        save_small_captioner(path, captioner, {})
        assert set(load_file(path)) == set(captioner.model.state_dict())

    def test_others_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "other.safetensors"
        save_file({"x": torch.zeros(1)}, path)
        with pytest.raises(InputError, match="holds no captioner; give a file made by"):
            load_captioner(str(path))
        with pytest.raises(InputError, match="no such file"):
            load_captioner(str(tmp_path / "none.safetensors"))


class TestPublishedLayout:
    def test_it_says_what_transformers_says(self, tmp_path: Path) -> None:
        model = write_published(tmp_path)
        captioner = load_captioner(str(tmp_path))
        crops = some_crops()
        tokens = model.generate(
            captioner.observe(crops), num_beams=3, min_length=5, max_length=30, do_sample=False
        )
        words = captioner.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        assert captions(captioner, crops) == words
        assert len(set(words)) > 1
        assert weights_of(str(tmp_path)) == tmp_path / "model.safetensors"

    def test_crops_are_prepared_as_its_files_say(self, tmp_path: Path) -> None:
        write_published(tmp_path)
        (crop,) = some_crops(1)
        pixels = np.array(Image.fromarray(crop).resize((32, 32), Image.Resampling.BICUBIC)) / 255
        mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
        expected = ((pixels - mean) / std).transpose(2, 0, 1)
        observed = load_captioner(str(tmp_path)).observe([crop])[0].numpy()
        np.testing.assert_allclose(observed, expected, atol=1.01 / 255 / min(std))

    def test_what_is_missing_is_told(self, tmp_path: Path) -> None:
        write_published(tmp_path)
        tensors = load_file(tmp_path / "model.safetensors")
        tensors.pop("vision_model.post_layernorm.weight")
        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(InputError, match=r"1 of BLIP's tensors are missing \(first: vision_"):
            load_captioner(str(tmp_path))

    @pytest.mark.parametrize(
        "name", ["config.json", "model.safetensors", "preprocessor_config.json"]
    )
    def test_an_incomplete_folder(self, tmp_path: Path, name: str) -> None:
        write_published(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(InputError, match="not a folder of BLIP's files, and could not be"):
            load_captioner(str(tmp_path))

    def test_a_hub_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr("bbr.captioning.blip.repository_reachable", asked.append)
        with pytest.raises(InputError, match="--captioner Salesforce/blip: not a folder of BLIP"):
            load_captioner("Salesforce/blip")
        assert asked == ["Salesforce/blip"]

    def test_pickled_tensors_are_read_and_a_program_is_not(self, tmp_path: Path) -> None:
        model = write_published(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        captioner = load_captioner(str(tmp_path))
        assert weights_of(str(tmp_path)) == tmp_path / "pytorch_model.bin"
        for name, tensor in model.state_dict().items():
            assert torch.equal(captioner.model.state_dict()[name], tensor)
        torch.save({"weights": Path("a")}, tmp_path / "pytorch_model.bin")  # a class to be built
        with pytest.raises(InputError, match=r"--captioner .*: not a folder of BLIP's files"):
            load_captioner(str(tmp_path))

    def test_the_base_network_has_the_published_size(self) -> None:
        from transformers import BlipConfig, BlipForConditionalGeneration

        with torch.device("meta"):
            model = BlipForConditionalGeneration(BlipConfig())
        text = model.config.text_config
        count = sum(p.numel() for p in model.parameters())
        # The published file has 247 M numbers: the embeddings of words are in it twice.
        assert round((count + text.vocab_size * text.hidden_size) / 1e6) == 247
