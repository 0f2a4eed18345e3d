"""The whole chain at a tiny size for every row of the papers: data, training, evaluation."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Sequence

import keras
import numpy as np
from PIL import Image

from deblur_tf import config, metrics
from deblur_tf.base import bindings
from deblur_tf.base.backend import eagerly
from deblur_tf.data.blur import MARGIN
from deblur_tf.data.synthesis import shaken
from deblur_tf.datasets import prepare
from deblur_tf.evaluation import comparison, drawings, grid, pairs, runner
from deblur_tf.evaluation.report import Report
from deblur_tf.evaluation.subjects import Restored
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.models import saved
from deblur_tf.reproduction import plan
from deblur_tf.reproduction.contents import Measurement
from deblur_tf.storage.arrays import frozen_variables
from deblur_tf.training import distribution, run

SIDE = 32  # pixels of a generated picture
GRID = ((1, 0.9), (2, 0.9))
# Overrides that make a row tiny; those that a row does not use are left out.
TINY = (
    *("CH = 4", "GUIDE_CH = 2", "PREDICTOR_CH = 4", "RES_BLOCKS = 1", "MIDDLE_BLOCKS = 1"),
    *("BATCH_SIZE = 2", "CROP_SIZE = 16", "TOTAL_STEPS = 1", "BODY_DTYPE = 'float32'"),
    *("DATASET = 'folder/smoke'", "realblur_j/TfdsPairs.dataset = 'folder/smoke'"),
    *("Recipe.accumulate = 1", "Recipe.validation_images = 1", "SamplingSettings.steps = 1"),
)
# The same for rows of a latent diffusion model, which have all of these names.
TINY_LATENT = (
    *("CH = 8", "PREDICTOR_CH = 8", "BATCH_SIZE = 2", "CROP_SIZE = 16", "TOTAL_STEPS = 1"),
    *("AutoencoderKL.channels = (4, 8)", "AutoencoderKL.num_res_blocks = 1"),
    *("AutoencoderKL.groups = 4", "SamplingSettings.steps = 2", "Recipe.validation_images = 1"),
    *(
        f"{part}.{setting}"
        for part in ("LatentUNet", "ControlBranch")
        for setting in (
            *("channel_multipliers = (1, 2)", "num_res_blocks = 1", "attention_depths = (1,)"),
            *("head_width = 8", "groups = 4", "context_shape = (2, 8)"),
        )
    ),
)
NOTE = (
    "A smoke run: networks of a few channels, trained for one step on generated pictures. "
    "Its figures show that every part runs, and nothing else."
)


def scene(rng: np.random.Generator) -> np.ndarray:
    """A generated picture: rectangles on a ramp, uint8 [SIDE, SIDE, 3]."""
    ramp = np.linspace(0, 1, SIDE)[:, None, None] * rng.uniform(0, 150, 3)
    image = np.broadcast_to(ramp + rng.uniform(0, 80, 3), (SIDE, SIDE, 3)).copy()
    for _ in range(6):
        top, left = rng.integers(0, SIDE - 4, 2)
        height, width = rng.integers(3, SIDE // 2, 2)
        image[top : top + height, left : left + width] = rng.uniform(0, 255, 3)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def make_data(folder: pathlib.Path, count: int = 6, seed: int = 0) -> pathlib.Path:
    """A prepared data set of generated pairs, and one pair to test on; returns its folder."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        split = "test" if i == 0 else "train"
        wide = np.pad(scene(rng), [(MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)], mode="edge")
        blurry, sharp = shaken(wide, rng, f"scene {i}")
        for side, image in (("blur", blurry), ("sharp", sharp)):
            path = folder / "pairs" / split / side / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    prepare.prepare("folder", folder / "pairs", folder / "prepared", "smoke")
    return folder


def shallow(text: str) -> list[str]:
    """Bindings that reduce the networks of a row to two depths, and its guidance to one scale.

    Args:
      text: the bindings of the row, see `bindings.all_bindings`.
    """
    found = ["UNet.channel_multipliers = (1, 2)", "MultiscaleGuidance.channel_multipliers = (1,)"]
    own = bindings.parsed(text)
    for name in ("UNet.guided_depths", "MultiscaleGuidance.scales"):
        if values := ast.literal_eval(own.get(name, "()")):
            found.append(f"{name} = ({min(values[0], 1)},)")
    return found


def _load(gin_file: str, data: pathlib.Path) -> None:
    """Loads the configuration of a row at a tiny size."""
    config.load([gin_file])
    text = bindings.all_bindings()
    if "AutoencoderKL.scale" in bindings.parsed(text):
        photos = f"PHOTOS = '{data / 'pairs' / 'train' / 'sharp'}'"
        config.load([gin_file], [*TINY_LATENT, photos])
        return
    have = set(bindings.parsed(text))
    wanted = [*TINY, f"DATA_DIR = '{data / 'prepared'}'"]
    always = ("Recipe.accumulate", "Recipe.validation_images", "SamplingSettings.steps")
    names = {line: line.split(" = ")[0] for line in wanted}
    tiny = [x for x, n in names.items() if n in have or n in always]
    config.load([gin_file], tiny + shallow(text))


