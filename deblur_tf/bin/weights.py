r"""Makes weight files from the files that their authors publish. Downloads nothing.

  deblur-weights convert sd2 --from=v2-1_512-ema-pruned.safetensors --prediction=epsilon -o sd21
  deblur-weights check sd2 -m sd21 --image=photo.jpg
  deblur-weights convert deblurdiff --from=model.safetensors -o released
  deblur-weights convert lpips --net=alex --trunk=alexnet.safetensors --heads=alex.safetensors
  deblur-weights convert inception --trunk=pt_inception-2015-12-05-6726825d.safetensors
  deblur-weights make niqe --photos=my_sharp_photos
  deblur-weights list

convert sd2: the prior of DeblurDiff, a model folder for --init_from, from Stable Diffusion
2.1-base (--prediction=epsilon) or the 768 model (--prediction=v): a single file, or the
folder in which diffusers keeps it.
check sd2: the round trip of a photo through the autoencoder, and whether the network
predicts noise or velocity, as it is set to.
convert deblurdiff: a model folder for deblur-restore from DeblurDiff's released weights.
convert lpips: --trunk is torchvision's alexnet-owt-7be5be79.pth or vgg16-397923af.pth,
--heads the file v0.1/alex.pth or v0.1/vgg.pth of the lpips package.
convert inception: --trunk is the file of pytorch-fid.
Files are read as .safetensors or .npz; for a .pth the error says how to convert it.
make niqe: statistics of sharp photographs; those of the authors (modelparameters.mat of
their release as niqe_pris_params.npz, with mu_pris_param and cov_pris_param) give
figures that are comparable with published ones.
list: which files are found where.

The weights of metrics are written to --output, by default ~/.cache/deblur_tf, where
deblur-evaluate looks for it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, cast

from absl import flags

from deblur_tf.bin import common

_NET = flags.DEFINE_enum("net", "alex", ["alex", "vgg"], "convert lpips: the classifier.")
_TRUNK = flags.DEFINE_string("trunk", None, "convert: file of the classifier.")
_HEADS = flags.DEFINE_string("heads", None, "convert lpips: file of the linear heads.")
_FROM = flags.DEFINE_string("from", None, "convert sd2, deblurdiff: .safetensors file, or folder.")
_PREDICTION = flags.DEFINE_enum(
    "prediction", None, ["epsilon", "v"], "convert sd2: what the network predicts."
)
_MODEL = flags.DEFINE_string("model", None, "check sd2: the converted folder.", short_name="m")
_IMAGE = flags.DEFINE_string("image", None, "check sd2: a photo.")
_PHOTOS = flags.DEFINE_string("photos", None, "make niqe: folder of sharp photos.")
_COLOR = flags.DEFINE_enum("color", "gray", ["gray", "y"], "make niqe: luminance formula.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Output folder. Default: ~/.cache/deblur_tf.", short_name="o"
)


def _given(**values: str | None) -> None:
    for name, value in values.items():
        if not value:
            raise common.UsageError(f"--{name} is missing")


def _list() -> None:
    from deblur_tf.metrics import fid, lpips, niqe, weights

    for file in (*lpips.FILES.values(), niqe.FILE, *fid.FILES):
        found = [root / file.name for root in weights.folders(_OUTPUT.value)]
        path = next((p for p in found if p.is_file()), None)
        state = f"{path}  sha256 {weights.sha256(path)}" if path else f"missing; {file.command}"
        print(f"{file.name}: {state}")


_FLAGS = {
    "convert sd2": ("from", "prediction"),
    "convert deblurdiff": ("from",),
    "check sd2": ("model", "image"),
    "convert lpips": ("net", "trunk", "heads"),
    "convert inception": ("trunk",),
    "make niqe": ("photos", "color"),
    "list": (),
}


def _prior(command: tuple[str, ...]) -> int:
    """Runs the commands for Stable Diffusion and DeblurDiff."""
    if command == ("check", "sd2"):
        _given(model=_MODEL.value, image=_IMAGE.value)
        from deblur_tf.conversion.check import check
        from deblur_tf.diffusion.outputs import Noise
        from deblur_tf.image_files.reading import read_rgb
        from deblur_tf.models import saved
        from deblur_tf.models.deblurdiff import LatentDiffusion

        model = saved.load_model(common.value_of(_MODEL)).model
        if not isinstance(model, LatentDiffusion):
            raise common.UsageError(f"{_MODEL.value}: not a model of latents")
        expected = "noise" if model.output_form == Noise() else "velocity"
        print("\n".join(check(model, read_rgb(common.value_of(_IMAGE))).lines(expected)))
        return common.OK
    _given(**{"from": _FROM.value, "output": _OUTPUT.value})
    source, output = common.value_of(_FROM), common.value_of(_OUTPUT)
    common.make_folder(output, alone=True)
    from deblur_tf.conversion import stable_diffusion

    if command == ("convert", "sd2"):
        _given(prediction=_PREDICTION.value)
        lines = stable_diffusion.stable_diffusion(source, output, common.value_of(_PREDICTION))
    else:
        lines = stable_diffusion.deblurdiff(source, output)
    print("\n".join([*lines, f"written: {_OUTPUT.value}"]))
    return common.OK


def main(argv: Sequence[str]) -> int:
    command = tuple(argv[1:])
    common.refuse_flags(" ".join(command), _FLAGS)
    if " ".join(command) not in _FLAGS:
        raise common.UsageError(f"give one of: {'; '.join(_FLAGS)}")
    if command[-1] in ("sd2", "deblurdiff"):
        return _prior(command)
    if command == ("list",):
        _list()
        return common.OK
    if command == ("make", "niqe"):
        _given(photos=_PHOTOS.value)
    elif command == ("convert", "lpips"):
        _given(trunk=_TRUNK.value, heads=_HEADS.value)
    else:
        _given(trunk=_TRUNK.value)
    from deblur_tf.metrics import convert, weights

    folder = pathlib.Path(_OUTPUT.value or weights.CACHE.expanduser())
    common.make_folder(str(folder))
    if command == ("make", "niqe"):
        from deblur_tf.base.progress import bar
        from deblur_tf.data.photos import open_photos

        photos = open_photos(_PHOTOS.value)
        with bar(total=len(photos), unit="photo") as progress:
            path = convert.write_niqe(folder, photos, cast(Any, _COLOR.value), progress.update)
    elif command == ("convert", "lpips"):
        path = convert.write_lpips(
            folder, cast(Any, _NET.value), common.value_of(_TRUNK), common.value_of(_HEADS)
        )
    else:
        path = convert.write_inception(folder, common.value_of(_TRUNK))
    print(f"{path}  sha256 {weights.sha256(path)}")
    return common.OK


def entry() -> None:
    common.run(main, __doc__, max_arguments=2)


if __name__ == "__main__":
    entry()
