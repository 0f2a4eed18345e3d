"""What a model is, in words: its card, its size and its settings."""

from __future__ import annotations

import os

from deblur_tf.inference.memory import bytes_per_pixel
from deblur_tf.models.saved import load_model
from deblur_tf.storage import model_folders

CARD_FILE = "README.md"


def describe(name_or_dir: str | os.PathLike[str]) -> str:
    """Describes a model in several lines, followed by its card if there is one.

    Raises:
      ModelError: if it cannot be loaded.
    """
    loaded = load_model(name_or_dir)
    folder, _ = model_folders.find(name_or_dir)
    model = loaded.model
    lines = [
        f"{name_or_dir}: {type(model).__name__}, {model.count_params():,} parameters",
        f"weights: {loaded.origin}",
        f"settings: {loaded.sampling.describe(loaded.model.schedule_kind)}",
        f"memory: about {bytes_per_pixel(model) * 1e6 / 2**20:.0f} MiB per megapixel without tiles",
    ]
    if loaded.curve is not None:
        lines.append(f"fidelity, measured on {loaded.curve.source}:")
        for point in loaded.curve.points:
            lines.append(
                f"  PSNR {point.psnr:.2f} dB, {loaded.curve.metric} {point.perception:.3f}: "
                f"{point.settings.describe(loaded.model.schedule_kind)}"
            )
    card = folder / CARD_FILE
    if card.is_file():
        lines += ["", card.read_text(encoding="utf-8", errors="replace").rstrip()]
    return "\n".join(lines)
