"""What a person reads of a refinement."""

from bbr.reporting.verdict import verdict


def test_f_h_and_f():
    kept = {"step": 40, "agreement": 0.834, "agreement_of_f": 0.816}
    assert verdict(kept).startswith("boxes of f^h after 40 steps")
    assert "0.83; those of f overlap them by 0.82" in verdict(kept)
    assert verdict({**kept, "agreement_of_f": None}).endswith("overlap h's by 0.83")
    given_back = verdict({"step": 0, "agreement": None, "agreement_of_f": 0.2})
    assert given_back.startswith("boxes of f, which was kept")
    assert "by 0.20" in given_back
    uncompared = verdict({"step": 0, "agreement": None, "agreement_of_f": None})
    assert uncompared.startswith("boxes of f, which was kept; h was not")