class Trainings:
    """Trains a model for each row; rows with the same model at this size share one.

    Args:
      folder: folder for the runs.
      data: folder that `make_data` returned.
    """

    def __init__(self, folder: pathlib.Path, data: pathlib.Path):
        self.folder = folder
        self.data = data
        self._alike: dict[str, tuple[pathlib.Path, Deblurrer]] = {}
        self._models: dict[str, Deblurrer] = {}

    def __call__(self, run_name: str) -> Deblurrer:
        """The trained model of a row, by the name of its run."""
        if run_name not in self._models:
            self._models[run_name] = self._trained(run_name, self.folder / run_name)
        return self._models[run_name]

    def _trained(self, run_name: str, folder: pathlib.Path) -> Deblurrer:
        _load(f"{run_name}.gin", self.data)
        recipe = config.build("Recipe")
        keras.utils.clear_session()
        model = keras.saving.serialize_keras_object(recipe.model())
        how = [type(recipe.objective).__name__, config.reference("Recipe.optimizer")]
        alike = json.dumps([model, *how], sort_keys=True, default=str)
        if alike in self._alike:
            other, deblurrer = self._alike[alike]
            shutil.copytree(other, folder)
            return deblurrer
        prepared = run.prepare(recipe, folder, distribution.choose("one"))
        prior = None
        if frozen_variables(prepared.stepper.model):  # stands for a converted prior
            prior = self.folder / "prior" / run_name
            saved.save_model(prepared.stepper.model, prior)
        if run.train(prepared, init_from=prior):
            raise KeyboardInterrupt
        deblurrer = Deblurrer.from_pretrained(folder)
        self._alike[alike] = folder, deblurrer
        return deblurrer


def measure(
    made: Measurement, deblurrer: Deblurrer, data: pathlib.Path, results: pathlib.Path
) -> None:
    """Writes the report of a row, with all metrics that need no weights."""
    _load(made.gin_file, data)
    protocol = config.build("Protocol")
    needed = [n for n in protocol.metrics if n in ("psnr_aligned", "ssim_aligned")]
    names = ["psnr", "ssim", "ssim_matlab"]
    if made.protocol.startswith("realblur") or needed:
        names += ["psnr_aligned", "ssim_aligned"]
    chosen = metrics.choose(names, on_missing=lambda name, why: None)
    source = pairs.folder(data / "pairs" / "test")
    points = protocol.points()
    small = GRID if protocol.grid and not protocol.choose else GRID[-1:]
    first = points[0]
    points = [
        dataclasses.replace(
            first,
            steps=steps,
            beta_max=beta_max if first.beta_max else None,  # a latent model's schedule is fixed
            n_samples=min(first.n_samples, 2),
        )
        for steps, beta_max in small
    ]
    for point in points:
        folder = results / made.results
        if len(points) > 1:
            folder /= grid.folder_name(point)
        settings = {"smoke": True, "sampling": dataclasses.asdict(point)}
        report = Report(folder, settings, chosen)
        subject = Restored(deblurrer, **dataclasses.asdict(point))
        runner.evaluate(subject, source, chosen, report)
    if len(points) > 1:
        grid.summarise(results / made.results, points)


def everything(
    folder: pathlib.Path,
    measurements: Sequence[Measurement],
    on_row: Callable[[str], object] = lambda name: None,
) -> tuple[pathlib.Path, pathlib.Path]:
    """Trains and measures all rows; returns the folders of runs and results.

    What training prints goes to `log.txt`. Earlier contents of the folder are deleted.
    """
    runs, results = folder / "runs", folder / "results"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (
        open(folder / "log.txt", "a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        eagerly(),
    ):
        data = make_data(folder / "data")
        train = Trainings(runs, data)
        for made in measurements:
            measure(made, train(made.run), data, results)
            on_row(made.results)
        draw(train, data, results / "analyses")
        for figure in plan.FIGURES:
            words = figure.command.format(runs=runs, results=results).split()
            whole = all((results / made.results).is_dir() for made in figure.measurements)
            if words[1] == "grids" and whole:
                (results / figure.file).parent.mkdir(parents=True, exist_ok=True)
                folders = comparison.labelled(words[2 : words.index("-o")])
                comparison.grids(folders, (results / figure.file).parent)
    return runs, results


def draw(train: Trainings, data: pathlib.Path, output: pathlib.Path) -> None:
    """Draws the papers' figures of two of the models."""
    source = pairs.folder(data / "pairs" / "train")
    some = [source[i] for i in range(3)]
    guided, refine = train("papers/icdpm/table4/ours"), train("papers/dvsr/table1/ours")
    drawings.guidance(guided, some, output / "guidance")
    drawings.residual(refine, some, output / "residual", steps=2)
    drawings.diversity(guided, some, output / "diversity", 3, steps=2)
    drawings.kernels(output / "kernels")
