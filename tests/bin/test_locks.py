"""One writer for an output folder, whichever program writes there."""

import pytest

from deblur_tf.base.locks import locked
from tests.support import ROOT
from tests.support.programs import run

GOPRO = ROOT / "datasets" / "gopro" / "dummy_data"


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("export", ["-o", "out"]),
        ("reproduce", ["--nosizes", "--table=icdpm/12", "-o", "out"]),
        ("analyze", ["kernels", "-o", "out"]),
        ("study", ["make", "--methods=a=x,b=y", "-o", "out"]),
        ("data", ["synth", "--photos=photos", "-o", "out"]),
        ("data", ["prepare", "gopro", "--subset", f"--manual_dir={GOPRO}", "--data_dir=data"]),
    ],
)
def test_a_second_writer_is_refused_and_told_of_the_first(program, arguments, tmp_path, photos):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.fromarray(photos[0][:64, :64]).save(tmp_path / "photos" / "a.png")
    folder = tmp_path / ("data/gopro" if "prepare" in arguments else "out")
    folder.mkdir(parents=True)
    with locked(folder):
        before = sorted(tmp_path.rglob("*"))
        result = run(program, *arguments, cwd=tmp_path)
        assert result.returncode == 2
        assert f"{folder.name}: process " in result.stderr
        assert "is writing there" in result.stderr
        assert sorted(tmp_path.rglob("*")) == before
    if program in ("analyze", "data"):
        assert run(program, *arguments, cwd=tmp_path).returncode == 0
