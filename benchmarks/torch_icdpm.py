"""The guided icDPM network in PyTorch, for benchmarks/frameworks.py."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    def __init__(self, inputs, width, embedding=0, guidance=0, resample=None):
        super().__init__()
        self.resample = resample
        self.conv_1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1)
        self.embed = nn.Linear(embedding, width) if embedding else None
        self.project = nn.Conv2d(guidance, width, 1) if guidance else None
        self.skip = nn.Conv2d(inputs, width, 1) if inputs != width else None

    def forward(self, x, embedding=None, guidance=None):
        h = F.silu(x)
        if self.resample == "down":
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        elif self.resample == "up":
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        h = self.conv_1(h)
        if self.embed is not None:
            h = h + self.embed(embedding)[:, :, None, None]
        if self.project is not None:
            h = h + self.project(guidance)
        h = self.conv_2(F.silu(h))
        return h + (x if self.skip is None else self.skip(x))


class GuidanceNetwork(nn.Module):
    def __init__(self, base):
        super().__init__()
        plan = [base] * 3 + [2 * base] * 3 + [3 * base] * 3 + [3 * base] * 2
        plan += [3 * base] * 4 + [2 * base] * 4 + [base] * 4
        self.conv_in = nn.Conv2d(1, base, 3, padding=1)
        widths = [base, *plan]
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(widths, plan, strict=False))
        self.regression = nn.Conv2d(base, 1, 3, padding=1)

    def forward(self, x):
        h = self.conv_in(x)
        for block in self.blocks:
            h = block(h)
        return h, self.regression(h)


class GuidedDiffusion(nn.Module):
    """The block plan of deblur_tf.models, with 3 residual blocks per depth."""

    def __init__(self, ch, guide_ch):
        super().__init__()
        emb = 4 * ch
        widths = [ch, 2 * ch, 3 * ch, 4 * ch]
        self.guides = nn.ModuleList(GuidanceNetwork(guide_ch) for _ in range(3)) if guide_ch else []
        self.dense_1, self.dense_2 = nn.Linear(64, emb), nn.Linear(emb, emb)
        self.register_buffer("frequencies", torch.logspace(0, 3.69897, 32))
        self.conv_in = nn.Conv2d(6, ch, 3, padding=1)
        self.encoder, self.downs = nn.ModuleList(), nn.ModuleList()
        channels, skips = ch, [ch]
        for depth, width in enumerate(widths):
            blocks = nn.ModuleList()
            for _ in range(3):
                blocks.append(ResidualBlock(channels, width, emb, guide_ch if depth else 0))
                channels = width
                skips.append(width)
            self.encoder.append(blocks)
            if depth < 3:
                self.downs.append(ResidualBlock(width, width, emb, resample="down"))
                skips.append(width)
        self.middle = nn.ModuleList(ResidualBlock(channels, channels, emb) for _ in range(2))
        self.decoder, self.ups = nn.ModuleList(), nn.ModuleList()
        for depth, width in reversed(list(enumerate(widths))):
            blocks = nn.ModuleList()
            for _ in range(4):
                blocks.append(ResidualBlock(channels + skips.pop(), width, emb))
                channels = width
            self.decoder.append(blocks)
            if depth:
                self.ups.append(ResidualBlock(width, width, emb, resample="up"))
        self.conv_out = nn.Conv2d(ch, 3, 3, padding=1)

    def forward(self, noisy, level, blurry):
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        gray = (blurry * weights).sum(1, keepdim=True)
        guides = [g(F.avg_pool2d(gray, 2**k)) for k, g in enumerate(self.guides, 1)]
        waves = level[:, None] * self.frequencies
        embedding = torch.cat([waves.sin(), waves.cos()], 1)
        embedding = F.silu(self.dense_2(F.silu(self.dense_1(embedding))))
        h = self.conv_in(torch.cat([noisy, blurry], 1))
        skips = [h]
        for depth, blocks in enumerate(self.encoder):
            for block in blocks:
                h = block(h, embedding, guides[depth - 1][0] if depth and guides else None)
                skips.append(h)
            if depth < 3:
                h = self.downs[depth](h, embedding)
                skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for i, blocks in enumerate(self.decoder):
            for block in blocks:
                h = block(torch.cat([h, skips.pop()], 1), embedding)
            if i < 3:
                h = self.ups[i](h, embedding)
        return self.conv_out(F.silu(h)), [prediction for _, prediction in guides]
