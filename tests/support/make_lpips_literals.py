"""Prints the literals of tests/support/lpips_case.py: the `lpips` package on random trunks.

Needs PyTorch, torchvision and lpips, which the tests do not:

  python -m tests.support.make_lpips_literals
"""

import lpips
import numpy as np
import torch

from tests.support.lpips_case import literal_case, torch_arrays


def measure(net):
    model = lpips.LPIPS(net=net, pretrained=True, pnet_rand=True, verbose=False).eval()
    trunk, heads = torch_arrays(net)
    own = dict(model.net.named_parameters())
    numbered = {name.split(".", 1)[1]: name for name in own}  # slice1.0.weight -> 0.weight
    for name, array in trunk.items():
        if name.startswith("features."):
            own[numbered[name.removeprefix("features.")]].data = torch.from_numpy(array)
    for name, array in heads.items():
        model.get_parameter(name).data = torch.from_numpy(array)
    a, b = (
        torch.from_numpy(np.float32(x).transpose(2, 0, 1)[None] / 127.5 - 1) for x in literal_case()
    )
    with torch.no_grad():
        return float(model(a, b))


if __name__ == "__main__":
    print({net: measure(net) for net in ("alex", "vgg")})
