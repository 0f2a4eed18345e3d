"""Blur as the mean of video frames."""

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError
from deblur_tf.data import averaging
from tests.support.programs import run


def make_clip(folder, count, size=(20, 24), first=0):
    rng = np.random.default_rng(first)
    frames = rng.integers(0, 256, (count, *size, 3), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i + 1:06d}.png")
    return frames


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_mean_of_stored_values_and_of_light(tmp_path):
    frames = make_clip(tmp_path, 3)
    paths = averaging.clips(tmp_path)[tmp_path.name]
    blurry, sharp = averaging.averaged(paths, 1.0)
    np.testing.assert_array_equal(sharp, frames[1])
    np.testing.assert_array_equal(blurry, np.round(frames.mean(0)))
    light = averaging.averaged(paths, 2.2)[0]
    np.testing.assert_allclose(
        light / 255, np.mean((frames / 255) ** 2.2, 0) ** (1 / 2.2), atol=2e-3
    )
    assert (light >= blurry).all()  # a mean of light is brighter


def test_windows_lie_within_clips(tmp_path):
    for clip, count in (("a", 8), ("b/c", 5), ("short", 2)):
        make_clip(tmp_path / clip, count)
    clips = averaging.clips(tmp_path)
    assert {name: len(paths) for name, paths in clips.items()} == {"a": 8, "b-c": 5, "short": 2}
    assert list(averaging.windows(clips, 3, 3)) == ["a-000002", "a-000005", "b-c-000002"]
    assert list(averaging.windows(clips, 5, 2)) == ["a-000003", "a-000005", "b-c-000003"]
    with pytest.raises(DataError, match="no folder has 9 frames; the longest has 8"):
        averaging.windows(clips, 9, 1)


def test_frames_of_different_sizes_are_refused(tmp_path):
    make_clip(tmp_path, 3)
    Image.new("RGB", (10, 20)).save(tmp_path / "000003.png")
    with pytest.raises(DataError, match="000003.png: 10x20 pixels, .* has 24x20"):
        averaging.averaged(averaging.clips(tmp_path)[tmp_path.name], 1.0)


def test_pairs_of_clips_are_written_and_kept(tmp_path):
    frames = make_clip(tmp_path / "clips" / "one", 7)
    command = ("data", "synth", f"--frames={tmp_path}/clips", "--average=3", "-o", tmp_path / "out")
    result = run(*command)
    assert result.returncode == 0, result.stderr
    assert "2 pairs written" in result.stdout
    np.testing.assert_array_equal(read(tmp_path / "out/sharp/one-000005.png"), frames[4])
    blurry = read(tmp_path / "out/blur/one-000005.png")
    np.testing.assert_array_equal(blurry, np.round(frames[3:6].mean(0)))
    assert "0 pairs written" in run(*command).stdout
    for arguments, said in (
        (["--average=4"], "an odd number"),
        (["--gamma=0"], "must be positive"),
        ([f"--photos={tmp_path}"], "one of --photos and --frames"),
    ):
        result = run(*command, *arguments)
        assert result.returncode == 2
        assert said in result.stderr
