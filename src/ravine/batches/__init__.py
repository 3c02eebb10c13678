"""Batch sizes: how noisy a minibatch is, how fast each size runs, how far the rate scales, and which size follows."""

from ravine.batches.noise import GradientNoise, gradient_noise
from ravine.batches.result import BatchStudy, Moment, Size
from ravine.batches.scaling import Scaled, scaled_runs
from ravine.batches.speed import Speed, knee, throughput
from ravine.batches.study import batch_study

__all__ = [
    "BatchStudy",
    "GradientNoise",
    "Moment",
    "Scaled",
    "Size",
    "Speed",
    "batch_study",
    "gradient_noise",
    "knee",
    "scaled_runs",
    "throughput",
]
