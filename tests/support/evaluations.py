"""A restorer and pairs whose figures are known."""

import csv
import json

import numpy as np

from deblur_tf.evaluation import pairs


def picture(value, height=40, width=50):
    return np.full((height, width, 3), value, np.uint8)


class Perfect:
    """Returns the sharp image in every second sample, black in the others."""

    def __init__(self, value=100):
        self.value = value
        self.calls = 0

    def settings(self, n_samples=1):
        return n_samples

    def draw(self, batch, seeds, n_samples, batch_size=1):
        self.calls += 1
        rows = [
            np.full(batch.shape, self.value / 127.5 - 1.0 if i % 2 == 0 else -1.0)
            for i in range(n_samples)
        ]
        return np.stack(rows).astype("float32")


def gray_set(count=3, values=(90, 100)):
    def read(index):
        return picture(values[0]), picture(values[1])

    return pairs.Numbered("grays", count, str, read)


def noisy(image, seed, strength=8):
    noise = np.random.default_rng(seed).normal(0, strength, image.shape)
    return np.uint8(np.clip(np.round(image + noise), 0, 255))


SCENES = ("scene0", "scene1", "scene[2]")


def figures(folder):
    with open(folder / "figures.csv", newline="") as file:
        return list(csv.DictReader(file))


def means(folder):
    return json.loads((folder / "report.json").read_text())["means"]
