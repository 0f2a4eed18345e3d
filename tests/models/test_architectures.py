"""The sizes the papers print, pinned: parameters exactly, FLOPs within 0.5 %."""

import pytest

from deblur_tf.models.architectures import ARCHITECTURES, sizes
from deblur_tf.models.flops import count_flops
from deblur_tf.networks.unet import UNet
from tests.support.helpers import slow_but

# name: (parameters, GFLOPs of convolutions by the block plan)
PINNED = {
    "UNet ch=16": (1_632_547, 300.2),
    "UNet ch=32": (6_520_899, 1197.6),
    "UNet ch=64": (26_065_027, 4784.2),
    "icDPM-S": (6_930_499, 1200),
    "icDPM-L": (27_678_851, 4790),
    "icDPM-S w/ Guide-S": (13_379_014, 2496),
    "icDPM-S w/ Guide-L": (32_643_046, 6377),
    "icDPM-L w/ Guide-S": (34_155_878, 6091),
    "icDPM-L w/ Guide-L": (53_447_558, 9975),
}


def test_all_nine_rows_are_pinned():
    assert [row.name for row in ARCHITECTURES] == list(PINNED)


@pytest.mark.parametrize(
    "name", slow_but(PINNED, *(n for n in PINNED if "w/" not in n), "icDPM-L w/ Guide-L")
)
def test_sizes(name):
    row = next(row for row in ARCHITECTURES if row.name == name)
    parameters, gflops = PINNED[name]
    millions, counted = sizes(row)
    assert round(millions * 1e6) == parameters
    assert counted == pytest.approx(gflops, rel=0.005)
    assert counted == pytest.approx(row.paper_gflops, rel=0.005)


def test_flops_of_a_hand_counted_network():
    unet = UNet(2, (1, 2), 1, 1, use_noise_level=False)
    unet.build((None, None, None, 3))
    full, half = 8 * 8, 4 * 4
    nine, one = 2 * 9, 2
    want = nine * 3 * 2 * full  # conv_in
    want += nine * (2 * 2 + 2 * 2) * full  # encoder 0
    want += nine * (2 * 2 + 2 * 2) * half  # down
    want += (nine * (2 * 4 + 4 * 4) + one * 2 * 4) * half  # encoder 1
    want += nine * (4 * 4 + 4 * 4) * half  # middle
    # Skips, latest first: encoder 1 (4), down (2); then encoder 0 (2), conv_in (2).
    want += (nine * (8 * 4 + 4 * 4) + one * 8 * 4) * half
    want += (nine * (6 * 4 + 4 * 4) + one * 6 * 4) * half
    want += nine * (4 * 4 + 4 * 4) * full  # up
    want += (nine * (6 * 2 + 2 * 2) + one * 6 * 2) * full
    want += (nine * (4 * 2 + 2 * 2) + one * 4 * 2) * full
    want += nine * 2 * 3 * full  # conv_out
    assert count_flops(unet, 8, 8) == want


@pytest.mark.slow
def test_counting_leaves_the_layers_as_they_were(model):
    before = count_flops(model, 16, 16)
    assert count_flops(model, 16, 16) == before
    assert count_flops(model, 32, 32) > 3.9 * before
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


def test_sizes_that_need_padding_are_refused(model):
    with pytest.raises(ValueError, match="multiple of 8"):
        count_flops(model, 20, 16)
