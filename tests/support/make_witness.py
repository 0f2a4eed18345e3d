"""Makes tests/support/data/witness.npz: restored pictures that later versions must still give.

  python -m tests.support.make_witness

The seeds of a user's pictures must mean the same from version to version. Run it only
where a change of the pictures is wanted, and say why in the commit.
"""

import numpy as np

from tests.support import DATA

FILE = DATA / "witness.npz"


def pictures():
    """{name: float32 samples [N, H, W, 3]} of each kind of model and setting."""
    from deblur_tf.data.photos import bundled_photos
    from deblur_tf.diffusion.outputs import Residual, Velocity
    from deblur_tf.image_files.reading import read_rgb
    from deblur_tf.inference.deblurrer import Deblurrer
    from tests.support.conditional_models import dvsr, regression
    from tests.support.helpers import randomize
    from tests.support.models import small_model

    photo = read_rgb(bundled_photos()[0])[100:133, 200:242]
    box = Deblurrer.from_pretrained("tiny")
    found = {
        "box": box.samples(photo, seed=1),
        "box, three steps": box.samples(photo, steps=3, seed=7, n_samples=2),
    }
    models = {
        "noise": small_model(),
        "velocity, unguided": small_model(guided=False, output=Velocity()),
        "residual": small_model(output=Residual(0.1)),
        "dvsr": dvsr(),
        "dvsr, residual": dvsr(Residual(0.1)),
        "regression": regression(),
    }
    for name, model in models.items():
        model.build()
        deblurrer = Deblurrer(randomize(model))
        found[name] = deblurrer.samples(photo, steps=4, seed=3, n_samples=2)
    return found


if __name__ == "__main__":
    np.savez_compressed(FILE, **{name: x.astype("float16") for name, x in pictures().items()})
    print(f"{FILE}: {FILE.stat().st_size} bytes")
