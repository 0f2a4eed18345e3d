"""Restoring a folder in a test."""

from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.image_files import listing
from deblur_tf.inference.job import Job

ONE = SamplingSettings(steps=1)


def restore(deblurrer, folder, sampling=ONE, **options):
    """Runs a job; returns it, what failed, and the files that were written anew."""
    out = folder / "out"
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    sources = listing.search([str(folder / "in")], True, out).sources
    errors = []
    job = Job(deblurrer, sampling, out, on_error=errors.append, **options)
    seed = options.get("seed", 0)
    failed = job.run(listing.plan(sources, out, seed=seed, n_samples=sampling.n_samples))
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    new = {p.relative_to(out).as_posix() for p in after if before.get(p) != after[p]}
    return job, errors, new - {"manifest.json"}, failed
