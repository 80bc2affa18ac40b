"""The small CLIP: words as tokens, towers, and files."""

import open_clip
import pytest
import torch
from grounding_data import DIM, WORDS, noise, tiny_clip

from bbr.clip import network as clip_module
from bbr.clip.network import load_clip, new_small_clip, prompt, save_small_clip
from bbr.clip.small_network import SmallClipSpec, WordTokenizer, build_small_clip, words_of
from bbr.errors import InputError


def test_words_become_numbers():
    tokenize = WordTokenizer(("a", "disc", "red"), context_length=6)
    start, end, unknown = 5, 6, 4
    assert tokenize(["a red disc", "A zebra!", ""]).tolist() == [
        [start, 1, 3, 2, end, 0],
        [start, 1, unknown, end, 0, 0],
        [start, end, 0, 0, 0, 0],
    ]
    assert tokenize(["a a a a a a a"]).tolist() == [[start, 1, 1, 1, 1, end]]
    assert tokenize([]).shape == (0, 6)


def test_words_of_a_text():
    assert words_of("Image of a RED-striped disc, no. 2") == [
        "image",
        "of",
        "a",
        "red",
        "striped",
        "disc",
        "no",
        "2",
    ]
    assert prompt("A Disc") == "image of a disc"


def test_embeddings_have_unit_length_and_tell_texts_apart():
    clip = tiny_clip()
    texts = clip.encode_texts(["image of a red disc", "image of a blue mug", "image of a disc"])
    images = clip.encode_images(noise(2, 96, 80))
    for embeddings, count in ((texts, 3), (images, 2)):
        assert embeddings.shape == (count, DIM)
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(count))
    assert (texts[0] - texts[1]).abs().max() > 1e-3
    assert not any(p.requires_grad for p in clip.parameters())


def test_a_file_of_a_hybrid_leaves_out_its_trunk(tmp_path):
    torch.manual_seed(0)
    clip = new_small_clip(SmallClipSpec(WORDS, image_size=64, embed_dim=DIM, width=16, heads=2))
    path = tmp_path / "clip.safetensors"
    save_small_clip(path, clip, {"stage": "test"})
    assert path.stat().st_size < 2**20
    loaded = load_clip(str(path))
    assert loaded.spec == clip.spec
    assert torch.equal(loaded.encode_images(noise(1)), clip.encode_images(noise(1)))
    assert torch.equal(loaded.encode_texts(["a red mug"]), clip.encode_texts(["a red mug"]))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="must be a multiple of 16"):
        build_small_clip(SmallClipSpec(WORDS, image_size=70, trunk=None))
    with pytest.raises(InputError, match="trunk 'vgg' of a CLIP is unknown"):
        build_small_clip(SmallClipSpec(WORDS, trunk="vgg"))


@pytest.fixture
def small_open_clip(monkeypatch):
    """A model that open_clip would have to build large, or to download."""

    def create(architecture, pretrained=None, **_):
        if pretrained is not None:
            raise OSError("offline")
        torch.manual_seed(7)
        return tiny_clip().model

    monkeypatch.setattr(open_clip, "create_model", create)
    monkeypatch.setattr(
        open_clip,
        "get_model_preprocess_cfg",
        lambda model: {"size": 64, "mean": (0.4, 0.4, 0.4), "std": (0.3, 0.3, 0.3)},
    )


@pytest.mark.parametrize(
    ("name", "mean"), [("ViT-B-32-quickgelu", 0.48145466), ("ViT-B-16-SigLIP", 0.5)]
)
def test_weights_of_a_named_architecture(tmp_path, small_open_clip, monkeypatch, name, mean):
    """A file does not say how images are normalised: that goes by the network."""
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: WordTokenizer(WORDS, 8))
    path = tmp_path / "weights.pt"
    model = tiny_clip(seed=3).model
    torch.save({"state_dict": {f"module.{n}": t for n, t in model.state_dict().items()}}, path)
    clip = load_clip(str(path), name)
    assert clip.size == (64, 64)
    assert clip.mean.flatten()[0].item() == pytest.approx(mean)
    for name, tensor in model.state_dict().items():
        assert torch.equal(clip.model.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("weights", "architecture", "message"),
    [
        ("openai", None, "does not name a network; add --clip-architecture"),
        ("openai", "ViT-B-33", "'ViT-B-33' is not one of open_clip's models"),
        ("openia", "ViT-B-32-quickgelu", "neither a file nor pretrained weights of ViT-B-32"),
        ("openai", "ViT-B-32-quickgelu", "could not be fetched \\(OSError\\); give --clip FILE"),
        ("no.safetensors", None, "no such file"),
    ],
)
def test_mistakes_are_told_in_one_line(small_open_clip, weights, architecture, message):
    with pytest.raises(InputError, match=message) as caught:
        load_clip(weights, architecture)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_out_of_reach(tmp_path, small_open_clip, monkeypatch):
    def refuse(name):
        raise OSError("offline")

    monkeypatch.setattr(open_clip, "get_tokenizer", refuse)
    torch.save(tiny_clip().model.state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"tokenizer could not be fetched \(OSError\)"):
        load_clip(str(tmp_path / "w.pt"), "ViT-B-16-SigLIP")


@pytest.mark.slow
def test_open_clip_builds_the_papers_clip_offline(tmp_path):
    """ViT-B/32 without weights, key for key, from a file in open_clip's layout."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu")
    path = tmp_path / "clip.pt"
    torch.save(model.state_dict(), path)
    clip = clip_module.load_clip(str(path), "ViT-B-32-quickgelu")
    assert clip.size == (224, 224)
    assert clip.encode_texts([prompt("A dog on a sofa")]).shape == (1, 512)
    assert clip.mean.flatten().tolist() == pytest.approx([0.48145466, 0.4578275, 0.40821073])
