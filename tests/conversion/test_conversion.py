"""Files of others become model folders: every layout gives the same arrays, or one clear line."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.conversion import keys, stable_diffusion
from deblur_tf.conversion.check import check
from deblur_tf.diffusion.outputs import Noise, Velocity
from deblur_tf.models import saved
from deblur_tf.models.deblurdiff import DeblurDiff, LatentDiffusion
from deblur_tf.networks.control import ControlBranch
from deblur_tf.networks.kernels import LatentKernelPredictor
from deblur_tf.networks.latent_unet import LatentUNet
from deblur_tf.networks.vae import AutoencoderKL
from tests.support.helpers import images, slow_but
from tests.support.latent_case import TOWER, UNET, VAE, array, keys_of, tower_shapes
from tests.support.programs import run

SIZES = {
    "vae": VAE,
    "unet": UNET,
    "predictor": UNET,
    "text": {"layers": TOWER["layers"], "heads": TOWER["heads"]},
}


def network(kind, seen=4, **more):
    made = kind(**more)
    made.build((None, None, None, seen))
    return made


@pytest.fixture(scope="module")
def parts():
    return {
        "unet": network(LatentUNet, name="unet", **UNET),
        "vae": network(AutoencoderKL, 3, **VAE),
        "controlnet": network(ControlBranch, 12, **UNET),
        "kpn.unet": network(
            LatentKernelPredictor, unet=LatentUNet(out_channels=100, name="unet", **UNET)
        ).unet,
    }


def arrays_of(parts, name, rename=lambda k: k, prefix=""):
    found = {
        prefix + rename(k): array(f"{name}.{k}", shape).astype("float32")
        for k, shape in keys_of(parts[name]).items()
    }
    for key in found:
        if "attn_1" in key and found[key].ndim == 2:
            found[key] = found[key][:, :, None, None]  # 1x1 convolutions there
    return found


def tower(prefix, openclip):
    shapes = tower_shapes(openclip, **TOWER)
    return {prefix + k: array(k, s).astype("float32") for k, s in shapes.items()}


def single_file(parts, unet="model.diffusion_model.", vae="first_stage_model.", text=None):
    return (
        arrays_of(parts, "unet", lambda k: keys.compvis_unet_key(k, parts["unet"]), unet)
        | arrays_of(parts, "vae", lambda k: keys.compvis_vae_key(k, parts["vae"]), vae)
        | tower(text or "cond_stage_model.model.", True)
    )


def contiguous(arrays):
    return {k: np.ascontiguousarray(v) for k, v in arrays.items()}


def folder_of_diffusers(parts, root, old):
    vae = keys.old_vae_key if old else lambda k: k
    for name, arrays in (
        ("unet", arrays_of(parts, "unet")),
        ("vae", arrays_of(parts, "vae", vae)),
        ("text_encoder", tower("text_model.", False)),
    ):
        (root / name).mkdir(parents=True)
        save_file(contiguous(arrays), root / name / "model.safetensors")
    return root


def check_arrays(folder, parts, names):
    """Weights in a folder are those that were generated, laid out as Keras does."""
    model = saved.load_model(folder).model
    networks = {"unet": model.unet, "vae": model.vae}
    if isinstance(model, DeblurDiff):
        networks |= {"controlnet": model.control, "kpn.unet": model.predictor.unet}
    for name in names:
        for variable in networks[name].variables:
            path = variable.path.split(f"{networks[name].name}/")[-1]
            key = keys.diffusers_key(path)
            value = array(f"{name}.{key}", keys_of(parts[name])[key])
            want = stable_diffusion._laid_out(value, len(variable.shape))
            np.testing.assert_allclose(variable.numpy(), want, atol=3e-3, err_msg=key)
    return model


@pytest.mark.parametrize("layout", ["single file", *slow_but(["diffusers", "diffusers, old"])])
def test_every_layout_of_stable_diffusion_gives_the_same_arrays(layout, parts, tmp_path):
    source = tmp_path / "sd.safetensors"
    if layout == "single file":
        more = {"model_ema.decay": np.zeros(1, "float32"), "betas": np.zeros(3, "float32")}
        save_file(contiguous(single_file(parts) | more), source)
    else:
        source = folder_of_diffusers(parts, tmp_path / "sd", "old" in layout)
    lines = stable_diffusion.stable_diffusion(source, tmp_path / "out", "v", SIZES)
    assert all("sha256" in line for line in lines)
    assert len(lines) == (1 if layout == "single file" else 3)
    model = check_arrays(tmp_path / "out", parts, ("unet", "vae"))
    assert type(model) is LatentDiffusion
    assert model.output_form == Velocity()
    assert np.abs(model.context.numpy()).max() > 0.1
    assert saved.load_model(tmp_path / "out").sampling.steps == 50


@pytest.mark.slow
def test_the_released_weights_come_with_their_settings(parts, tmp_path):
    arrays = single_file(parts, "unet.", "vae.", "clip.model.")
    for name, prefix in (("controlnet", "controlnet."), ("kpn.unet", "kpn.unet.")):
        arrays |= arrays_of(
            parts, name, lambda k, n=name: keys.compvis_unet_key(k, parts[n]), prefix
        )
    save_file(contiguous(arrays), tmp_path / "model.safetensors")
    stable_diffusion.deblurdiff(tmp_path / "model.safetensors", tmp_path / "out", SIZES)
    model = check_arrays(tmp_path / "out", parts, parts)
    assert type(model) is DeblurDiff
    assert (model.colour, model.encoded_range) == ("adain", (0.0, 1.0))
    assert (model.unet.window, model.unet.halve_window) == (64, True)
    assert (model.control.window, model.control.halve_window) == (64, False)
    assert model.output_form == Noise()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.pop("first_stage_model.quant_conv.bias"),
            "lacks first_stage_model.quant_conv",
        ),
        (lambda a: a.update(more=np.zeros(2, "float32")), "1 arrays belong to no part.*: more"),
        (
            lambda a: a.update({"model.diffusion_model.out.2.bias": np.zeros(9, "float32")}),
            r"out\.2\.bias is \(9,\), and \(4,\) is needed",
        ),
    ],
)
def test_files_that_do_not_fit_are_named(change, message, parts, tmp_path):
    arrays = single_file(parts)
    change(arrays)
    save_file(contiguous(arrays), tmp_path / "sd.safetensors")
    with pytest.raises(DataError, match=message):
        stable_diffusion.stable_diffusion(
            tmp_path / "sd.safetensors", tmp_path / "out", "epsilon", SIZES
        )
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_read_are_named(parts, tmp_path):
    path = tmp_path / "sd.safetensors"
    save_file(contiguous(single_file(parts)), path)
    path.write_bytes(path.read_bytes()[:5000])
    command = ("weights", "convert", "sd2", "-o", tmp_path / "out")
    result = run(*command, f"--from={path}", "--prediction=epsilon")
    assert result.returncode != 0
    assert f"{path}: cannot be read" in result.stderr.splitlines()[-1]
    # Eight bytes of length, a header, and two numbers of a kind that NumPy itself lacks.
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f" * 2)
    found = stable_diffusion._laid_out(stable_diffusion.Weights(path).take("a"), 1)
    np.testing.assert_array_equal(found, np.ones(2, "float32"))
    (tmp_path / "sd.ckpt").write_bytes(b"x")
    with pytest.raises(DataError, match="only .safetensors and .npz are read"):
        stable_diffusion.Weights(tmp_path / "sd.ckpt")
    with pytest.raises(DataError, match="no .safetensors file there"):
        stable_diffusion.Weights(tmp_path)
    assert "--from is missing" in run(*command).stderr
    assert "--prediction is missing" in run(*command, f"--from={path}").stderr


class WithUNet:
    """A model with another UNet."""

    def __init__(self, model, unet):
        self.vae, self.unet, self.context = model.vae, unet, model.context
        self.size_multiple, self.timestep = model.size_multiple, model.timestep
        self.largest_tile = model.largest_tile


def test_the_check_tells_noise_from_velocity():
    """With the ideal output for latents that are known, in either form."""
    model = LatentDiffusion(AutoencoderKL(**VAE), LatentUNet(name="unet", **UNET))
    model.build()
    image = np.uint8(127.5 * (images(0, 40, 52, 3) + 1.0))
    centre = image[None, :, 2:50]  # sizes are multiples of 8
    latent = np.array(model.vae.encode((centre / 127.5 - 1.0).astype("float32")))

    def ideal(kind):
        def call(noisy, timestep, context):
            level = float(model._levels[int(timestep[0])])
            sigma = np.sqrt(1 - level**2)
            noise = (np.array(noisy) - level * latent) / sigma
            return noise if kind == "noise" else level * noise - sigma * latent

        return call

    for kind in ("noise", "velocity"):
        found = check(WithUNet(model, ideal(kind)), image)
        lines = found.lines(kind)
        assert len(lines) == 4
        assert all(line.endswith("as set") for line in lines[1:])
        other = {"noise": "velocity", "velocity": "noise"}[kind]
        assert all("NOT what the model is set to" in line for line in found.lines(other)[1:])
    with pytest.raises(UsageError, match="52x7 pixels is too small to check with"):
        check(model, image[:7])


def test_the_check_looks_at_no_more_than_the_prior_has_learned(monkeypatch):
    """Attention to all of a photo of 12 megapixels would take a hundred gigabytes."""
    model = LatentDiffusion(AutoencoderKL(**VAE), LatentUNet(name="unet", **UNET))
    model.build()
    seen, encode = [], model.vae.encode
    monkeypatch.setattr(model.vae, "encode", lambda x: seen.append(np.array(x)) or encode(x))
    image = np.uint8(127.5 * (images(0, 300, 70, 3) + 1.0))
    check(model, image)
    top, side = (300 - model.largest_tile) // 2, model.largest_tile
    centre = image[None, top : top + side, 3:67]
    np.testing.assert_allclose(seen[0], centre / 127.5 - 1.0, atol=1e-6)
