"""Photographs of one size are restored together."""

import numpy as np
from PIL import Image

from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.jobs import ONE, restore


def test_photographs_of_one_size_are_restored_together(deblurrer, tmp_path, monkeypatch):
    """Whichever come together, each gets its own result, and a damaged one fails alone."""
    rng = np.random.default_rng(0)
    sizes = [(20, 24), (20, 24), (20, 24), (24, 20), (20, 24), (20, 24)]
    (tmp_path / "in").mkdir()
    for i, size in enumerate(sizes):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "4_damaged.png").write_bytes(b"no picture")
    counts = []
    draw = Deblurrer.draw

    def counted(self, batch, *rest):
        counts.append(len(batch))
        return draw(self, batch, *rest)

    monkeypatch.setattr(Deblurrer, "draw", counted)
    found = {}
    for batch_size in (1, 2):
        (tmp_path / "out").mkdir()
        _, errors, new, failed = restore(
            deblurrer, tmp_path, ONE.but(n_samples=2), always=True, batch_size=batch_size
        )
        assert [path.name for path in failed] == ["4_damaged.png"]
        assert len(errors) == 1
        assert len(new) == 6 * 4  # mean, two samples, their spread
        found[batch_size] = {
            name: np.asarray(Image.open(tmp_path / "out" / name)).astype(int) for name in new
        }
        (tmp_path / "out").rename(tmp_path / f"out{batch_size}")
    assert counts == [1] * 6 + [2, 1, 1, 2]
    for name, pixels in found[1].items():
        assert np.abs(found[2][name] - pixels).max() <= (20 if "uncertainty" in name else 1)


def test_a_batch_that_fails_is_tried_one_by_one(deblurrer, folder, monkeypatch):
    draw = Deblurrer.draw

    def limited(self, batch, *rest):
        if len(batch) > 1:
            raise MemoryError("not enough memory for two")
        return draw(self, batch, *rest)

    monkeypatch.setattr(Deblurrer, "draw", limited)
    _, errors, new, _ = restore(deblurrer, folder, batch_size=4)
    assert (errors, new) == ([], {"a.png", "b.jpg", "sub/a.png"})
